import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { SessionChecker } from '../../src/check/session-checker.js'
import type { Step } from '../../src/check/steps.js'
import { parseServer } from '../../src/input/server-address.js'
import type { CertificateInfo } from '../../src/smtp/certificate.js'
import { SessionError, type Stage } from '../../src/smtp/errors.js'
import { Redactor } from '../../src/smtp/redact.js'
import { ReplyParser } from '../../src/smtp/reply.js'
import type { Server } from '../../src/smtp/session-settings.js'
import type { TraceEvent } from '../../src/smtp/trace.js'

const TLS_POLICY = {
  level: 'may',
  fingerprint: undefined,
  name: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  minVersion: 'TLSv1.2',
} as const
const SERVER: Server = {
  ...parseServer('mx.example'),
  tls: TLS_POLICY,
  credentials: undefined,
  redactor: new Redactor(),
}
const CERTIFICATE: CertificateInfo = {
  names: ['mx.example'],
  issuer: 'CN=ca.example',
  validTo: '2026-12-24',
  fingerprint: 'AA',
  problem: null,
}

function connectedEvent(localAddress: string, address = '192.0.2.1'): TraceEvent {
  return { type: 'connected', address, localAddress }
}

function receivedEvent(...lines: readonly string[]): TraceEvent {
  const parser = new ReplyParser()
  parser.push(Buffer.from(lines.map((line) => `${line}\r\n`).join('')))
  return { type: 'received', reply: parser.next() ?? assert.fail('no whole reply') }
}

function tlsEvent(certificate: CertificateInfo | null): TraceEvent {
  return { type: 'tls', tls: { protocol: 'TLSv1.3', cipher: 'AES', verified: false, certificate } }
}

function extensionsEvent(extensions: Readonly<Record<string, string>>): TraceEvent {
  return { type: 'extensions', extensions: new Map(Object.entries(extensions)) }
}

function checkedSession(server: Server, ...events: readonly TraceEvent[]): SessionChecker {
  const checker = new SessionChecker('', server, { onPart: () => undefined, onStep: () => undefined })
  for (const event of events) checker.addEvent(event)
  return checker
}

/** Returns the steps without their times. */
function untimed({ all }: SessionChecker): Omit<Step, 'elapsedMs'>[] {
  return all.map(({ step, ok, text, hint }) => ({ step, ok, text, hint }))
}

function stepsOf(server: Server, ...events: readonly TraceEvent[]): Omit<Step, 'elapsedMs'>[] {
  return untimed(checkedSession(server, ...events))
}

/** Returns what an open session shows of one step after these events. */
function conclusionOf(step: string, server: Server, ...events: readonly TraceEvent[]): Omit<Step, 'step'> | undefined {
  const checker = checkedSession(server, ...events)
  checker.addConclusions()
  const found = checker.all.find((one) => one.step === step)
  return found && { ok: found.ok, elapsedMs: found.elapsedMs, text: found.text, hint: found.hint }
}

suite('SessionChecker: steps of a session', () => {
  test('shows five of many addresses and how many more there are', () => {
    const addresses = Array.from({ length: 50 }, (_, n) => `192.0.2.${n}`)
    const [step] = stepsOf(SERVER, { type: 'resolved', addresses })
    assert.equal(step?.text, '192.0.2.0, 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 45 more')
  })
  test("takes an IPv4-mapped address that the server sees for this host's own", () => {
    const events = [connectedEvent('192.0.2.7'), receivedEvent('250 mx Hello gw [IPv6:::ffff:192.0.2.7]')]
    assert.equal(conclusionOf('address', SERVER, ...events)?.ok, true)
    assert.equal(checkedSession(SERVER, ...events).facts.seenAs, '192.0.2.7')
  })
  test('shows resolve, connect, greeting and EHLO', () => {
    const greeting: TraceEvent[] = [
      { type: 'greeting', text: 'mx.example ESMTP' },
      { type: 'done', stage: 'greeting', elapsedMs: 1 },
    ]
    const steps = stepsOf(
      SERVER,
      { type: 'resolved', addresses: ['192.0.2.1', '192.0.2.2'] },
      connectedEvent('192.0.2.100'),
      ...greeting,
      extensionsEvent({ SIZE: '1000', ETRN: '' }),
    )
    assert.deepEqual(steps, [
      { step: 'resolve', ok: true, text: '192.0.2.1, 192.0.2.2', hint: null },
      { step: 'connect', ok: true, text: '192.0.2.1 (from 192.0.2.100)', hint: null },
      { step: 'greeting', ok: true, text: 'mx.example ESMTP', hint: null },
      { step: 'EHLO', ok: true, text: 'SIZE 1000, ETRN', hint: null },
    ])
  })
  test('shows that EHLO lists nothing', () => {
    assert.deepEqual(stepsOf(SERVER, extensionsEvent({})), [
      { step: 'EHLO', ok: true, text: 'no extensions listed', hint: null },
    ])
  })
  test('shows the user of a login', () => {
    const server: Server = { ...SERVER, credentials: { user: 'site', password: 'secret', mechanism: undefined } }
    assert.deepEqual(stepsOf(server, { type: 'done', stage: 'auth', elapsedMs: 1 }), [
      { step: 'AUTH', ok: true, text: 'logged in as site', hint: null },
    ])
  })
  test('shows no step for the end of any other stage', () => {
    const stages: Stage[] = ['dns', 'connect', 'ehlo', 'starttls', 'tls', 'etrn']
    assert.deepEqual(stepsOf(SERVER, ...stages.map((stage) => ({ type: 'done', stage, elapsedMs: 1 }) as const)), [])
  })
  test('shows a warning as a step of TLS without a mark', () => {
    assert.deepEqual(stepsOf(SERVER, { type: 'warning', stage: 'starttls', text: 'going on' }), [
      { step: 'TLS', ok: null, text: 'going on', hint: null },
    ])
  })
})

