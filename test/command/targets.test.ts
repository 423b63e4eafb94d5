import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import type { CommandLine } from '../../src/command/arguments.js'
import type { Config, Profile } from '../../src/command/config.js'
import type { PartialOptions } from '../../src/command/options.js'
import { resolveTargets, swapHint, userOf, userOption } from '../../src/command/targets.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused, etrn, etrnJson, type Finished } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'
import { targetOf } from '../helpers/options.js'
import { etrnSteps, scripted, sessionWith } from '../helpers/scripted-server.js'

const HELO = 'helo = "gw.site.example"\n'
const SERVER = 'server = "mail.invalid"\n'
const runWithConfig = async (t: TestContext, toml: string, args: readonly string[]): Promise<Finished> =>
  etrn(['--config', makeFile(t, 'config.toml', toml), ...args])

suite('targets: profiles', { concurrency: true }, () => {
  const startTwoProfiles = async (t: TestContext, separatePort: boolean) => {
    const isp = await scripted(t, sessionWith(...etrnSteps('a.example', '250 OK')))
    const backup = await scripted(t, sessionWith(...etrnSteps('b.example', '250 OK')))
    const server = separatePort ? `"127.0.0.1"\nport = ${backup.port}` : `"127.0.0.1:${backup.port}"`
    const toml = `${HELO}[servers.isp]\nserver = "127.0.0.1:${isp.port}"\nnames = ["a.example"]\n[servers.backup]\nserver = ${server}\nnames = ["b.example"]\n`
    return { isp, backup, toml }
  }
  test('--json names the profiles, hosts and ports of a list', async (t) => {
    const { isp, backup, toml } = await startTwoProfiles(t, true)
    const { document, status } = await etrnJson(['--config', makeFile(t, 'config.toml', toml), 'isp,backup'])
    assert.equal(status, 0)
    assert.deepEqual(
      document.servers.map(({ server, host, port, names }) => [server, host, port, names.map(({ name }) => name)]),
      [
        ['isp', '127.0.0.1', isp.port, ['a.example']],
        ['backup', '127.0.0.1', backup.port, ['b.example']],
      ],
    )
  })
  test('--all requests the names of each profile, and each line names its profile', async (t) => {
    const { toml } = await startTwoProfiles(t, false)
    const run = await runWithConfig(t, toml, ['--all'])
    assert.match(run.stdout, /^isp: a\.example: accepted/m)
    assert.match(run.stdout, /^backup: b\.example: accepted/m)
  })
  test('a profile is accepted beside a server that is down', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '250 OK')))
    const toml = `${HELO}[servers.isp]\nserver = "127.0.0.1:${server.port}"\n`
    const run = await runWithConfig(t, toml, ['isp,127.0.0.1:1', 'a.example'])
    assert.deepEqual([run.status, /^isp: a\.example: accepted/.test(run.stdout)], [75, true])
    assert.match(run.stderr, /^etrn: 127\.0\.0\.1:1: .*connection refused/m)
  })
  test('warns that a host may be a mistyped profile', async (t) => {
    const run = await runWithConfig(t, `[servers.isp]\n${SERVER}`, ['--hook', 'cron', 'mail', 'a.example'])
    assert.match(run.stderr, /^etrn: warning: no profile "mail" \(known profiles: isp\); using mail as a host name$/m)
  })
  test('warns without any profile only if no name is given', async () => {
    // A hook looks nobody up.
    const run = await etrn(['--hook', 'cron', 'isp'])
    assert.match(run.stderr, /^etrn: warning: no profile "isp" \(none is configured\); using isp as a host name$/m)
    assert.equal((await etrn(['--max-time', '2s', '127.0.0.1:1', 'a.example'])).stderr.includes('profile'), false)
    assert.equal((await etrn(['--hook', 'cron', 'isp', 'a.example'])).stderr, '')
  })
})

