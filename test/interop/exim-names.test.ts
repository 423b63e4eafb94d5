import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { BY_TABLE, exim, install } from './exim.js'
import { entering, fixture, hesitant, online, until } from './mta.js'
import { ASKED, asksFor, asksForAll, type Form, HELD, NAMES } from './queue.js'

const NOTHING_BUT_QUEUES = { status: 65, hint: /takes '#' only: try --queue/ }
const SYNTAX = 'the server takes no such name (501 argument must begin with #)'

/** With acl_smtp_etrn alone: what follows # is any part of a recipient's address. */
const BY_ACL: readonly Form[] = [
  { word: 'site.example', line: `site.example: ${SYNTAX}`, ...NOTHING_BUT_QUEUES },
  { word: 'site.example.', line: `site.example: ${SYNTAX}`, ...NOTHING_BUT_QUEUES },
  { word: '@site.example', line: `@site.example: ${SYNTAX}`, ...NOTHING_BUT_QUEUES },
  { word: 'bücher.site.example', line: `xn--bcher-kva.site.example: ${SYNTAX}`, ...NOTHING_BUT_QUEUES },
  { word: '#site.example', line: `#site.example: ${ASKED} (250 OK)`, moved: HELD },
  { word: '#@site.example', line: `#@site.example: ${ASKED} (250 OK)`, moved: ['a@site.example'] },
  { word: '#ship', line: `#ship: ${ASKED} (250 OK)`, moved: ['c@ship.site.example'] },
  { word: '#nobody', line: `#nobody: ${ASKED} (250 OK)` },
]

/** With smtp_etrn_command as well: what its table says. */
const BY_COMMAND: readonly Form[] = [
  { word: 'site.example', line: `site.example: ${ASKED} (250 OK)`, moved: ['a@site.example'] },
  { word: 'site.example.', line: `site.example: ${ASKED} (250 OK)`, moved: ['a@site.example'] },
  { word: '@site.example', line: `@site.example: ${ASKED} (250 OK)`, moved: HELD },
  {
    word: 'bücher.site.example',
    line: `xn--bcher-kva.site.example: ${ASKED} (250 OK)`,
    moved: ['d@xn--bcher-kva.site.example'],
  },
  { word: '#ships', line: `#ships: ${ASKED} (250 OK)`, moved: ['c@ship.site.example'] },
  { word: 'other.example', line: `other.example: ${ASKED} (250 OK)` },
]

const TLS_FIRST = `accept encrypted = *
  deny message = Must issue a STARTTLS command first`

const HANGS_UP = `drop condition = \${if eq{$smtp_command_argument}{other.example}}
  accept`

const OTHERS = 'defer message = 459 4.7.1 not your queue'