suite('SessionChecker: failure', () => {
  const failureAt = (stage: Stage): SessionError => new SessionError(stage, 'no', { exitStatus: 76 })
  for (const [stage, step] of [
    ['dns', 'resolve'],
    ['connect', 'connect'],
    ['greeting', 'greeting'],
    ['ehlo', 'EHLO'],
    ['starttls', 'STARTTLS'],
    ['tls', 'TLS'],
    ['auth', 'AUTH'],
    ['etrn', 'ETRN'],
  ] as const)
    test(`shows a failure at ${stage} as ${step}, with its message and the hint`, () => {
      const checker = checkedSession(SERVER)
      checker.addFailure(failureAt(stage), false, 'a hint')
      assert.deepEqual(untimed(checker), [{ step, ok: false, text: 'no', hint: 'a hint' }])
    })
  test('shows the certificate in place of the message if the handshake fails', () => {
    const verified = { ...SERVER, tls: { ...TLS_POLICY, level: 'verify' } } as const
    const checker = checkedSession(verified, tlsEvent({ ...CERTIFICATE, names: [], problem: 'expired' }))
    checker.addFailure(failureAt('tls'), false, 'a hint')
    const { step, ok, text, hint } = checker.all.at(-1) ?? {}
    assert.deepEqual([step, ok, hint], ['certificate', false, 'a hint'])
    assert.match(text ?? '', /^expired; contains no host name; /)
  })
  test('shows the message if TLS fails after a handshake with a valid certificate', () => {
    const checker = checkedSession(SERVER, tlsEvent(CERTIFICATE))
    checker.addFailure(failureAt('tls'), false, 'a hint')
    assert.deepEqual(untimed(checker).at(-1), { step: 'TLS', ok: false, text: 'no', hint: 'a hint' })
  })
  test('shows the message if TLS fails after a handshake whose certificate need not be valid', () => {
    const checker = checkedSession(SERVER, tlsEvent({ ...CERTIFICATE, problem: 'self-signed' }))
    checker.addFailure(failureAt('tls'), false, 'a hint')
    assert.deepEqual(untimed(checker).at(-1), { step: 'TLS', ok: false, text: 'no', hint: 'a hint' })
  })
  test('shows the message if a later stage fails after a handshake', () => {
    const checker = checkedSession(SERVER, tlsEvent(CERTIFICATE))
    checker.addFailure(failureAt('auth'), null, 'a hint')
    assert.deepEqual(untimed(checker).at(-1), { step: 'AUTH', ok: null, text: 'no', hint: 'a hint' })
  })
  test('measures from the start of the stage that failed, whatever started later', (t) => {
    let now = 1000
    t.mock.method(performance, 'now', () => now)
    const checker = checkedSession(SERVER, { type: 'step', stage: 'starttls' })
    now = 3000
    checker.addEvent({ type: 'step', stage: 'tls' })
    now = 6000
    checker.addFailure(failureAt('starttls'), false, '')
    assert.equal(checker.all[0]?.elapsedMs, 5000)
  })
})

