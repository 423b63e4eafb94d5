import assert from 'node:assert/strict'
import { chmodSync, copyFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { isInside } from '../helpers/namespace.js'
import { enterCommand, startSiteServer, writeChain } from './mta.js'
import { ACCEPTED_TEXT, checkManyNames, checkName, HELD, type NameForm, NAMES, titleOf } from './request-checks.js'
import { install, startSendmail } from './sendmail.js'

const acceptedNode = (name: string): string => `${name}: ${ACCEPTED_TEXT} (250 2.0.0 Queuing for node ${name} started)`
const acceptedGroup = (name: string): string =>
  `#${name}: ${ACCEPTED_TEXT} (250 2.0.0 Queuing for queue group ${name} started)`
const UNKNOWN_GROUP = { status: 77, hint: /Sendmail: no queue group has this name; request the domain itself/ }

const FORMS: readonly NameForm[] = [
  { argument: 'site.example', line: acceptedNode('site.example'), moved: ['a@site.example'] },
  // Sendmail accepts a name with the dot, but moves nothing; the client removes it.
  { argument: 'site.example.', line: acceptedNode('site.example'), moved: ['a@site.example'] },
  { argument: 'SITE.example', line: acceptedNode('SITE.example'), moved: ['a@site.example'] },
  { argument: '@site.example', line: acceptedNode('@site.example'), moved: HELD },
  { argument: '@sub.site.example', line: acceptedNode('@sub.site.example'), moved: ['b@sub.site.example'] },
  {
    argument: 'bücher.site.example',
    line: acceptedNode('xn--bcher-kva.site.example'),
    moved: ['d@xn--bcher-kva.site.example'],
  },
  { argument: '#ships', line: acceptedGroup('ships'), moved: ['c@ship.site.example'] },
  { argument: '#SHIPS', line: acceptedGroup('SHIPS'), moved: ['c@ship.site.example'] },
  { argument: '#mqueue', line: acceptedGroup('mqueue'), moved: HELD.filter((to) => to !== 'c@ship.site.example') },
  { argument: '#boats', line: '#boats: refused (459 4.5.4 Queue boats unknown)', ...UNKNOWN_GROUP },
  {
    argument: '#site.example',
    line: '#site.example: refused (459 4.5.4 Queue site.example unknown)',
    ...UNKNOWN_GROUP,
  },
]

/** Makes Sendmail refuse every name but site.example with this code. */
const checkEtrnRules = (code: string): string => `Scheck_etrn
Rsite.example\t$@ ok
R$*\t$#error $@ ${code.replace(/^\d+ /, '')} $: "${code} not your queue"
`

if (isInside(import.meta.url, enterCommand('sendmail'))) {
  install()

  suite('Sendmail: forms of a name', { timeout: 300_000 }, () => {
    for (const form of FORMS) test(titleOf(form), async (t) => checkName(t, await startSendmail(t), form))
  })

  suite('Sendmail: many names', { timeout: 300_000 }, () => {
    test('20 names are accepted, 7 in a session, because Sendmail delays the 8th', async (t) => {
      await checkManyNames(t, await startSendmail(t))
    })
    test('20 names with @ are accepted', async (t) => {
      await checkManyNames(t, await startSendmail(t), '@')
    })
    test('20 names are accepted over TLS, when Sendmail refuses a group of commands', async (t) => {
      const file = writeChain('mx')
      chmodSync(file, 0o600)
      // Sendmail refuses files in folders that others may write, such as /tmp.
      copyFileSync(fixturePath('ca.pem'), '/etc/mail/ca.pem')
      const server = await startSendmail(
        t,
        `O CACertPath=/etc/mail\nO CACertFile=/etc/mail/ca.pem\nO ServerCertFile=${file}\nO ServerKeyFile=${file}\n`,
      )
      const { tls } = await checkManyNames(t, server, '', ['--tls-ca', fixturePath('ca.pem')])
      assert.equal(tls?.verified, true)
    })
    test('of 20 unknown queue groups 7 are requested, and all with -k, never more than 7 in a session', async (t) => {
      const { namesBySession } = await startSendmail(t)
      const queues = NAMES.map((name) => `#${name}`)
      const run = await spawnEtrn(['127.0.0.1', ...queues])
      assert.equal(run.status, 77)
      assert.match(
        run.stdout,
        /^(#n\d\.site\.example: refused .*\n){7}not requested: 13 names \(#n7\.site\.example, .*\n$/,
      )
      assert.deepEqual(namesBySession(), [queues.slice(0, 7)])
      const { status, document } = await etrnJson(['127.0.0.1', '-k', ...queues], {}, spawnEtrn)
      assert.equal(status, 77)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, code }) => [name, outcome, code]),
        queues.map((name) => [name, 'refused', 459]),
      )
      assert.deepEqual(namesBySession().slice(1).flat().sort(), [...queues].sort())
      assert.ok(namesBySession().every(({ length }) => length <= 7))
    })
  })

  suite('Sendmail that refuses ETRN', { timeout: 300_000 }, () => {
    for (const [reason, option] of [
      ['PrivacyOptions noetrn', 'O PrivacyOptions=noetrn\n'],
      ['submission port', 'O DaemonPortOptions=Family=inet, Port=587, Addr=127.0.0.1, M=EA\n'],
    ] as const) {
      test(`nothing is sent if ETRN is off (${reason}), and --assume-etrn gets 502`, async (t) => {
        const { hold, waitingRecipients, namesBySession } = await startSendmail(t, option)
        await hold('a@site.example')
        const { server: site } = await startSiteServer(t)
        const port = ['--port', option.includes('587') ? '587' : '25']
        const run = await spawnEtrn([...port, '127.0.0.1', 'site.example'])
        assert.deepEqual([run.status, run.stdout], [69, ''])
        assert.match(run.stderr, /--assume-etrn/)
        assert.deepEqual(namesBySession(), [])
        for (const word of ['site.example', '@site.example', '#ships']) {
          const assumed = await spawnEtrn([...port, '127.0.0.1', '--assume-etrn', word])
          assert.equal(assumed.status, 69)
          assert.equal(
            assumed.stdout,
            `${word}: ETRN not supported (502 5.7.0 Sorry, we do not allow this operation)\n`,
          )
          assert.match(assumed.stderr, /^hint: .*Sendmail: ETRN is off \(PrivacyOptions noetrn\), .*\n$/)
        }
        assert.deepEqual([waitingRecipients(), site.connections], [['a@site.example'], 0])
      })
    }
    test('a name that check_etrn refuses with 459 does not keep the next one from being requested', async (t) => {
      const { hold, waitingRecipients, waitForDelivery, namesBySession } = await startSendmail(
        t,
        checkEtrnRules('459 4.7.1'),
      )
      await hold(...HELD)
      const { nextMessage } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'ship.site.example', 'site.example', '@site.example'])
      assert.equal(run.status, 77)
      assert.deepEqual(run.stdout.split('\n').slice(0, -1), [
        'ship.site.example: refused (459 4.7.1 not your queue)',
        acceptedNode('site.example'),
        '@site.example: refused (459 4.7.1 not your queue)',
      ])
      assert.match(
        run.stderr,
        /^hint: ship\.site\.example: ask your provider to allow requests for this name from your public IP address\nhint: @site\.example: .* by its plain name\n$/,
      )
      assert.equal((await nextMessage()).to, 'a@site.example')
      await waitForDelivery({ moved: ['a@site.example'] })
      assert.deepEqual(waitingRecipients(), HELD.slice(1))
      assert.equal(namesBySession().length, 1)
    })
    test('the run stops after check_etrn replies 550', async (t) => {
      const { namesBySession } = await startSendmail(t, checkEtrnRules('550 5.7.1'))
      const run = await spawnEtrn(['127.0.0.1', 'ship.site.example', 'site.example'])
      assert.equal(run.status, 77)
      assert.equal(run.stdout, 'ship.site.example: refused (550 5.7.1 not your queue)\nnot requested: site.example\n')
      assert.match(
        run.stderr,
        /^hint: ship\.site\.example: ask your provider to allow requests for this name from your public IP address, .*\nhint: stopped after /,
      )
      assert.deepEqual(namesBySession(), [['ship.site.example']])
    })
  })
}
