import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { generalHint, hintAfterRetries, hintFor, hintForError } from '../../src/report/hints.js'
import { SessionError } from '../../src/smtp/errors.js'
import { etrn } from '../helpers/command.js'
import { BYE, close, etrnSteps, HELLO, scripted, sessionWith } from '../helpers/scripted-server.js'

type Failure = Parameters<typeof hintFor>[0]

const REFUSAL = { code: 502, lines: ['no'], enhancedCode: null, text: 'no' }
const HELO = ['--helo', 'gw.site.example']

suite('hints for the reply to one name', { concurrency: true }, () => {
  const hints = (title: string, greeting: string, name: string, reply: string, hint: RegExp): void =>
    void test(title, async (t) => {
      const server = await scripted(t, [`S: ${greeting}`, ...HELLO.slice(1), ...etrnSteps(name, reply), ...BYE])
      const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, name])
      assert.match(run.stderr, /^ {2}\S[^\n]*\n$/)
      assert.match(run.stderr, hint)
    })
  const [postfix, exim, sendmail] = [
    '220 mx ESMTP Postfix',
    '220 mx ESMTP Exim 4.96',
    '220 mx ESMTP Sendmail 8.17.1.9',
  ] as const
  const SITE = 'site.example'
  hints(
    'says that Postfix requests no subdomains if it accepts @site.example',
    postfix,
    '@site.example',
    '250 Queuing started',
    /no subdomain/,
  )
  hints(
    'names fast_flush_domains if Postfix replies 459 service unavailable',
    postfix,
    SITE,
    '459 <site.example>: service unavailable',
    /fast_flush_domains/,
  )
  hints(
    'names postscreen_access_list if Postfix replies 458 Unable to queue',
    postfix,
    SITE,
    '458 Unable to queue messages',
    /postscreen_access_list/,
  )
  hints(
    'names smtpd_etrn_restrictions if Postfix replies 554 Access denied',
    postfix,
    SITE,
    '554 5.7.1 <x>: Etrn command rejected: Access denied',
    /smtpd_etrn_restrictions/,
  )
  hints('names acl_smtp_etrn if Exim replies 458', exim, SITE, '458 Administrative prohibition', /acl_smtp_etrn/)
  hints(
    'suggests a login if Exim replies 458 Authentication required',
    exim,
    SITE,
    '458 Authentication required',
    /login/,
  )
  hints('suggests --queue if Exim accepts # only', exim, SITE, '501 argument must begin with #', /--queue/)
  hints(
    'names smtp_etrn_command if Exim replies 458 Internal failure',
    exim,
    SITE,
    '458 Internal failure',
    /smtp_etrn_command/,
  )
  hints(
    'suggests a login after 530 Authentication required',
    '220 mx',
    SITE,
    '530 5.7.0 Authentication required',
    /login before ETRN/,
  )
  hints(
    'names the queue group if Sendmail replies 459 Queue unknown',
    sendmail,
    '#siteq',
    '459 4.5.4 Queue siteq unknown',
    /queue group/,
  )
  hints(
    'suggests port 25 if Sendmail replies 502 we do not allow',
    sendmail,
    SITE,
    '502 5.7.0 Sorry, we do not allow this operation',
    /port 25/,
  )
  hints(
    'says that the server has no ETRN after 500',
    '220 mx ESMTP OpenSMTPD',
    SITE,
    '500 5.5.1 Invalid command: Command unrecognized',
    /no ETRN/,
  )
})

suite('hints if no row fits the failure', { concurrency: true }, () => {
  for (const [title, conversation, hint] of [
    ['suggests --retry-for after a greeting of 421', ['S: 421 later', ...BYE], /--retry-for/],
    ['suggests -v after a greeting of 521', ['S: 521 never', ...BYE], /-v/],
    ['suggests -v after a greeting of 354', ['S: 354 go on', ...BYE], /-v/],
    ['suggests --retry-for if the server closes the connection before the greeting', [close], /--retry-for/],
    ['suggests --retry-for if EHLO gets 451', [...HELLO.slice(0, 2), 'S: 451 later', ...BYE], /--retry-for/],
    ['suggests --retry-for if a name gets 450', sessionWith(...etrnSteps('site.example', '450 later')), /--retry-for/],
    ['suggests -v if a name gets 501', sessionWith(...etrnSteps('site.example', '501 what?')), /-v/],
    ['suggests -v if a name gets 551', sessionWith(...etrnSteps('site.example', '551 no')), /-v/],
    ['suggests -v if a name gets no SMTP reply', sessionWith(...etrnSteps('site.example', 'what?')), /-v/],
    [
      'suggests --retry-for if the server closes the connection instead of a reply',
      [...HELLO, 'C: ETRN site.example', close],
      /--retry-for/,
    ],
  ] as const)
    test(title, async (t) => {
      const server = await scripted(t, conversation)
      const { stderr } = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'site.example'])
      assert.match(stderr, /^(?:\S[^\n]*\n)? {2}\S[^\n]*\n$/)
      assert.match(stderr.split('\n').at(-2) ?? '', hint)
    })
  test('hintAfterRetries: none that suggests --retry-for if failures were retried, else the hint', () => {
    const retryHint = 'is the link up? --retry-for 5m waits for it'
    assert.deepEqual(
      [hintAfterRetries(retryHint), hintAfterRetries(retryHint, true), hintAfterRetries('--port', true)],
      [retryHint, undefined, '--port'],
    )
  })
  test('generalHint: none for success, --retry-for for a temporary failure, -v for any other', () => {
    assert.equal(generalHint(0), undefined)
    assert.match(generalHint(75) ?? '', /--retry-for/)
    for (const status of [2, 65, 69, 76, 77]) assert.match(generalHint(status) ?? '', / -v /)
  })
})