suite('resolveTargets', () => {
  const createConfig = (
    profiles: Readonly<Record<string, Partial<Profile>>> = {},
    top: PartialOptions = {},
  ): Config => ({
    tops: [{ options: top }],
    profiles: new Map(
      Object.entries(profiles).map(([name, profile]) => [name, { server: `${name}.example`, options: {}, ...profile }]),
    ),
    paths: new Map(),
  })
  const resolve = (words: readonly string[], options: PartialOptions = {}, config = createConfig()) => {
    const warnings: string[] = []
    const line: CommandLine = { options, words, typed: {} }
    return { targets: resolveTargets(line, config, (message) => warnings.push(message)), warnings }
  }
  test('takes the first word for servers and the others for names', () => {
    const { targets } = resolve(['a.example,b.example:26', 'x.example', 'y.example'], { port: 587 })
    assert.deepEqual(
      targets.map(({ server, isMx, options }) => [server.host, server.port, isMx, options.names]),
      [
        ['a.example', 587, false, ['x.example', 'y.example']],
        ['b.example', 26, false, ['x.example', 'y.example']],
      ],
    )
  })
  for (const word of ['', 'a.example,', ',a.example', 'a.example, b.example'])
    test(`refuses the server ${JSON.stringify(word)}`, () =>
      assert.throws(
        () => resolve([word]),
        (error) =>
          error instanceof UsageError && error.exitStatus === 64 && /^server "[^\p{C}]*" /u.test(error.message),
      ))
  test('takes every word for a name with --mx', () => {
    const { targets } = resolve(['x.example'], { mx: ['site.example'] }, createConfig({}, { port: 26 }))
    assert.deepEqual(
      targets.map(({ server, isMx, options }) => [server.host, server.port, isMx, options.names]),
      [['site.example', 26, true, ['x.example']]],
    )
  })
  test('resolves each domain of --mx once, with the same names', () => {
    const { targets } = resolve(['x.example'], { mx: ['a.example', 'b.example', 'A.example'], port: 26 })
    assert.deepEqual(
      targets.map(({ server, isMx, options }) => [server.host, server.port, isMx, options.names]),
      [
        ['a.example', 26, true, ['x.example']],
        ['b.example', 26, true, ['x.example']],
      ],
    )
  })
  test('--self is accepted with --mx, and --interval with --wait', () => {
    assert.equal(resolve([], { mx: ['site.example'], self: ['mx.example'] }).targets.length, 1)
    assert.equal(resolve(['mx.example'], { wait: 1, interval: 1 }).targets.length, 1)
  })
  test('--interval is accepted if one of two profiles has --wait', () => {
    const config = createConfig({ isp: { options: { wait: 1 } }, backup: {} })
    assert.equal(resolve(['isp,backup'], { interval: 1 }, config).targets.length, 2)
  })
  test('requests the names once of a server that a list has twice', () => {
    assert.equal(
      resolve(['a.example,A.example:25,a.example:26,smtps://a.example:25,smtp://u@a.example']).targets.length,
      4,
    )
    const config = createConfig({ isp: { server: 'a.example' }, backup: { server: 'a.example' } })
    assert.deepEqual(
      resolve(['isp,backup,isp'], {}, config).targets.map(({ server }) => server.word),
      ['isp', 'backup'],
    )
  })
  test('--all resolves each profile, named by its own word', () => {
    const config = createConfig({ isp: {}, backup: { options: { port: 26 } } })
    assert.deepEqual(
      resolve([], { all: true }, config).targets.map(({ server }) => [server.word, server.host, server.port]),
      [
        ['isp', 'isp.example', 25],
        ['backup', 'backup.example', 26],
      ],
    )
  })
  test('warns of a word that is no profile, but not of localhost, a domain or a profile', () => {
    const config = createConfig({ isp: {} })
    assert.deepEqual(resolve(['localhost,mx.example,isp,ips', 'x.example'], {}, config).warnings, [
      'etrn: warning: no profile "ips" (known profiles: isp); using ips as a host name',
    ])
  })
  test('lists at most eight profiles in the warning', () => {
    const config = createConfig(Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`p${n + 1}`, {}])))
    assert.match(resolve(['ips'], {}, config).warnings.join(), /\(known profiles: p1, p2, p3, p4, p5, p6, p7, p8\)/)
  })
  for (const [title, options] of [
    ['subdomains', { subdomains: ['a'] }],
    ['queue', { queue: ['a'] }],
    ['names-from', { 'names-from': ['a'] }],
  ] as const)
    test(`does not warn if ${title} names what to request`, () =>
      assert.deepEqual(resolve(['isp'], options as unknown as PartialOptions).warnings, []))
})

