import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { type CommandLine, parseArguments } from '../../src/command/arguments.js'
import { type HookInput, hookText, type HookKind } from '../../src/command/hook.js'
import { resolveTargets } from '../../src/command/targets.js'
import { EXIT } from '../../src/errors.js'
import { etrn } from '../helpers/command.js'
import { BIN, makeFolder } from '../helpers/files.js'

const KINDS = ['pppd', 'ifupdown', 'networkmanager', 'cron', 'systemd'] as const satisfies readonly HookKind[]
const SCRIPTS = KINDS.filter((kind) => kind !== 'cron')
const printHook = async (kind: HookKind, ...args: string[]): Promise<string> =>
  (await etrn(['--hook', kind, ...args, 'mail.isp.example', 'site.example'])).stdout

/** Returns the words that a shell makes of a command. */
function splitByShell(command: string): string[] {
  const printed = execFileSync('sh', ['-c', `printf '%s\\0' ${command}`], {
    encoding: 'utf8',
    env: { HOME: '/home/u' },
  })
  return printed.split('\0').slice(0, -1)
}

/** Returns the command of a hook, from node on, as the mechanism hands it to a shell. */
function commandIn(kind: HookKind, text: string): string {
  const command =
    kind === 'cron'
      ? /^3-59\/10 \* \* \* \* flock -n \S+ (.*)$/m.exec(text)?.[1]?.replaceAll('\\%', '%')
      : /flock -n \S+ \\\n {4}(.*) 2>&1 \|\n/.exec(text)?.[1]
  return command ?? assert.fail(text)
}

/** Returns the input of a hook for a command line without a configuration. */
function inputOf(line: CommandLine): HookInput {
  const targets = resolveTargets(line, { source: '', top: {}, profiles: new Map(), paths: new Map() }, () => undefined)
  return { line, targets, files: [], written: new Map(), program: ['/node', '/etrn'] }
}

