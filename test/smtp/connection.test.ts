import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { StepError } from '../../src/errors.js'
import { Connection } from '../../src/smtp/connection.js'
import { RejectedError } from '../../src/smtp/errors.js'
import type { DialogueEvent } from '../../src/smtp/trace.js'
import { etrn, etrnJson } from '../helpers/command.js'
import {
  BYE,
  close,
  type Conversation,
  HELLO,
  loose,
  reset,
  scripted,
  silence,
  type Step,
} from '../helpers/scripted-server.js'
import { measurePeak } from './peak-memory.js'
import { AGREED, CA, certificateStep, HELLO_AGAIN, ignoreInput, LISTED, testFailed } from './tls-server.js'

type ConnectionOptions = ConstructorParameters<typeof Connection>[1]

/** What a terminal would obey or hide. */
const UNPRINTABLE = /[^\P{C}\n]|[\p{Zl}\p{Zp}]/u

/** Returns the exit status and all output, which must be printable and have no stack trace. */
async function requestFrom(
  t: TestContext,
  conversation: Conversation,
  ...options: string[]
): Promise<{ status: number | null; output: string }> {
  const server = await loose(t, conversation)
  const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...options, 'site.example']
  const { status, stdout, stderr } = await etrn(args)
  assert.doesNotMatch(stdout + stderr, UNPRINTABLE)
  assert.doesNotMatch(stdout + stderr, /^ +at /m)
  return { status, output: stdout + stderr }
}

const FLOOD_OCTETS = 64 * 1024 * 1024

