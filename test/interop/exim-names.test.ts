import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { isInside } from '../helpers/namespace.js'
import { ETRN_COMMAND_BY_TABLE, install, startExim } from './exim.js'
import { enterCommand, startHeldSiteServer, startSiteServer, waitUntil } from './mta.js'
import {
  ACCEPTED_TEXT,
  checkManyNames,
  checkName,
  HELD,
  type NameForm,
  NAMES,
  QUEUE_UNKNOWN,
  titleOf,
} from './request-checks.js'

const TAKES_ONLY_QUEUES = { status: 65, hint: /accepts only names that start with '#': write --queue/ }
const SYNTAX_ERROR = 'rejected (501 argument must begin with #)'

/** With acl_smtp_etrn alone, Exim delivers to the recipients whose address contains the text after #. */
const FORMS_BY_ACL: readonly NameForm[] = [
  { argument: 'site.example', line: `site.example: ${SYNTAX_ERROR}`, ...TAKES_ONLY_QUEUES },
  { argument: 'site.example.', line: `site.example: ${SYNTAX_ERROR}`, ...TAKES_ONLY_QUEUES },
  { argument: '@site.example', line: `@site.example: ${SYNTAX_ERROR}`, ...TAKES_ONLY_QUEUES },
  { argument: 'bücher.site.example', line: `xn--bcher-kva.site.example: ${SYNTAX_ERROR}`, ...TAKES_ONLY_QUEUES },
  { argument: '#site.example', line: `#site.example: ${ACCEPTED_TEXT} (250 OK)`, moved: HELD },
  { argument: '#@site.example', line: `#@site.example: ${ACCEPTED_TEXT} (250 OK)`, moved: ['a@site.example'] },
  { argument: '#ship', line: `#ship: ${ACCEPTED_TEXT} (250 OK)`, moved: ['c@ship.site.example'] },
  { argument: '#nobody', line: `#nobody: ${ACCEPTED_TEXT} (250 OK)` },
]

/** With smtp_etrn_command, too, Exim delivers to the recipients that the table has for the name. */
const FORMS_BY_COMMAND: readonly NameForm[] = [
  { argument: 'site.example', line: `site.example: ${ACCEPTED_TEXT} (250 OK)`, moved: ['a@site.example'] },
  { argument: 'site.example.', line: `site.example: ${ACCEPTED_TEXT} (250 OK)`, moved: ['a@site.example'] },
  { argument: '@site.example', line: `@site.example: ${ACCEPTED_TEXT} (250 OK)`, moved: HELD },
  {
    argument: 'bücher.site.example',
    line: `xn--bcher-kva.site.example: ${ACCEPTED_TEXT} (250 OK)`,
    moved: ['d@xn--bcher-kva.site.example'],
  },
  { argument: '#ships', line: `#ships: ${ACCEPTED_TEXT} (250 OK)`, moved: ['c@ship.site.example'] },
  { argument: 'other.example', line: `other.example: ${ACCEPTED_TEXT} (250 OK)` },
]

const REQUIRE_TLS_ACL = `accept encrypted = *
  deny message = Must issue a STARTTLS command first`

const DROP_ACL = `drop condition = \${if eq{$smtp_command_argument}{other.example}}
  accept`

const OWN_CODE_ACL = 'defer message = 459 4.7.1 not your queue'

