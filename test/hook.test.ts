import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseCommandLine } from '../src/command-line.js'
import { hook, type HookKind } from '../src/hook.js'
import { EXIT } from '../src/outcome.js'
import { BIN, etrn } from './command.js'

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
        const line = { said: {}, words: ['mail.isp.example'], given }
        const expected = given.queue.flatMap((queue) => ['--queue', queue])
        const shown = words(commandIn(kind, hook(kind, line, ['/node', '/etrn'])))
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
  test('systemd: its own signs stand for themselves', async () => {
    const text = await made('systemd', '--queue', 'a$b%c"d\\e;f')
    assert.match(text, /^ExecStart=.* --queue "a\$\$b%%c\\"d\\\\e;f" mail/m)
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
  refused(['--hook', 'cron', 'mx', 'a.example', '--user', 'u'], /in a hook nobody types a password/)
  refused(['--hook', 'cron', 'mx', 'a.example', '--tls-ca', 'a\nb'], /control character in "\/.*a\\nb"/)
  refused(
    ['--hook', 'cron', 'mx', ...Array.from({ length: 60 }, (_, n) => `name-${n}.some.example`)],
    /at most 990 characters/,
  )
})

test('the line comes from its options, not from what they mean', async () => {
  const { said, words: rest, given } = await parseCommandLine(['-p25', 'mx', '--timeout=1h30m', '--', 'a.example'])
  assert.match(hook('cron', { said, words: rest, given }, ['/etrn']), /--port 25 --timeout 1h30m mx a\.example$/m)
})