/** Sends 64 MiB of a repeated text, as long as the client is there. */
function flood(piece: string): (socket: Socket) => Promise<void> {
  return async (socket) => {
    const block = Buffer.from(piece.repeat(Math.ceil(65_536 / piece.length)))
    for (let sent = 0; sent < FLOOD_OCTETS && !socket.destroyed; sent += block.length) {
      if (!socket.write(block)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    }
    await silence(socket)
  }
}

test('an error that ended the socket before a command is that of the command', async (t) => {
  const server = createServer((peer) => peer.on('error', () => undefined).write('220 mx\r\n')).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  const { signal } = new AbortController()
  const connection = new Connection(socket, { timeoutMs: 20_000, signal, trace: () => undefined })
  const code = 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
  // In this way Node reports the alert of a server that has TLS 1.3.
  socket.emit('error', Object.assign(new Error(code), { code }))
  socket.destroy()
  await assert.rejects(connection.command('EHLO gw.example'), /^StepError: the server ended TLS with an alert/)
})

suite('an endless reply', { concurrency: true }, () => {
  for (const [title, piece] of [
    ['of greeting lines', '220-hello\r\n'],
    ['of one line', 'x'],
    ['of one greeting line', '220 hello '],
    ['of one challenge', '334 aaaa'],
    ['of NULs', '\0'],
    ['of line ends', '\r\n'],
  ] as const) {
    test(`${title} fails with 76`, async (t) => {
      assert.equal((await requestFrom(t, [flood(piece)])).status, 76)
    })
  }
  test('to EHLO fails with 76', async (t) => {
    const conversation = ['S: 220 mx', 'C: EHLO gw.site.example', flood('250-X\r\n')] as const
    assert.equal((await requestFrom(t, conversation)).status, 76)
  })
  test('to ETRN fails with 76', async (t) => {
    assert.equal((await requestFrom(t, [...HELLO, 'C: ETRN site.example', flood('250-OK\r\n')])).status, 76)
  })
  test('to QUIT leaves the exit status at 0', async (t) => {
    const conversation: Conversation = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', 'C: QUIT', flood('221-x\r\n')]
    assert.equal((await requestFrom(t, conversation)).status, 0)
  })
  test('of 64 MiB takes no memory', async (t) => {
    const usual = await measurePeak(t, [[...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE]])
    for (const piece of ['250-OK\r\n', '250 OK\r\n', 'x']) {
      const flooded = await measurePeak(t, [[...HELLO, 'C: ETRN site.example', flood(piece)]])
      t.diagnostic(`${JSON.stringify(piece)}: peak RSS ${flooded.peak} KiB, ${usual.peak} KiB without the flood`)
      assert.ok(flooded.peak / usual.peak < 1.25)
    }
  })
})

suite('a reply by drips', { concurrency: true }, () => {
  // Each octet comes well within the time that the whole reply has, and all of them far beyond it.
  const drip = (octets: string) => async (socket: Socket) => {
    for (const octet of octets) {
      if (socket.destroyed) return
      socket.write(octet)
      await sleep(100)
    }
  }
  const long = 'x'.repeat(100)
  const TIMEOUT = ['--timeout', '1s']
  test('fails with 75 as a greeting', async (t) => {
    assert.equal((await requestFrom(t, [drip(`220 ${long}`)], ...TIMEOUT)).status, 75)
  })
  test('fails with 75 after ETRN', async (t) => {
    const conversation: Conversation = [...HELLO, 'C: ETRN site.example', drip(`250-${long}`)]
    assert.equal((await requestFrom(t, conversation, ...TIMEOUT)).status, 75)
  })
  test('fails with 75 after EHLO, though whole lines come', async (t) => {
    const conversation = ['S: 220 mx', 'C: EHLO gw.site.example', drip('250-a\r\n'.repeat(20))] as const
    assert.equal((await requestFrom(t, conversation, ...TIMEOUT)).status, 75)
  })
  test('leaves the exit status at 0 after QUIT', async (t) => {
    const conversation: Conversation = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', 'C: QUIT', drip(`221 ${long}`)]
    assert.equal((await requestFrom(t, conversation, ...TIMEOUT)).status, 0)
  })
})

test('--max-time ends the wait for a reply before --timeout does', async (t) => {
  const { status, output } = await requestFrom(
    t,
    [...HELLO, 'C: ETRN site.example', silence],
    '--timeout',
    '10m',
    '--max-time',
    '1s',
  )
  assert.equal(status, 75)
  assert.match(output, /--max-time/)
})

suite('a server of another protocol', { concurrency: true }, () => {
  for (const [protocol, greeting, status] of [
    ['SSH', 'SSH-2.0-OpenSSH_9.2p1\r\n', 76],
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n', 76],
    ['POP3', '+OK ready\r\n', 76],
    ['IMAP', '* OK ready\r\n', 76],
    ['FTP', '220 FTP server ready\r\n', 69],
    ['TLS, which sends an alert', '\x15\x03\x01\x00\x02\x02\x28\n', 76],
  ] as const) {
    test(`fails with ${status} and a printable message: ${protocol}`, async (t) => {
      const afterwards: readonly Step[] =
        protocol === 'FTP' ? ['C: EHLO gw.site.example', 'S: 500 EHLO?', ...BYE] : [leaveAfterQuit]
      assert.equal((await requestFrom(t, [Buffer.from(greeting, 'latin1'), ...afterwards])).status, status)
    })
  }
})

suite('a lost connection', { concurrency: true }, () => {
  const AFTER_ETRN: Conversation = [...HELLO, 'C: ETRN site.example']
  for (const [title, conversation, message] of [
    ['before the greeting, by a reset', [reset], /the server closed the connection(?! in)|connection reset/],
    ['before the greeting', [close], /the server closed the connection(?! in)/],
    [
      'within a line of the greeting',
      ['S: 220-mx', Buffer.from('220 m'), close],
      /closed the connection in the middle of the greeting/,
    ],
    ['between two lines of the greeting', ['S: 220-mx', close], /closed the connection in the middle of the greeting/],
    ['in place of the reply to ETRN', [...AFTER_ETRN, close], /the server closed the connection(?! in)/],
  ] as const) {
    test(`fails with 75: ${title}`, async (t) => {
      const { status, output } = await requestFrom(t, conversation)
      assert.equal(status, 75)
      assert.match(output, message)
    })
  }
})

suite('plain text after the reply to STARTTLS fails with 76', { concurrency: true }, () => {
  // CVE-2021-22947, CVE-2021-38371: it would be taken for a reply within TLS.
  for (const [title, octets] of [
    ['if it is a forged EHLO reply', '220 go ahead\r\n250-mx.example\r\n250 ETRN\r\n'],
    ['if it is half a line', '220 go ahead\r\n2'],
    ['if it is a 421', '220 go ahead\r\n421 bye\r\n'],
  ] as const) {
    for (const [level, options] of [
      ['may', []],
      ['encrypt', ['--tls', 'encrypt']],
      ['verify', CA],
    ] as const) {
      testFailed(
        `${title}, with --tls ${level}`,
        [...LISTED, 'C: STARTTLS', Buffer.from(octets), ignoreInput, silence],
        // The server doesn't reply to QUIT.
        [...options, '--timeout', '2s'],
        'starttls',
        /^unencrypted data arrived after STARTTLS, before TLS began$/,
      )
    }
  }
})

test('plain text within TLS fails the names that have no reply yet', async (t) => {
  const raw: { socket?: Socket } = {}
  const server = await loose(t, [
    (socket) => (raw.socket = socket),
    ...AGREED,
    certificateStep('mx'),
    ...HELLO_AGAIN,
    'C: ETRN a.example',
    () => raw.socket?.write('250 OK\r\n'),
    silence,
  ])
  const run = await etrnJson([
    `127.0.0.1:${server.port}`,
    '--helo',
    'gw.site.example',
    '--timeout',
    '2s',
    'a.example',
    'b.example',
  ])
  const [report] = run.document.servers
  assert.equal(run.status, 76)
  assert.match(report?.error?.message ?? '', /^unencrypted data arrived within TLS$/)
  assert.deepEqual(
    report?.names.map(({ outcome }) => outcome),
    ['failed', 'skipped'],
  )
})

suite('after accepted names', { concurrency: true }, () => {
  const names = ['a.example', 'b.example', 'c.example', 'd.example']
  const requests = names.slice(0, 3).flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK'])
  for (const [title, octets, isLimit] of [
    ['plain text within TLS is the limit of the session', '554 too many non-mail commands\r\n', true],
    ['an over-long record fails with 76', '\x17\x03\x03\xff\xff', false],
    ['an over-long record that looks like text fails with 76', '\x16\x03 hello', false],
    [
      'a record that cannot be decrypted, and text behind it, fail with 76',
      `\x17\x03\x03\0\x20${'5'.repeat(64)}`,
      false,
    ],
    ['an unencrypted alert fails with 76', '\x15\x03\x03\0\x02\x02\x50', false],
  ] as const)
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
      test(`${title} over ${maxVersion}`, async (t) => {
        const raw: { socket?: Socket } = {}
        const first: Conversation = [
          (socket) => (raw.socket = socket),
          ...AGREED,
          certificateStep('mx', { maxVersion }),
          ...HELLO_AGAIN,
          ...requests,
          'C: ETRN d.example',
          () => raw.socket?.end(octets, 'latin1'),
          silence,
        ]
        const second = [
          ...AGREED,
          certificateStep('mx'),
          ...HELLO_AGAIN,
          'C: ETRN d.example',
          'S: 250 OK',
          ...BYE,
        ] as const
        const server = await loose(t, first, ...(isLimit ? [second] : []))
        const args = [`127.0.0.1:${server.port}`, '--jobs', '1', '--helo', 'gw.site.example', ...names]
        const { status, document } = await etrnJson(args)
        const outcomes = document.servers[0]?.names.map(({ outcome }) => outcome)
        assert.deepEqual(
          [status, outcomes],
          [isLimit ? 0 : 76, ['started', 'started', 'started', isLimit ? 'started' : 'failed']],
        )
      })
})

for (const level of ['encrypt', 'may'] as const)
  test(`a broken record directly after the TLS handshake fails with 76 and --tls ${level}`, async (t) => {
    const raw: { socket?: Socket } = {}
    const server = await loose(t, [
      (socket) => (raw.socket = socket),
      ...AGREED,
      certificateStep('mx', { maxVersion: 'TLSv1.2' }),
      // The end of the handshake is written, and not yet read.
      () => nextTurn(),
      () => raw.socket?.write(Buffer.from([0x17, 3, 3, 0, 32, ...Array<number>(32).fill(0)])),
      silence,
    ])
    const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--tls', level, 'site.example']
    const { status, document } = await etrnJson(args)
    const { error } = document.servers[0] ?? {}
    // OpenSSL's own error, or Node's in place of it
    assert.deepEqual([status, error?.stage], [76, 'tls'])
    assert.match(error?.message ?? '', /^(?:TLS failed|invalid data arrived within TLS) \(/)
  })

/** Closes the connection when the client sends anything. */
function leaveAfterQuit(socket: Socket): void {
  socket.once('data', () => socket.destroy())
}

const connectTo = async (
  t: TestContext,
  conversation: Conversation,
  options: Partial<ConnectionOptions> = {},
): Promise<{ smtp: Connection; sent: string[]; socket: Socket }> => {
  const socket = new Socket()
  // Before the server's own hook, which waits for the end of the connection.
  t.after(() => socket.destroy())
  const server = await scripted(t, conversation)
  socket.on('error', () => undefined)
  socket.connect({ host: '127.0.0.1', port: server.port })
  await once(socket, 'connect')
  const sent: string[] = []
  const trace = (event: DialogueEvent): void => {
    if (event.type === 'sent') sent.push(event.line)
  }
  const signal = new AbortController().signal
  return { smtp: new Connection(socket, { timeoutMs: 60_000, signal, trace, ...options }), sent, socket }
}

suite('Connection', { concurrency: true }, () => {
  test('sends a command and returns its whole reply', async (t) => {
    const { smtp, sent } = await connectTo(t, ['S: 220 mx', 'C: NOOP x', 'S: 250-a', 'S: 250 b', ...BYE])
    assert.equal((await smtp.readReply()).code, 220)
    assert.equal((await smtp.command('NOOP x', 'NOOP ****')).text, 'a / b')
    await smtp.quit()
    assert.deepEqual(sent, ['NOOP ****', 'QUIT'])
  })
  test('takes a line of more than 2048 octets in a login only', async (t) => {
    const challenge = `334 ${'A'.repeat(12_000)}`
    const login: Conversation = ['C: AUTH LOGIN', `S: ${challenge}`, 'C: c2l0ZQ==', `S: ${challenge}`]
    const { smtp } = await connectTo(t, ['S: 220 mx', ...login, 'C: NOOP', `S: ${challenge}`, 'C: QUIT', close])
    await smtp.readReply()
    assert.equal((await smtp.command('AUTH LOGIN')).code, 334)
    assert.equal((await smtp.command('c2l0ZQ==', '****')).code, 334)
    await assert.rejects(smtp.command('NOOP'), /^StepError: invalid reply to NOOP: a line of more than 2048 octets/)
    await smtp.quit()
  })
  test('sends no line with a line end or NUL, nor one of more than 12288 octets', async (t) => {
    const longest = 'x'.repeat(12_286)
    const { smtp } = await connectTo(t, ['S: 220 mx', `C: ${longest}`, 'S: 500 no', ...BYE])
    await smtp.readReply()
    for (const line of ['NOOP\r', 'NOOP\nQUIT', 'NOOP\0', `${longest}x`])
      await assert.rejects(smtp.command(line), /^Error: not a command line$/)
    assert.equal((await smtp.command(longest)).code, 500)
    await smtp.quit()
  })
  test('commandIfAny sends nothing if there is no argument', async (t) => {
    const { smtp } = await connectTo(t, ['S: 220 mx', 'C: NOOP x', 'S: 250 ok', ...BYE])
    await smtp.readReply()
    assert.equal(await smtp.commandIfAny('NOOP', () => undefined), undefined)
    assert.equal((await smtp.commandIfAny('NOOP', () => 'x'))?.code, 250)
    await smtp.quit()
  })
  for (const [title, octets, message] of [
    ['a whole reply', '250 early\r\n', 'the server sent data too early, before NOOP (250 early)'],
    [
      'half a reply',
      '250-early\r\n25',
      'the server sent data too early, before NOOP: no complete reply within 1s (only "250-early / 25...")',
    ],
    ['no reply at all', 'early\r\n', 'the server sent data too early, before NOOP: not an SMTP reply ("early")'],
  ] as const) {
    test(`sends no command after ${title} that it did not ask for`, async (t) => {
      const conversation: Conversation = [Buffer.from(`220 mx\r\n${octets}`), ignoreInput]
      const { smtp, sent } = await connectTo(t, conversation, { timeoutMs: 1000 })
      await smtp.readReply()
      await assert.rejects(smtp.command('NOOP'), (error) => {
        assert.ok(error instanceof StepError)
        assert.deepEqual([error.message, error.exitStatus, error.kind], [message, 76, 'surplus-reply'])
        return true
      })
      assert.deepEqual(sent, [])
    })
  }
  test('takes a 421 before a command for the end of the session', async (t) => {
    const { smtp, sent } = await connectTo(t, [Buffer.from('220 mx\r\n421 bye\r\n'), close])
    await smtp.readReply()
    await assert.rejects(smtp.command('NOOP'), (error) => {
      assert.ok(error instanceof RejectedError)
      assert.deepEqual([error.reply.code, error.exitStatus, error.kind], [421, 75, 'connection-lost'])
      return true
    })
    assert.deepEqual(sent, [])
  })
  test('takes half a 421 before a command for a lost connection', async (t) => {
    const { smtp } = await connectTo(t, [Buffer.from('220 mx\r\n421-bye\r\n'), close])
    await smtp.readReply()
    await assert.rejects(smtp.command('NOOP'), (error) => {
      assert.ok(error instanceof StepError)
      assert.deepEqual([error.exitStatus, error.kind], [75, 'connection-lost'])
      return true
    })
  })
  test('sends QUIT but no command if the signal has aborted', async (t) => {
    const controller = new AbortController()
    const { smtp, sent } = await connectTo(t, ['S: 220 mx', 'C: QUIT'], { signal: controller.signal })
    await smtp.readReply()
    const reason = new StepError('stopped', { exitStatus: 75, kind: 'interrupted' })
    controller.abort(reason)
    await assert.rejects(smtp.command('NOOP'), reason)
    await smtp.quit()
    assert.deepEqual(sent, ['QUIT'])
  })
  test('cancels a login before QUIT if the signal aborts while the server may wait for its next line', async (t) => {
    const controller = new AbortController()
    const reason = new StepError('stopped', { exitStatus: 75, kind: 'interrupted' })
    const steps = ['S: 220 mx', 'C: AUTH LOGIN', ignoreInput, () => controller.abort(reason)] as const
    const { smtp, sent } = await connectTo(t, steps, { signal: controller.signal })
    await smtp.readReply()
    await assert.rejects(smtp.command('AUTH LOGIN'), reason)
    assert.deepEqual(sent, ['AUTH LOGIN', '*', 'QUIT'])
  })
  test('quit closes a connection whose server takes nothing more', { timeout: 20_000 }, async (t) => {
    const server = createServer((peer) => {
      t.after(() => peer.destroy())
      peer.pause()
      peer.write('220 mx\r\n')
    }).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    const signal = new AbortController().signal
    const smtp = new Connection(socket, { timeoutMs: 60_000, signal, trace: () => undefined })
    await smtp.readReply()
    // More than the system takes for a reader that doesn't read
    socket.write(Buffer.alloc(64 * 1024 * 1024))
    await smtp.quit()
    assert.ok(socket.closed)
  })
  test('sends no QUIT after a reply that is overdue', async (t) => {
    const { smtp, sent } = await connectTo(t, ['S: 220 mx', 'C: NOOP'], { timeoutMs: 1000 })
    await smtp.readReply()
    await assert.rejects(smtp.command('NOOP'), /^StepError: no reply to NOOP within 1s \(0 octets received\)$/)
    await smtp.quit()
    assert.deepEqual(sent, ['NOOP'])
  })
})

suite('Connection: timeouts', () => {
  const ample = { timeoutMs: 60_000 }
  const SHORT_HINT = 'give the server more time: --timeout 60s'
  const TLS_HINT = 'if the port expects TLS from the start, use smtps://mx.example'
  for (const [title, octets, command, limits, message, hint] of [
    [
      'a greeting',
      '',
      undefined,
      { silenceHint: TLS_HINT },
      'no greeting within 1s (0 octets received)',
      `${TLS_HINT}; if that does not help, ${SHORT_HINT}`,
    ],
    [
      'a greeting, with ample time,',
      '',
      undefined,
      ample,
      'no greeting within 60s (0 octets received)',
      'let etrn try again: --retry-for 10m',
    ],
    [
      'half a greeting',
      '220-mx',
      undefined,
      { silenceHint: TLS_HINT },
      'no complete greeting within 1s (only "220-mx...")',
      SHORT_HINT,
    ],
    [
      'half a reply',
      '220 mx\r\n250-',
      'NOOP',
      {},
      'the server sent data too early, before NOOP: no complete reply within 1s (only "250-...")',
      undefined,
    ],
    ['a reply to a command', '220 mx\r\n', 'EHLO x', {}, 'no reply to EHLO within 1s (0 octets received)', SHORT_HINT],
    [
      'a reply to a response of a login',
      '220 mx\r\n',
      'c2VjcmV0',
      {},
      'no reply to AUTH within 1s (0 octets received)',
      SHORT_HINT,
    ],
    [
      'a reply to ETRN',
      '220 mx\r\n',
      'ETRN x',
      {},
      'no reply to ETRN within 1s (0 octets received)',
      'a repeated request does no harm: try again with --timeout 60s',
    ],
    [
      'a reply to ETRN, with ample time,',
      '220 mx\r\n',
      'ETRN x',
      ample,
      'no reply to ETRN within 60s (0 octets received)',
      'a repeated request does no harm: try again with --retry-for 10m',
    ],
  ] as const)
    test(`says what it has received, and hints at more time, if ${title} is overdue`, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { smtp, socket } = await connectTo(t, [Buffer.from(octets), ignoreInput], { timeoutMs: 1000, ...limits })
      if (command !== undefined) await smtp.readReply()
      const attempt =
        command === undefined ? smtp.readReply() : smtp.command(command, command === 'c2VjcmV0' ? '****' : command)
      const failure = attempt.catch((error: unknown) => error)
      while (socket.bytesRead < octets.length) await nextTurn()
      // Then they are read.
      await nextTurn()
      t.mock.timers.tick(60_000)
      const error = await failure
      assert.ok(error instanceof StepError, String(error))
      assert.deepEqual([error.message, error.kind === 'timeout' ? error.hint : undefined], [message, hint])
    })
})
