import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { etrn, etrnJson } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
import {
  BYE,
  close,
  type Conversation,
  HELLO,
  loose,
  scripted,
  silence,
  type Step,
} from '../helpers/scripted-server.js'

const asked = (name: string, reply: string): Step[] => [`C: ETRN ${name}`, `S: ${reply}`]
const session = (...steps: Step[]): Conversation => [...HELLO, ...steps, ...BYE]
const HELO = ['--helo', 'gw.site.example']
const STARTED = session(...asked('site.example', '250 OK'))

suite('text', { concurrency: true }, () => {
  test('a line a name', async (t) => {
    const server = await scripted(
      t,
      session(
        ...asked('a.example', '250 2.0.0 Queuing for node a.example started'),
        ...asked('b.example', '251 OK, no messages waiting for node b.example'),
        ...asked('c.example', '252 OK, pending messages for node c.example started'),
        ...asked('d.example', '253 OK, 14 pending messages for node d.example started'),
        ...asked('e.example', '458 Already processing e.example'),
        ...asked('f.example', '450 4.3.2 try again'),
        ...asked('g.example', '459 <g.example>: service unavailable'),
      ),
    )
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((letter) => `${letter}.example`)
    const run = await etrn([`127.0.0.1:${server.port}`, '--jobs', '1', ...HELO, ...names])
    assert.equal(
      run.stdout,
      `a.example: asked; the server doesn't say what waits (250 2.0.0 Queuing for node a.example started)
b.example: nothing waits (251 OK, no messages waiting for node b.example)
c.example: what waits is on its way (252 OK, pending messages for node c.example started)
d.example: 14 messages are on their way (253 OK, 14 pending messages for node d.example started)
e.example: asked before; it is under way (458 Already processing e.example)
f.example: not now (450 4.3.2 try again)
g.example: refused (459 <g.example>: service unavailable)
`,
    )
    assert.equal(
      run.stderr,
      `  it may pass by itself: --retry-for keeps trying, for as long as you say
  Postfix: ask the provider to put the domain into relay_domains or fast_flush_domains
`,
    )
    assert.equal(run.status, 75)
  })

  const many = (): Conversation =>
    session(...asked('a.example', '250 OK'), ...asked('b.example', '450 later'), ...asked('c.example', '550 no'))
  const quietly = (option: string, stdout: string): void =>
    void test(option, async (t) => {
      const server = await scripted(t, many())
      const run = await etrn([
        `127.0.0.1:${server.port}`,
        ...HELO,
        option,
        'a.example',
        'b.example',
        'c.example',
        'd.example',
        'e.example',
      ])
      assert.deepEqual([run.stdout, run.stderr, run.status], [stdout, '', 75])
    })
  quietly('-q', 'b.example: not now (450 later)\nc.example: refused (550 no)\nnot asked: d.example, e.example\n')
  quietly('-qq', 'c.example: refused (550 no)\nnot asked: d.example, e.example\n')

  test('-qq says nothing of what may pass', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, '-qq', 'site.example'])
    assert.deepEqual([run.stdout, run.stderr, run.status], ['', '', 75])
  })
  test('a failure as a whole is said once, with its number', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, 'a.example', 'b.example', 'c.example', 'd.example'])
    assert.deepEqual([run.stdout, run.status], ['', 75])
    assert.equal(
      run.stderr,
      `127.0.0.1:9: connect: 127.0.0.1 port 9: connection refused; no answer for 4 names (a.example, b.example, c.example, ...)
  no mail server listens there: is it another port (--port)?
`,
    )
  })
  test('several servers stand in front of their lines, and one does not hide the other', async (t) => {
    const [one, two] = [await scripted(t, STARTED), await scripted(t, session(...asked('site.example', '459 no')))]
    const run = await etrn([`127.0.0.1:9,127.0.0.1:${one.port},localhost:${two.port}`, ...HELO, 'site.example'])
    assert.deepEqual(run.stdout.trim().split('\n').sort(), [
      `127.0.0.1:${one.port}: site.example: asked; the server doesn't say what waits (250 OK)`,
      `localhost:${two.port}: site.example: refused (459 no)`,
    ])
    assert.match(run.stderr, /^127\.0\.0\.1:9: connect: /m)
    assert.equal(run.status, 75)
  })
  test('--jobs 1: one server after the other', async (t) => {
    const second = await scripted(t, STARTED)
    const first = await scripted(t, [
      ...HELLO,
      ...asked('site.example', '250 OK'),
      'C: QUIT',
      () => assert.deepEqual(second.received, []),
      'S: 221 bye',
    ])
    const run = await etrn([`127.0.0.1:${first.port},127.0.0.1:${second.port}`, ...HELO, '--jobs', '1', 'site.example'])
    assert.equal(run.status, 0)
  })
  test('-v writes the dialogue, with the time, to standard error', async (t) => {
    const server = await scripted(t, STARTED)
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '-v', 'site.example'])
    assert.deepEqual(
      run.stderr
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, '')),
      [
        `connecting to 127.0.0.1 port ${server.port}`,
        'connected to 127.0.0.1',
        'S: 220 mx.example ESMTP',
        'C: EHLO gw.site.example',
        'S: 250-mx.example',
        'S: 250 ETRN',
        'C: ETRN site.example',
        'S: 250 OK',
        'C: QUIT',
        'S: 221 bye',
      ],
    )
  })
})

