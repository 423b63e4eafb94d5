import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { type CommandLine, parseArguments } from '../../src/command/arguments.js'
import { type HookInput, type HookKind, hookText } from '../../src/command/hook.js'
import { resolveTargets } from '../../src/command/targets.js'
import { EXIT } from '../../src/errors.js'
import { etrn } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'

const KINDS = ['pppd', 'ifupdown', 'networkmanager', 'cron', 'systemd'] as const satisfies readonly HookKind[]
const SCRIPTS = KINDS.filter((kind) => kind !== 'cron')
const made = async (kind: HookKind, ...args: string[]): Promise<string> =>
  (await etrn(['--hook', kind, ...args, 'mail.isp.example', 'site.example'])).stdout

/** The words that a shell makes of a command. */
function words(command: string): string[] {
  const printed = execFileSync('sh', ['-c', `printf '%s\\0' ${command}`], {
    encoding: 'utf8',
    env: { HOME: '/home/u' },
  })
  return printed.split('\0').slice(0, -1)
}

/** The command in a hook, from node on, as its mechanism would hand it to a shell. */
function commandIn(kind: HookKind, text: string): string {
  const found =
    kind === 'cron'
      ? /^3-59\/10 \* \* \* \* flock -n \S+ (.*)$/m.exec(text)?.[1]?.replaceAll('\\%', '%')
      : /flock -n \S+ \\\n {4}(.*) 2>&1 \|\n/.exec(text)?.[1]
  return found ?? assert.fail(text)
}

/** A line without a configuration. */
function givenOf(line: CommandLine): HookInput {
  const places = resolveTargets(line, { tops: [], profiles: new Map(), paths: new Map() }, () => undefined)
  return { line, targets: places, files: [], paths: new Map(), program: ['/node', '/etrn'] }
}

