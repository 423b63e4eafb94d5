import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { etrn } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
import { BYE, type Conversation, HELLO, loose, reset, silence, type Step } from '../helpers/scripted-server.js'

// Nothing that a terminal obeys or hides may be in any output.
const RAW = /[^\P{C}\n]|[\p{Zl}\p{Zp}]/u

const ESCAPES = Buffer.concat([
  Buffer.from('a\x1b[2J\x1b]0;owned\x07\b\r\v\x7f\0'),
  Buffer.from([0x9b, 0xc3, 0xff]),
  Buffer.from('\u0085\u009b31m\u202edaer\u2066\u200b\u00ad\u2028\ufeff\u{e0041}é'),
])

async function against(
  t: TestContext,
  conversation: Conversation,
  ...options: string[]
): Promise<{ status: number | null; output: string }> {
  const server = await loose(t, conversation)
  const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...options, 'site.example']
  const { status, stdout, stderr } = await etrn(args)
  assert.doesNotMatch(stdout + stderr, RAW)
  assert.doesNotMatch(stdout + stderr, /^ +at /m)
  return { status, output: stdout + stderr }
}

const say = (...parts: readonly (string | Buffer)[]): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part)))

suite('what a server says can neither move the cursor nor fake a line', { concurrency: true }, () => {
  for (const form of [[], ['-v'], ['--json'], ['-q', '-v'], ['--color', 'always', '--json']]) {
    const title = form.join(' ')
    test(`in a reply ${title}`, async (t) => {
      const { output } = await against(
        t,
        [...HELLO, 'C: ETRN site.example', say('459 4.7.1 ', ESCAPES, '\r\n'), ...BYE],
        ...form,
      )
      if (!form.includes('-q')) assert.ok(output.includes('\\x1b[2J') || output.includes('\\\\x1b[2J'), output)
    })
    test(`in the greeting ${title}`, async (t) => {
      assert.equal((await against(t, [say('554 ', ESCAPES, '\r\n'), ...BYE], ...form)).status, 69)
    })
    test(`in a keyword ${title}`, async (t) => {
      const hello = [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        say('250-mx\r\n250-', ESCAPES, '\r\n250 X', ESCAPES, '\r\n'),
        ...BYE,
      ] as const
      assert.equal((await against(t, hello, ...form)).status, 69)
    })
    test(`in what is no reply ${title}`, async (t) => {
      assert.equal((await against(t, [say(ESCAPES, '\r\n'), ...BYE], ...form)).status, 76)
    })
  }
})

