import assert from 'node:assert/strict'
import { chmodSync, copyFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { chain, entering, fixture, online } from './mta.js'
import { ASKED, asksFor, asksForAll, type Form, HELD, NAMES } from './queue.js'
import { install, sendmail } from './sendmail.js'

const node = (name: string): string => `${name}: ${ASKED} (250 2.0.0 Queuing for node ${name} started)`
const group = (name: string): string => `#${name}: ${ASKED} (250 2.0.0 Queuing for queue group ${name} started)`
const NO_GROUP = { status: 77, hint: /Sendmail has no queue group of that name; ask for the domain itself/ }

const FORMS: readonly Form[] = [
  { word: 'site.example', line: node('site.example'), moved: ['a@site.example'] },
  // Sendmail itself would take the dot, and move nothing.
  { word: 'site.example.', line: node('site.example'), moved: ['a@site.example'] },
  { word: 'SITE.example', line: node('SITE.example'), moved: ['a@site.example'] },
  { word: '@site.example', line: node('@site.example'), moved: HELD },
  { word: '@sub.site.example', line: node('@sub.site.example'), moved: ['b@sub.site.example'] },
  { word: 'bücher.site.example', line: node('xn--bcher-kva.site.example'), moved: ['d@xn--bcher-kva.site.example'] },
  { word: '#ships', line: group('ships'), moved: ['c@ship.site.example'] },
  { word: '#SHIPS', line: group('SHIPS'), moved: ['c@ship.site.example'] },
  { word: '#mqueue', line: group('mqueue'), moved: HELD.filter((to) => to !== 'c@ship.site.example') },
  { word: '#boats', line: '#boats: refused (459 4.5.4 Queue boats unknown)', ...NO_GROUP },
  { word: '#site.example', line: '#site.example: refused (459 4.5.4 Queue site.example unknown)', ...NO_GROUP },
]

/** Only site.example is asked for. */
const checked = (code: string): string => `Scheck_etrn
Rsite.example\t$@ ok
R$*\t$#error $@ ${code.replace(/^\d+ /, '')} $: "${code} not your queue"
`

if (isInside(import.meta.url, entering('sendmail'))) {
  install()

  suite('Sendmail: forms of a name', { timeout: 300_000 }, () => {
    for (const form of FORMS) test(form.word, async (t) => asksFor(t, await sendmail(t), form))
  })

  suite('Sendmail: many names', { timeout: 300_000 }, () => {
    test('20 names, 7 a session at most, since Sendmail delays the 8th', async (t) => {
      await asksForAll(t, await sendmail(t))
    })
    test('20 names with @', async (t) => {
      await asksForAll(t, await sendmail(t), '@')
    })
    test('20 names over TLS, which a group of commands would break', async (t) => {
      const file = chain('mx')
      chmodSync(file, 0o600)
      // Sendmail takes none of a folder that others may write, as /tmp is.
      copyFileSync(fixture('ca.pem'), '/etc/mail/ca.pem')
      const server = await sendmail(
        t,
        `O CACertPath=/etc/mail\nO CACertFile=/etc/mail/ca.pem\nO ServerCertFile=${file}\nO ServerKeyFile=${file}\n`,
      )
      const { tls } = await asksForAll(t, server, '', ['--tls-ca', fixture('ca.pem')])
      assert.equal(tls?.verified, true)
    })
    test('20 queue groups that it does not have: it is asked for 7, with -k for all, and never for an 8th', async (t) => {
      const { sessions } = await sendmail(t)
      const queues = NAMES.map((name) => `#${name}`)
      const run = await spawnEtrn(['127.0.0.1', ...queues])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /^(#n\d\.site\.example: refused .*\n){7}not asked: 13 names \(#n7\.site\.example, .*\n$/)
      assert.deepEqual(sessions(), [queues.slice(0, 7)])
      const { status, document } = await etrnJson(['127.0.0.1', '-k', ...queues], {}, spawnEtrn)
      assert.equal(status, 77)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, code }) => [name, outcome, code]),
        queues.map((name) => [name, 'refused', 459]),
      )
      assert.deepEqual(sessions().slice(1).flat().sort(), [...queues].sort())
      assert.ok(sessions().every(({ length }) => length <= 7))
    })
  })

  suite('Sendmail that refuses', { timeout: 300_000 }, () => {
    for (const [how, option] of [
      ['PrivacyOptions noetrn', 'O PrivacyOptions=noetrn\n'],
      ['a submission port', 'O DaemonPortOptions=Family=inet, Port=587, Addr=127.0.0.1, M=EA\n'],
    ] as const) {
      test(`${how}: ETRN is off`, async (t) => {
        const { hold, waiting, sessions } = await sendmail(t, option)
        await hold('a@site.example')
        const { site } = await online(t)
        const port = ['--port', option.includes('587') ? '587' : '25']
        const run = await spawnEtrn([...port, '127.0.0.1', 'site.example'])
        assert.deepEqual([run.status, run.stdout], [69, ''])
        assert.match(run.stderr, /--assume-etrn/)
        assert.deepEqual(sessions(), [])
        for (const word of ['site.example', '@site.example', '#ships']) {
          const assumed = await spawnEtrn([...port, '127.0.0.1', '--assume-etrn', word])
          assert.equal(assumed.status, 69)
          assert.equal(
            assumed.stdout,
            `${word}: ETRN is not supported (502 5.7.0 Sorry, we do not allow this operation)\n`,
          )
          assert.match(assumed.stderr, /^ {2}Sendmail: ETRN is off \(PrivacyOptions noetrn\), .*\n$/)
        }
        assert.deepEqual([waiting(), site.connections], [['a@site.example'], 0])
      })
    }
    test('check_etrn: 459 for the names of others, which hold up none', async (t) => {
      const { hold, waiting, settled, sessions } = await sendmail(t, checked('459 4.7.1'))
      await hold(...HELD)
      const { arrival } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'ship.site.example', 'site.example', '@site.example'])
      assert.equal(run.status, 77)
      assert.deepEqual(run.stdout.split('\n').slice(0, -1), [
        'ship.site.example: refused (459 4.7.1 not your queue)',
        node('site.example'),
        '@site.example: refused (459 4.7.1 not your queue)',
      ])
      assert.match(run.stderr, /^ {2}the provider has to allow this name for your address\n$/)
      assert.equal((await arrival()).to, 'a@site.example')
      await settled({ moved: ['a@site.example'] })
      assert.deepEqual(waiting(), HELD.slice(1))
      assert.equal(sessions().length, 1)
    })
    test('check_etrn: 550, which ends it', async (t) => {
      const { sessions } = await sendmail(t, checked('550 5.7.1'))
      const run = await spawnEtrn(['127.0.0.1', 'ship.site.example', 'site.example'])
      assert.equal(run.status, 77)
      assert.equal(run.stdout, 'ship.site.example: refused (550 5.7.1 not your queue)\nnot asked: site.example\n')
      assert.match(run.stderr, /^ {2}your address is not allowed: /)
      assert.deepEqual(sessions(), [['ship.site.example']])
    })
  })
}