suite('what a hook runs', { concurrency: true }, () => {
  for (const kind of ['pppd', 'ifupdown', 'networkmanager', 'cron'] as const)
    test(`${kind}: this very command line, by absolute paths`, async () => {
      const text = await made(kind, '-k', '-vv', '--queue', "it's 100%".replaceAll(' ', '-'), '--tls-ca=ca.pem')
      assert.deepEqual(words(commandIn(kind, text)), [
        process.execPath,
        BIN,
        ...(kind === 'cron' ? ['--quiet'] : []),
        ...['--retry-for', '5m', '--max-time', '9m', '--queue', "it's-100%", '--tls-ca', `${process.cwd()}/ca.pem`],
        ...['--keep-going', '--verbose', '--verbose', 'mail.isp.example', 'site.example'],
      ])
    })
  test('whatever stands in it: a shell makes the same words of it again', () => {
    const word = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.constantFrom('pppd', 'cron'), word, fc.array(word, { maxLength: 3 }), (kind, helo, names) => {
        const given = { queue: [helo, ...names] }
        const expected = given.queue.flatMap((queue) =>
          queue.startsWith('-') ? [`--queue=${queue}`] : ['--queue', queue],
        )
        const shown = words(
          commandIn(kind, hookText(kind, givenOf({ options: {}, words: ['mail.isp.example'], typed: given }))),
        )
        assert.deepEqual(shown.slice(kind === 'cron' ? 7 : 6, -1), expected)
      }),
      { numRuns: 50 },
    )
  })
  test('times of its own are kept, and the whole lasts longer than they', async () => {
    const text = await made('pppd', '--retry-for', '90s', '--wait', '1h')
    assert.match(text, / --max-time 66m .*--retry-for 90s --wait 1h /)
    assert.match(await made('pppd', '--max-time', '2h'), / --retry-for 5m --max-time 2h /)
  })
  test('the interface that is named is the only one', async () => {
    assert.match(await made('networkmanager', '--interface', 'ppp0'), /^\[ "\$\{1-\}" = ppp0 \] \|\| exit 0$/m)
    assert.match(await made('ifupdown'), /^# \[ "\$\{IFACE-\}" = ppp0 \] \|\| exit 0$/m)
  })
  test('systemd: a file for root alone is handed over', async () => {
    const text = await made('systemd', '--user', 'site', '--password-file', '/etc/etrn/100%')
    assert.match(text, /^LoadCredential=file-7:\/etc\/etrn\/100%%$/m)
    assert.match(
      text,
      /^ExecStart=.* --password-file \$\{CREDENTIALS_DIRECTORY\}\/file-7 mail\.isp\.example site\.example$/m,
    )
  })
  test('a value that begins with a dash, and words that an option could take', async () => {
    assert.match(await made('pppd', '--queue=-uucp'), / --queue=-uucp mail/)
    const { stdout } = await etrn(['--hook', 'pppd', '-k', '--', 'true', 'a.example'])
    assert.match(stdout, / --keep-going -- true a\.example /)
  })
  test('cron: the crontab says what will be mailed', async () => {
    assert.match(await made('cron'), /^# cron mails what is printed, so only failures are: /m)
    assert.match(await made('cron', '--json'), /^# --json and --verbose print something each time/m)
  })
  test('cron: a backslash before %', async () => {
    const text = await made('cron', '--queue', 'a\\%b')
    // What cron makes of it: \% is %, and \\ would leave the % alone.
    assert.doesNotMatch(text, /\\\\%/)
    assert.deepEqual(words(commandIn('cron', text)).slice(-4, -2), ['--queue', 'a\\%b'])
  })
  test('systemd: its own signs stand for themselves', async () => {
    const text = await made('systemd', '--queue', 'a$b%c"d\\e;f')
    assert.match(text, /^ExecStart=.* --queue "a\$\$b%%c\\"d\\\\e;f" mail/m)
  })
})

suite('with a configuration', { concurrency: true }, () => {
  const withConfig = async (t: TestContext, toml: string, ...args: string[]): Promise<string> => {
    const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
    t.after(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'own.toml'), toml)
    const run = await etrn(['--config', join(folder, 'own.toml'), ...args])
    assert.equal(run.status, 0, run.stderr)
    return run.stdout.replaceAll(folder, '/c')
  }
  const ISP = '[servers.isp]\nserver = "mail.isp.example"\nnames = ["site.example"]\n'
  test('its times are not overridden', async (t) => {
    const text = await withConfig(
      t,
      `wait-local = "30m"\n${ISP}retry-for = "1h"\nwait = "2h"\n`,
      '--hook',
      'pppd',
      'isp',
    )
    assert.doesNotMatch(text, /--retry-for/)
    assert.match(text, / --max-time 214m --config \/c\/own\.toml isp /)
    assert.doesNotMatch(await withConfig(t, `max-time = "9h"\n${ISP}`, '--hook', 'pppd', '--all'), /--max-time/)
  })
  test('systemd: it is handed over, with what lies beside it, under the names that it has there', async (t) => {
    const toml = `${ISP}user = "u"\npassword-file = "isp.password"\ntls-ca = "/etc/ssl/own.pem"\n`
    const text = await withConfig(t, toml, '--hook', 'systemd', 'isp')
    assert.match(text, /^LoadCredential=config\.toml:\/c\/own\.toml\nLoadCredential=isp\.password:\/c\/isp\.password$/m)
    assert.match(text, /^# The user of this service has to be able to read \/etc\/ssl\/own\.pem$/m)
    assert.match(text, /^ExecStart=.* --config \$\{CREDENTIALS_DIRECTORY\}\/config\.toml isp$/m)
    const beside = await withConfig(t, `${ISP}tls-ca = "/c/own.pem"\n`, '--hook', 'systemd', 'isp')
    assert.match(beside, /^# The user of this service has to be able to read \/c\/own\.pem$/m)
  })
  test('what it says of quiet and of the interface holds', async (t) => {
    const toml = `quiet = 2\n${ISP}interface = "wwan0"\n`
    assert.doesNotMatch(await withConfig(t, toml, '--hook', 'cron', 'isp'), /--quiet --/)
    assert.match(await withConfig(t, toml, '--hook', 'pppd', 'isp'), /^\[ "\$\{1-\}" = wwan0 \] \|\| exit 0$/m)
  })
  test('one lock for what asks the same, and another for other names', async () => {
    const lock = async (kind: HookKind, ...args: string[]): Promise<string> =>
      /etrn-mail\.isp\.example-[0-9a-f]{8}/.exec(await made(kind, ...args))?.[0] ?? assert.fail()
    assert.equal(await lock('pppd'), await lock('ifupdown'))
    assert.notEqual(await lock('pppd'), await lock('pppd', '--queue', 'q'))
  })
})

suite('each is a script or a table that is right', { concurrency: true }, () => {
  for (const kind of SCRIPTS)
    test(`${kind}: sh -n`, async () => {
      execFileSync('sh', ['-n'], { input: await made(kind, '--queue', "it's") })
    })
})

suite('what can not work there', { concurrency: true }, () => {
  const refused = (args: readonly string[], message: RegExp): void =>
    void test(args.join(' '), async () => {
      const run = await etrn(args)
      assert.deepEqual([run.status, run.stdout], [EXIT.USAGE, ''])
      assert.match(run.stderr, message)
    })
  refused(['--hook', 'procmail', 'mx', 'a.example'], /the choice is pppd, ifupdown, networkmanager, cron, systemd/)
  refused(['--hook', 'cron'], /no server given/)
  refused(['--hook', 'cron', 'mx', 'a..b'], /name "a\.\.b"/)
  refused(['--hook', 'cron', 'mx', '--names-from', '-'], /a hook has no standard input/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--check'], /--hook and --check exclude each other/)
  refused(
    ['--hook', 'cron', 'a.example,b.example', 'n.example', '--user', 'u', '--password-file', 'f'],
    /a login belongs to one server/,
  )
  refused(['--hook', 'cron', 'smtp://u@mx', 'a.example'], /in a hook nobody types a password/)
  refused(['--hook', 'cron', 'mx', 'a.example', '-4', '-6'], /-4 and -6 exclude each other/)
  refused(['--hook', 'systemd', 'mx', 'a.example', '--tls-ca', '/a\\'], /backslash/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--tls-key', '/k'], /--tls-key belongs to --tls-cert/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--auth', 'PLAIN'], /needs a user/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--tls', 'none', '--tls-fingerprint', 'A'.repeat(64)], /contradicts/)
  refused(['--config', '/dev/null', '--hook', 'cron', 'mx', 'a.example'], /\/dev\/null is not there when a hook runs/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--user', 'u'], /in a hook nobody types a password/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--tls-ca', 'a\nb'], /control character in "\/.*a\\nb"/)
  refused(
    ['--hook', 'cron', 'mx', ...Array.from({ length: 60 }, (_, n) => `name-${n}.some.example`)],
    /at most 990 octets/,
  )
})

test('the line comes from its options, not from what they mean', async () => {
  const line = await parseArguments(['-p25', 'mx', '--timeout=1h30m', '--', 'a.example'])
  assert.match(hookText('cron', givenOf(line)), /--port 25 --timeout 1h30m mx a\.example$/m)
})