suite('hints', { concurrency: true }, () => {
  const hinted = (title: string, greeting: string, name: string, reply: string, hint: RegExp): void =>
    void test(title, async (t) => {
      const server = await scripted(t, [`S: ${greeting}`, ...HELLO.slice(1), ...asked(name, reply), ...BYE])
      const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, name])
      assert.match(run.stderr, /^ {2}\S[^\n]*\n$/)
      assert.match(run.stderr, hint)
    })
  const [postfix, exim, sendmail] = [
    '220 mx ESMTP Postfix',
    '220 mx ESMTP Exim 4.96',
    '220 mx ESMTP Sendmail 8.17.1.9',
  ] as const
  hinted('Postfix does no more for @', postfix, '@site.example', '250 Queuing started', /no subdomain/)
  hinted(
    'Postfix does not serve the name',
    postfix,
    'site.example',
    '459 <site.example>: service unavailable',
    /fast_flush_domains/,
  )
  hinted(
    'Postfix without flush service',
    postfix,
    'site.example',
    '458 Unable to queue messages',
    /postscreen_access_list/,
  )
  hinted(
    'Postfix refuses the address',
    postfix,
    'site.example',
    '554 5.7.1 <x>: Etrn command rejected: Access denied',
    /smtpd_etrn_restrictions/,
  )
  hinted('Exim refuses', exim, 'site.example', '458 Administrative prohibition', /acl_smtp_etrn/)
  hinted('Exim wants a login', exim, 'site.example', '458 Authentication required', /login/)
  hinted('Exim takes # alone', exim, 'site.example', '501 argument must begin with #', /--queue/)
  hinted("Exim's command fails", exim, 'site.example', '458 Internal failure', /smtp_etrn_command/)
  hinted('a login, after TLS', '220 mx', 'site.example', '530 5.7.0 Authentication required', /login before ETRN/)
  hinted('Sendmail has no such queue', sendmail, '#siteq', '459 4.5.4 Queue siteq unknown', /queue group/)
  hinted(
    'Sendmail is switched off',
    sendmail,
    'site.example',
    '502 5.7.0 Sorry, we do not allow this operation',
    /port 25/,
  )
  hinted(
    'OpenSMTPD has none',
    '220 mx ESMTP OpenSMTPD',
    'site.example',
    '500 5.5.1 Invalid command: Command unrecognized',
    /no ETRN/,
  )

  for (const [title, conversation, hint] of [
    ['a greeting that may pass', ['S: 421 later', ...BYE], /--retry-for/],
    ['one that will not', ['S: 521 never', ...BYE], /-v/],
    ['one that is none', ['S: 354 go on', ...BYE], /-v/],
    ['the end in its place', [close], /--retry-for/],
    ['EHLO that may pass', [...HELLO.slice(0, 2), 'S: 451 later', ...BYE], /--retry-for/],
    ['a name that may pass', session(...asked('site.example', '450 later')), /--retry-for/],
    ['a form of a name', session(...asked('site.example', '501 what?')), /-v/],
    ['a code that nobody knows', session(...asked('site.example', '551 no')), /-v/],
    ['nonsense', session(...asked('site.example', 'what?')), /-v/],
    ['the end in place of a reply', [...HELLO, 'C: ETRN site.example', close], /--retry-for/],
  ] as const)
    test(`there is always something to try: ${title}`, async (t) => {
      const server = await scripted(t, conversation)
      const { stderr } = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'site.example'])
      assert.match(stderr, /^(?:\S[^\n]*\n)? {2}\S[^\n]*\n$/)
      assert.match(stderr.split('\n').at(-2) ?? '', hint)
    })
  test('what is not asked because of a refusal, -k asks', async (t) => {
    const server = await scripted(t, session(...asked('a.example', '550 no')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example'])
    assert.match(run.stdout, /^not asked: b\.example$/m)
    assert.match(run.stderr, /^ {2}a refusal ends it, .*; -k goes on$/m)
  })
  test('which is said once, however many servers refuse', async (t) => {
    const servers = await Promise.all(
      ['550 no', '550 no'].map(async (reply) => scripted(t, session(...asked('a.example', reply)))),
    )
    const words = servers.map(({ port }) => `127.0.0.1:${port}`).join(',')
    const { stdout, stderr } = await etrn([words, ...HELO, 'a.example', 'b.example'])
    assert.equal(stdout.match(/not asked: b\.example$/gm)?.length, 2)
    assert.equal(stderr.match(/-k goes on$/gm)?.length, 1)
  })
  test('the same one is given once', async (t) => {
    const server = await scripted(t, session(...asked('a.example', '459 no'), ...asked('b.example', '459 no')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example'])
    assert.equal(run.stderr.split('\n').length, 2)
  })
  test('ETRN that is not listed', async (t) => {
    const server = await scripted(t, ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250-mx', 'S: 250 SIZE 1000', ...BYE])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'site.example'])
    assert.equal(
      run.stderr,
      `127.0.0.1:${server.port}: ETRN: the server doesn't offer it; EHLO lists SIZE; no answer for site.example
  it may be hidden, or off: --assume-etrn asks all the same
`,
    )
  })
})

test('--json has everything, and null for what is not known', async (t) => {
  const server = await scripted(t, [
    'S: 220 mx ESMTP',
    'C: EHLO gw.site.example',
    'S: 250-mx',
    'S: 250-size 1000',
    'S: 250 ETRN',
    ...asked('site.example', '253 2.0.0 OK, 14 pending messages for node site.example started'),
    ...BYE,
  ])
  const word = `smtp://127.0.0.1:${server.port}`
  const run = await etrnJson([`${word},127.0.0.1:9`, ...HELO, 'site.example'])
  const [first, second] = run.document.servers
  assert.equal(typeof first?.elapsedMs, 'number')
  assert.deepEqual(run.document, {
    version: 1,
    exitStatus: 75,
    servers: [
      {
        server: word,
        host: '127.0.0.1',
        port: server.port,
        address: '127.0.0.1',
        tls: null,
        greeting: 'mx ESMTP',
        extensions: ['SIZE 1000', 'ETRN'],
        attempts: 1,
        elapsedMs: first?.elapsedMs,
        error: null,
        names: [
          {
            name: 'site.example',
            outcome: 'pending',
            code: 253,
            enhancedCode: '2.0.0',
            text: 'OK, 14 pending messages for node site.example started',
            pending: 14,
          },
        ],
      },
      {
        server: '127.0.0.1:9',
        host: '127.0.0.1',
        port: 9,
        address: null,
        tls: null,
        greeting: null,
        extensions: null,
        attempts: 1,
        elapsedMs: second?.elapsedMs,
        error: { stage: 'connect', message: '127.0.0.1 port 9: connection refused', code: null, exitStatus: 75 },
        names: [
          { name: 'site.example', outcome: 'deferred', code: null, enhancedCode: null, text: null, pending: null },
        ],
      },
    ],
  })
  assert.equal(run.stderr, '')
})

suite('colour', { concurrency: true }, () => {
  const coloured = (
    title: string,
    isColoured: boolean,
    options: readonly string[],
    env: Readonly<Record<string, string>>,
  ): void =>
    void test(title, async () => {
      const run = await etrn(['127.0.0.1:9', ...HELO, ...options, 'site.example'], { env })
      assert.equal(run.stderr.includes('\x1b['), isColoured)
    })
  coloured('none in a pipe', false, [], {})
  coloured('--color always', true, ['--color', 'always'], { NO_COLOR: '1' })
  coloured('FORCE_COLOR', true, [], { FORCE_COLOR: '1' })
  coloured('FORCE_COLOR=0', false, [], { FORCE_COLOR: '0' })
  coloured('NO_COLOR outweighs it', false, [], { FORCE_COLOR: '1', NO_COLOR: '1' })
  coloured('--color never outweighs both', false, ['--color', 'never'], { FORCE_COLOR: '1' })
})

suite('mistakes: one line, nothing sent', { concurrency: true }, () => {
  for (const [args, message, status = 64] of [
    [[], 'etrn: no server given: type etrn SERVER [NAME ...], or etrn --help\n'],
    [['--hlep'], 'etrn: unknown option --hlep; did you mean --help?\n'],
    [['mail.example.com:0', 'x'], 'etrn: server "mail.example.com:0": a port is a number from 1 to 65535\n'],
    [['--timeout'], 'etrn: --timeout needs a value, for example --timeout 60s\n'],
    [['-4', '-6', 'mx', 'a.example'], 'etrn: -4 and -6 exclude each other: type one of them, or none for both\n'],
    [['mx', '--queue', '#q'], 'etrn: --queue says the # already: leave it out\n'],
    [['mx', 'a.example,b.example'], 'etrn: name "a.example,b.example": names are separated by blanks\n'],
    [
      ['a.example', 'mx:25'],
      'etrn: name "mx:25": no domain name; the server comes first, several of them joined by commas\n',
    ],
    [
      ['mx', 'a.example', '--helo', 'a b'],
      'etrn: --helo "a b": a space in it; one name is one word; for example --helo gw.site.example\n',
    ],
    [
      ['mx', 'a.example', '--helo', 'bücher'],
      'etrn: --helo "bücher": only ASCII can be sent; write a domain as A-labels (xn--...); for example --helo gw.site.example\n',
    ],
    [
      ['127.0.0.1', '--names-from', '/nonexistent/names'],
      'etrn: --names-from /nonexistent/names: there is no such file\n',
      66,
    ],
    [['127.0.0.1', '--names-from', '/'], 'etrn: --names-from /: it is a folder\n', 66],
    [['127.0.0.1', '--names-from', '-'], /^etrn: standard input: there is no name in it/, 66],
  ] as readonly (readonly [readonly string[], string | RegExp, number?])[]) {
    test(args.join(' ') || 'no argument', async () => {
      const run = await etrn(args)
      assert.equal(run.stdout, '')
      if (typeof message === 'string') assert.equal(run.stderr, message)
      else assert.match(run.stderr, message)
      assert.equal(run.stderr.indexOf('\n'), run.stderr.length - 1)
      assert.equal(run.status, status)
    })
  }
})

suite('signals', { concurrency: true }, () => {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    test(signal, async (t) => {
      let interrupt = (): void => undefined
      const server = await scripted(t, [
        ...HELLO,
        ...asked('a.example', '250 OK'),
        'C: ETRN b.example',
        () => {
          interrupt()
        },
        'C: QUIT',
      ])
      const names = ['a.example', 'b.example', 'c.example', 'd.example']
      const run = await etrnJson([`127.0.0.1:${server.port}`, ...HELO, ...names], {
        during: (child) => (interrupt = () => void child.kill(signal)),
      })
      await server.verify()
      assert.deepEqual([run.status, run.signal, run.document.exitStatus], [null, signal, 128 + number])
      assert.deepEqual(
        run.document.servers[0]?.names.map(({ outcome }) => outcome),
        ['started', 'deferred', 'skipped', 'skipped'],
      )
      assert.equal(run.document.servers[0].error?.message, `interrupted by ${signal}`)
    })
  }
  test('text says what was accepted, what hangs and what was not asked', async (t) => {
    let interrupt = (): void => undefined
    const server = await loose(t, [
      ...HELLO,
      ...asked('a.example', '250 OK'),
      'C: ETRN b.example',
      () => interrupt(),
      silence,
    ])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example', 'c.example'], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    assert.equal(run.stdout, "a.example: asked; the server doesn't say what waits (250 OK)\nnot asked: c.example\n")
    assert.equal(run.stderr, `127.0.0.1:${server.port}: ETRN: interrupted by SIGTERM; no answer for b.example\n`)
  })
  test("a shell's loop stops", async (t) => {
    let interrupt = (): void => undefined
    const server = await loose(t, [() => interrupt(), silence])
    const script = `for n in 1 2 3; do ${BIN} 127.0.0.1:${server.port} site.example; echo went on; done`
    // A terminal's interrupt goes to the whole group.
    const child = spawn('bash', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
    interrupt = () => void process.kill(-(child.pid ?? 0), 'SIGINT')
    let output = ''
    child.stdout.on('data', (octets: Buffer) => (output += octets.toString()))
    const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    assert.deepEqual([signal, output], ['SIGINT', 'not asked: site.example\n'])
  })
  test('while QUIT is pending, it is not said again', async (t) => {
    let interrupt = (): void => undefined
    const server = await scripted(t, [
      ...HELLO,
      ...asked('site.example', '250 OK'),
      'C: QUIT',
      () => interrupt(),
      silence,
    ])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'site.example'], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    await server.verify()
    assert.deepEqual(
      [run.signal, server.received],
      ['SIGTERM', ['EHLO gw.site.example\r\nETRN site.example\r\nQUIT\r\n']],
    )
  })
})

suite('at a terminal', { concurrency: true }, () => {
  const script = spawnSync('script', ['--version']).error === undefined
  const onTerminal = (title: string, size: string, isTurning: boolean, options = ''): void =>
    void test(title, { skip: script ? false : 'no script(1) here' }, async (t) => {
      // The reply comes when there was time to show what is waited for, or when it is clear that nothing is shown.
      let shown = ''
      const turned = async (): Promise<void> => {
        while (!shown.includes('ETRN site.example') && isTurning) await once(child.stdout, 'data')
      }
      const server = await scripted(t, [...HELLO, 'C: ETRN site.example', turned, 'S: 250 OK', ...BYE])
      const command = `stty ${size}; ${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} ${options} site.example`
      const child = spawn('script', ['-qec', command, '/dev/null'], {
        env: { PATH: process.env['PATH'] },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      child.stdout.on('data', (octets: Buffer) => (shown += octets.toString()))
      const [status] = (await once(child, 'close')) as [number | null]
      assert.equal(status, 0)
      assert.match(shown, /site\.example: .*asked; the server doesn't say what waits.* \(250 OK\)\r\n/)
      assert.equal(shown.includes('waiting for the greeting') || shown.includes(': ETRN site.example'), isTurning)
    })
  onTerminal('what is waited for is shown', 'cols 80 rows 24', true)
  onTerminal('not under -q', 'cols 80 rows 24', false, '-v --color never 2>/dev/null')
  onTerminal('a terminal of no columns, as serial lines have', 'cols 0 rows 0', false)
  test(
    "^C ends it by that signal while the spinner turns, so that a shell's loop stops",
    { skip: script ? false : 'no script(1) here' },
    async (t) => {
      const server = await scripted(t, ['S: 421 later', ...BYE])
      const etrn = `${BIN} --retry-for 5m 127.0.0.1:${server.port} ${HELO.join(' ')} site.example`
      const loop = `stty cols 80 rows 24; for i in 1 2; do ${etrn}; echo round $i; done; echo end`
      const child = spawn('script', ['-qec', `bash -c '${loop}'`, '/dev/null'], { env: { PATH: process.env['PATH'] } })
      let shown = ''
      child.stdout.on('data', (octets: Buffer) => {
        const wasShown = shown.includes('again at')
        shown += octets.toString()
        if (!wasShown && shown.includes('again at')) child.stdin.write('\x03')
      })
      await once(child, 'close')
      assert.match(shown, /greeting: 421 later/)
      assert.doesNotMatch(shown, /round 1|end/)
    },
  )
})

suite('streams and surroundings', { concurrency: true }, () => {
  const shell = async (line: string): Promise<{ status: number; stdout: string; stderr: string }> => {
    try {
      return { status: 0, ...(await promisify(execFile)('bash', ['-c', line])) }
    } catch (error) {
      // execFile's error has these fields.
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
      return { status: code, stdout, stderr }
    }
  }
  test('an empty environment', async (t) => {
    const server = await scripted(t, STARTED)
    const run = await shell(`env -i ${process.execPath} ${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} site.example`)
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })
  for (const closed of ['>&-', '2>&-', '<&-', '<&- >&- 2>&-']) {
    test(closed, async (t) => {
      const server = await scripted(t, STARTED)
      const run = await shell(`${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} site.example ${closed}`)
      await server.verify()
      assert.deepEqual([run.status, run.stderr], [0, ''])
    })
  }
  test('a closed pipe is silent and changes nothing', async (t) => {
    const server = await scripted(t, session(...asked('a.example', '250 OK'), ...asked('b.example', '459 no')))
    const run = await shell(
      `set -o pipefail; ${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} -v a.example b.example 2>&1 | true`,
    )
    await server.verify()
    assert.deepEqual([run.status, run.stderr], [77, ''])
  })
  test('a full disk', { skip: process.platform === 'linux' ? false : 'no /dev/full here' }, async (t) => {
    const server = await scripted(t, STARTED, STARTED)
    const command = `${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} site.example`
    const full = await shell(`${command} >/dev/full`)
    assert.equal(full.status, 74)
    assert.match(full.stderr, /^etrn: the output can't be written: .*no space left/m)
    assert.equal((await shell(`${command} --json >/dev/full`)).status, 74)
    await server.verify()
  })
  test('--max-time holds for a pipe that nobody writes to', { skip: process.platform === 'win32' }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const run = await etrn(['127.0.0.1:9', '--names-from', pipe, '--max-time', '1s'])
    assert.deepEqual([run.status, run.stderr], [75, 'etrn: the time that --max-time gives is over\n'])
  })
  test('names from a process substitution', async (t) => {
    const server = await scripted(t, STARTED)
    const run = await shell(
      `${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} --names-from <(sleep 0.2; echo site.example)`,
    )
    await server.verify()
    assert.equal(run.status, 0)
  })
  test('through a symlink', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
    t.after(() => rmSync(folder, { recursive: true }))
    symlinkSync(BIN, join(folder, 'etrn'))
    assert.match((await shell(`${join(folder, 'etrn')} --version`)).stdout, /^etrn \d+\.\d+\.\d+\n$/)
  })
  test('--max-time holds for a list that never ends', async () => {
    const run = await etrn(['127.0.0.1:9', '--names-from', '-', '--max-time', '1s'], { input: null })
    assert.deepEqual([run.status, run.stderr], [75, 'etrn: the time that --max-time gives is over\n'])
  })
})
