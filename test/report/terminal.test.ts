import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { ServerAddress } from '../../src/input/server-address.js'
import { Terminal, type TerminalOptions } from '../../src/report/terminal.js'
import { etrn } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
import { etrnSteps, scripted, sessionWith } from '../helpers/scripted-server.js'
import { NO_SIGNAL } from '../helpers/options.js'
import { noTerminal, TerminalRun, TerminalStream } from '../helpers/shell.js'

const HELO = ['--helo', 'gw.site.example']

suite('colour', { concurrency: true }, () => {
  const colours = (
    title: string,
    isColoured: boolean,
    options: readonly string[],
    env: Readonly<Record<string, string>>,
  ): void =>
    void test(title, async () => {
      const run = await etrn(['127.0.0.1:9', ...HELO, ...options, 'site.example'], { env })
      assert.equal(run.stderr.includes('\x1b['), isColoured)
    })
  colours('a pipe gets no colour', false, [], {})
  colours('--color always gives colour in spite of NO_COLOR', true, ['--color', 'always'], { NO_COLOR: '1' })
  colours('FORCE_COLOR gives a pipe colour', true, [], { FORCE_COLOR: '1' })
  colours('FORCE_COLOR=0 gives no colour', false, [], { FORCE_COLOR: '0' })
  colours('FORCE_COLOR=false gives no colour', false, [], { FORCE_COLOR: 'false' })
  colours('NO_COLOR outweighs FORCE_COLOR', false, [], { FORCE_COLOR: '1', NO_COLOR: '1' })
  colours('an empty NO_COLOR does not count', true, [], { FORCE_COLOR: '1', NO_COLOR: '' })
  colours('--color never gives no colour in spite of FORCE_COLOR', false, ['--color', 'never'], { FORCE_COLOR: '1' })
})