if (isInside(import.meta.url, entering('exim'))) {
  install()

  suite('Exim with acl_smtp_etrn alone', { timeout: 300_000 }, () => {
    for (const form of BY_ACL) {
      test(form.word, async (t) => asksFor(t, await exim(t, { messages: 1 }), form))
    }
    test('what else waits for the site goes over the connection that works', async (t) => {
      await asksFor(t, await exim(t), { word: '#ship', line: `#ship: ${ASKED} (250 OK)`, moved: HELD })
    })
    test('-k: 20 names of the wrong form, though the 4th of a session would end it', async (t) => {
      const { sessions } = await exim(t)
      const { status, document } = await etrnJson(['127.0.0.1', '-k', ...NAMES], {}, spawnEtrn)
      assert.equal(status, 65)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, code }) => [name, outcome, code]),
        NAMES.map((name) => [name, 'rejected', 501]),
      )
      assert.deepEqual(sessions().flat().sort(), [...NAMES].sort())
    })
    test('without -k the first of them ends it', async (t) => {
      const { sessions } = await exim(t)
      const run = await spawnEtrn(['127.0.0.1', ...NAMES])
      assert.equal(run.status, 65)
      assert.match(run.stdout, /^n0\.site\.example: the server takes .*\nnot asked: 19 names \(n1\.site\.example, /)
      assert.deepEqual(sessions(), [['n0.site.example']])
    })
  })

  suite('Exim with smtp_etrn_command', { timeout: 300_000 }, () => {
    for (const form of BY_COMMAND) {
      test(form.word, async (t) => asksFor(t, await exim(t, { main: BY_TABLE, messages: 1 }), form))
    }
    test('20 names, though Exim closes at the 11th', async (t) => {
      await asksForAll(t, await exim(t, { main: BY_TABLE }))
    })
    test('20 queues, which need no command', async (t) => {
      await asksForAll(t, await exim(t), '#')
    })
    test('20 names over TLS, where Exim would say 554 in clear to the 11th', async (t) => {
      const { tls } = await asksForAll(t, await exim(t, { main: BY_TABLE }), '', ['--tls-ca', fixture('ca.pem')])
      assert.equal(tls?.verified, true)
    })
    test('20 names without PIPECONNECT, where a group of commands is 554 and the end', async (t) => {
      const server = await exim(t, { main: `${BY_TABLE}\npipelining_connect_advertise_hosts =` })
      const { extensions } = await asksForAll(t, server)
      assert.ok(extensions?.includes('PIPELINING') && !extensions.includes('PIPECONNECT'))
      assert.doesNotMatch(server.log(), /synchronization/)
    })
    test('a command with the bare name, which is tainted', async (t) => {
      await asksFor(t, await exim(t, { main: 'smtp_etrn_command = /usr/sbin/exim4 -R $domain' }), {
        word: 'site.example',
        line: 'site.example: not now (458 Internal failure)',
        status: 75,
        hint: /smtp_etrn_command fails; since Exim 4\.94 it needs a lookup/,
      })
    })
  })

  suite('Exim that refuses', { timeout: 300_000 }, () => {
    test('no acl_smtp_etrn: ETRN is off', async (t) => {
      const { hold, waiting, sessions } = await exim(t, { etrn: '' })
      await hold('a@site.example')
      const { site } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(
        run.stderr,
        /^127\.0\.0\.1: ETRN: the server doesn't offer it; .*\n {2}Exim's .* acl_smtp_etrn is set/,
      )
      assert.deepEqual(sessions(), [])
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example', '@site.example', '#site.example'])
      assert.equal(assumed.status, 75)
      assert.match(assumed.stdout, /^(\S+: not now \(458 Administrative prohibition\)\n){3}$/)
      assert.match(assumed.stderr, /^ {2}in Exim this is no "later": acl_smtp_etrn refuses .*\n$/)
      assert.deepEqual([waiting(), site.connections], [['a@site.example'], 0])
    })
    test('TLS wanted', async (t) => {
      await asksFor(t, await exim(t, { etrn: TLS_FIRST }), {
        word: '#site.example',
        line: `#site.example: ${ASKED} (250 OK)`,
        moved: HELD,
      })
      const run = await spawnEtrn(['127.0.0.1', '--tls', 'none', '#site.example'])
      assert.equal(run.stdout, '#site.example: not now (458 Must issue a STARTTLS command first)\n')
      assert.match(run.stderr, /^ {2}the provider wants TLS before ETRN: --tls encrypt, .*\n$/)
      assert.equal(run.status, 75)
    })
    test('an ACL that hangs up on one name: the others are asked for all the same', async (t) => {
      const { hold, sessions } = await exim(t, { main: BY_TABLE, etrn: HANGS_UP })
      await hold('a@site.example')
      const { arrival } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'n0.site.example', 'other.example', 'site.example'])
      assert.equal(run.status, 75)
      assert.equal(
        run.stdout,
        `n0.site.example: ${ASKED} (250 OK)\nother.example: not now (458 Administrative prohibition)\nsite.example: ${ASKED} (250 OK)\n`,
      )
      assert.deepEqual(sessions(), [['n0.site.example', 'other.example'], ['site.example']])
      assert.equal((await arrival()).to, 'a@site.example')
    })
    test("an ACL's own code for a name of somebody else", async (t) => {
      await asksFor(t, await exim(t, { main: BY_TABLE, etrn: OTHERS }), {
        word: 'other.example',
        line: 'other.example: refused (459 4.7.1 not your queue)',
        status: 77,
        hint: /the provider has to allow this name for your address/,
      })
    })
  })

  suite('Exim with smtp_etrn_serialize, its default', { timeout: 300_000 }, () => {
    for (const [name, settings, lock] of [
      ['#site.example', {}, 'site.example'],
      ['site.example', { main: BY_TABLE }, 'site.example'],
    ] as const) {
      test(`${name}: asked again while it is under way`, async (t) => {
        const { hold, waiting } = await exim(t, { ...settings, serialize: true })
        await hold('a@site.example')
        const { visited, greet, arrival } = await hesitant(t)
        const ask = async (): Promise<string> => {
          const run = await spawnEtrn(['127.0.0.1', name])
          assert.deepEqual([run.status, run.stderr], [0, ''])
          return run.stdout
        }
        assert.equal(await ask(), `${name}: ${ASKED} (250 OK)\n`)
        await visited()
        const busy = `${name}: asked before; it is under way (458 Already processing ${lock})\n`
        assert.deepEqual([await ask(), await ask()], [busy, busy])
        const { document } = await etrnJson(['127.0.0.1', name, `${name}.example`], {}, spawnEtrn)
        assert.deepEqual(
          document.servers[0]?.names.map(({ outcome, code }) => [outcome, code]),
          [
            ['started', 458],
            ['started', 250],
          ],
        )
        assert.deepEqual(waiting(), ['a@site.example'])
        greet()
        assert.equal((await arrival()).to, 'a@site.example')
        await until(async () => (await ask()) === `${name}: ${ASKED} (250 OK)\n`)
        assert.deepEqual(waiting(), [])
      })
    }
    test('--wait, while it is under way: it can not tell', async (t) => {
      const { hold } = await exim(t, { serialize: true })
      await hold('a@site.example')
      const { visited, greet, arrival } = await hesitant(t)
      const run = spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', '#site.example'])
      await visited()
      const { status, stdout, stderr } = await run
      assert.equal(status, 2)
      assert.equal(stdout, '#site.example: asked before; it is under way (458 Already processing site.example)\n')
      assert.match(stderr, /can't tell whether anything is left\n$/)
      greet()
      assert.equal((await arrival()).to, 'a@site.example')
    })
  })
}
