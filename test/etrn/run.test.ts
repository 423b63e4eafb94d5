import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Outcome } from '../../src/etrn/outcome.js'
import { type Document, etrn, etrnJson, leap, LEAPING } from '../helpers/command.js'
import {
  BYE,
  close,
  type Conversation,
  HELLO,
  reset,
  scripted,
  silence,
  type Step,
} from '../helpers/scripted-server.js'

type Case = {
  readonly title: string
  readonly conversations: readonly Conversation[]
  readonly names?: readonly string[]
  readonly options?: readonly string[]
  /** Where it has said this (-v), the time for a reply is over. */
  readonly overdue?: string
  readonly status: number
  readonly outcomes: readonly Outcome[]
  readonly codes?: readonly (number | null)[]
  readonly error?: Partial<NonNullable<Document['servers'][number]['error']>> | null
}

/** Runs the command against the script; the client must keep to it, octet for octet. */
function exchange(c: Case): void {
  test(c.title, async (t) => {
    const server = await scripted(t, ...c.conversations)
    const args = [
      `127.0.0.1:${server.port}`,
      '--helo',
      'gw.site.example',
      ...(c.options ?? []),
      ...(c.overdue === undefined ? [] : ['-v']),
      ...(c.names ?? ['site.example']),
    ]
    const o = c.overdue === undefined ? {} : { env: LEAPING, once: { said: c.overdue, act: leap } }
    const { document, status } = await etrnJson(args, o)
    await server.verify()
    const [report] = document.servers
    assert.ok(report)
    assert.deepEqual(
      report.names.map(({ outcome }) => outcome),
      c.outcomes,
    )
    if (c.codes !== undefined) {
      assert.deepEqual(
        report.names.map(({ code }) => code),
        c.codes,
      )
    }
    if (c.error === null) assert.equal(report.error, null)
    else if (c.error !== undefined) assert.deepEqual({ ...report.error, ...c.error }, report.error)
    assert.equal(status, c.status)
    assert.equal(document.exitStatus, c.status)
  })
}