suite('Terminal', () => {
  type Streams = { readonly stdout: PassThrough; readonly stderr: PassThrough }
  const isColoured = async (
    streams: Streams,
    environment: Record<string, string> = {},
  ): Promise<[boolean, boolean]> => {
    const { out, err } = await new Terminal({ ...streams, environment }).outputs('auto', new AbortController().signal)
    out.line({ style: 'red', text: 'text' })
    err.line({ style: 'red', text: 'text' })
    const isRed = (stream: PassThrough): boolean => String(stream.read()).includes('\x1b[31m')
    return [isRed(streams.stdout), isRed(streams.stderr)]
  }
  test('colours each stream that is a terminal, unless TERM is dumb', async () => {
    const terminals = { stdout: new TerminalStream(), stderr: new TerminalStream() }
    assert.deepEqual(await isColoured({ stdout: new TerminalStream(), stderr: new PassThrough() }), [true, false])
    assert.deepEqual(await isColoured({ stdout: new PassThrough(), stderr: new TerminalStream() }), [false, true])
    assert.deepEqual(await isColoured(terminals, { TERM: 'dumb' }), [false, false])
    assert.deepEqual(await isColoured(terminals, { TERM: 'xterm' }), [true, true])
  })

  /** Fills a pipe beyond what may wait for its reader, and returns the terminal that it belongs to. */
  const fill = (stdout: PassThrough): Terminal => {
    const terminal = new Terminal({ stdout, stderr: new PassThrough(), environment: {} })
    terminal.print('x'.repeat(2_000_000))
    return terminal
  }
  test('does not wait for a reader who has little to read', async () => {
    const terminal = new Terminal({ stdout: new PassThrough(), stderr: new PassThrough(), environment: {} })
    for (let line = 0; line < 1000; line++) terminal.print('x'.repeat(999))
    await terminal.drain(new AbortController().signal)
  })
  test('waits, for each of several callers, until a slow reader has taken the output', async () => {
    const stdout = new PassThrough()
    const terminal = fill(stdout)
    let waiting = 20
    const all = Array.from({ length: waiting }, async () => {
      await terminal.drain(new AbortController().signal)
      waiting--
    })
    await new Promise(setImmediate)
    assert.equal(waiting, 20)
    assert.ok(stdout.listenerCount('drain') <= 2)
    stdout.resume()
    await Promise.all(all)
  })
  for (const [title, end] of [
    ['the signal aborts', (_: PassThrough, ending: AbortController) => ending.abort()],
    ['the stream is closed', (stdout: PassThrough) => void stdout.destroy()],
    ['the reader is gone', (stdout: PassThrough) => void stdout.destroy(Object.assign(new Error(), { code: 'EPIPE' }))],
  ] as const)
    test(`waits for a slow reader no longer when ${title}`, async () => {
      const stdout = new PassThrough()
      const ending = new AbortController()
      const waiting = fill(stdout).drain(ending.signal)
      end(stdout, ending)
      await waiting
    })

  const SERVER = { word: 'mx.example', port: 25 } as ServerAddress
  const WAITING = [SERVER, { type: 'sent', line: 'QUIT' }] as const
  /** Calls `act` with a terminal. Returns the text that standard error has taken at its end. */
  const showOn = async (
    stderr: PassThrough,
    act: (terminal: Terminal) => unknown,
    { stdout = new TerminalStream(), environment = {} }: Partial<TerminalOptions> = {},
  ): Promise<string> => {
    const terminal = new Terminal({ stdout, stderr, environment })
    await act(terminal)
    await terminal.close(NO_SIGNAL)
    stderr.end()
    return text(stderr)
  }
  const startWaiting = async (terminal: Terminal): Promise<void> => {
    terminal.showProgress(...WAITING)
    await terminal.startSpinner()
  }
  test('shows a spinner if both streams are terminals', async () =>
    assert.match(await showOn(new TerminalStream(), startWaiting), /mx\.example: QUIT/))
  test('shows no spinner if standard output is no terminal', async () =>
    assert.equal(await showOn(new TerminalStream(), startWaiting, { stdout: new PassThrough() }), ''))
  test('shows no spinner if standard error is no terminal', async () =>
    assert.equal(await showOn(new PassThrough(), startWaiting), ''))
  test('shows no spinner if standard error has 0 columns', async () =>
    assert.equal(await showOn(new TerminalStream(0), startWaiting), ''))
  test('shows no spinner in CI', async () =>
    assert.equal(await showOn(new TerminalStream(), startWaiting, { environment: { CI: 'true' } }), ''))
  test('shows no spinner if TERM is dumb', async () =>
    assert.equal(await showOn(new TerminalStream(), startWaiting, { environment: { TERM: 'dumb' } }), ''))
  test('shows the last step that is not done when the spinner starts', async () => {
    const shown = await showOn(new TerminalStream(), async (terminal) => {
      terminal.showProgress(SERVER, { type: 'step', stage: 'greeting' })
      terminal.showProgress(SERVER, { type: 'done', stage: 'greeting', elapsedMs: 1 })
      await terminal.startSpinner()
    })
    assert.match(shown, /mx\.example: waiting for the greeting/)
  })
  test('shows no spinner if the run ends while the spinner is being loaded', async () => {
    const shown = await showOn(new TerminalStream(), async (terminal) => {
      terminal.showProgress(...WAITING)
      const started = terminal.startSpinner()
      await terminal.close(NO_SIGNAL)
      await started
    })
    assert.equal(stripVTControlCharacters(shown), '')
  })
  test('removes the spinner before a line is printed', async () => {
    const shown = await showOn(new TerminalStream(), async (terminal) => {
      await startWaiting(terminal)
      terminal.warn('beware')
    })
    // A spinner hides the cursor while it turns.
    assert.ok(shown.slice(0, shown.indexOf('beware')).endsWith('\x1b[?25h'), shown)
  })
  test('its own colours are the only control characters of a line', async () => {
    const shown = await showOn(new TerminalStream(), async (terminal) => {
      const { err } = await terminal.outputs('always', new AbortController().signal)
      err.line('\x1b[31m1\n', { style: 'green', text: '\x1b[32m2\x07' }, '\u202e3\x1b[39m')
      terminal.warn('\x1b[2J\n4')
      terminal.warnLines('5\n\x1b[2J')
    })
    assert.equal(
      shown.replaceAll('\x1b[?25h', '').replaceAll('\x1b[1G', ''),
      '\\x1b[31m1\\x0a\x1b[32m\\x1b[32m2\\x07\x1b[39m\\u{202e}3\\x1b[39m\n\\x1b[2J\\x0a4\n5\n\\x1b[2J\n',
    )
  })
  test('a line of the spinner has no control characters of others', async () => {
    const shown = await showOn(new TerminalStream(), async (terminal) => {
      terminal.showProgress({ ...SERVER, word: 'm\x1b[2Jx' }, { type: 'sent', line: 'QUIT\u202e' })
      await terminal.startSpinner()
    })
    assert.ok(shown.includes('m\\x1b[2Jx: QUIT\\u{202e}'), shown)
  })
  test('close does not wait long for a stream that takes nothing if the signal is aborted', async () => {
    const stdout = Object.assign(new Writable({ write: () => undefined }), { isTTY: true })
    const terminal = new Terminal({ stdout, stderr: new PassThrough().resume(), environment: {} })
    terminal.print('text')
    assert.match((await terminal.close(AbortSignal.abort()))?.message ?? '', /no program read it in time/)
    const abort = new AbortController()
    const closed = terminal.close(abort.signal)
    abort.abort()
    assert.ok((await closed) instanceof Error)
  })
  test('close returns an error of a stream, except EPIPE', async () => {
    for (const [code, isReported] of [
      ['ENOSPC', true],
      ['EPIPE', false],
    ] as const) {
      const stdout = new PassThrough()
      const terminal = new Terminal({ stdout, stderr: new PassThrough(), environment: {} })
      const error = Object.assign(new Error('broken'), { code })
      stdout.emit('error', error)
      assert.equal(await terminal.close(NO_SIGNAL), isReported ? error : undefined)
    }
  })
})

suite('a real terminal', { skip: noTerminal(), concurrency: true }, () => {
  const showsNoSpinner = (title: string, size: string, options = ''): void =>
    void test(title, async (t) => {
      const server = await scripted(t, sessionWith(...etrnSteps('site.example', '250 OK')))
      const command = `${BIN} 127.0.0.1:${server.port} ${HELO.join(' ')} ${options} site.example`
      const run = new TerminalRun(`stty ${size}; ${command}`)
      assert.equal(await run.end(), 0)
      assert.match(run.shown, /site\.example: .*accepted.* \(250 OK\)\r\n/)
      assert.doesNotMatch(run.shown, /waiting for the greeting|: ETRN site\.example/)
    })
  showsNoSpinner('shows no spinner if standard error is redirected', 'cols 80 rows 24', '-v --color never 2>/dev/null')
  showsNoSpinner('shows no spinner if it has 0 columns, as serial lines have', 'cols 0 rows 0')
})
