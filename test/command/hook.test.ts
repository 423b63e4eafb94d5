import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { type CommandLine, parseArguments } from '../../src/command/arguments.js'
import {
  commandPathsOf,
  commandVariablesOf,
  type HookInput,
  hookText,
  resolveHookTargets,
} from '../../src/command/hook.js'
import type { HookKind } from '../../src/command/hook-scripts.js'
import { EXIT, UsageError } from '../../src/errors.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { BIN, makeFile, makeFolder } from '../helpers/files.js'
import { commandIn, inputOf, ISP, printHook, printHookWithConfig, SCRIPT_KINDS, splitByShell } from '../helpers/hook.js'
import { NO_CONFIG, targetOf } from '../helpers/options.js'

suite('hook: its command', { concurrency: true }, () => {
  for (const kind of [...SCRIPT_KINDS, 'cron'] as const)
    test(`${kind}: runs the same command line with absolute paths`, async () => {
      const text = await printHook(kind, '-k', '-vv', '--queue', "it's 100%".replaceAll(' ', '-'), '--tls-ca=ca.pem')
      assert.deepEqual(splitByShell(commandIn(kind, text)), [
        process.execPath,
        BIN,
        ...(kind === 'cron' ? ['--report-after', '4h'] : []),
        ...['--retry-for', '5m', '--max-time', '9m', '--queue', "it's-100%", '--keep-going'],
        ...['--tls-ca', `${process.cwd()}/ca.pem`, '--verbose', '--verbose', 'mail.isp.example', 'site.example'],
      ])
    })
  test('keeps --retry-for, --wait and --max-time, and gives the run more time than the waits', async () => {
    const text = await printHook('pppd', '--retry-for', '90s', '--wait', '1h')
    assert.match(text, / --max-time 66m .*--retry-for 90s --wait 1h /)
    assert.match(await printHook('pppd', '--max-time', '2h'), / --retry-for 5m --max-time 2h /)
  })
  test('cron: adds no --report-after to one that is given or configured, to -qq and to --json', async (t) => {
    assert.match(await printHook('cron', '--report-after', '1h', '-q'), / \S+\/etrn --retry-for .* --report-after 1h /)
    assert.match(await printHook('cron', '-q'), / --report-after 4h .* --quiet /)
    for (const option of ['-qq', '--json']) assert.doesNotMatch(await printHook('cron', option), / --report-after /)
    const toml = `report-after = "24h"\n${ISP}`
    assert.doesNotMatch(await printHookWithConfig(t, toml, '--hook', 'cron', 'isp'), /etrn .* --report-after \d/)
  })
  test('pppd: passes --report-after and --failed-to on, and adds neither', async () => {
    assert.doesNotMatch(await printHook('pppd'), /--report-after|--failed-to/)
    assert.match(
      await printHook('pppd', '--report-after', '1h', '--failed-to', 'later'),
      new RegExp(` --report-after 1h --failed-to ${process.cwd()}/later `),
    )
  })
  test('joins a value that begins with a dash by =, and puts -- before words that an option could take', async () => {
    assert.match(await printHook('pppd', '--queue=-uucp'), / --queue=-uucp mail/)
    const { stdout } = await etrn(['--hook', 'pppd', '-k', '--', 'true', 'a.example'])
    assert.match(stdout, / --keep-going -- true a\.example /)
  })
})

suite('commandPathsOf', () => {
  for (const [command, expected] of [
    ['/opt/pass isp', ['/opt/pass']],
    ['sh /opt/pass isp', ['/opt/pass']],
    ['exec /opt/pass', ['/opt/pass']],
    [
      'KEY=/opt/key gpg -d --homedir=/opt/gpg </opt/isp.gpg|/usr/bin/head -1',
      ['/opt/key', '/opt/gpg', '/opt/isp.gpg', '/usr/bin/head'],
    ],
    ['sh -c \'. /opt/env; (cat /opt/a; cat `/opt/b`) && x || "/opt/c"\'', ['/opt/env', '/opt/a', '/opt/b', '/opt/c']],
    ['PATH=/opt/bin:/opt/sbin pass', ['/opt/bin', '/opt/sbin']],
    ['"/opt/my pass" isp', ['/opt/my', '/opt/my pass']],
    ["'/opt/a,b'", ['/opt/a', '/opt/a,b']],
    ['//opt/pass ///opt/a', ['/opt/pass', '/opt/a']],
    ['cat /opt\\/a /opt/"b"/c', ['/opt\\/a', '/opt/', '/c', '/opt/a', '/opt/b/c']],
    ['cat ../opt/a ./../opt/b', ['/opt/a', '/opt/b']],
    ['/opt/a,b/c', ['/opt/a', '/opt/a,b/c']],
    ['/opt/my\\ pass --x', ['/opt/my\\', '/opt/my', '/opt/my pass']],
    ['"/opt/a\\"b" </opt/c\\;d', ['/opt/a\\', '/opt/c\\', '/opt/ab', '/opt/c', '/opt/a"b', '/opt/c;d']],
    ['pass show isp/mail ~/y', []],
  ] as const)
    test(`finds every path in ${command}`, () =>
      assert.deepEqual(commandPathsOf([targetOf('mx', { user: 'u', 'password-command': command })]), expected))
})

