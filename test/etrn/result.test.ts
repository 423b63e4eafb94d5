import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { EXIT_STATUS_OF, type Outcome } from '../../src/etrn/outcome.js'
import { resultOf, shortenResult, unansweredResult } from '../../src/etrn/result.js'
import { type Reply, ReplyParser } from '../../src/smtp/reply.js'
import { etrnJson } from '../helpers/command.js'
import { etrnSteps, sessionWith, testExchange } from '../helpers/exchange.js'
import { scripted, type Step } from '../helpers/scripted-server.js'

/** Returns what each code means, by code, so that a slip in the tables of the source shows. */
function expectedOf(code: number): readonly [Outcome, number] {
  if (code === 251) return ['empty', 0]
  if (code === 252 || code === 253) return ['pending', 0]
  // Replies of other commands
  if ([211, 214, 220, 221, 235].includes(code)) return ['failed', 76]
  if (code === 459) return ['refused', 77]
  if ([500, 502, 504].includes(code)) return ['unsupported', 69]
  if ([501, 553, 555].includes(code)) return ['rejected', 65]
  const byClass: Readonly<Record<number, readonly [Outcome, number]>> = {
    1: ['failed', 76],
    2: ['started', 0],
    3: ['failed', 76],
    4: ['deferred', 75],
    5: ['refused', 77],
  }
  return byClass[Math.floor(code / 100)] ?? assert.fail()
}

/** Returns the reply that these lines are. */
function parseReply(...lines: readonly string[]): Reply {
  const parser = new ReplyParser()
  parser.push(Buffer.from(lines.map((line) => `${line}\r\n`).join('')))
  return parser.next() ?? assert.fail('no whole reply')
}

suite('shortenResult', () => {
  const long = { ...unansweredResult('site.example', 'started'), text: 'x'.repeat(2048) }
  for (const [names, characters] of [
    [1, 2048],
    [1024, 2048],
    [2048, 1027],
    [10_000, 212],
    [200_000, 203],
  ] as const)
    test(`keeps ${characters} characters of a long text if there are ${names} names`, () =>
      assert.equal(shortenResult(long, names).text?.length, characters))
  test('keeps a usual text and a missing one', () => {
    for (const text of ['Queuing started', '', null])
      assert.deepEqual(shortenResult({ ...long, text }, 200_000), { ...long, text })
  })
})

suite('resultOf', () => {
  for (const first of [100, 200, 300, 400, 500])
    test(`gives each code from ${first} to ${first + 99} its outcome and exit status`, () => {
      const codes = Array.from({ length: 100 }, (_, index) => first + index)
      const results = codes.map((code) => resultOf('site.example', parseReply(`${code} text`)))
      assert.deepEqual(
        results.map(({ outcome }, index) => [codes[index], outcome, EXIT_STATUS_OF[outcome]]),
        codes.map((code) => [code, ...expectedOf(code)]),
      )
      assert.deepEqual(
        results.map(({ name, code, enhancedCode, text }) => [name, code, enhancedCode, text]),
        codes.map((code) => ['site.example', code, null, 'text']),
      )
    })
  test('keeps the enhanced status code and the text of a reply', () => {
    assert.deepEqual(resultOf('a.example', parseReply('459-4.7.1 not', '459 4.7.1 yours')), {
      name: 'a.example',
      outcome: 'refused',
      code: 459,
      enhancedCode: '4.7.1',
      text: 'not / yours',
      pending: null,
      hint: 'ask your provider to allow requests for this name from your public IP address',
    })
  })
  for (const [line, outcome] of [
    ['458 Already processing site.example', 'started'],
    ['458 already PROCESSING', 'started'],
    ['458 Already processingsite', 'deferred'],
    ['458 Not already processing', 'deferred'],
    ['450 Already processing site.example', 'deferred'],
  ] as const)
    test(`reports ${outcome} for "${line}"`, () => {
      assert.equal(resultOf('site.example', parseReply(line)).outcome, outcome)
    })
  for (const [line, pending] of [
    ['251 OK, no messages waiting for node n1.example', 0],
    ['251 14 pending messages', 0],
    ['250 OK, 14 pending messages', null],
    ['252 OK, 14 pending messages', null],
    ['253 OK, 14 pending messages for node n1.example started', 14],
    ['253 1 pending message', 1],
    ['253 OK, 0 pending messages for node n1.example started', 0],
    ['253 OK, 3 pending messages started, 0 messages deferred', 3],
    ['253 3 messages', 3],
    ['253 OK, 007 Messages', 7],
    ['253 OK, 123456789 pending messages', 123_456_789],
    ['253 OK, 1234567890 pending messages', null],
    ['253 OK, 1,234 pending messages for node n1.example started', null],
    ['253 OK, 1.234 pending messages', null],
    ["253 OK, 1'234 pending messages", null],
    ['253 OK, -3 pending messages', null],
    ['253 OK, v3 pending messages', null],
    ['253 OK, 14 very old messages', null],
    ['253 OK, pending messages', null],
  ] as const)
    test(`counts ${pending === null ? 'no' : pending} messages in "${line}"`, () => {
      assert.equal(resultOf('n1.example', parseReply(line)).pending, pending)
    })
  test('counts in a 253 any number that the server can write in nine digits', () =>
    fc.assert(
      fc.property(fc.nat(999_999_999), (count) => {
        assert.equal(resultOf('a.example', parseReply(`253 OK, ${count} pending messages`)).pending, count)
      }),
    ))
})

