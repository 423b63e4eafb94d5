import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { enterCommand, startSiteServer } from './mta.js'
import { install, MASTER_CF, readLog, startPostfix } from './postfix.js'
import { ACCEPTED_TEXT, checkManyNames, checkName, HELD, type NameForm, NAMES, titleOf } from './request-checks.js'

const STARTED_TEXT = `${ACCEPTED_TEXT} (250 Queuing started)`
const PREFIX_HINT = /Postfix ignores '@' and '#', so a request is for the plain domain alone/
const NOT_SERVED_HINT = /ask your provider to add the domain to fast_flush_domains or relay_domains \(Postfix\)/

const FORMS: readonly NameForm[] = [
  { argument: 'site.example', line: `site.example: ${STARTED_TEXT}`, moved: ['a@site.example'] },
  // Postfix replies 501 to a name with the dot; the client removes it.
  { argument: 'site.example.', line: `site.example: ${STARTED_TEXT}`, moved: ['a@site.example'] },
  { argument: 'SITE.example', line: `SITE.example: ${STARTED_TEXT}`, moved: ['a@site.example'] },
  { argument: 'sub.site.example', line: `sub.site.example: ${STARTED_TEXT}`, moved: ['b@sub.site.example'] },
  { argument: '@site.example', line: `@site.example: ${STARTED_TEXT}`, hint: PREFIX_HINT, moved: ['a@site.example'] },
  { argument: '#site.example', line: `#site.example: ${STARTED_TEXT}`, hint: PREFIX_HINT, moved: ['a@site.example'] },
  {
    argument: 'bücher.site.example',
    line: `xn--bcher-kva.site.example: ${STARTED_TEXT}`,
    moved: ['d@xn--bcher-kva.site.example'],
  },
  { argument: '#ships', line: '#ships: refused (459 <ships>: service unavailable)', status: 77, hint: /Postfix/ },
  {
    argument: '@other.example',
    line: '@other.example: refused (459 <other.example>: service unavailable)',
    status: 77,
    hint: NOT_SERVED_HINT,
  },
]

const DENIED_TEXT = 'Etrn command rejected: Access denied'
const NO_FLUSH_HINT = /show the reply to your provider .*postscreen_access_list/

const POSTSCREEN_SERVICES = `smtp inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy`

const POSTSCREEN_SETTINGS = `postscreen_access_list =
postscreen_greet_wait = 1s
postscreen_pipelining_enable = yes
postscreen_pipelining_action = enforce
`

/** Limits every client but the one at 127.0.0.1, which submits the mail. */
const ONE_CONNECTION_SETTINGS = `smtpd_client_connection_count_limit = 1
smtpd_client_event_limit_exceptions = 127.0.0.1
`

/** Names in a domain that Postfix doesn't serve */
const UNSERVED_NAMES = NAMES.map((name) => name.replace('.site.', '.other.'))