suite('commandVariablesOf', () => {
  for (const [command, expected] of [
    ['~alice/pw', ['~alice']],
    ["cat ~alice/pw | sh -c '~/x'", ['~alice', '~']],
    ['P=/opt; "$P/a" <${HOME}/b', ['$P', '${HOME}']],
    ['cd ~ && cat ~', ['~']],
    ['/opt/a$@b $1 ${2-x}', ['$@', '$1', '${2-x}']],
    ["awk '$1 ~ /isp/ {print $2}' /opt/a~ $(cat /opt/b)", []],
  ] as const)
    test(`finds what only a shell can resolve in ${command}`, () =>
      assert.deepEqual(commandVariablesOf([targetOf('mx', { user: 'u', 'password-command': command })]), expected))
})

suite('hook: with a configuration', { concurrency: true }, () => {
  test('keeps the times of the configuration', async (t) => {
    const text = await printHookWithConfig(
      t,
      `wait-local = "30m"\n${ISP}retry-for = "1h"\nwait = "2h"\n`,
      '--hook',
      'pppd',
      'isp',
    )
    assert.doesNotMatch(text, /--retry-for/)
    assert.match(text, / --max-time 214m --config \/c\/own\.toml isp /)
    assert.doesNotMatch(
      await printHookWithConfig(t, `max-time = "9h"\n${ISP}`, '--hook', 'pppd', '--all'),
      /--max-time/,
    )
  })
  test('adds no --retry-for and no --max-time if one of two profiles has its own', async (t) => {
    const toml = `max-time = "9h"\n${ISP}retry-for = "1h"\n[servers.b]\nserver = "b.example"\nnames = ["b.example"]\n`
    assert.doesNotMatch(await printHookWithConfig(t, toml, '--hook', 'pppd', '--all'), /--retry-for|--max-time/)
  })
  test('has the same lock for the same request, and another lock for other names', async () => {
    const lock = async (kind: HookKind, ...args: string[]): Promise<string> =>
      /etrn-mail\.isp\.example-[0-9a-f]{8}/.exec(await printHook(kind, ...args))?.[0] ?? assert.fail()
    assert.equal(await lock('pppd'), await lock('ifupdown'))
    assert.notEqual(await lock('pppd'), await lock('pppd', '--queue', 'q'))
  })
})

