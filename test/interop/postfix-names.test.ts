import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { entering, online } from './mta.js'
import { install, log, MASTER, postfix } from './postfix.js'
import { ASKED, asksFor, asksForAll, type Form, HELD, NAMES } from './queue.js'

const STARTED = `${ASKED} (250 Queuing started)`
const DROPPED = /Postfix drops @ and #: no subdomain and no queue is asked for/
const NOT_SERVED = /Postfix: ask the provider to put the domain into relay_domains or fast_flush_domains/

const FORMS: readonly Form[] = [
  { word: 'site.example', line: `site.example: ${STARTED}`, moved: ['a@site.example'] },
  // Postfix itself would say 501 to the dot.
  { word: 'site.example.', line: `site.example: ${STARTED}`, moved: ['a@site.example'] },
  { word: 'SITE.example', line: `SITE.example: ${STARTED}`, moved: ['a@site.example'] },
  { word: 'sub.site.example', line: `sub.site.example: ${STARTED}`, moved: ['b@sub.site.example'] },
  { word: '@site.example', line: `@site.example: ${STARTED}`, hint: DROPPED, moved: ['a@site.example'] },
  { word: '#site.example', line: `#site.example: ${STARTED}`, hint: DROPPED, moved: ['a@site.example'] },
  {
    word: 'bücher.site.example',
    line: `xn--bcher-kva.site.example: ${STARTED}`,
    moved: ['d@xn--bcher-kva.site.example'],
  },
  { word: '#ships', line: '#ships: refused (459 <ships>: service unavailable)', status: 77, hint: /Postfix/ },
  {
    word: '@other.example',
    line: '@other.example: refused (459 <other.example>: service unavailable)',
    status: 77,
    hint: NOT_SERVED,
  },
]

const DENIED = 'Etrn command rejected: Access denied'
const NO_FLUSH = /Postfix has no flush service there, or postscreen answers: .* postscreen_access_list/

const POSTSCREEN = `smtp inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy`

const DEEP_TESTS = `postscreen_access_list =
postscreen_greet_wait = 1s
postscreen_pipelining_enable = yes
postscreen_pipelining_action = enforce
`

/** For all but those who bring the mail */
const ONE_AT_A_TIME = `smtpd_client_connection_count_limit = 1
smtpd_client_event_limit_exceptions = 127.0.0.1
`

/** Names that it doesn't serve */
const OTHERS = NAMES.map((name) => name.replace('.site.', '.other.'))

