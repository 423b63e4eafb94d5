import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrn, etrnJson } from '../helpers/command.js'
import { BYE, etrnSteps, scripted, type Step } from '../helpers/scripted-server.js'

const EHLO = 'C: EHLO gw.site.example'
const HELO = ['--helo', 'gw.site.example']
const PIX_GREETING = 'S: 220 *********************************2****0*0'
const FIREWALL = /no inspect esmtp.*no fixup protocol smtp.*ask your mail provider for another port/
const PROVES_NOTHING = /^etrn: warning: \S+: a firewall may be answering in place of the server, [^\n]*\n/m

const HIDDEN: readonly (readonly [title: string, hello: readonly Step[]])[] = [
  ['a masked greeting and 250 OK to EHLO', [PIX_GREETING, EHLO, 'S: 250 OK']],
  ['a masked greeting and a list without ETRN', [PIX_GREETING, EHLO, 'S: 250-mx.example', 'S: 250 SIZE 1000']],
  ['a greeting of asterisks alone', ['S: 220 ****************', EHLO, 'S: 250 2.0.0 Ok']],
  ['a greeting of two masked lines', ['S: 220-*********', 'S: 220 ******0**', EHLO, 'S: 250 OK']],
  ['250 OK to EHLO of a server that says nothing else', ['S: 220 mx.example ESMTP', EHLO, 'S: 250 OK']],
  ['an empty reply to EHLO', ['S: 220 mx.example ESMTP', EHLO, 'S: 250']],
  ...[
    'Requested mail action okay, completed',
    '2.0.0 I have successfully done nothing',
    'Command accepted',
    'done',
    'Nothing done, but successfully',
  ].map((text) => [`250 ${text} to EHLO`, ['S: 220 mx.example ESMTP', EHLO, `S: 250 ${text}`]] as const),
  ['250 OK on two lines', ['S: 220 mx.example ESMTP', EHLO, 'S: 250-OK', 'S: 250 OK']],
  ['masked keywords', ['S: 220 mx.example', EHLO, 'S: 250-mx.example', 'S: 250-XXXXXXXA', 'S: 250 SIZE 1000']],
  ['a masked keyword of four letters', ['S: 220 mx.example', EHLO, 'S: 250-mx.example', 'S: 250 XXXA']],
]

suite('a firewall that hides ETRN', { concurrency: true }, () => {
  for (const [title, hello] of HIDDEN) {
    test(`is named in the hint after ${title}, and --assume-etrn is not`, async (t) => {
      const server = await scripted(t, [...hello, ...BYE])
      const { stderr, status } = await etrn([...HELO, `127.0.0.1:${server.port}`, 'site.example'])
      assert.equal(status, 69)
      assert.match(stderr, FIREWALL)
      assert.doesNotMatch(stderr, /assume-etrn/)
    })
    test(`is the reason for a warning with --assume-etrn after ${title}`, async (t) => {
      const server = await scripted(t, [...hello, ...etrnSteps('site.example', '250 OK'), ...BYE])
      const args = ['--assume-etrn', ...HELO, `127.0.0.1:${server.port}`, 'site.example']
      const { stderr, status } = await etrn(args)
      assert.equal(status, 0)
      assert.match(stderr, PROVES_NOTHING)
    })
  }
  test('causes no warning if EHLO lists ETRN, although the greeting is masked', async (t) => {
    const hello = [PIX_GREETING, EHLO, 'S: 250-mx.example', 'S: 250 ETRN'] as const
    const server = await scripted(t, [...hello, ...etrnSteps('site.example', '250 OK'), ...BYE])
    const run = await etrn(['--assume-etrn', ...HELO, `127.0.0.1:${server.port}`, 'site.example'])
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })
  for (const [title, ...hello] of [
    ['lists other keywords', 'S: 250-mx.example', 'S: 250 SIZE 1000'],
    ['names the server and lists nothing', 'S: 250 mx.example'],
    ['names the server, with a greeting, and lists nothing', 'S: 250 mx.example Hello gw.site.example'],
    ['names the server and says that all is done', 'S: 250 mx.example Hello accepted'],
    ['names the server by one word', 'S: 250 mx'],
    ['lists a keyword after OK', 'S: 250-OK', 'S: 250 SIZE 1000'],
  ] as const) {
    test(`is not suspected if EHLO ${title}`, async (t) => {
      const steps = ['S: 220 mx.example ESMTP', EHLO, ...hello] as const
      const server = await scripted(t, [...steps, ...BYE], [...steps, ...etrnSteps('site.example', '250 OK'), ...BYE])
      const args = [...HELO, `127.0.0.1:${server.port}`, 'site.example']
      assert.match((await etrn(args)).stderr, /--assume-etrn/)
      assert.equal((await etrn(['--assume-etrn', ...args])).stderr, '')
    })
  }
  for (const [title, steps, status] of [
    ['a masked greeting and 500 to EHLO', [PIX_GREETING, EHLO, 'S: 500 Unrecognized command'], 69],
    ['a greeting whose blank is masked', ['S: 220********2****'], 76],
  ] as const)
    test(`is named in the hint after ${title}`, async (t) => {
      const server = await scripted(t, [...steps, ...BYE])
      const run = await etrn([...HELO, `127.0.0.1:${server.port}`, 'site.example'])
      assert.equal(run.status, status)
      assert.match(run.stderr, FIREWALL)
    })
  for (const [greeting, hello] of [
    ['rblsmtpd.local', 'rblsmtpd.local'],
    ['mx.example ESMTP spamd IP-based SPAM blocker', 'Hello, spam sender. Pleased to be wasting your time.'],
  ] as const)
    test(`is not suspected after the greeting ${greeting}, but a filter`, async (t) => {
      const server = await scripted(t, [`S: 220 ${greeting}`, EHLO, `S: 250 ${hello}`, ...BYE])
      const run = await etrn([...HELO, `127.0.0.1:${server.port}`, 'site.example'])
      assert.equal(run.status, 69)
      assert.match(run.stderr, /^hint: a filter answers in place of the mail server/m)
    })
  test('is named in the hint if the required STARTTLS is masked', async (t) => {
    const hello = ['S: 220 mx.example', EHLO, 'S: 250-mx.example', 'S: 250-XXXXXXXA', 'S: 250 ETRN'] as const
    const server = await scripted(t, [...hello, ...BYE])
    const run = await etrn(['--tls', 'encrypt', ...HELO, `127.0.0.1:${server.port}`, 'site.example'])
    assert.equal(run.status, 76)
    assert.match(run.stderr, FIREWALL)
  })
  test('is named in the hint of a name that gets 500 with --assume-etrn', async (t) => {
    const server = await scripted(t, [
      PIX_GREETING,
      EHLO,
      'S: 250 OK',
      ...etrnSteps('site.example', '500 what?'),
      ...BYE,
    ])
    const args = ['--assume-etrn', ...HELO, `127.0.0.1:${server.port}`, 'site.example']
    const { document, status } = await etrnJson(args)
    assert.equal(status, 69)
    assert.match(document.servers[0]?.names[0]?.hint ?? '', FIREWALL)
  })
  test('is a warning at EHLO for --check with --assume-etrn', async (t) => {
    const server = await scripted(t, [PIX_GREETING, EHLO, 'S: 250 OK', ...BYE])
    const { stdout } = await etrn(['--check', '--assume-etrn', ...HELO, `127.0.0.1:${server.port}`, 'site.example'])
    assert.match(stdout, /^ {2}-- EHLO .*ask your provider whether the request reached the server$/m)
  })
})