const list = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i + 1}.example`)
const asked = (names: readonly string[], reply = '250 OK'): Step[] =>
  names.flatMap((name): Step[] => [`C: ETRN ${name}`, `S: ${reply}`])
const session = (...steps: Step[]): Conversation => [...HELLO, ...steps, ...BYE]

suite('RFC 1985, section 7, octet for octet', { concurrency: true }, () => {
  const sigurd = (...steps: Step[]): Conversation => [
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
  exchange({
    title: 'errors',
    conversations: [
      sigurd(
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
  exchange({
    title: 'a server that says no more than that it began',
    conversations: [
      sigurd(
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
  exchange({
    title: 'a server that knows what waits',
    conversations: [
      sigurd(
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

suite('one name', { concurrency: true }, () => {
  const one = (title: string, reply: string, outcome: Outcome, status: number): void =>
    exchange({
      title,
      conversations: [session('C: ETRN site.example', `S: ${reply}`)],
      outcomes: [outcome],
      status,
      error: null,
    })
  one('Exim: the queue run is under way', '458 Already processing site.example', 'started', 0)
  one('a bare code', '250', 'started', 0)
  one('a code of the 200s that no RFC knows', '299 fine', 'started', 0)
  one(
    'a reply of several lines',
    '501-argument must begin with #\r\n501 Too many syntax or protocol errors',
    'rejected',
    65,
  )
  one('a reply that ends its lines with LF', '250-a\n250 b', 'started', 0)
  exchange({
    title: 'the keyword in small letters, with a parameter',
    conversations: [
      [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        'S: 250-mx',
        'S: 250 etrn now',
        'C: ETRN site.example',
        'S: 250 OK',
        ...BYE,
      ],
    ],
    outcomes: ['started'],
    status: 0,
  })
  exchange({
    title: 'a greeting of several lines',
    conversations: [['S: 220-mx', ...session('C: ETRN site.example', 'S: 250 OK')]],
    outcomes: ['started'],
    status: 0,
  })
})

suite('no ETRN', { concurrency: true }, () => {
  for (const lines of [
    ['250 mx'],
    ['250 ETRN'],
    ['250-etrn.example', '250 HELP'],
    ['250-mx', '250 ETRNX'],
    ['250-mx', '250 XETRN'],
    ['250-mx', '250-SIZE ETRN', '250 X-ETRN'],
  ]) {
    exchange({
      title: JSON.stringify(lines),
      conversations: [['S: 220 mx', 'C: EHLO gw.site.example', ...lines.map((line): Step => `S: ${line}`), ...BYE]],
      names: ['a.example', 'b.example'],
      outcomes: ['unsupported', 'unsupported'],
      codes: [null, null],
      status: 69,
      error: { stage: 'etrn', code: null, exitStatus: 69 },
    })
  }
  exchange({
    title: '--assume-etrn',
    conversations: [['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', 'C: ETRN site.example', 'S: 250 OK', ...BYE]],
    options: ['--assume-etrn'],
    outcomes: ['started'],
    status: 0,
  })
})

suite('the beginning fails', { concurrency: true }, () => {
  const greeted = (reply: string, status: number, outcome: Outcome): void =>
    exchange({
      title: `greeting ${reply}`,
      conversations: [[`S: ${reply}`, ...BYE]],
      outcomes: [outcome],
      status,
      error: { stage: 'greeting', code: Number(reply.slice(0, 3)), exitStatus: status },
    })
  greeted('554 no', 69, 'unsupported')
  greeted('421 later', 75, 'deferred')
  greeted('450 later', 75, 'deferred')
  greeted('250 hello', 76, 'failed')
  greeted('354 hello', 76, 'failed')
  const hello = (reply: string, status: number, outcome: Outcome): void =>
    exchange({
      title: `EHLO ${reply}`,
      conversations: [['S: 220 mx', 'C: EHLO gw.site.example', `S: ${reply}`, ...BYE]],
      outcomes: [outcome],
      status,
      error: { stage: 'ehlo', code: Number(reply.slice(0, 3)), exitStatus: status },
    })
  hello('502 not known', 69, 'unsupported')
  hello('550 go away', 69, 'unsupported')
  hello('421 later', 75, 'deferred')
  hello('220 mx', 76, 'failed')
  exchange({
    title: 'closed at once',
    conversations: [[close]],
    outcomes: ['deferred'],
    status: 75,
    error: { stage: 'greeting' },
  })
  exchange({
    title: 'reset at EHLO',
    conversations: [['S: 220 mx', 'C: EHLO gw.site.example', reset]],
    outcomes: ['deferred'],
    status: 75,
    error: { stage: 'ehlo' },
  })
  exchange({
    title: 'no greeting',
    conversations: [[silence]],
    overdue: 'connected to',
    outcomes: ['deferred'],
    status: 75,
    error: { stage: 'greeting' },
  })
})

suite('several names', { concurrency: true }, () => {
  exchange({
    title: '15 names in three sessions, one after another',
    options: ['--jobs', '1'],
    conversations: [
      session(...asked(list(15).slice(0, 7))),
      session(...asked(list(15).slice(7, 14))),
      session(...asked(['n15.example'])),
    ],
    names: list(15),
    outcomes: Array<Outcome>(15).fill('started'),
    status: 0,
  })
  exchange({
    title: 'a 5xx ends it for this server',
    conversations: [session(...asked(['n1.example']), 'C: ETRN n2.example', 'S: 554 no')],
    names: list(4),
    outcomes: ['started', 'refused', 'skipped', 'skipped'],
    codes: [250, 554, null, null],
    status: 77,
    error: null,
  })
  exchange({
    title: '--keep-going goes on after a 5xx',
    conversations: [
      session(...asked(['n1.example'], '501 no'), ...asked(['n2.example'], '502 no'), ...asked(['n3.example'])),
    ],
    names: list(3),
    options: ['-k'],
    outcomes: ['rejected', 'unsupported', 'started'],
    status: 65,
  })
  exchange({
    title: 'a 4xx ends nothing; 75 outweighs what came before',
    conversations: [
      session(...asked(['n1.example'], '459 no'), ...asked(['n2.example'], '450 later'), ...asked(['n3.example'])),
    ],
    names: list(3),
    outcomes: ['refused', 'deferred', 'started'],
    status: 75,
  })
  exchange({
    title: 'a session without an accepted name is the last',
    conversations: [session(...asked(list(7), '459 no'))],
    names: list(9),
    outcomes: [...Array<Outcome>(7).fill('refused'), 'skipped', 'skipped'],
    status: 77,
    error: null,
  })
  exchange({
    title: '--keep-going lifts that',
    conversations: [session(...asked(list(7), '459 no')), session(...asked(['n8.example'], '459 no'))],
    names: list(8),
    options: ['--keep-going'],
    outcomes: Array<Outcome>(8).fill('refused'),
    status: 77,
  })
})

suite('lost sessions', { concurrency: true }, () => {
  const names = list(3)
  const first = (...steps: Step[]): Conversation => [...HELLO, ...asked(['n1.example']), 'C: ETRN n2.example', ...steps]
  const second = session(...asked(['n2.example', 'n3.example']))
  const outcomes: Outcome[] = ['started', 'started', 'started']
  exchange({
    title: '421: the name and the rest in a new connection',
    conversations: [first('S: 421 enough', ...BYE), second],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  exchange({
    title: '421, QUIT, close',
    conversations: [first('S: 421 enough', 'C: QUIT', close), second],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  exchange({ title: 'closed', conversations: [first(close), second], names, outcomes, status: 0, error: null })
  exchange({ title: 'reset', conversations: [first(reset), second], names, outcomes, status: 0, error: null })
  exchange({
    title: 'closed within the reply',
    conversations: [first(Buffer.from('250 O'), close), second],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  exchange({
    title: '421 before anything was answered',
    conversations: [[...HELLO, 'C: ETRN n1.example', 'S: 421 enough', ...BYE]],
    names,
    outcomes: ['deferred', 'deferred', 'deferred'],
    codes: [421, null, null],
    status: 75,
    error: { stage: 'etrn', code: 421 },
  })
  exchange({
    title: '421 to the only name is its reply and no more',
    conversations: [session('C: ETRN n1.example', 'S: 421 enough')],
    names: ['n1.example'],
    outcomes: ['deferred'],
    codes: [421],
    status: 75,
    error: null,
  })
  exchange({
    title: '421 to every second name makes way all the same',
    conversations: [
      first('S: 421 x', 'C: QUIT', close),
      [...HELLO, ...asked(['n2.example']), 'C: ETRN n3.example', 'S: 421 x', 'C: QUIT', close],
      session(...asked(['n3.example'])),
    ],
    names,
    outcomes,
    status: 0,
  })
  exchange({
    title: 'closed at the first name of the second session',
    conversations: [first(close), [...HELLO, 'C: ETRN n2.example', close]],
    names,
    outcomes: ['started', 'deferred', 'deferred'],
    status: 75,
    error: { stage: 'etrn', code: null },
  })
  exchange({
    title: 'lost after refusals alone: the rest is skipped',
    conversations: [[...HELLO, ...asked(['n1.example'], '459 no'), 'C: ETRN n2.example', close]],
    names,
    outcomes: ['refused', 'deferred', 'skipped'],
    status: 75,
  })
  exchange({
    title: 'a further session that does not open takes no name',
    conversations: [first(close), ['S: 421 too many', ...BYE], second],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  exchange({
    title: 'nor does one that is told to go before its first ETRN',
    conversations: [first(close), [...HELLO.slice(0, 3), Buffer.from('250 ETRN\r\n421 bye\r\n'), ...BYE], second],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  exchange({
    title: 'not in a row, they end nothing',
    conversations: [
      first(close),
      ['S: 421 too many', ...BYE],
      [...HELLO, ...asked(['n2.example']), 'C: ETRN n3.example', close],
      ['S: 421 too many', ...BYE],
      session(...asked(['n3.example'])),
    ],
    names,
    outcomes,
    status: 0,
  })
  exchange({
    title: 'two of them end it',
    conversations: [first(close), ['S: 554 no more', ...BYE], ['S: 554 no more', ...BYE]],
    names,
    outcomes: ['started', 'deferred', 'deferred'],
    status: 75,
    error: { stage: 'greeting', code: 554, exitStatus: 75 },
  })
  exchange({
    title: 'silence is not asked again, and gets no QUIT',
    conversations: [first(silence)],
    names,
    overdue: 'C: ETRN n2.example',
    outcomes: ['started', 'deferred', 'deferred'],
    status: 75,
    error: { stage: 'etrn', code: null, exitStatus: 75 },
  })
})

suite('not the protocol', { concurrency: true }, () => {
  const names = list(3)
  const odd = (title: string, steps: readonly Step[], code: number | null): void =>
    exchange({
      title,
      conversations: [session(...asked(['n1.example']), 'C: ETRN n2.example', ...steps)],
      names,
      outcomes: ['started', 'failed', 'skipped'],
      codes: [250, code, null],
      status: 76,
      ...(code === null ? { error: { stage: 'etrn', exitStatus: 76 } } : { error: null }),
    })
  odd('150', ['S: 150 wait'], 150)
  odd('354', ['S: 354 go ahead'], 354)
  odd('999', ['S: 999 huh'], null)
  odd('no reply at all', ['S: hello there'], null)
  odd('four digits', ['S: 2500 OK'], null)
  odd('codes that differ', ['S: 250-OK', 'S: 459 no'], null)
  exchange({
    title: 'two replies to one command',
    conversations: [session('C: ETRN n1.example', Buffer.from('250 OK\r\n459 no\r\n'))],
    names,
    outcomes: ['started', 'failed', 'skipped'],
    status: 76,
    error: { stage: 'etrn', code: null },
  })
  for (const [title, piece] of [
    ['half a reply', '554-half'],
    ['a few octets', 'junk'],
    ['a code cut short', '25'],
  ] as const) {
    for (const end of [close, silence]) {
      exchange({
        title: `${title} before its turn, then ${end === close ? 'the end' : 'silence'}`,
        conversations: [[...HELLO, 'C: ETRN n1.example', Buffer.from(`250 OK\r\n${piece}`), end]],
        names,
        ...(end === silence ? { overdue: 'S: 250 OK' } : {}),
        outcomes: ['started', 'failed', 'skipped'],
        status: 76,
        error: { stage: 'etrn', code: null },
      })
    }
  }
  exchange({
    title: 'a reply before EHLO',
    conversations: [[Buffer.from('220 mx\r\n250-mx\r\n250 ETRN\r\n'), ...BYE]],
    outcomes: ['failed'],
    status: 76,
    error: { stage: 'ehlo', code: null, exitStatus: 76 },
  })
  exchange({
    title: 'the goodbye may come at any time',
    conversations: [
      [...HELLO, 'C: ETRN n1.example', Buffer.from('250 OK\r\n421 4.4.2 bye\r\n'), ...BYE],
      session(...asked(['n2.example', 'n3.example'])),
    ],
    names,
    outcomes: ['started', 'started', 'started'],
    status: 0,
  })
  exchange({
    title: "but is nobody's reply",
    conversations: [[...HELLO.slice(0, 3), Buffer.from('250 ETRN\r\n421 4.4.2 bye\r\n'), ...BYE]],
    names: ['n1.example'],
    outcomes: ['deferred'],
    codes: [null],
    status: 75,
    error: { stage: 'etrn', code: 421, exitStatus: 75 },
  })
  exchange({
    title: 'what comes before QUIT changes nothing',
    conversations: [session('C: ETRN n1.example', Buffer.from('250 OK\r\n554 surprise\r\n'))],
    names: ['n1.example'],
    outcomes: ['started'],
    status: 0,
  })
  for (const [title, ...steps] of [
    ['refused', 'S: 500 what?'],
    ['not answered', silence],
    ['answered by a reset', reset],
  ] as const) {
    exchange({
      title: `QUIT ${title} changes nothing`,
      conversations: [[...HELLO, ...asked(['n1.example']), 'C: QUIT', ...steps]],
      names: ['n1.example'],
      ...(steps[0] === silence ? { overdue: 'C: QUIT' } : {}),
      outcomes: ['started'],
      status: 0,
    })
  }
})

test('the reply to QUIT is awaited 5 s, whatever --timeout says', { timeout: 30_000 }, async (t) => {
  const server = await scripted(t, [...HELLO, ...asked(['n1.example']), 'C: QUIT', silence])
  assert.equal((await etrn([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'n1.example'])).status, 0)
})

test('a count with separators is not guessed at', async (t) => {
  const server = await scripted(
    t,
    session(...asked(['n1.example'], '253 OK, 1,234 pending messages for node n1.example started')),
  )
  const { document } = await etrnJson([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'n1.example'])
  assert.equal(document.servers[0]?.names[0]?.pending, null)
})

test('200,000 names', async () => {
  const names = Array.from({ length: 200_000 }, (_, i) => `n${i}.example`).join('\n')
  const { document, status } = await etrnJson(['127.0.0.1:9', '--names-from', '-'], { input: names })
  assert.deepEqual([status, document.servers[0]?.names.length], [75, 200_000])
})

suite('names in their order', { concurrency: true }, () => {
  test('words, --subdomains, --queue, --names-from, each once', async (t) => {
    const sent = ['a.example', '@b.example', '#q', 'd.example']
    const server = await scripted(t, session(...asked(sent)))
    const args = [
      '--names-from',
      '-',
      '--queue',
      'q',
      '--helo',
      'gw.site.example',
      '--subdomains',
      'b.example',
      `127.0.0.1:${server.port}`,
      'a.example',
    ]
    const { document, status } = await etrnJson(args, { input: 'A.example\nbad name\nd.example\n#q\n' })
    await server.verify()
    assert.equal(status, 65)
    assert.deepEqual(
      document.servers[0]?.names.map(({ name, outcome, text }) => [name, outcome, text]),
      [
        ['a.example', 'started', 'OK'],
        ['@b.example', 'started', 'OK'],
        ['#q', 'started', 'OK'],
        ['bad name', 'rejected', 'line 2: a space in it; one name is one word'],
        ['d.example', 'started', 'OK'],
      ],
    )
  })
  test('nothing is sent where one on the command line is bad', async (t) => {
    const server = await scripted(t)
    const run = await etrn([`127.0.0.1:${server.port}`, 'good.example', 'bad\r\nQUIT', 'other.example'])
    assert.deepEqual([run.status, run.stdout], [64, ''])
    assert.equal(run.stderr, 'etrn: name "bad\\x0d\\x0aQUIT": a control or invisible character in it (U+000D)\n')
    await server.verify()
  })
  test('a list of bad lines alone connects nowhere', async (t) => {
    const server = await scripted(t)
    const run = await etrn([`127.0.0.1:${server.port}`, '--names-from', '-'], { input: 'a b\n' })
    assert.deepEqual([run.status, run.stdout], [65, 'a b: not sent (line 1: a space in it; one name is one word)\n'])
    await server.verify()
  })
})