if (isInside(import.meta.url, entering('postfix'))) {
  install()

  suite('Postfix: forms of a name', { timeout: 300_000 }, () => {
    for (const form of FORMS) test(form.word, async (t) => asksFor(t, await postfix(t), form))

    test('a domain that is not served holds up no other', async (t) => {
      const { hold } = await postfix(t)
      await hold('a@site.example')
      const { arrival } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'other.example', 'site.example'])
      assert.equal(run.status, 77)
      assert.equal(
        run.stdout,
        `other.example: refused (459 <other.example>: service unavailable)\nsite.example: ${STARTED}\n`,
      )
      assert.match(run.stderr, /^ {2}Postfix: .*fast_flush_domains\n$/)
      assert.equal((await arrival()).to, 'a@site.example')
    })
  })

  suite('Postfix: many names', { timeout: 300_000 }, () => {
    test('20 names', async (t) => {
      await asksForAll(t, await postfix(t))
    })
    test('20 names, where it lets one connection in at a time', async (t) => {
      await asksForAll(t, await postfix(t, ONE_AT_A_TIME), '', ['--interface', '127.0.0.3'])
      assert.match(log(), /limit exceeded: \d from unknown\[127\.0\.0\.3\]/)
    })
    test('20 names that it does not serve: it is asked for 7', async (t) => {
      const { idle, sessions } = await postfix(t)
      const run = await spawnEtrn(['127.0.0.1', ...OTHERS])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /^(n\d\.other\.example: refused .*\n){7}not asked: 13 names \(n7\.other\.example, .*\n$/)
      await idle()
      assert.deepEqual(sessions(), [OTHERS.slice(0, 7)])
    })
    test('-k: it is asked for all, though Postfix slows down from the 11th error on and ends at the 20th', async (t) => {
      const { idle, sessions } = await postfix(t)
      const { status, document } = await etrnJson(['127.0.0.1', '-k', ...OTHERS], {}, spawnEtrn)
      assert.equal(status, 77)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, code }) => [name, outcome, code]),
        OTHERS.map((name) => [name, 'refused', 459]),
      )
      await idle()
      assert.deepEqual(sessions().flat().sort(), [...OTHERS].sort())
      assert.ok(sessions().every(({ length }) => length <= 7))
    })
  })

  suite('Postfix that refuses', { timeout: 300_000 }, () => {
    for (const word of ['site.example', '@site.example', '#site.example']) {
      test(`smtpd_etrn_restrictions = reject: ${word}`, async (t) => {
        await asksFor(t, await postfix(t, 'smtpd_etrn_restrictions = reject\n'), {
          word,
          line: `${word}: refused (554 5.7.1 <site.example>: ${DENIED})`,
          status: 77,
          hint: /your address is not allowed: .* smtpd_etrn_restrictions\), or for a login/,
        })
      })
    }
    test('the first 554 ends it, but for -k', async (t) => {
      const { idle, sessions } = await postfix(t, 'smtpd_etrn_restrictions = reject\n')
      const run = await spawnEtrn(['127.0.0.1', ...NAMES])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /^n0\.site\.example: refused \(554 .*\nnot asked: 19 names /)
      const all = await spawnEtrn(['127.0.0.1', '-k', ...NAMES])
      assert.equal(all.status, 77)
      assert.match(all.stdout, /^(n\d+\.site\.example: refused \(554 .*\n){20}$/)
      await idle()
      assert.deepEqual(sessions().flat().sort(), ['n0.site.example', ...NAMES].sort())
    })
    test('the keyword hidden and ETRN rejected: what switches it off', async (t) => {
      const server = await postfix(t, 'smtpd_discard_ehlo_keywords = etrn\nsmtpd_etrn_restrictions = reject\n')
      await server.hold('a@site.example')
      const { site } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(
        run.stderr,
        /^127\.0\.0\.1: ETRN: the server doesn't offer it; EHLO lists PIPELINING, .*\n {2}.*--assume-etrn/,
      )
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example'])
      assert.equal(assumed.status, 77)
      assert.match(assumed.stdout, /554 5\.7\.1 .*Access denied/)
      await server.idle()
      assert.deepEqual(server.sessions(), [['site.example']])
      assert.deepEqual([server.waiting(), site.connections], [['a@site.example'], 0])
    })
    test('only the keyword hidden: nothing is sent, and --assume-etrn moves the mail', async (t) => {
      const server = await postfix(t, 'smtpd_discard_ehlo_keywords = etrn\n')
      await server.hold(...HELD)
      const { arrivals } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(run.stderr, /^127\.0\.0\.1: ETRN: the server doesn't offer it; .*\n {2}.*--assume-etrn/)
      assert.deepEqual(server.waiting(), HELD)
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example', '@sub.site.example'])
      assert.equal(assumed.status, 0)
      assert.equal(assumed.stdout, `site.example: ${STARTED}\n@sub.site.example: ${STARTED}\n`)
      assert.match(assumed.stderr, DROPPED)
      assert.deepEqual(await arrivals(2), HELD.slice(0, 2))
      await server.settled({})
      assert.deepEqual(server.waiting(), HELD.slice(2))
    })
    test('no flush service', async (t) => {
      await asksFor(t, await postfix(t, '', MASTER.replace(/^flush .*\n/m, '')), {
        word: 'site.example',
        line: 'site.example: not now (458 Unable to queue messages)',
        status: 75,
        hint: NO_FLUSH,
      })
    })
    test('postscreen in front, with tests that come after the greeting: it answers every name itself', async (t) => {
      await postfix(t, DEEP_TESTS, MASTER.replace(/^smtp inet .*$/m, POSTSCREEN))
      const words = ['site.example', '@site.example', '#site.example', 'other.example']
      for (const time of ['first', 'second']) {
        const run = await spawnEtrn(['127.0.0.1', ...words])
        assert.equal(run.status, 75, `the ${time} time`)
        assert.equal(run.stdout, words.map((word) => `${word}: not now (458 Unable to queue messages)\n`).join(''))
        assert.match(run.stderr, NO_FLUSH)
      }
    })
  })
}