suite('endless', { concurrency: true }, () => {
  const endless = (piece: string) => async (socket: Socket) => {
    const block = Buffer.from(piece.repeat(Math.ceil(65_536 / piece.length)))
    for (let sent = 0; sent < FLOOD_OCTETS && !socket.destroyed; sent += block.length) {
      if (!socket.write(block)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    }
    await silence(socket)
  }
  const FLOOD_OCTETS = 64 * 1024 * 1024
  for (const [title, piece] of [
    ['lines of a greeting', '220-hello\r\n'],
    ['line', 'x'],
    ['greeting without an end', '220 hello '],
    ['challenge', '334 aaaa'],
    ['NULs', '\0'],
    ['line ends', '\r\n'],
  ] as const) {
    test(title, async (t) => {
      const { status } = await floodedRun(t, [endless(piece)])
      assert.equal(status, 76)
    })
  }
  test('EHLO', async (t) =>
    assert.equal((await floodedRun(t, ['S: 220 mx', 'C: EHLO gw.site.example', endless('250-X\r\n')])).status, 76))
  test('reply to ETRN', async (t) => {
    assert.equal((await floodedRun(t, [...HELLO, 'C: ETRN site.example', endless('250-OK\r\n')])).status, 76)
  })
  test('reply to QUIT changes nothing', async (t) => {
    const { status } = await floodedRun(t, [
      ...HELLO,
      'C: ETRN site.example',
      'S: 250 OK',
      'C: QUIT',
      endless('221-x\r\n'),
    ])
    assert.equal(status, 0)
  })
  test('memory stays bounded under 64 MiB', async (t) => {
    const calm = await floodedRun(t, [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE])
    for (const piece of ['250-OK\r\n', '250 OK\r\n', 'x']) {
      const flooded = await floodedRun(t, [...HELLO, 'C: ETRN site.example', endless(piece)])
      t.diagnostic(`${JSON.stringify(piece)}: peak RSS ${flooded.peak} KiB, ${calm.peak} KiB without the flood`)
      assert.ok(flooded.peak / calm.peak < 1.25)
    }
  })
  test('nor do long replies to many names add up', async (t) => {
    const long = Buffer.concat([...Array.from({ length: 127 }, () => line('250-')), line('250 ')])
    const peakOf = async (sessions: number): Promise<number> => {
      const names = Array.from({ length: sessions * 7 }, (_, i) => `n${i}.example`)
      const conversations = Array.from({ length: sessions }, (_, s) => {
        return [...HELLO, ...names.slice(s * 7, s * 7 + 7).flatMap((name): Step[] => [`C: ETRN ${name}`, long]), ...BYE]
      })
      const { status, peak } = await floodedRun(t, conversations, ['--jobs', '1', ...names])
      assert.equal(status, 0)
      t.diagnostic(`${names.length} replies of 128 lines of NUL: peak RSS ${peak} KiB`)
      return peak
    }
    const few = await peakOf(30)
    assert.ok((await peakOf(90)) / few < 1.1)
  })
})

function line(code: string): Buffer {
  return Buffer.from(`${code}${'\0'.repeat(2048 - 6)}\r\n`)
}

/** Runs the command and measures its peak resident set, in KiB. The client may stop in the middle of the script. */
async function floodedRun(
  t: TestContext,
  conversations: Conversation | readonly Conversation[],
  words: readonly string[] = ['site.example'],
): Promise<{ status: number | null; peak: number }> {
  const isOne = (c: typeof conversations): c is Conversation => !c.every((step) => Array.isArray(step))
  const server = await loose(t, ...(isOne(conversations) ? [conversations] : conversations))
  const atExit =
    "import { writeSync } from 'node:fs'; process.on('exit', () => writeSync(3, `${process.resourceUsage().maxRSS}`))"
  // A small heap, so that what adds up shows, not how far the collector lets it grow
  const heap = ['--max-old-space-size=32', '--max-semi-space-size=1']
  const preload = ['--import', `data:text/javascript,${encodeURIComponent(atExit)}`]
  const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...words]
  const child = spawn(process.execPath, [...heap, ...preload, BIN, ...args], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const [measured, [status]] = await Promise.all([
    text(child.stdio[3] as NodeJS.ReadableStream),
    once(child, 'exit') as Promise<[number | null]>,
  ])
  return { status, peak: Number(measured) }
}

suite('slow', { concurrency: true }, () => {
  // Octet after octet, each well within the time that a whole reply has, the whole of them far beyond it.
  const drip = (octets: string) => async (socket: Socket) => {
    for (const octet of octets) {
      if (socket.destroyed) return
      socket.write(octet)
      await sleep(300)
    }
  }
  const long = 'x'.repeat(100)
  const LIMIT = ['--timeout', '2s']
  test('a greeting by drips', async (t) => assert.equal((await against(t, [drip(`220 ${long}`)], ...LIMIT)).status, 75))
  test('a reply by drips', async (t) =>
    assert.equal((await against(t, [...HELLO, 'C: ETRN site.example', drip(`250-${long}`)], ...LIMIT)).status, 75))
  test('lines by drips', async (t) => {
    const conversation = ['S: 220 mx', 'C: EHLO gw.site.example', drip('250-a\r\n'.repeat(20))] as const
    assert.equal((await against(t, conversation, ...LIMIT)).status, 75)
  })
  test('QUIT by drips changes nothing', async (t) => {
    const conversation: Conversation = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', 'C: QUIT', drip(`221 ${long}`)]
    assert.equal((await against(t, conversation)).status, 0)
  })
  test('--max-time ends it earlier', async (t) => {
    const { status, output } = await against(
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
})

suite('something else listens there', { concurrency: true }, () => {
  for (const [title, said, status] of [
    ['SSH', 'SSH-2.0-OpenSSH_9.2p1\r\n', 76],
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n', 76],
    ['POP3', '+OK ready\r\n', 76],
    ['IMAP', '* OK ready\r\n', 76],
    ['FTP', '220 FTP server ready\r\n', 69],
    ['a TLS alert', '\x15\x03\x01\x00\x02\x02\x28\n', 76],
  ] as const) {
    test(title, async (t) => {
      const server = await loose(t, [
        Buffer.from(said, 'latin1'),
        ...(title === 'FTP' ? (['C: EHLO gw.site.example', 'S: 500 EHLO?', ...BYE] as const) : [silenceAfterQuit]),
      ])
      const run = await etrn([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'])
      assert.equal(run.status, status)
      assert.doesNotMatch(run.stderr, RAW)
    })
  }
  test('whatever it is, the message stays readable', async (t) => {
    const { output } = await against(t, [Buffer.from(`${'\0'.repeat(2000)}\n`), silenceAfterQuit])
    assert.ok(output.length < 800, output)
  })
  test('a reset', async (t) => assert.equal((await against(t, [reset])).status, 75))
})

/** Takes the QUIT, says nothing, goes. */
function silenceAfterQuit(socket: Socket): void {
  socket.once('data', () => socket.destroy())
}