suite('unansweredResult', () => {
  test('has neither code nor count, and no text unless one is given', () => {
    const facts = { code: null, enhancedCode: null, pending: null, hint: null }
    const unanswered = { name: 'a.example', outcome: 'deferred', ...facts }
    assert.deepEqual(unansweredResult('a.example', 'deferred'), { ...unanswered, text: null })
    assert.deepEqual(unansweredResult('a.example', 'deferred', 'line 2'), { ...unanswered, text: 'line 2' })
  })
})

suite('the command: outcome, text and exit status of one reply', { concurrency: true }, () => {
  for (const code of [150, 250, 251, 252, 253, 299, 354, 450, 458, 459, 500, 501, 502, 504, 550, 553, 555, 599]) {
    const [outcome, status] = expectedOf(code)
    test(`reports ${outcome} and exits with ${status} after "${code} text"`, async (t) => {
      const server = await scripted(t, sessionWith(...etrnSteps('site.example', `${code} text`)))
      const run = await etrnJson([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'])
      await server.verify()
      const [result] = run.document.servers[0]?.names ?? []
      assert.deepEqual([result?.outcome, run.status], [outcome, status])
      assert.deepEqual(
        [result?.code, result?.text, run.document.exitStatus, run.stderr],
        [code, 'text', run.status, ''],
      )
    })
  }
  for (const [reply, outcome, status] of [
    ['458 Already processing site.example', 'started', 0],
    ['250', 'started', 0],
    ['299 fine', 'started', 0],
    ['501-argument must begin with #\r\n501 Too many syntax or protocol errors', 'rejected', 65],
  ] as const)
    testExchange({
      title: `reports ${outcome} and exits with ${status} after ${JSON.stringify(reply)}`,
      conversations: [sessionWith(...etrnSteps('site.example', reply))],
      outcomes: [outcome],
      status,
      error: null,
    })
  test('reports no count for a 253 whose count has separators', async (t) => {
    const reply = '253 OK, 1,234 pending messages for node n1.example started'
    const server = await scripted(t, sessionWith(...etrnSteps('n1.example', reply)))
    const { document } = await etrnJson([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'n1.example'])
    assert.equal(document.servers[0]?.names[0]?.pending, null)
  })
})

suite('the command: the examples of RFC 1985, section 7, octet for octet', { concurrency: true }, () => {
  const sigurdSteps = (...steps: Step[]): Step[] => [
    'S: 220 sigurd.innosoft.com -- Server SMTP (PMDF V4.2-6 #1992)',
    'C: EHLO ymir.claremont.edu',
    'S: 250-sigurd.innosoft.com',
    'S: 250-EXPN',
    'S: 250-HELP',
    'S: 250 ETRN',
    ...steps,
    'C: QUIT',
    'S: 250 Goodbye',
  ]
  const options = ['--helo', 'ymir.claremont.edu', '-k', '--allow-wide']
  testExchange({
    title: 'reports rejected for 501 and deferred for 458, and exits with 75',
    conversations: [
      sigurdSteps(
        'C: ETRN localname',
        'S: 501 Syntax Error in Parameters',
        'C: ETRN uu.net',
        'S: 458 Unable to queue messages for node uu.net',
      ),
    ],
    options,
    names: ['localname', 'uu.net'],
    outcomes: ['rejected', 'deferred'],
    status: 75,
  })
  testExchange({
    title: 'reports started for both names of a server that only replies 250',
    conversations: [
      sigurdSteps(
        'C: ETRN sigurd.innosoft.com',
        'S: 250 OK, queuing for node sigurd.innosoft.com started',
        'C: ETRN innosoft.com',
        'S: 250 OK, queuing for node innosoft.com started',
      ),
    ],
    options,
    names: ['sigurd.innosoft.com', 'innosoft.com'],
    outcomes: ['started', 'started'],
    status: 0,
  })
  testExchange({
    title: 'reports empty, pending and refused for a server that replies 251, 252, 253 and 459',
    conversations: [
      sigurdSteps(
        'C: ETRN sigurd.innosoft.com',
        'S: 251 OK, no messages waiting for node sigurd.innosoft.com',
        'C: ETRN innosoft.com',
        'S: 252 OK, pending messages for node innosoft.com started',
        'C: ETRN mysoft.com',
        'S: 253 OK, 14 pending messages for node mysoft.com started',
        'C: ETRN foo.bar',
        'S: 459 Node foo.bar not allowed: Unable to resolve name.',
      ),
    ],
    options,
    names: ['sigurd.innosoft.com', 'innosoft.com', 'mysoft.com', 'foo.bar'],
    outcomes: ['empty', 'pending', 'pending', 'refused'],
    status: 77,
  })
})