test('userOf: --user overrides the user of the URL, and userOption names the one that counts', () => {
  const describe = (server: string, options: PartialOptions): (string | undefined)[] => {
    const target = targetOf(server, options)
    return [userOf(target), userOption(target)]
  }
  assert.deepEqual(describe('mx.example', {}), [undefined, 'server'])
  assert.deepEqual(describe('smtp://b@mx.example', {}), ['b', 'server'])
  assert.deepEqual(describe('smtp://b@mx.example', { user: 'a' }), ['a', 'user'])
})

suite('targets: refused command lines', { concurrency: true }, () => {
  test('reports that no server is given', async () =>
    assertRefused([], 'etrn: no server given; write etrn SERVER NAME (see etrn --help)\n'))
  test('reports a server with port 0', async () =>
    assertRefused(
      ['mail.example.com:0', 'x'],
      'etrn: server "mail.example.com:0" has an invalid port; a port must be a number from 1 to 65535\n',
    ))
  test('reports --self without --mx', async () =>
    assertRefused(
      ['mx', 'a.example', '--self', 'b.example'],
      'etrn: --self works only with --mx; remove --self b.example, or write etrn --mx a.example --self b.example\n',
    ))
  for (const [title, argv, options] of [
    ['--all with --mx', ['--all', '--mx', 'a.example'], '--mx and --all'],
    ['-4 with -6', ['-4', '-6', 'mx.example'], '-4 and -6'],
    ['--hook with --check', ['--hook', 'cron', 'mx.example', '--check'], '--check and --hook'],
    [
      '--password-file with --password-command',
      ['mx.example', '--user', 'u', '--password-file', '/f', '--password-command', 'c'],
      '--password-file and --password-command',
    ],
  ] as const)
    test(`reports ${title}`, async () => assertRefused(argv, `etrn: ${options} can't be used together; use only one\n`))
  test('reports --interval if neither the command line nor the profile has --wait', async (t) => {
    const toml = `[servers.isp]\nserver = "127.0.0.1:1"\nwait = "1s"\n`
    assert.equal((await runWithConfig(t, toml, ['isp', 'a.example', '--interval', '1s'])).status, 75)
    assert.equal((await runWithConfig(t, '', ['127.0.0.1:1', 'a.example', '--interval', '1s'])).status, 64)
  })
  test('reports --all without a profile', async (t) =>
    assertRefused(
      ['--config', makeFile(t, 'config.toml', ''), '--all'],
      /^etrn: --all needs a profile, but none is configured\nhint: add a profile to \S+config\.toml: \[servers\.isp\], and below it server = /,
    ))
  test('reports --all with a server', async (t) =>
    assertRefused(
      ['--config', makeFile(t, 'config.toml', `[servers.isp]\n${SERVER}`), '--all', 'isp'],
      /^etrn: --all takes no SERVER or NAME; for all profiles, write etrn --all; for one server, write etrn SERVER NAME\n$/,
    ))
})

suite('targets: a server beside --mx', { concurrency: true }, () => {
  const TOML = `[servers.isp]\n${SERVER}`
  for (const [word, mayBeName] of [
    ['mx2.example', true],
    ['mail.isp.example', true],
    ['smtp-out.isp.example', true],
    ['mail.isp.example:25', false],
    ['smtp://mail.isp.example', false],
    ['192.0.2.1', false],
    ['2001:db8::1', false],
    ['[192.0.2.1]', false],
    ['isp', false],
  ] as const)
    test(`refuses ${word}`, async (t) => {
      const hint = mayBeName
        ? `hint: if ${word} is a name to request, write it with a final dot: --mx d01.example ${word}.\n`
        : ''
      await assertRefused(
        ['--config', makeFile(t, 'config.toml', TOML), word, '--mx', 'd01.example'],
        `etrn: --mx finds the servers in DNS, so omit ${word}\n${hint}`,
      )
    })
  test('accepts names like a server within the domain, with a final dot, and other names', async () => {
    const argv = ['--hook', 'cron', '--mx', 'd01.example', '--mx', 'd02.example']
    for (const word of ['mail.d01.example', 'mx.d02.example', 'mx2.example.', 'mailing.example', 'site.example', '#mx'])
      assert.equal((await etrn([...argv, word])).status, 0, word)
  })
})