if (isInside(import.meta.url, enterCommand('exim'))) {
  install()

  suite('Exim with acl_smtp_etrn alone', { timeout: 300_000 }, () => {
    for (const form of FORMS_BY_ACL) {
      test(titleOf(form), async (t) => checkName(t, await startExim(t, { messages: 1 }), form))
    }
    test('a request for #ship moves all mail for the site if Exim may send several messages over one connection', async (t) => {
      await checkName(t, await startExim(t), {
        argument: '#ship',
        line: `#ship: ${ACCEPTED_TEXT} (250 OK)`,
        moved: HELD,
      })
    })
    test('with -k, 20 names of the wrong form are all rejected, although Exim closes at the 4th in a session', async (t) => {
      const { namesBySession } = await startExim(t)
      const { status, document } = await etrnJson(['127.0.0.1', '-k', ...NAMES], {}, spawnEtrn)
      assert.equal(status, 65)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, code }) => [name, outcome, code]),
        NAMES.map((name) => [name, 'rejected', 501]),
      )
      assert.deepEqual(namesBySession().flat().sort(), [...NAMES].sort())
    })
    test('without -k, the run stops after the first rejected name', async (t) => {
      const { namesBySession } = await startExim(t)
      const run = await spawnEtrn(['127.0.0.1', ...NAMES])
      assert.equal(run.status, 65)
      assert.match(run.stdout, /^n0\.site\.example: rejected .*\nnot requested: 19 names \(n1\.site\.example, /)
      assert.deepEqual(namesBySession(), [['n0.site.example']])
    })
  })

  suite('Exim with smtp_etrn_command', { timeout: 300_000 }, () => {
    for (const form of FORMS_BY_COMMAND) {
      test(titleOf(form), async (t) =>
        checkName(t, await startExim(t, { main: ETRN_COMMAND_BY_TABLE, messages: 1 }), form),
      )
    }
    test('20 names are accepted, although Exim closes at the 11th in a session', async (t) => {
      await checkManyNames(t, await startExim(t, { main: ETRN_COMMAND_BY_TABLE }))
    })
    test('20 queue names are accepted without smtp_etrn_command', async (t) => {
      await checkManyNames(t, await startExim(t), '#')
    })
    test('20 names are accepted over TLS, although Exim sends an unencrypted 554 to the 11th in a session', async (t) => {
      const { tls } = await checkManyNames(t, await startExim(t, { main: ETRN_COMMAND_BY_TABLE }), '', [
        '--tls-ca',
        fixturePath('ca.pem'),
      ])
      assert.equal(tls?.verified, true)
    })
    test('20 names are accepted without PIPECONNECT, when Exim replies 554 to a group of commands and closes', async (t) => {
      const server = await startExim(t, { main: `${ETRN_COMMAND_BY_TABLE}\npipelining_connect_advertise_hosts =` })
      const { extensions } = await checkManyNames(t, server)
      assert.ok(extensions?.includes('PIPELINING') && !extensions.includes('PIPECONNECT'))
      assert.doesNotMatch(server.readLog(), /synchronization/)
    })
    test('a name is deferred with a hint if smtp_etrn_command contains the tainted name', async (t) => {
      await checkName(t, await startExim(t, { main: 'smtp_etrn_command = /usr/sbin/exim4 -R $domain' }), {
        argument: 'site.example',
        line: 'site.example: deferred (458 Internal failure)',
        status: 75,
        hint: /smtp_etrn_command fails on the server \(since 4\.94 it needs a lookup/,
      })
    })
  })

  suite('Exim that refuses or defers ETRN', { timeout: 300_000 }, () => {
    test('without acl_smtp_etrn nothing is sent, and with --assume-etrn every name is refused', async (t) => {
      const { hold, waitingRecipients, namesBySession } = await startExim(t, { etrn: '' })
      await hold('a@site.example')
      const { server: site } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(run.stderr, /^etrn: 127\.0\.0\.1: ETRN not offered .*\nhint: .*acl_smtp_etrn/)
      assert.deepEqual(namesBySession(), [])
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example', '@site.example', '#site.example'])
      assert.equal(assumed.status, 77)
      assert.match(assumed.stdout, /^(\S+: refused \(458 Administrative prohibition\)\n){3}$/)
      assert.match(
        assumed.stderr,
        /^hint: site\.example: the server's policy .* \(Exim: acl_smtp_etrn\); .*\nhint: 2 names .*acl_smtp_etrn.* plain name\n$/,
      )
      assert.deepEqual([waitingRecipients(), site.connections], [['a@site.example'], 0])
    })
    test('an ACL that requires TLS accepts a name over STARTTLS, and refuses it with --tls none', async (t) => {
      await checkName(t, await startExim(t, { etrn: REQUIRE_TLS_ACL }), {
        argument: '#site.example',
        line: `#site.example: ${ACCEPTED_TEXT} (250 OK)`,
        moved: HELD,
      })
      const run = await spawnEtrn(['127.0.0.1', '--tls', 'none', '#site.example'])
      assert.equal(run.stdout, '#site.example: refused (458 Must issue a STARTTLS command first)\n')
      assert.match(run.stderr, /^hint: .*the server requires TLS before ETRN: --tls encrypt\n$/)
      assert.equal(run.status, 77)
    })
    test('the other names are requested if an ACL drops the connection at one name', async (t) => {
      const { hold, namesBySession } = await startExim(t, { main: ETRN_COMMAND_BY_TABLE, etrn: DROP_ACL })
      await hold('a@site.example')
      const { nextMessage } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'n0.site.example', 'other.example', 'site.example'])
      assert.equal(run.status, 77)
      assert.equal(
        run.stdout,
        `n0.site.example: ${ACCEPTED_TEXT} (250 OK)\nother.example: refused (458 Administrative prohibition)\nsite.example: ${ACCEPTED_TEXT} (250 OK)\n`,
      )
      assert.deepEqual(namesBySession(), [['n0.site.example', 'other.example'], ['site.example']])
      assert.equal((await nextMessage()).to, 'a@site.example')
    })
    test('a name is refused if an ACL replies with its own 459', async (t) => {
      await checkName(t, await startExim(t, { main: ETRN_COMMAND_BY_TABLE, etrn: OWN_CODE_ACL }), {
        argument: 'other.example',
        line: 'other.example: refused (459 4.7.1 not your queue)',
        status: 77,
        hint: /ask your provider to allow requests for this name from your public IP address/,
      })
    })
  })

  suite('Exim with smtp_etrn_serialize', { timeout: 300_000 }, () => {
    for (const [name, settings, lock] of [
      ['#site.example', {}, 'site.example'],
      ['site.example', { main: ETRN_COMMAND_BY_TABLE }, 'site.example'],
    ] as const) {
      test(`a repeated request for ${name} is accepted while the delivery is in progress`, async (t) => {
        const { hold, waitingRecipients } = await startExim(t, { ...settings, serialize: true })
        await hold('a@site.example')
        const { waitForConnection, release, nextMessage } = await startHeldSiteServer(t)
        const request = async (): Promise<string> => {
          const run = await spawnEtrn(['127.0.0.1', name])
          assert.deepEqual([run.status, run.stderr], [0, ''])
          return run.stdout
        }
        assert.equal(await request(), `${name}: ${ACCEPTED_TEXT} (250 OK)\n`)
        await waitForConnection()
        const busy = `${name}: accepted, already in progress (458 Already processing ${lock})\n`
        assert.deepEqual([await request(), await request()], [busy, busy])
        const { document } = await etrnJson(['127.0.0.1', name, `${name}.example`], {}, spawnEtrn)
        assert.deepEqual(
          document.servers[0]?.names.map(({ outcome, code }) => [outcome, code]),
          [
            ['started', 458],
            ['started', 250],
          ],
        )
        assert.deepEqual(waitingRecipients(), ['a@site.example'])
        release()
        assert.equal((await nextMessage()).to, 'a@site.example')
        await waitUntil(async () => (await request()) === `${name}: ${ACCEPTED_TEXT} (250 OK)\n`)
        assert.deepEqual(waitingRecipients(), [])
      })
    }
    test('--wait ends with exit status 2 while the delivery is in progress, because Exim reports no counts', async (t) => {
      const { hold } = await startExim(t, { serialize: true })
      await hold('a@site.example')
      const { waitForConnection, release, nextMessage } = await startHeldSiteServer(t)
      const run = spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', '#site.example'])
      await waitForConnection()
      const { status, stdout, stderr } = await run
      assert.equal(status, 2)
      assert.equal(stdout, '#site.example: accepted, already in progress (458 Already processing site.example)\n')
      assert.match(stderr, QUEUE_UNKNOWN)
      release()
      assert.equal((await nextMessage()).to, 'a@site.example')
    })
  })
}
