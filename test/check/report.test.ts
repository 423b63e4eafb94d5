import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import type { Check } from '../../src/check/check.js'
import { jsonCheckReporter, textCheckReporter } from '../../src/check/report.js'
import { NO_CHECK_FACTS, type ServerCheck } from '../../src/check/session-checker.js'
import type { Step } from '../../src/check/steps.js'
import { parseServer } from '../../src/input/server-address.js'
import { colours } from '../../src/report/colours.js'
import { createOutput } from '../../src/report/reporter.js'
import { SessionError } from '../../src/smtp/errors.js'
import { etrn } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, HELLO, scripted } from '../helpers/scripted-server.js'

function serverCheckOf(facts: Partial<ServerCheck> = {}): ServerCheck {
  return { ...NO_CHECK_FACTS, server: parseServer('mx.example'), entries: [], steps: [], error: null, ...facts }
}

function stepOf(facts: Partial<Step> = {}): Step {
  return { step: 'connect', ok: true, elapsedMs: 12, text: '192.0.2.1', hint: null, ...facts }
}

/** Returns the lines of a text report on these steps and servers. */
function textOf(
  { steps = [], servers = [], error = null }: Partial<Check> & { readonly steps?: readonly Step[] },
  { quiet = 0, isUtf8 = true, isColoured = false } = {},
): string[] {
  const lines: string[] = []
  const reporter = textCheckReporter(
    createOutput((text) => lines.push(text), isColoured ? colours : undefined),
    { quiet, isUtf8 },
  )
  reporter.onPart('mx.example port 25')
  for (const step of steps) reporter.onStep(step)
  void reporter.end({ servers, excluded: [], delivery: [], error, exitStatus: 0 })
  return lines
}

/** Returns the document of a JSON report. */
function documentOf(check: Partial<Check>): unknown {
  const lines: string[] = []
  const reporter = jsonCheckReporter(createOutput((text) => lines.push(text), undefined))
  reporter.onPart('mx.example port 25')
  reporter.onStep(stepOf())
  void reporter.end({ servers: [], excluded: [], delivery: [], error: null, exitStatus: 0, ...check })
  assert.equal(lines.length, 1)
  return JSON.parse(lines[0] ?? '')
}

const END = 'ETRN was not sent: only a real run shows whether the server accepts a name'
const REFUSED = new SessionError('connect', 'connection refused', { exitStatus: 75 })
const REJECTED = new SessionError('greeting', 'the server rejected the connection (554 no)', {
  exitStatus: 69,
  hint: 'ask',
})
const PERMANENT = ['etrn: mx.example: the server rejected the connection (554 no)', 'hint: ask']