suite('hook: texts that a hook cannot hold', { concurrency: true }, () => {
  const KINDS = [...SCRIPT_KINDS, 'cron', 'systemd'] as const
  const texts = { 'a line end': '\n', 'a carriage return': '\r', ESC: '\x1b', 'a bidi mark': '\u202e', NEL: '\u0085' }
  for (const [title, character] of Object.entries(texts)) {
    const refuses = (place: string, input: (kind: HookKind) => Partial<HookInput>): void =>
      void test(`refuses ${title} in ${place}`, () => {
        for (const kind of KINDS) {
          const line = { options: {}, words: ['mx.example', 'a.example'], typed: {} }
          assert.throws(
            () => hookText(kind, { ...inputOf(line), ...input(kind) }),
            (error: unknown) => {
              assert.ok(error instanceof UsageError)
              assert.equal(error.exitStatus, 64)
              assert.match(error.message, /^a hook must not contain control or invisible characters: "[\x20-\x7e]*"$/)
              return true
            },
          )
        }
      })
    const word = `/a${character}END${character}touch b`
    refuses('the path of node', () => ({ program: [word, '/etrn'] }))
    refuses('the path of etrn', () => ({ program: ['/node', word] }))
    refuses('the path of the configuration', () => ({ files: [word] }))
    refuses('a file that the configuration names', () => ({
      ...inputOf({ options: { 'password-file': word }, words: ['mx.example', 'a.example'], typed: {} }),
    }))
    refuses('an interface that the configuration names', () => ({
      ...inputOf({ options: { interface: word.replaceAll('/', '') }, words: ['mx.example', 'a.example'], typed: {} }),
    }))
  }
  for (const kind of KINDS)
    test(`${kind}: refuses a configuration whose password-file has an end of line`, async (t) => {
      const toml = `${ISP}user = "u"\npassword-file = "/etc/pw\\nEND\\ntouch /tmp/x\\ncat <<END"\n`
      const run = await etrn(['--config', makeFile(t, 'own.toml', toml), '--hook', kind, 'isp'])
      assert.deepEqual([run.status, run.stdout], [64, ''])
      assert.match(run.stderr, /^etrn: a hook must not contain control or invisible characters: "\/etc\/pw\\nEND/)
    })
})

suite('hook: without a name', { concurrency: true }, () => {
  for (const kind of ['pppd', 'cron', 'systemd'] as const)
    test(`${kind}: says which name it requests, on standard error and in the hook`, async () => {
      const run = await etrn(['--hook', kind, '--mx', 'site.example'])
      assert.equal(run.stderr, 'etrn: no name given; the hook requests site.example\n')
      assert.match(run.stdout, /^# No NAME was given: this hook requests site\.example\.$/m)
      const named = await etrn(['--hook', kind, '--mx', 'site.example', 'a.example'])
      assert.equal(named.stderr, '')
      assert.doesNotMatch(named.stdout, /No NAME was given/)
      const several = await etrn(['--hook', kind, '--mx', 'one.example', '--mx', 'two.example'])
      assert.match(several.stdout, /^# No NAME was given: this hook requests one\.example, two\.example\.$/m)
    })
})

suite('hook: refused command lines', { concurrency: true }, () => {
  const refuses = (args: readonly string[], message: RegExp): void =>
    void test(`refuses ${args.slice(0, 8).join(' ')}`, async () => {
      const run = await etrn(args)
      assert.deepEqual([run.status, run.stdout], [EXIT.USAGE, ''])
      assert.match(run.stderr, message)
    })
  refuses(
    ['--hook', 'procmail', 'mx', 'a.example'],
    /--hook "procmail" must be pppd, ifupdown, networkmanager, networkd, dhcpcd, script, cron or systemd; write, for example, --hook pppd$/m,
  )
  refuses(['--hook', 'cron'], /^etrn: no server given; write etrn SERVER NAME \(see etrn --help\)$/m)
  refuses(['--hook', 'cron', 'mx', 'a.example', '--check'], /--check and --hook can't be used together; use only one$/m)
  for (const [option, file] of [
    ['--names-from', '/dev/fd/3'],
    ['--names-from', '/dev/stdin'],
    ['--tls-ca', '/proc/self/fd/3'],
  ] as const)
    refuses(
      ['--hook', 'cron', 'mx', 'a.example', option, file],
      /the file \/(?:dev|proc)\/\S+ will not exist when the hook runs; use a regular file$/m,
    )
  refuses(['--hook', 'cron', 'mx', 'a.example', '--tls-ca', 'a\nb'], /control or invisible characters: "\/.*a\\nb"/)
})

test('hook: writes an option that is repeated once, with its last value', async () => {
  const line = await parseArguments(['--timeout', '1', '--timeout', '2', '--queue', 'a', '--queue', 'b', 'mx'])
  assert.match(hookText('cron', inputOf(line)), / --queue a --queue b --timeout 2 mx$/m)
})

for (const config of ['/dev/fd/3', '/proc/self/fd/3'])
  test(`hook: refuses the configuration ${config}, which does not exist when a hook runs`, () => {
    const line = { options: { config }, words: ['mx'], typed: {} }
    const message = `the file ${config} will not exist when the hook runs; use a regular file`
    assert.throws(() => hookText('cron', inputOf(line)), { exitStatus: 64, message })
  })

test('hook: accepts /dev/null, which is an empty configuration', async () => {
  const run = await etrn(['--hook', 'cron', '--config', '/dev/null', '127.0.0.1', 'a.example'])
  assert.deepEqual([run.status, run.stderr], [0, ''])
  assert.match(run.stdout, / --config \/dev\/null .*127\.0\.0\.1 a\.example$/m)
})

test('hook: writes no longer --max-time than the option takes', async () => {
  const line = await parseArguments(['mx', '--retry-for', '576h', '--wait', '576h'])
  assert.match(hookText('cron', inputOf(line)), / --max-time 34560m /)
})

test('hook: writes the options as they were typed', async () => {
  const line = await parseArguments(['-p25', 'mx', '--timeout=1h30m', '--', 'a.example'])
  assert.match(hookText('cron', inputOf(line)), /--port 25 --timeout 1h30m mx a\.example$/m)
})

suite('resolveHookTargets', { concurrency: true }, () => {
  const refuses = (title: string, args: readonly string[], message: RegExp): void =>
    void test(title, async () => assertRefused(['--hook', 'cron', ...args], message))
  refuses('reports a bad name', ['mx', 'a..b'], /name "a\.\.b"/)
  for (const [option, value] of [
    ['--report-after', '4h'],
    ['--failed-to', 'later'],
  ] as const)
    test(`reports ${option} for systemd, whose service writes no files`, async () =>
      assertRefused(
        ['--hook', 'systemd', option, value, 'mx', 'a.example'],
        `etrn: the systemd service writes no files; remove ${option}\nhint: the journal keeps the results of every run\n`,
      ))
  refuses(
    'reports names from standard input',
    ['mx', '--names-from', '-'],
    /a hook has no standard input; write the names to a file and use --names-from FILE$/m,
  )
  refuses(
    'reports a login for two servers',
    ['a.example,b.example', 'n.example', '--user', 'u', '--password-file', 'f'],
    /credentials are for one server only/,
  )
  refuses(
    'reports a user of the URL without a password file',
    ['smtp://u@mx', 'a.example'],
    /a hook can't ask for a password; add --password-file FILE or --password-command COMMAND$/m,
  )
  refuses(
    'reports --user without a password file',
    ['mx', 'a.example', '--user', 'u'],
    /a hook can't ask for a password; add --password-file FILE or --password-command COMMAND$/m,
  )
  refuses('reports -4 with -6', ['mx', 'a.example', '-4', '-6'], /-4 and -6 can't be used together/)
  refuses(
    'reports --tls-key alone',
    ['mx', 'a.example', '--tls-key', '/k'],
    /--tls-key needs --tls-cert; add --tls-cert FILE$/m,
  )
  refuses(
    'reports --auth without a user',
    ['mx', 'a.example', '--auth', 'PLAIN'],
    /--auth PLAIN needs a user name; add --user NAME$/m,
  )
  refuses(
    'reports a fingerprint without TLS',
    ['mx', 'a.example', '--tls', 'none', '--tls-fingerprint', 'A'.repeat(64)],
    /contradicts/,
  )
  test('reports a bad name of a profile with its place', async (t) => {
    const toml = '[servers.isp]\nserver = "mx.example"\nnames = ["a..b"]\n'
    const args = ['--config', makeFile(t, 'config.toml', toml), '--hook', 'cron', 'isp']
    await assertRefused(args, /^etrn: \S+config\.toml:3: profile isp: name "a\.\.b" has an empty label/, 78)
  })
  test('reads no file that a hook will read when it runs', async () => {
    const line: CommandLine = {
      options: { 'names-from': ['/nowhere'], 'tls-ca': '/nowhere', user: 'u', 'password-file': '/nowhere' },
      words: ['mx.example'],
      typed: {},
    }
    assert.equal((await resolveHookTargets(line, NO_CONFIG, (message) => assert.fail(message))).length, 1)
  })
})

suite("hook: a profile in the user's own configuration", { concurrency: true }, () => {
  const printOwnHook = async (t: TestContext, toml: string, word: string) => {
    const home = makeFolder(t)
    mkdirSync(join(home, '.config/etrn'), { recursive: true })
    writeFileSync(join(home, '.config/etrn/config.toml'), toml)
    const uid = process.getuid?.() || 1000
    return etrn(['--hook', 'pppd', word, 'a.example'], { env: { HOME: home }, user: { uid } })
  }
  test('is suggested for a mistyped word', async (t) => {
    const run = await printOwnHook(t, '[servers.isp]\nserver = "mail.isp.example"\n', 'ips')
    assert.equal(run.status, 64)
    assert.match(run.stderr, /^etrn: no profile "ips"; did you mean isp\?$/m)
  })
  test('is not sought in a file that is not valid, which is an error unless the server is no profile', async (t) => {
    const run = await printOwnHook(t, 'port =', 'ips')
    assert.equal(run.status, 78)
    assert.match(run.stderr, /config\.toml:1: not valid TOML/)
    assert.equal((await printOwnHook(t, 'port =', 'mail.isp.example')).status, 0)
  })
})