suite('SessionChecker: certificate', () => {
  const problem = 'self-signed'
  const tlsStep = { step: 'TLS', ok: true, text: 'TLSv1.3 AES', hint: null }
  test('shows TLS alone if the server has no certificate', () => {
    assert.deepEqual(stepsOf(SERVER, tlsEvent(null)), [tlsStep])
  })
  test('shows a valid certificate with a tick', () => {
    const [tls, certificate] = stepsOf(SERVER, tlsEvent(CERTIFICATE))
    assert.deepEqual(tls, tlsStep)
    assert.deepEqual([certificate?.step, certificate?.ok, certificate?.hint], ['certificate', true, null])
  })
  test('shows an invalid certificate without a mark, and a hint, if it need not be valid', () => {
    const [, certificate] = stepsOf(SERVER, tlsEvent({ ...CERTIFICATE, problem }))
    assert.deepEqual(
      [certificate?.step, certificate?.ok, certificate?.hint],
      ['certificate', null, '--tls verify would reject this certificate'],
    )
    assert.match(certificate?.text ?? '', /^self-signed; /)
  })
  for (const [title, tls] of [
    ['--tls verify', { ...TLS_POLICY, level: 'verify' }],
    ['--tls-fingerprint', { ...TLS_POLICY, fingerprint: 'AA' }],
  ] as const) {
    test(`leaves an invalid certificate to the failure of the session with ${title}`, () => {
      assert.deepEqual(stepsOf({ ...SERVER, tls }, tlsEvent({ ...CERTIFICATE, problem })), [tlsStep])
    })
    test(`shows a valid certificate with ${title}`, () => {
      assert.equal(stepsOf({ ...SERVER, tls }, tlsEvent(CERTIFICATE))[1]?.ok, true)
    })
  }
})

suite('SessionChecker: text of a certificate', () => {
  const textOf = (certificate: Partial<CertificateInfo>): string | undefined =>
    stepsOf(SERVER, tlsEvent({ ...CERTIFICATE, ...certificate }))[1]?.text
  const NOW = new Date('2026-11-24T12:00:00Z')
  test('names host, issuer, last day and the days left', (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    assert.equal(textOf({}), 'for mx.example; issued by CN=ca.example; valid until 2026-12-24 (30 days left)')
  })
  for (const [validTo, left] of [
    ['2026-11-25', ' (1 day left)'],
    ['2026-11-24', ' (0 days left)'],
    ['2026-11-23', ''],
    ['no day', ''],
  ] as const)
    test(`shows "${left}" on 2026-11-24 if the last day is ${validTo}`, (t) => {
      t.mock.timers.enable({ apis: ['Date'], now: NOW })
      assert.equal(textOf({ validTo }), `for mx.example; issued by CN=ca.example; valid until ${validTo}${left}`)
    })
  test('shows eight names at most', (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const names = Array.from({ length: 9 }, (_, index) => `n${index}`)
    assert.match(textOf({ names }) ?? '', /^for n0, n1, n2, n3, n4, n5, n6, n7; issued by /)
  })
  test('shows that a certificate is for no host, and its problem', (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    assert.equal(
      textOf({ names: [], problem: 'certificate expired' }),
      'certificate expired; contains no host name; issued by CN=ca.example; valid until 2026-12-24 (30 days left)',
    )
  })
})

suite('SessionChecker: the address that the server sees', () => {
  for (const [line, seenAs] of [
    ['250 mx.example', null],
    ['250 mx Hello gw [192.0.2.7]', '192.0.2.7'],
    ['250 mx Hello gw (192.0.2.7), pleased to meet you', '192.0.2.7'],
    ['250 mx Hello [127.0.0.1] [203.0.113.7]', '203.0.113.7'],
    ['250 mx Hello [203.0.113.7] [1.2.3]', '203.0.113.7'],
    ['250 mx Hello [IPv6:2001:DB8:0:0:0:0:0:1]', '2001:db8::1'],
    ['250 mx Hello [1.2.3]', null],
    ['220 mx Hello [192.0.2.7]', null],
  ] as const)
    test(`is ${seenAs ?? 'unknown'} in "${line}"`, () => {
      assert.equal(checkedSession(SERVER, receivedEvent(line)).facts.seenAs, seenAs)
    })
  test('is that of the first reply that shows one', () => {
    const replies = ['250 mx', '250 mx [192.0.2.7]', '250 mx [192.0.2.8]'].map((line) => receivedEvent(line))
    assert.equal(checkedSession(SERVER, ...replies).facts.seenAs, '192.0.2.7')
  })
  test('is forgotten with the connection, and when TLS begins', () => {
    for (const event of [connectedEvent('192.0.2.7'), tlsEvent(null)])
      assert.equal(checkedSession(SERVER, receivedEvent('250 mx [192.0.2.8]'), event).facts.seenAs, null)
  })
  test('is not looked for behind the first line of a reply', () => {
    assert.equal(checkedSession(SERVER, receivedEvent('250-mx', '250 X [192.0.2.7]')).facts.seenAs, null)
  })
})

