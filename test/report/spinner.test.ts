import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { ServerAddress } from '../../src/input/server-address.js'
import type { Progress } from '../../src/report/reporter.js'
import { Terminal } from '../../src/report/terminal.js'
import { BIN } from '../helpers/files.js'
import { BYE, HELLO, scripted } from '../helpers/scripted-server.js'
import { noTerminal, TerminalRun, TerminalStream } from '../helpers/shell.js'

test(
  'shows the command that the run waits for on a terminal, until the result is there',
  { skip: noTerminal() },
  async (t) => {
    // The server replies when the spinner has shown the command.
    const server = await scripted(t, [
      ...HELLO,
      'C: ETRN site.example',
      async () => run.waitFor('ETRN site.example'),
      'S: 250 OK',
      ...BYE,
    ])
    const command = `${BIN} 127.0.0.1:${server.port} --helo gw.site.example site.example`
    const run = new TerminalRun(`stty cols 80 rows 24; ${command}`)
    assert.equal(await run.end(), 0)
    assert.match(run.shown, /site\.example: .*accepted.* \(250 OK\)\r\n/)
    assert.match(run.shown, /waiting for the greeting|: ETRN site\.example/)
  },
)

suite('the spinner of a terminal', () => {
  const SERVER = { word: 'isp', host: 'mx.isp.example', port: 587 } as ServerAddress
  const showAll = async (...events: Progress[]): Promise<string> => {
    const stream = new TerminalStream()
    const terminal = new Terminal({ stdout: stream, stderr: stream, environment: {} })
    await terminal.startSpinner()
    for (const event of events) terminal.showProgress(...event)
    terminal.hideSpinner()
    stream.end()
    return stripVTControlCharacters(await text(stream))
  }
  const shows = (title: string, expected: string, ...progress: Progress): void =>
    void test(title, async () => assert.ok((await showAll(progress)).includes(` ${expected}`)))
  shows('names the host that is looked up', 'isp: looking up mx.isp.example', SERVER, { type: 'step', stage: 'dns' })
  shows('names the address and port of a connection', 'isp: connecting to 192.0.2.1 port 587', SERVER, {
    type: 'connecting',
    address: '192.0.2.1',
  })
  shows('names the greeting', 'isp: waiting for the greeting', SERVER, { type: 'step', stage: 'greeting' })
  shows('names the command that was sent', 'isp: QUIT', SERVER, { type: 'sent', line: 'QUIT' })
  shows('shows a pause of one server', 'isp: again at 1 (later)', SERVER, {
    type: 'pause',
    reason: 'later',
    next: 'again at 1',
    pauseMs: 1,
  })
  shows('shows a pause of the whole run without a server', 'again at 1 (later)', null, {
    type: 'pause',
    reason: 'later',
    next: 'again at 1',
    pauseMs: 1,
  })
  test('keeps within one line of the terminal', async () => {
    const text = await showAll([SERVER, { type: 'pause', reason: 'x'.repeat(2000), next: 'again at 1', pauseMs: 1 }])
    for (const line of text.split(/[\r\n]/)) assert.ok(line.length <= 80, line)
    assert.match(text, /isp: again at 1 \(x+\.\.\./)
  })
  shows('has no characters whose width a terminal may see otherwise', 'isp: again at 1 (450 ?? h?)', SERVER, {
    type: 'pause',
    reason: '450 \u2630\u{1f600} h\u00e9',
    next: 'again at 1',
    pauseMs: 1,
  })
  test('counts the names of a run with several', async () => {
    const stream = new TerminalStream()
    const terminal = new Terminal({ stdout: stream, stderr: stream, environment: {} })
    await terminal.startSpinner()
    terminal.setNames(40)
    terminal.countName()
    terminal.showProgress(SERVER, { type: 'sent', line: 'QUIT' })
    terminal.hideSpinner()
    stream.end()
    assert.match(stripVTControlCharacters(await text(stream)), / 1 of 40 names; isp: QUIT/)
  })
  test('ignores events that nothing waits for', async () => {
    const reply = { code: 250, lines: ['OK'], enhancedCode: null, text: 'OK' }
    const ignored: Progress[] = [
      [SERVER, { type: 'connected', address: '192.0.2.1', localAddress: '192.0.2.2' }],
      [SERVER, { type: 'received', reply }],
      [SERVER, { type: 'step', stage: 'ehlo' }],
      [null, { type: 'sent', line: 'QUIT' }],
    ]
    assert.equal(await showAll(...ignored), '')
  })
})