suite('targets: SERVER and NAME swapped', { concurrency: true }, () => {
  test('a profile in the place of a name is refused', async (t) =>
    assertRefused(
      ['--config', makeFile(t, 'config.toml', `[servers.isp]\n${SERVER}`), 'site.example', 'isp'],
      'etrn: isp is a profile, and SERVER comes first; write etrn isp site.example\n',
    ))
  test('a second profile in the place of a name is refused', async (t) => {
    const config = makeFile(t, 'config.toml', `[servers.isp]\n${SERVER}[servers.backup]\n${SERVER}`)
    for (const words of [
      ['isp', 'backup'],
      ['isp', 'a.example', 'backup'],
    ])
      await assertRefused(
        ['--config', config, ...words],
        'etrn: backup is a profile; for several profiles, write etrn isp,backup\n',
      )
  })
  test('a blank beside the comma between servers is pointed out', async () => {
    for (const words of [
      ['isp,', 'mx.example', 'a.example'],
      ['isp', ',mx.example', 'a.example'],
      ['isp', ',', 'mx.example', 'a.example'],
    ])
      await assertRefused(
        words,
        'etrn: a comma between servers must have no blanks beside it; write etrn isp,mx.example a.example\n',
      )
  })
  const HINT = 'hint: SERVER and NAME seem to be the wrong way round; try etrn mail.isp.example site.example'
  const UNKNOWN = { stage: 'dns', exitStatus: 68 } as const
  const UNREACHABLE = { stage: 'connect', exitStatus: 75 } as const
  for (const [title, words, failures, hint] of [
    ['suggests the other order if the server does not exist', ['site.example', 'mail.isp.example'], [UNKNOWN], HINT],
    [
      'suggests it if a server does not listen and the name is like a server',
      ['site.example', 'mail.isp.example'],
      [UNREACHABLE],
      HINT,
    ],
    [
      'suggests it for any domain if the server does not exist',
      ['site.example', 'isp.example'],
      [UNKNOWN],
      HINT.replace('mail.isp', 'isp'),
    ],
    [
      'keeps the other names in their places',
      ['a.example', 'mx.example', 'b.example'],
      [UNKNOWN],
      'hint: SERVER and NAME seem to be the wrong way round; try etrn mx.example a.example b.example',
    ],
    [
      'puts the name that is like a server first, wherever it stands',
      ['a.example', 'b.example', 'mail.isp.example', 'c.example'],
      [UNKNOWN],
      'hint: SERVER and NAME seem to be the wrong way round; try etrn mail.isp.example a.example b.example c.example',
    ],
    [
      'is silent if a server does not listen and the name is like no server',
      ['isp.example', 'site.example'],
      [UNREACHABLE],
      undefined,
    ],
    ['is silent if the server is like one', ['mx1.isp.example', 'mail.site.example'], [UNREACHABLE], undefined],
    [
      'is silent if DNS does not answer',
      ['site.example', 'mail.isp.example'],
      [{ stage: 'dns', exitStatus: 75 }],
      undefined,
    ],
    [
      'is silent after another failure',
      ['site.example', 'mail.isp.example'],
      [{ stage: 'etrn', exitStatus: 75 }],
      undefined,
    ],
    [
      'suggests that it may be so if the server has no ETRN',
      ['site.example', 'mail.isp.example'],
      [{ stage: 'etrn', exitStatus: 69 }],
      'hint: if SERVER and NAME are the wrong way round, try etrn mail.isp.example site.example',
    ],
    [
      'is silent if a server without ETRN is like one',
      ['mail.isp.example', 'mx.site.example'],
      [{ stage: 'etrn', exitStatus: 69 }],
      undefined,
    ],
    ['is silent if a server that does not exist is like one', ['mail.exmaple', 'site.example'], [UNKNOWN], undefined],
    ['is silent without a failure', ['site.example', 'mail.isp.example'], [], undefined],
    [
      'shows where the server stands if there is only one word',
      ['site.example'],
      [UNKNOWN],
      'hint: if site.example is the name to request, write etrn SERVER site.example',
    ],
    ['is silent if the only word is like a server', ['mail.isp.example'], [UNKNOWN], undefined],
    ['is silent if the only word does not listen', ['site.example'], [UNREACHABLE], undefined],
    ['is silent without a word', [], [UNKNOWN], undefined],
    ['is silent for a queue', ['site.example', '#q'], [UNKNOWN], undefined],
    ['is silent for several servers', ['a.example,b.example', 'mail.isp.example'], [UNKNOWN], undefined],
  ] as const)
    test(`swapHint ${title}`, () => assert.equal(swapHint(words, failures), hint))
})