suite('SessionChecker: conclusions', () => {
  const seen = receivedEvent('250 mx Hello gw [203.0.113.9]')
  const forward = 'forward port 25 to this host'
  for (const [title, events, expected] of [
    [
      'shows the own address if the server sees it',
      [connectedEvent('203.0.113.9'), seen],
      { ok: true, text: "the server sees 203.0.113.9, this host's own address", hint: null },
    ],
    [
      'compares the own IPv6 address in its canonical form',
      [connectedEvent('2001:DB8:0::1'), receivedEvent('250 mx [IPv6:2001:db8::1]')],
      { ok: true, text: "the server sees 2001:db8::1, this host's own address", hint: null },
    ],
    [
      'shows NAT if the server sees another address',
      [connectedEvent('192.168.1.2'), seen],
      { ok: null, text: 'the server sees 203.0.113.9, not 192.168.1.2 (NAT)', hint: forward },
    ],
    [
      'shows a public address if the server shows none',
      [connectedEvent('203.0.113.9')],
      { ok: true, text: '203.0.113.9 is a public address', hint: null },
    ],
    [
      'shows NAT if the own address is private and the server is public',
      [connectedEvent('192.168.1.2', '203.0.113.1')],
      { ok: null, text: '192.168.1.2 is a private address', hint: `behind NAT, ${forward}` },
    ],
    [
      'shows no NAT if both addresses are private',
      [connectedEvent('192.168.1.2', '192.168.1.3')],
      { ok: null, text: '192.168.1.2 is a private address', hint: null },
    ],
  ] as const)
    test(title, () => {
      assert.deepEqual(conclusionOf('address', SERVER, ...events), { elapsedMs: null, ...expected })
    })
  const note = (ok: boolean | null, text: string): Omit<Step, 'step'> => ({ ok, elapsedMs: null, text, hint: null })
  test('shows that TLS is not offered', () => {
    assert.deepEqual(conclusionOf('TLS', SERVER), note(null, 'not offered: the session is unencrypted'))
  })
  test('shows that TLS is not offered, although another address offered it', () => {
    const other = [
      connectedEvent('192.0.2.7'),
      tlsEvent(null),
      connectedEvent('192.0.2.7'),
      extensionsEvent({ ETRN: '' }),
    ]
    const checker = checkedSession(SERVER, ...other)
    checker.addConclusions()
    assert.deepEqual(
      checker.all.flatMap(({ step, text }) => (step === 'TLS' ? text : [])),
      ['TLSv1.3 AES', 'not offered: the session is unencrypted'],
    )
  })
  test('adds nothing on TLS if a warning has told why the session goes on without it', () => {
    const warning: TraceEvent = { type: 'warning', stage: 'starttls', text: 'rejected' }
    assert.equal(conclusionOf('TLS', SERVER, extensionsEvent({ STARTTLS: '' }), warning)?.text, 'rejected')
  })
  test('shows that --tls none keeps TLS off', () => {
    const server: Server = { ...SERVER, tls: { ...TLS_POLICY, level: 'none' } }
    assert.deepEqual(conclusionOf('TLS', server), note(null, '--tls none: the session is unencrypted'))
  })
  test('adds nothing on TLS if there is a step for it', () => {
    assert.equal(conclusionOf('TLS', SERVER, tlsEvent(null))?.text, 'TLSv1.3 AES')
  })
  test('shows the mechanisms of the server if no login is given', () => {
    const offered = extensionsEvent({ AUTH: 'PLAIN LOGIN' })
    assert.deepEqual(
      conclusionOf('AUTH', SERVER, offered),
      note(null, 'no credentials given; the server offers PLAIN LOGIN'),
    )
    assert.deepEqual(conclusionOf('AUTH', SERVER), note(null, 'no credentials given; the server offers no AUTH'))
  })
  test('adds nothing on AUTH if there is a login', () => {
    const server: Server = { ...SERVER, credentials: { user: 'site', password: 'secret', mechanism: undefined } }
    assert.equal(conclusionOf('AUTH', server), undefined)
  })
  test('shows whether ETRN is listed', () => {
    assert.deepEqual(conclusionOf('ETRN', SERVER, extensionsEvent({ ETRN: '' })), note(true, 'listed'))
    assert.deepEqual(conclusionOf('ETRN', SERVER), note(null, 'not listed; --assume-etrn sends it anyway'))
  })
})