if (isInside(import.meta.url, enterCommand('postfix'))) {
  install()

  suite('Postfix: forms of a name', { timeout: 300_000 }, () => {
    for (const form of FORMS) test(titleOf(form), async (t) => checkName(t, await startPostfix(t), form))

    test('a refused domain does not keep the next one from being requested', async (t) => {
      const { hold } = await startPostfix(t)
      await hold('a@site.example')
      const { nextMessage } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'other.example', 'site.example'])
      assert.equal(run.status, 77)
      assert.equal(
        run.stdout,
        `other.example: refused (459 <other.example>: service unavailable)\nsite.example: ${STARTED_TEXT}\n`,
      )
      assert.match(run.stderr, /fast_flush_domains or relay_domains \(Postfix\)\n$/)
      assert.equal((await nextMessage()).to, 'a@site.example')
    })
  })

  suite('Postfix: many names', { timeout: 300_000 }, () => {
    test('20 names are accepted', async (t) => {
      await checkManyNames(t, await startPostfix(t))
    })
    test('20 names are accepted if Postfix allows the client one connection at a time', async (t) => {
      await checkManyNames(t, await startPostfix(t, ONE_CONNECTION_SETTINGS), '', ['--interface', '127.0.0.3'])
      assert.match(readLog(), /limit exceeded: \d from unknown\[127\.0\.0\.3\]/)
    })
    test('without -k, only 7 of 20 refused names are requested', async (t) => {
      const { waitForIdle, namesBySession } = await startPostfix(t)
      const run = await spawnEtrn(['127.0.0.1', ...UNSERVED_NAMES])
      assert.equal(run.status, 77)
      assert.match(
        run.stdout,
        /^(n\d\.other\.example: refused .*\n){7}not requested: 13 names \(n7\.other\.example, .*\n$/,
      )
      await waitForIdle()
      assert.deepEqual(namesBySession(), [UNSERVED_NAMES.slice(0, 7)])
    })
    test('with -k, all 20 refused names are requested, although Postfix delays from the 11th error and closes at the 20th', async (t) => {
      const { waitForIdle, namesBySession } = await startPostfix(t)
      const { status, document } = await etrnJson(['127.0.0.1', '-k', ...UNSERVED_NAMES], {}, spawnEtrn)
      assert.equal(status, 77)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, code }) => [name, outcome, code]),
        UNSERVED_NAMES.map((name) => [name, 'refused', 459]),
      )
      await waitForIdle()
      assert.deepEqual(namesBySession().flat().sort(), [...UNSERVED_NAMES].sort())
      assert.ok(namesBySession().every(({ length }) => length <= 7))
    })
  })

  suite('Postfix that refuses or defers ETRN', { timeout: 300_000 }, () => {
    for (const argument of ['site.example', '@site.example', '#site.example']) {
      test(`smtpd_etrn_restrictions = reject refuses ${argument}`, async (t) => {
        await checkName(t, await startPostfix(t, 'smtpd_etrn_restrictions = reject\n'), {
          argument,
          line: `${argument}: refused (554 5.7.1 <site.example>: ${DENIED_TEXT})`,
          status: 77,
          hint: /does not accept requests from your public IP address; .* smtpd_etrn_restrictions .* give you a login/,
        })
      })
    }
    test('the run stops after the first 554, and goes on with -k', async (t) => {
      const { waitForIdle, namesBySession } = await startPostfix(t, 'smtpd_etrn_restrictions = reject\n')
      const run = await spawnEtrn(['127.0.0.1', ...NAMES])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /^n0\.site\.example: refused \(554 .*\nnot requested: 19 names /)
      const all = await spawnEtrn(['127.0.0.1', '-k', ...NAMES])
      assert.equal(all.status, 77)
      assert.match(all.stdout, /^(n\d+\.site\.example: refused \(554 .*\n){20}$/)
      await waitForIdle()
      assert.deepEqual(namesBySession().flat().sort(), ['n0.site.example', ...NAMES].sort())
    })
    test('ETRN that is hidden and rejected is not sent, and refused with --assume-etrn', async (t) => {
      const server = await startPostfix(t, 'smtpd_discard_ehlo_keywords = etrn\nsmtpd_etrn_restrictions = reject\n')
      await server.hold('a@site.example')
      const { server: site } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(
        run.stderr,
        /^etrn: 127\.0\.0\.1: ETRN not offered \(EHLO lists PIPELINING, .*\nhint: .*--assume-etrn/,
      )
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example'])
      assert.equal(assumed.status, 77)
      assert.match(assumed.stdout, /554 5\.7\.1 .*Access denied/)
      await server.waitForIdle()
      assert.deepEqual(server.namesBySession(), [['site.example']])
      assert.deepEqual([server.waitingRecipients(), site.connections], [['a@site.example'], 0])
    })
    test('ETRN that is only hidden is not sent, and moves the mail with --assume-etrn', async (t) => {
      const server = await startPostfix(t, 'smtpd_discard_ehlo_keywords = etrn\n')
      await server.hold(...HELD)
      const { nextRecipients } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(run.stderr, /^etrn: 127\.0\.0\.1: ETRN not offered .*\nhint: .*--assume-etrn/)
      assert.deepEqual(server.waitingRecipients(), HELD)
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example', '@sub.site.example'])
      assert.equal(assumed.status, 0)
      assert.equal(assumed.stdout, `site.example: ${STARTED_TEXT}\n@sub.site.example: ${STARTED_TEXT}\n`)
      assert.match(assumed.stderr, PREFIX_HINT)
      assert.deepEqual(await nextRecipients(2), HELD.slice(0, 2))
      await server.waitForDelivery({})
      assert.deepEqual(server.waitingRecipients(), HELD.slice(2))
    })
    test('a name is deferred with a hint if Postfix has no flush service', async (t) => {
      await checkName(t, await startPostfix(t, '', MASTER_CF.replace(/^flush .*\n/m, '')), {
        argument: 'site.example',
        line: 'site.example: deferred (458 Unable to queue messages)',
        status: 75,
        hint: NO_FLUSH_HINT,
      })
    })
    for (const [reply, status] of [
      ['421 4.7.0 busy', 75],
      ['554 5.7.1 go away', 69],
    ] as const)
      test(`the session ends with ${status} if postscreen begins the greeting, and smtpd ends it with ${reply}`, async (t) => {
        const settings = `smtpd_delay_reject = no
smtpd_client_restrictions = check_client_access static:{${reply}}
postscreen_access_list =
postscreen_greet_wait = 1s
postscreen_cache_map =
`
        await startPostfix(t, settings, MASTER_CF.replace(/^smtp inet .*$/m, POSTSCREEN_SERVICES))
        const { status: found, document } = await etrnJson(['127.0.0.1', 'site.example'])
        const [report] = document.servers
        assert.deepEqual(
          [found, report?.error?.stage, report?.error?.code],
          [status, 'greeting', Number.parseInt(reply)],
        )
        assert.match(report?.error?.message ?? '', /Client host rejected/)
      })
    test('every name is deferred with a hint if postscreen answers after its deep protocol tests', async (t) => {
      await startPostfix(t, POSTSCREEN_SETTINGS, MASTER_CF.replace(/^smtp inet .*$/m, POSTSCREEN_SERVICES))
      const names = ['site.example', '@site.example', '#site.example', 'other.example']
      for (const round of ['first', 'second']) {
        const run = await spawnEtrn(['127.0.0.1', ...names])
        assert.equal(run.status, 75, `${round} round`)
        assert.equal(run.stdout, names.map((name) => `${name}: deferred (458 Unable to queue messages)\n`).join(''))
        assert.match(run.stderr, NO_FLUSH_HINT)
      }
    })
  })
}