test('suggests --assume-etrn if EHLO does not list ETRN', async (t) => {
  const server = await scripted(t, ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250-mx', 'S: 250 SIZE 1000', ...BYE])
  const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'site.example'])
  assert.equal(
    run.stderr,
    `127.0.0.1:${server.port}: ETRN: the server doesn't offer it; EHLO lists SIZE; no answer for site.example
  it may be hidden, or off: --assume-etrn asks all the same
`,
  )
})

suite('hintFor: the first row that fits', () => {
  const finds = (title: string, failure: Partial<Failure> & Pick<Failure, 'stage'>, hint: RegExp | undefined): void =>
    void test(title, () => {
      const found = hintFor({ code: null, text: '', name: '', greeting: '', ...failure })
      if (hint === undefined) assert.equal(found, undefined)
      else assert.match(found ?? '', hint)
    })
  finds('greeting: a timeout', { stage: 'greeting', kind: 'timeout' }, /smtps:/)
  for (const stage of ['greeting', 'ehlo'] as const) {
    finds(`${stage}: no SMTP`, { stage, kind: 'malformed-reply' }, /right port/)
    for (const code of [550, 554, 503])
      finds(`${stage}: ${code} refuses the address`, { stage, code, text: 'no' }, /takes nothing from this address/)
  }
  finds('greeting: 521 has no row', { stage: 'greeting', code: 521, text: 'never' }, undefined)
  for (const code of [500, 502]) finds(`ehlo: ${code}`, { stage: 'ehlo', code }, /without EHLO has no ETRN/)
  for (const code of [501, 504, 553]) finds(`ehlo: ${code}`, { stage: 'ehlo', code }, /--helo gives another/)
  finds('tls: no row', { stage: 'tls', text: 'anything' }, undefined)
  finds(
    'etrn: 250 for @ of Postfix',
    { stage: 'etrn', code: 250, name: '@a.example', greeting: 'mx Postfix' },
    /each domain/,
  )
  finds('etrn: 250 for # of Postfix', { stage: 'etrn', code: 250, name: '#q', greeting: 'mx Postfix' }, /each domain/)
  finds(
    'etrn: 250 for a plain name of Postfix',
    { stage: 'etrn', code: 250, name: 'a.example', greeting: 'Postfix' },
    undefined,
  )
  finds(
    'etrn: 250 for @ of another server',
    { stage: 'etrn', code: 250, name: '@a.example', greeting: 'mx' },
    undefined,
  )
  finds('etrn: 458 of an unknown server', { stage: 'etrn', code: 458, text: 'later' }, undefined)
  finds(
    'etrn: 458 Already processing of Exim',
    { stage: 'etrn', code: 458, text: 'Already processing', greeting: 'Exim' },
    undefined,
  )
  for (const code of [458, 530]) {
    finds(`etrn: ${code} that wants a login`, { stage: 'etrn', code, text: 'please log in first' }, /: --user$/)
    finds(`etrn: ${code} that wants TLS`, { stage: 'etrn', code, text: 'Must issue STARTTLS' }, /wants TLS before ETRN/)
  }
  finds(
    'etrn: 530 without a reason',
    { stage: 'etrn', code: 530, text: 'no' },
    /\(--tls encrypt, or verify\) or a login/,
  )
  finds('etrn: 459 without a reason', { stage: 'etrn', code: 459, text: 'no' }, /allow this name for your address/)
  for (const code of [501, 553, 555])
    finds(`etrn: ${code} for @`, { stage: 'etrn', code, name: '@a.example' }, /plain domain names only/)
  finds('etrn: 501 for a plain name', { stage: 'etrn', code: 501, name: 'a.example' }, undefined)
  for (const code of [500, 502])
    finds(`etrn: ${code}`, { stage: 'etrn', code, text: 'what?' }, /this server has no ETRN/)
  for (const code of [550, 554]) finds(`etrn: ${code}`, { stage: 'etrn', code }, /your address is not allowed/)
})

suite('hintForError', () => {
  const facts = { exitStatus: 69 }
  test('prefers the hint that the error carries', () =>
    assert.equal(hintForError(new SessionError('ehlo', 'no', { ...facts, hint: 'own', reply: REFUSAL }), ''), 'own'))
  test('finds the row for the reply of the error', () =>
    assert.match(hintForError(new SessionError('ehlo', 'no', { ...facts, reply: REFUSAL }), '') ?? '', /without EHLO/))
  test('finds the row for the kind of the error', () =>
    assert.match(hintForError(new SessionError('greeting', 'no', { ...facts, kind: 'timeout' }), '') ?? '', /smtps:/))
  test('finds the row for the greeting of the server', () => {
    const reply = { ...REFUSAL, code: 458 }
    assert.match(hintForError(new SessionError('etrn', 'no', { ...facts, reply }), 'mx Exim') ?? '', /acl_smtp_etrn/)
    assert.equal(hintForError(new SessionError('etrn', 'no', { ...facts, reply }), 'mx'), undefined)
  })
})