suite('hook: its command', { concurrency: true }, () => {
  for (const kind of ['pppd', 'ifupdown', 'networkmanager', 'cron'] as const)
    test(`${kind}: runs the same command line with absolute paths`, async () => {
      const text = await printHook(kind, '-k', '-vv', '--queue', "it's 100%".replaceAll(' ', '-'), '--tls-ca=ca.pem')
      assert.deepEqual(splitByShell(commandIn(kind, text)), [
        process.execPath,
        BIN,
        ...(kind === 'cron' ? ['--quiet'] : []),
        ...['--retry-for', '5m', '--max-time', '9m', '--queue', "it's-100%", '--tls-ca', `${process.cwd()}/ca.pem`],
        ...['--keep-going', '--verbose', '--verbose', 'mail.isp.example', 'site.example'],
      ])
    })
  test('a shell makes the same words of any text', () => {
    const word = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.constantFrom('pppd', 'cron'), word, fc.array(word, { maxLength: 3 }), (kind, helo, names) => {
        const typed = { queue: [helo, ...names] }
        const expected = typed.queue.flatMap((queue) =>
          queue.startsWith('-') ? [`--queue=${queue}`] : ['--queue', queue],
        )
        const shown = splitByShell(
          commandIn(kind, hookText(kind, inputOf({ options: {}, words: ['mail.isp.example'], typed }))),
        )
        assert.deepEqual(shown.slice(kind === 'cron' ? 7 : 6, -1), expected)
      }),
      { numRuns: 50 },
    )
  })
  test('keeps --retry-for, --wait and --max-time, and gives the run more time than the waits', async () => {
    const text = await printHook('pppd', '--retry-for', '90s', '--wait', '1h')
    assert.match(text, / --max-time 66m .*--retry-for 90s --wait 1h /)
    assert.match(await printHook('pppd', '--max-time', '2h'), / --retry-for 5m --max-time 2h /)
  })
  test('runs on the interface of --interface only; otherwise the line is a comment', async () => {
    assert.match(await printHook('networkmanager', '--interface', 'ppp0'), /^\[ "\$\{1-\}" = ppp0 \] \|\| exit 0$/m)
    assert.match(await printHook('ifupdown'), /^# \[ "\$\{IFACE-\}" = ppp0 \] \|\| exit 0$/m)
  })
  test('systemd: loads a file that only root may read as a credential', async () => {
    const text = await printHook('systemd', '--user', 'site', '--password-file', '/etc/etrn/100%')
    assert.match(text, /^LoadCredential=file-7:\/etc\/etrn\/100%%$/m)
    assert.match(
      text,
      /^ExecStart=.* --password-file \$\{CREDENTIALS_DIRECTORY\}\/file-7 mail\.isp\.example site\.example$/m,
    )
  })
  test('joins a value that begins with a dash by =, and puts -- before words that an option could take', async () => {
    assert.match(await printHook('pppd', '--queue=-uucp'), / --queue=-uucp mail/)
    const { stdout } = await etrn(['--hook', 'pppd', '-k', '--', 'true', 'a.example'])
    assert.match(stdout, / --keep-going -- true a\.example /)
  })
  test('cron: the crontab says which output cron will mail', async () => {
    assert.match(await printHook('cron'), /^# cron mails what is printed, so only failures are: /m)
    assert.match(await printHook('cron', '--json'), /^# --json and --verbose print something each time/m)
  })
  test('cron: keeps a backslash before %', async () => {
    const text = await printHook('cron', '--queue', 'a\\%b')
    // cron reads \% as %, and \\ would leave the % unescaped.
    assert.doesNotMatch(text, /\\\\%/)
    assert.deepEqual(splitByShell(commandIn('cron', text)).slice(-4, -2), ['--queue', 'a\\%b'])
  })
  test('systemd: escapes $, %, quotes and backslashes', async () => {
    const text = await printHook('systemd', '--queue', 'a$b%c"d\\e;f')
    assert.match(text, /^ExecStart=.* --queue "a\$\$b%%c\\"d\\\\e;f" mail/m)
  })
})

suite('hook: with a configuration', { concurrency: true }, () => {
  const printWithConfig = async (t: TestContext, toml: string, ...args: string[]): Promise<string> => {
    const folder = makeFolder(t)
    writeFileSync(join(folder, 'own.toml'), toml)
    const run = await etrn(['--config', join(folder, 'own.toml'), ...args])
    assert.equal(run.status, 0, run.stderr)
    return run.stdout.replaceAll(folder, '/c')
  }
  const ISP = '[servers.isp]\nserver = "mail.isp.example"\nnames = ["site.example"]\n'
  test('keeps the times of the configuration', async (t) => {
    const text = await printWithConfig(
      t,
      `wait-local = "30m"\n${ISP}retry-for = "1h"\nwait = "2h"\n`,
      '--hook',
      'pppd',
      'isp',
    )
    assert.doesNotMatch(text, /--retry-for/)
    assert.match(text, / --max-time 214m --config \/c\/own\.toml isp /)
    assert.doesNotMatch(await printWithConfig(t, `max-time = "9h"\n${ISP}`, '--hook', 'pppd', '--all'), /--max-time/)
  })
  test('systemd: loads the configuration and the files beside it as credentials of the same names', async (t) => {
    const toml = `${ISP}user = "u"\npassword-file = "isp.password"\ntls-ca = "/etc/ssl/own.pem"\n`
    const text = await printWithConfig(t, toml, '--hook', 'systemd', 'isp')
    assert.match(text, /^LoadCredential=config\.toml:\/c\/own\.toml\nLoadCredential=isp\.password:\/c\/isp\.password$/m)
    assert.match(text, /^# The user of this service has to be able to read \/etc\/ssl\/own\.pem$/m)
    assert.match(text, /^ExecStart=.* --config \$\{CREDENTIALS_DIRECTORY\}\/config\.toml isp$/m)
    const beside = await printWithConfig(t, `${ISP}tls-ca = "/c/own.pem"\n`, '--hook', 'systemd', 'isp')
    assert.match(beside, /^# The user of this service has to be able to read \/c\/own\.pem$/m)
  })
  test('keeps quiet and interface of the configuration', async (t) => {
    const toml = `quiet = 2\n${ISP}interface = "wwan0"\n`
    assert.doesNotMatch(await printWithConfig(t, toml, '--hook', 'cron', 'isp'), /--quiet --/)
    assert.match(await printWithConfig(t, toml, '--hook', 'pppd', 'isp'), /^\[ "\$\{1-\}" = wwan0 \] \|\| exit 0$/m)
  })
  test('has the same lock for the same request, and another lock for other names', async () => {
    const lock = async (kind: HookKind, ...args: string[]): Promise<string> =>
      /etrn-mail\.isp\.example-[0-9a-f]{8}/.exec(await printHook(kind, ...args))?.[0] ?? assert.fail()
    assert.equal(await lock('pppd'), await lock('ifupdown'))
    assert.notEqual(await lock('pppd'), await lock('pppd', '--queue', 'q'))
  })
})

suite('hook: syntax', { concurrency: true }, () => {
  for (const kind of SCRIPTS)
    test(`${kind}: sh -n accepts the script`, async () => {
      execFileSync('sh', ['-n'], { input: await printHook(kind, '--queue', "it's") })
    })
})

suite('hook: refused command lines', { concurrency: true }, () => {
  const refuses = (args: readonly string[], message: RegExp): void =>
    void test(`refuses ${args.slice(0, 8).join(' ')}`, async () => {
      const run = await etrn(args)
      assert.deepEqual([run.status, run.stdout], [EXIT.USAGE, ''])
      assert.match(run.stderr, message)
    })
  refuses(['--hook', 'procmail', 'mx', 'a.example'], /the choice is pppd, ifupdown, networkmanager, cron, systemd/)
  refuses(['--hook', 'cron'], /no server given/)
  refuses(['--hook', 'cron', 'mx', 'a.example', '--check'], /--hook and --check exclude each other/)
  refuses(['--hook', 'systemd', 'mx', 'a.example', '--tls-ca', '/a\\'], /backslash/)
  refuses(['--config', '/dev/null', '--hook', 'cron', 'mx', 'a.example'], /\/dev\/null is not there when a hook runs/)
  refuses(['--hook', 'cron', 'mx', 'a.example', '--tls-ca', 'a\nb'], /control character in "\/.*a\\nb"/)
  refuses(
    ['--hook', 'cron', 'mx', ...Array.from({ length: 60 }, (_, n) => `name-${n}.some.example`)],
    /at most 990 octets/,
  )
})

test('hook: writes the options as they were typed', async () => {
  const line = await parseArguments(['-p25', 'mx', '--timeout=1h30m', '--', 'a.example'])
  assert.match(hookText('cron', inputOf(line)), /--port 25 --timeout 1h30m mx a\.example$/m)
})
