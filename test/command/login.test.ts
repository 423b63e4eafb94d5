import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { etrn, type Finished } from '../helpers/command.js'
import { BIN, fixturePath } from '../helpers/files.js'
import { BYE, type Conversation, scripted, type Step } from '../helpers/scripted-server.js'

const PASSWORD = 'sesame, open "yourself"'
const b64 = (text: string): string => Buffer.from(text).toString('base64')
const PLAIN = `AUTH PLAIN ${b64(`\0site\0${PASSWORD}`)}`
const hello = (...keywords: string[]): Step[] => [
  'C: EHLO gw.site.example',
  'S: 250-mx.example',
  ...keywords.map((k): Step => `S: 250-${k}`),
  'S: 250 HELP',
]
const session = (...steps: Step[]): Conversation => ['S: 220 mx.example ESMTP', ...steps, ...BYE]
const ASKED: Step[] = ['C: ETRN site.example', 'S: 250 OK']
const ENV = { ETRN_PASSWORD: PASSWORD }
const path = fixturePath
const TLS: Step = { tls: { cert: readFileSync(path('mx.pem')), key: readFileSync(path('mx.key')) } }

const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
after(() => rmSync(folder, { recursive: true }))

/** Neither the password nor what was made of it is in any output. */
function isSecret({ stdout, stderr }: Pick<Finished, 'stdout' | 'stderr'>): void {
  for (const secret of [PASSWORD, b64(PASSWORD), b64(`\0site\0${PASSWORD}`), 'sesame']) {
    assert.ok(!(stdout + stderr).includes(secret), `${secret} in ${stdout}${stderr}`)
  }
}

type Case = {
  readonly conversations: readonly Conversation[]
  readonly args?: readonly string[]
  readonly status: number
  readonly says?: RegExp
  readonly env?: Readonly<Record<string, string>>
}

const login = (title: string, c: Case): void =>
  void test(title, async (t) => {
    for (const form of [['-v'], ['--json', '-v'], []]) {
      const server = await scripted(t, ...c.conversations)
      const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example']
      const run = await etrn([...args, ...(c.args ?? []), ...form], { env: c.env ?? ENV })
      await server.verify()
      isSecret(run)
      assert.equal(run.status, c.status)
      if (form.length === 0 && c.says !== undefined) assert.match(run.stderr, c.says)
    }
  })

suite('a login', { concurrency: true }, () => {
  login('and ETRN', {
    conversations: [session(...hello('AUTH PLAIN', 'ETRN'), `C: ${PLAIN}`, 'S: 235 ok', ...ASKED)],
    status: 0,
  })
  login('EHLO again only where ETRN was not listed before', {
    conversations: [session(...hello('AUTH PLAIN'), `C: ${PLAIN}`, 'S: 235 ok', ...hello('ETRN'), ...ASKED)],
    status: 0,
  })
  login('over TLS, verified', {
    conversations: [
      session(
        ...hello('STARTTLS'),
        'C: STARTTLS',
        'S: 220 go',
        TLS,
        ...hello('AUTH PLAIN', 'ETRN'),
        `C: ${PLAIN}`,
        'S: 235 ok',
        ...ASKED,
      ),
    ],
    args: ['--tls-ca', path('ca.pem')],
    status: 0,
  })
  login('refused: no ETRN', {
    conversations: [
      session(...hello('AUTH CRAM-MD5 PLAIN', 'ETRN'), `C: ${PLAIN}`, 'S: 535 5.7.8 Error: authentication failed'),
    ],
    args: ['--auth', 'plain'],
    status: 77,
    says: /^127\.0\.0\.1:\d+: AUTH: 535 5\.7\.8 Error: authentication failed; no answer for site\.example\n {2}check user and password; else try --auth CRAM-MD5\n$/,
  })
  login('not now: no ETRN', {
    conversations: [session(...hello('AUTH PLAIN', 'ETRN'), `C: ${PLAIN}`, 'S: 454 4.7.0 later')],
    status: 75,
    says: /AUTH: 454 4\.7\.0 later/,
  })
  login('not offered: no ETRN', {
    conversations: [session(...hello('ETRN'))],
    status: 77,
    says: /AUTH: the server offers no authentication here/,
  })
  login('a server that says the password back', {
    conversations: [
      session(
        ...hello('AUTH PLAIN', 'ETRN'),
        `C: ${PLAIN}`,
        `S: 535 "${PASSWORD}" (${b64(PASSWORD)}, ${PLAIN.slice(11)}) is wrong`,
      ),
    ],
    status: 77,
    says: /AUTH: 535 "\*\*\*\*" \(\*\*\*\*, \*\*\*\*\) is wrong/,
  })
  login('a server that says it back in the greeting of a later session', {
    conversations: [
      session(
        ...hello('AUTH PLAIN', 'ETRN'),
        `C: ${PLAIN}`,
        'S: 235 ok',
        'C: ETRN site.example',
        'S: 253 1 pending message',
      ),
      [
        `S: 220 mx.example ${b64(`\0site\0${PASSWORD}`)}`,
        ...hello('AUTH PLAIN', 'ETRN'),
        `C: ${PLAIN}`,
        'S: 235 ok',
        'C: ETRN site.example',
        'S: 251 none',
        ...BYE,
      ],
    ],
    args: ['--wait', '20s', '--interval', '1s'],
    status: 0,
  })
  login('a server that says it back in what is no reply', {
    conversations: [session(...hello('AUTH PLAIN', 'ETRN'), `C: ${PLAIN}`, `S: ${PLAIN.slice(5)} ${PASSWORD}`)],
    status: 76,
    says: /AUTH: not an SMTP reply: "/,
  })
  login('what is hidden decides nothing', {
    conversations: [
      session(
        ...hello('AUTH LOGIN'),
        'C: AUTH LOGIN',
        'S: 334 UGFzc3dvcmQ6',
        `C: ${b64('site')}`,
        'S: 334 UGFzc3dvcmQ6',
        `C: ${b64('ETRN')}`,
        'S: 235 ok',
        ...hello('ETRN'),
        ...ASKED,
      ),
    ],
    env: { ETRN_PASSWORD: 'ETRN' },
    status: 0,
  })
  login('no falling back into clear with a login', {
    conversations: [
      [
        'S: 220 mx',
        ...hello('STARTTLS', 'AUTH PLAIN', 'ETRN'),
        'C: STARTTLS',
        'S: 220 go',
        (socket) => socket.removeAllListeners('data').resume().end(),
      ],
    ],
    status: 75,
    says: /TLS: the server closed the connection within the handshake/,
  })
  login('nothing but STARTTLS where it is demanded', {
    conversations: [session(...hello('AUTH PLAIN', 'ETRN'))],
    args: ['--tls', 'verify'],
    status: 76,
    says: /STARTTLS: the server doesn't offer TLS/,
  })
})