if (isInNamespace(import.meta.url)) {
  /** Starts a server for one session, and returns the arguments of a check that meets it. */
  const startServer = async (t: TestContext): Promise<string[]> => {
    const { port } = await scripted(t, [...HELLO, ...BYE])
    return ['--check', '--helo', 'gw.site.example', `127.0.0.1:${port}`, '#q']
  }

  suite('the command: --check as text', () => {
    test('prints a line for each step, with ticks in a UTF-8 locale', async (t) => {
      const args = await startServer(t)
      const address = args[3] ?? ''
      const { stdout, stderr } = await etrn(args, { env: { LANG: 'de_DE.UTF-8' } })
      assert.equal(stderr, '')
      assert.equal(
        stdout.replace(/ +\d+ ms/g, ' N ms'),
        `${address}: ${address.replace(':', ' port ')}
  ✔ resolve N ms  127.0.0.1
  ✔ connect N ms  127.0.0.1 (from 127.0.0.1)
  ✔ greeting N ms  mx.example ESMTP
  ✔ EHLO N ms  ETRN
  – address                127.0.0.1 is a private address
  – TLS                    not offered: the session is unencrypted
  – AUTH                   no credentials given; the server offers no AUTH
  ✔ ETRN                   listed
delivery to this host (does not affect the exit status)
  ✘ local server N ms  connection refused (127.0.0.1 port 25)
     hint: start the local mail server, which receives the requested mail; --wait-local 2m waits for the server
ETRN was not sent: only a real run shows whether the server accepts a name
`,
      )
    })
    test('prints words in place of ticks in another locale', async (t) => {
      assert.match((await etrn(await startServer(t))).stdout, /^ {2}ok resolve .*[^]*^ {2}NO local server/m)
    })
    test('prints nothing with -q if no server failed', async (t) => {
      assert.equal((await etrn(['-q', ...(await startServer(t))])).stdout, '')
    })
    test('prints a temporary failure with -q, and nothing with -qq', async () => {
      const args = ['--check', '127.0.0.1:1', '#q']
      const quiet =
        /^etrn: 127\.0\.0\.1:1: connection refused \(127\.0\.0\.1 port 1\)\nhint: no mail server listens on port 1[^\n]*\n$/
      assert.match((await etrn(['-q', ...args])).stdout, quiet)
      assert.equal((await etrn(['-qq', ...args])).stdout, '')
    })
  })
} else {
  suite('textCheckReporter', () => {
    test('prints each part, each step with its mark, and the end', () => {
      const steps = [
        stepOf(),
        stepOf({ step: 'local server', ok: false, elapsedMs: 12_345, text: 'refused', hint: 'start it' }),
        stepOf({ step: 'a-name-longer-than-its-column.example', ok: null, elapsedMs: null, text: 'unknown' }),
      ]
      assert.deepEqual(textOf({ steps }), [
        'mx.example port 25',
        '  ✔ connect         12 ms  192.0.2.1',
        '  ✘ local server 12345 ms  refused',
        '     hint: start it',
        '  – a-name-longer-than-its-column.example           unknown',
        END,
      ])
    })
    test('prints a hint once, however many steps have it', () => {
      const steps = ['ask', 'ask', 'look'].map((hint) => stepOf({ hint }))
      const hints = textOf({ steps }).filter((line) => line.includes('hint: '))
      assert.deepEqual(hints, ['     hint: ask', '     hint: look'])
    })
    test('prints words in place of ticks without UTF-8', () => {
      const steps = [true, false, null].map((ok) => stepOf({ ok, hint: `hint ${String(ok)}` }))
      assert.deepEqual(textOf({ steps }, { isUtf8: false }).slice(1, -1), [
        '  ok connect         12 ms  192.0.2.1',
        '      hint: hint true',
        '  NO connect         12 ms  192.0.2.1',
        '      hint: hint false',
        '  -- connect         12 ms  192.0.2.1',
        '      hint: hint null',
      ])
    })
    test('prints green ticks, red crosses and uncoloured dashes', () => {
      const steps = [true, false, null].map((ok) => stepOf({ ok }))
      assert.deepEqual(
        textOf({ steps }, { isColoured: true })
          .slice(1, -1)
          .map((line) => line.replace(/ connect.*/, '')),
        ['  \u001b[32m✔\u001b[39m', '  \u001b[31m✘\u001b[39m', '  –'],
      )
    })
    test('names the software of each server that shows it', () => {
      const servers = [serverCheckOf({ greeting: 'mx.example ESMTP Exim 4.96' }), serverCheckOf({ greeting: 'mx' })]
      assert.deepEqual(textOf({ servers }).slice(1), ['mx.example runs Exim 4.96 (according to its greeting)', END])
    })
    const servers = [
      serverCheckOf({ greeting: 'mx ESMTP Postfix' }),
      serverCheckOf({ error: REFUSED }),
      serverCheckOf({ error: REJECTED }),
    ]
    test('prints failed servers alone with -q', () => {
      assert.deepEqual(textOf({ steps: [stepOf({ ok: false })], servers }, { quiet: 1 }), [
        'etrn: mx.example: connection refused',
        'hint: the failure is temporary: --retry-for 10m tries again',
        ...PERMANENT,
      ])
    })
    test('prints permanent failures alone with -qq', () => {
      assert.deepEqual(textOf({ servers }, { quiet: 2 }), PERMANENT)
    })
    test('prints no failure a second time at the end without -q', () => {
      assert.deepEqual(textOf({ servers: servers.slice(1) }).slice(1), [END])
    })
  })

  suite('jsonCheckReporter', () => {
    test('prints one document with the servers, the delivery and the exit status', () => {
      const step = { step: 'connect', ok: true, elapsedMs: 12, text: '192.0.2.1', advice: 'a hint' }
      const tls = { protocol: 'TLSv1.3', cipher: 'AES', verified: true }
      const certificate = {
        names: ['mx.example'],
        issuer: 'CN=ca.example',
        validTo: '2026-12-24',
        fingerprint: 'AA',
        problem: null,
      }
      const server = serverCheckOf({
        address: '192.0.2.1',
        greeting: 'mx.example ESMTP Postfix',
        extensions: new Map([['ETRN', '']]),
        tls: { ...tls, certificate },
        seenAs: '192.0.2.100',
        steps: [stepOf({ hint: 'a hint' }), stepOf({ elapsedMs: 30 }), stepOf({ elapsedMs: null })],
        entries: [{ word: 'a b', line: 2, reason: 'a space' }],
        error: REJECTED,
      })
      assert.deepEqual(documentOf({ servers: [server], delivery: [stepOf({ ok: null })], exitStatus: 69 }), {
        version: 1,
        exitStatus: 69,
        error: null,
        excluded: [],
        servers: [
          {
            server: 'mx.example',
            host: 'mx.example',
            port: 25,
            address: '192.0.2.1',
            tls: { ...tls, certificate },
            greeting: 'mx.example ESMTP Postfix',
            extensions: ['ETRN'],
            attempts: 0,
            elapsedMs: 42,
            error: { stage: 'greeting', message: REJECTED.message, code: null, exitStatus: 69, hint: 'ask' },
            names: [
              {
                name: 'a b',
                outcome: 'rejected',
                code: null,
                enhancedCode: null,
                text: 'line 2 a space',
                pending: null,
                hint: null,
              },
            ],
            seenAs: '192.0.2.100',
            software: 'Postfix',
            steps: [step, { ...step, elapsedMs: 30, advice: null }, { ...step, elapsedMs: null, advice: null }],
          },
        ],
        wayBack: [{ ...step, ok: null, advice: null }],
      })
    })
    test('has null for each unknown fact', () => {
      const { servers } = documentOf({ servers: [serverCheckOf()] }) as { servers: Record<string, unknown>[] }
      const [{ address, tls, greeting, extensions, error, seenAs, software } = {}] = servers
      assert.deepEqual([address, tls, greeting, extensions, error, seenAs, software], Array(7).fill(null))
    })
    for (const [greeting, software] of [
      ['mx ESMTP Postfix', 'Postfix'],
      ['mx ESMTP Postfix (Debian/GNU)', 'Postfix'],
      ['mx ESMTP Exim 4.96 Tue, 24 Nov 2026', 'Exim 4.96'],
      ['mx ESMTP Sendmail 8.18.1/8.18.1; Tue', 'Sendmail 8.18.1'],
      ['mx ESMTP OpenSMTPD', 'OpenSMTPD'],
      ['mx ESMTP haraka/3.0.2 ready', 'haraka 3.0.2'],
      ['mx Kerio Connect 10.0.1 ESMTP ready', 'Kerio Connect 10.0.1'],
      ['mx Microsoft ESMTP MAIL Service ready', 'Microsoft Exchange'],
      ['mx Eximious', null],
      ['mx ESMTP', null],
    ] as const)
      test(`shows ${software ?? 'no software'} for the greeting "${greeting}"`, () => {
        const { servers } = documentOf({ servers: [serverCheckOf({ greeting })] }) as {
          servers: { software: unknown }[]
        }
        assert.equal(servers[0]?.software, software)
      })
  })
}
