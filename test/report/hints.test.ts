import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { generalHint, hintAfterRetries } from '../../src/report/hints.js'
import { etrn } from '../helpers/command.js'
import { BYE, close, etrnSteps, HELLO, scripted, sessionWith } from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']

suite('hints for the reply to one name', { concurrency: true }, () => {
  const hints = (title: string, greeting: string, name: string, reply: string, hint: RegExp): void =>
    void test(title, async (t) => {
      const server = await scripted(t, [`S: ${greeting}`, ...HELLO.slice(1), ...etrnSteps(name, reply), ...BYE])
      const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, name])
      assert.match(run.stderr, /^hint: \S[^\n]*\n$/)
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
    /a request is for the plain domain alone/,
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
    /log in before ETRN/,
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
    /log in before ETRN/,
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
    'suggests to have ETRN enabled after 500',
    '220 mx ESMTP OpenSMTPD',
    SITE,
    '500 5.5.1 Invalid command: Command unrecognized',
    /enable ETRN/,
  )
})

suite('hints if no row fits the failure', { concurrency: true }, () => {
  for (const [title, conversation, hint] of [
    ['suggests --retry-for after a greeting of 421', ['S: 421 later', ...BYE], /--retry-for/],
    ['suggests to ask the provider after a greeting of 521', ['S: 521 never', ...BYE], /ask your provider/],
    ['suggests -v after a greeting of 354', ['S: 354 go on', ...BYE], /-v/],
    ['suggests --retry-for if the server closes the connection before the greeting', [close], /--retry-for/],
    ['suggests --retry-for if EHLO gets 451', [...HELLO.slice(0, 2), 'S: 451 later', ...BYE], /--retry-for/],
    ['suggests --retry-for if a name gets 450', sessionWith(...etrnSteps('site.example', '450 later')), /--retry-for/],
    [
      'suggests to check a name that gets 501',
      sessionWith(...etrnSteps('site.example', '501 what?')),
      /check the name/,
    ],
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
      assert.match(stderr, /^(?:etrn: [^\n]*\n)?hint: \S[^\n]*\n$/)
      assert.match(stderr.split('\n').at(-2) ?? '', hint)
    })
  test('hintAfterRetries: no step that suggests --retry-for if failures were retried, else the hint', () => {
    const retryHint = 'is the link up? --retry-for 5m waits for it'
    assert.deepEqual(
      [hintAfterRetries(retryHint), hintAfterRetries(retryHint, true), hintAfterRetries('--port', true)],
      [retryHint, 'the failure is temporary: try again later', '--port'],
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
  assert.match(
    run.stderr,
    /^etrn: \S+ ETRN not offered .*SIZE.*; site\.example not requested\nhint: .*--assume-etrn.*\n$/,
  )
})
