import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ServerAddress } from '../../src/input/server-address.js'
import { transcriptLines } from '../../src/report/transcript.js'
import type { TlsInfo } from '../../src/smtp/tls.js'
import { etrn } from '../helpers/command.js'
import { etrnSteps, scripted, sessionWith } from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']

suite('transcript: -v', { concurrency: true }, () => {
  const readTranscript = (stderr: string): string[] =>
    stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, ''))
  test('prints the dialogue to standard error, each line with its time', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('site.example', '250 OK')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '-v', 'site.example'])
    assert.deepEqual(readTranscript(run.stderr), [
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
    ])
  })
})

suite('transcriptLines', () => {
  const SERVER = { word: 'isp', host: 'mx.example', port: 587 } as ServerAddress
  const prints = (title: string, event: Parameters<typeof transcriptLines>[1], ...lines: string[]): void =>
    void test(title, () => assert.deepEqual(transcriptLines(SERVER, event), lines))
  const tls = (verified: boolean): TlsInfo => ({ protocol: 'TLSv1.3', cipher: 'X', verified }) as TlsInfo
  prints(
    'says that the server of a TLS session is verified',
    { type: 'tls', tls: tls(true) },
    'TLSv1.3 X, the server is verified',
  )
  prints(
    'says that the server of a TLS session is not verified',
    { type: 'tls', tls: tls(false) },
    'TLSv1.3 X, the server is not verified',
  )
  prints('prints the text of a pause', { type: 'pause', text: 'later', pauseMs: 1 }, 'later')
  prints(
    'prints the address and the port of a connection',
    { type: 'connecting', address: '192.0.2.1' },
    'connecting to 192.0.2.1 port 587',
  )
  prints(
    'prints each line of a reply with its separator, without blanks at its end',
    { type: 'received', reply: { code: 250, lines: ['mx ', '', 'ETRN'], enhancedCode: null, text: '' } },
    'S: 250-mx',
    'S: 250-',
    'S: 250 ETRN',
  )
  prints('prints nothing for a step', { type: 'step', stage: 'greeting' })
})