test('a signal ends the login: no ETRN, and QUIT', async (t) => {
  let interrupt = (): void => undefined
  const server = await scripted(t, [
    'S: 220 mx',
    ...hello('AUTH PLAIN', 'ETRN'),
    `C: ${PLAIN}`,
    () => interrupt(),
    'C: QUIT',
  ])
  const run = await etrn(
    [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', '-v', 'site.example'],
    {
      env: ENV,
      during: (child) => (interrupt = () => void child.kill('SIGINT')),
    },
  )
  assert.equal(run.signal, 'SIGINT')
  isSecret(run)
})

suite('where the password comes from', { concurrency: true }, () => {
  const good = session(...hello('AUTH PLAIN', 'ETRN'), `C: ${PLAIN}`, 'S: 235 ok', ...ASKED)
  const file = (name: string, text: string, mode = 0o600): string => {
    const whole = join(folder, name)
    writeFileSync(whole, text)
    chmodSync(whole, mode)
    return whole
  }
  login('a file', {
    conversations: [good],
    args: ['--password-file', file('good', `${PASSWORD}\r\nmore\n`)],
    status: 0,
    env: {},
    says: /^$/,
  })
  login('a file that others may read: a warning', {
    conversations: [good],
    args: ['--password-file', file('open', PASSWORD, 0o644)],
    status: 0,
    env: {},
    says: /others may read this password; chmod 600/,
  })
  login('a command', {
    conversations: [good],
    args: ['--password-command', `printf '%s\\nmore' '${PASSWORD}'`],
    status: 0,
    env: {},
  })
  login('the file before the environment', {
    conversations: [good],
    args: ['--password-file', file('first', PASSWORD)],
    status: 0,
    env: { ETRN_PASSWORD: 'other' },
  })

  test('a command whose output is cut within a character', async (t) => {
    const plain = `AUTH PLAIN ${b64('\0site\0sésame')}`
    const server = await scripted(t, session(...hello('AUTH PLAIN', 'ETRN'), `C: ${plain}`, 'S: 235 ok', ...ASKED))
    const command = "printf 's\\303'; sleep 0.2; printf '\\251same\\n'"
    const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example']
    assert.equal((await etrn([...args, '--password-command', command])).status, 0)
  })
  test('--max-time holds for a pipe that nobody writes to, and for a command', async () => {
    const pipe = join(folder, 'pipe')
    spawnSync('mkfifo', [pipe])
    for (const source of [
      ['--password-file', pipe],
      ['--password-command', 'exec sleep 20'],
    ]) {
      const run = await etrn(['127.0.0.1:9', '--user', 'site', ...source, '--max-time', '1s', 'site.example'])
      assert.deepEqual([run.status, run.stderr], [75, 'etrn: the time that --max-time gives is over\n'])
    }
  })
  const wrong = (
    title: string,
    args: readonly string[],
    status: number,
    message: RegExp,
    env: Readonly<Record<string, string>> = {},
  ): void =>
    void test(title, async () => {
      const run = await etrn(['127.0.0.1:9', 'site.example', ...args], { env })
      assert.equal(run.status, status)
      assert.match(run.stderr, message)
      isSecret(run)
    })
  wrong(
    'no file',
    ['--user', 'site', '--password-file', '/nonexistent'],
    66,
    /^etrn: --password-file \/nonexistent: there is no such file/,
  )
  wrong(
    'an empty file',
    ['--user', 'site', '--password-file', file('empty', '\nsecond\n')],
    66,
    /no password in its first line/,
  )
  wrong(
    'a command that fails',
    ['--user', 'site', '--password-command', 'echo x; exit 3'],
    66,
    /^etrn: --password-command: it ended with status 3\n$/,
  )
  wrong('a command without an end', ['--user', 'site', '--password-command', 'yes'], 75, /connection refused/)
  wrong(
    'a command that prints nothing',
    ['--user', 'site', '--password-command', 'true'],
    66,
    /no password in its first line/,
  )
  wrong('too long a password', ['--user', 'site'], 66, /more than 8192 characters/, { ETRN_PASSWORD: 'x'.repeat(9000) })
  wrong('an empty environment variable', ['--user', 'site'], 66, /ETRN_PASSWORD: there is no password/, {
    ETRN_PASSWORD: '',
  })
  wrong('a password without a user', ['--password-file', file('alone', PASSWORD)], 64, /type --user U/)
  wrong('a mechanism without a user', ['--auth', 'PLAIN'], 64, /type --user U/)
  wrong('an unknown mechanism', ['--user', 'site', '--auth', 'NTLM'], 64, /the choice is EXTERNAL, /)
  wrong('a control character in the user', ['--user', 'si\nte'], 64, /--user "si\\x0ate"/, ENV)

  test('credentials belong to one server', async () => {
    for (const args of [['127.0.0.1:9,127.0.0.2:9', '--user', 'site'], ['smtp://site@127.0.0.1:9,127.0.0.2:9']]) {
      const run = await etrn([...args, 'site.example'], { env: ENV })
      assert.equal(run.status, 64)
      assert.match(run.stderr, /a login belongs to one server/)
    }
  })
  test('a URL names the user', async (t) => {
    const server = await scripted(t, good)
    const run = await etrn([`smtp://site@127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'], {
      env: ENV,
    })
    await server.verify()
    assert.equal(run.status, 0)
  })
  test('a command that goes on holds nobody', { timeout: 25_000 }, async () => {
    const long = await etrn([
      '--user',
      'u',
      '--max-time',
      '1s',
      '--password-command',
      'echo x; sleep 60 2>&1',
      '127.0.0.1:1',
      'a.example',
    ])
    assert.deepEqual([long.status, long.stderr], [75, 'etrn: the time that --max-time gives is over\n'])
    const much = 'echo x; head -c 100000 /dev/zero | tr "\\0" a; exec sleep 60 2>&1'
    assert.equal((await etrn(['--user', 'u', '--password-command', much, '127.0.0.1:1', 'a.example'])).status, 75)
  })
  const script = spawnSync('script', ['--version']).error === undefined
  test('the terminal, which does not show it', { skip: script ? false : 'no script(1) here' }, async (t) => {
    const server = await scripted(t, good)
    const command = `${BIN} 127.0.0.1:${server.port} --helo gw.site.example --user site site.example </dev/null`
    const child = spawn('script', ['-qec', command, '/dev/null'], { env: { PATH: process.env['PATH'] } })
    let shown = ''
    child.stdout.on('data', (octets: Buffer) => {
      shown += octets.toString()
      if (shown === `Password for 127.0.0.1:${server.port}: `) child.stdin.write(`${PASSWORD}\r`)
    })
    const [status] = (await once(child, 'close')) as [number | null]
    assert.equal(status, 0)
    assert.match(shown, /^Password for 127\.0\.0\.1:\d+: \r\nsite\.example: /)
    isSecret({ stdout: shown, stderr: '' })
  })
  test('no source and no terminal', () => {
    // setsid: no terminal, wherever the tests run.
    const run = spawnSync('setsid', ['-w', BIN, '127.0.0.1:9', '--user', 'site', 'site.example'], { encoding: 'utf8' })
    assert.equal(run.status, 64)
    assert.match(
      run.stderr,
      /^etrn: a login needs a password: --password-file F, --password-command C, or ETRN_PASSWORD\n$/,
    )
  })
})
