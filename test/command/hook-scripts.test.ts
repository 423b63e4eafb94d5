import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { hookText } from '../../src/command/hook.js'
import type { HookKind } from '../../src/command/hook-scripts.js'
import { etrn } from '../helpers/command.js'
import {
  commandIn,
  CRON_NAMES,
  inputOf,
  ISP,
  printHook,
  printHookWithConfig,
  SCRIPT_KINDS,
  splitByShell,
} from '../helpers/hook.js'

/** Returns a function that tells whether a hook goes on, without what would run etrn. */
async function guardOf(
  kind: HookKind,
  ...options: string[]
): Promise<(args: readonly string[], env?: Readonly<Record<string, string>>) => boolean> {
  const text = await printHook(kind, ...options)
  const input = `${text.slice(0, text.indexOf('PATH='))}echo went on\n${text.endsWith(')\n') ? ')' : ''}`
  return (args, env = {}) => execFileSync('sh', ['-s', ...args], { input, env, encoding: 'utf8' }) === 'went on\n'
}

suite('hook-scripts: scripts', { concurrency: true }, () => {
  test('runs on the interface of --interface only; otherwise the line is a comment', async () => {
    assert.match(await printHook('networkmanager', '--interface', 'ppp0'), /^\[ "\$\{1-\}" = ppp0 \] \|\| exit 0$/m)
    assert.match(await printHook('ifupdown'), /^# \[ "\$\{IFACE-\}" = ppp0 \] \|\| exit 0$/m)
  })
  test('keeps quiet and interface of the configuration', async (t) => {
    const toml = `quiet = 2\n${ISP}interface = "wwan0"\n`
    assert.doesNotMatch(await printHookWithConfig(t, toml, '--hook', 'cron', 'isp'), /--quiet --/)
    assert.match(await printHookWithConfig(t, toml, '--hook', 'pppd', 'isp'), /^\[ "\$\{1-\}" = wwan0 \] \|\| exit 0$/m)
  })
  test('runs on the interface of a VLAN, whose name has a dot', async () =>
    assert.match(await printHook('pppd', '--interface', 'eth0.100'), /^\[ "\$\{1-\}" = eth0\.100 \] \|\| exit 0$/m))
  test('names no interface if --interface is an address, or differs between servers', async (t) => {
    const COMMENT = /^# \[ "\$\{1-\}" = ppp0 \] \|\| exit 0$/m
    for (const address of ['192.0.2.1', '2001:db8::1'])
      assert.match(await printHook('pppd', '--interface', address), COMMENT)
    const toml = (second: string): string =>
      `${ISP}interface = "wwan0"\n[servers.b]\nserver = "b.example"\nnames = ["b.example"]\ninterface = "${second}"\n`
    assert.match(await printHookWithConfig(t, toml('eth0'), '--hook', 'pppd', '--all'), COMMENT)
    assert.match(await printHookWithConfig(t, toml('wwan0'), '--hook', 'pppd', '--all'), /^\[ "\$\{1-\}" = wwan0 \]/m)
  })
  test('a shell makes the same words of any text', () => {
    const word = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.constantFrom('pppd', 'cron'), word, fc.array(word, { maxLength: 3 }), (kind, helo, names) => {
        const typed = { queue: [helo, ...names] }
        const expected = typed.queue.flatMap((queue) =>
          queue.startsWith('-') ? [`--queue=${queue}`] : ['--queue', queue],
        )
        const text = hookText(kind, inputOf({ options: {}, words: ['mail.isp.example'], typed }))
        for (const cron of kind === 'cron' ? CRON_NAMES : CRON_NAMES.slice(0, 1)) {
          const shown = splitByShell(commandIn(kind, text, cron))
          assert.deepEqual(shown.slice(kind === 'cron' ? 8 : 6, -1), expected)
        }
      }),
      { numRuns: 50 },
    )
  })
  test('the NetworkManager hook ends for lo, and for other actions than up', async () => {
    const run = await guardOf('networkmanager')
    assert.deepEqual(
      [['eth0', 'up'], ['lo', 'up'], ['eth0', 'down'], ['none', 'hostname'], []].map((args) => run(args)),
      [true, ...Array.from({ length: 4 }, () => false)],
    )
  })
  test('the networkd hook ends for lo', async () => {
    const run = await guardOf('networkd')
    assert.deepEqual([run([], { IFACE: 'eth0' }), run([], { IFACE: 'lo' })], [true, false])
  })
  test('the dhcpcd hook goes on for a new lease or address only, and ends for lo', async () => {
    const run = await guardOf('dhcpcd')
    const goesOn = (reason: string): boolean => run([], { interface: 'eth0', reason })
    for (const reason of ['BOUND', 'BOUND6', 'REBOOT', 'REBOOT6', 'INFORM', 'INFORM6', 'STATIC', 'TIMEOUT'])
      assert.ok(goesOn(reason), reason)
    for (const reason of ['PREINIT', 'CARRIER', 'RENEW', 'RENEW6', 'REBIND', 'EXPIRE', 'NOCARRIER', 'STOPPED', ''])
      assert.ok(!goesOn(reason), reason)
    assert.deepEqual([run([], { interface: 'lo', reason: 'BOUND' }), run([])], [false, false])
  })
  test('the script hook ends for lo and for an interface other than that of --interface; a caller may name none', async () => {
    const run = await guardOf('script', '--interface', 'wg0')
    assert.deepEqual([run(['wg0']), run([]), run(['wg1']), run(['lo'])], [true, true, false, false])
    const runOnAny = await guardOf('script')
    assert.deepEqual([runOnAny(['wg1']), runOnAny([]), runOnAny(['lo'])], [true, true, false])
  })
  test('systemd-run gets two dollar signs for each, because systemd expands one; setsid gets the text unchanged', async () => {
    const text = await printHook('pppd', '--queue', '$$a${b}')
    assert.match(text, /^dollar='\$'\nif \[ -d \/run\/systemd\/system \]; then\n(?: {2}.*\n)* {2}dollar='\$\$'\nfi$/m)
    assert.match(text, / --queue ''"\$dollar"''"\$dollar"'a'"\$dollar"'\{b\}' /)
    assert.doesNotMatch(await printHook('pppd'), /dollar/)
  })
  test('the pppd hook says which name distributions need that run *.sh only', async () =>
    assert.match(
      await printHook('pppd'),
      /^# .* only scripts named\n# \/etc\/ppp\/ip-up\.d\/\*\.sh run, so save the script as etrn\.sh\.$/m,
    ))
  test('leaves a word without special characters as it is, and quotes an empty one', async () => {
    assert.match(await printHook('pppd', '--queue', 'A_z09@+=:,./-%'), / --queue A_z09@\+=:,\.\/-% mail/)
    const input = inputOf({ options: {}, words: ['mx', ''], typed: {} })
    assert.match(hookText('pppd', input), / mx '' 2>&1/)
  })
  for (const kind of SCRIPT_KINDS)
    test(`${kind}: sh -n accepts the script`, async () => {
      execFileSync('sh', ['-n'], { input: await printHook(kind, '--queue', "it's") })
    })
})

suite('hook-scripts: comments', { concurrency: true }, () => {
  for (const [kind, file, attempt] of [
    ['pppd', '/etc/ppp/ip-up.d/etrn', '/etc/ppp/ip-up.d/etrn ppp0'],
    ['ifupdown', '/etc/network/if-up.d/etrn', 'IFACE=ppp0 /etc/network/if-up.d/etrn'],
    ['networkmanager', '/etc/NetworkManager/dispatcher.d/50-etrn', '/etc/NetworkManager/dispatcher.d/50-etrn ppp0 up'],
    [
      'networkd',
      '/etc/networkd-dispatcher/routable.d/50-etrn',
      'IFACE=ppp0 /etc/networkd-dispatcher/routable.d/50-etrn',
    ],
    ['script', '/usr/local/sbin/etrn-up', '/usr/local/sbin/etrn-up ppp0'],
  ] as const)
    test(`the ${kind} hook says where the file goes and how to run it once`, async () => {
      const text = await printHook(kind)
      assert.ok(text.includes(`\n# As root, save this script as ${file}, and run: chmod 755 ${file}\n`))
      assert.ok(text.includes(`\n# To try the script once, run: ${attempt}\n`))
    })
  test('the dhcpcd hook says to append the text to a file, and how to run the file once', async () =>
    assert.match(
      await printHook('dhcpcd'),
      /^# As root, append .* to \/etc\/dhcpcd\.exit-hook, and run: chmod 644 .*\n# To try .*: interface=ppp0 reason=BOUND sh \/etc\/dhcpcd\.exit-hook$/m,
    ))
  test('the attempt names the interface of --interface', async () =>
    assert.match(await printHook('ifupdown', '--interface', 'wwan0'), /^# To try the script once, run: IFACE=wwan0 /m))
  test('the crontab says where the lines go', async () =>
    assert.match(await printHook('cron'), /^# Add these lines to your crontab with: crontab -e$/m))
  test('the command that tries the crontab once finds its line', async () => {
    const text = await printHook('cron', '--queue', 'a%b')
    const attempt = /^# To try the command once, run: (crontab -l \| .*) \| sh$/m.exec(text)?.[1] ?? assert.fail(text)
    const other = '1 2 * * * echo other\n'
    const found = execFileSync('sh', ['-c', `crontab() { printf %s "$text"; }\n${attempt}`], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], text: other + text + other },
    })
    assert.equal(found, /^3-59\/10 \* \* \* \* (.*\n)/m.exec(text)?.[1] ?? '')
  })
})

suite('hook-scripts: the crontab', { concurrency: true }, () => {
  test('cron: the crontab says which output cron will mail', async () => {
    const noteOf = async (...options: string[]): Promise<string | undefined> =>
      /^# cron mails any output: (.*)\.$/m.exec(await printHook('cron', ...options))?.[1]
    assert.equal(await noteOf(), 'permanent failures at once, temporary failures after the --report-after time')
    assert.equal(await noteOf('-qq'), 'with --quiet given twice, permanent failures only')
    assert.equal(await noteOf('-qq', '--report-after', '1h'), await noteOf())
    assert.equal(await noteOf('--json'), 'with --json, the document of every run')
    assert.equal(await noteOf('-v'), 'with --verbose, the dialogue of every run')
  })
  for (const word of ['a\\%b', 'a\\\\b', '\\\\\\', "\\'\\%", '%', "it's 100%", 'A%B', '\\%\\\\%'])
    for (const cron of CRON_NAMES)
      test(`cron: ${cron} hands ${word} to the shell`, async () => {
        const text = await printHook('cron', '--tls-ca', `/${word}`)
        assert.deepEqual(splitByShell(commandIn('cron', text, cron)).slice(-4, -2), ['--tls-ca', `/${word}`])
      })
  test('refuses a line of more than 990 octets', async () => {
    const names = Array.from({ length: 60 }, (_, n) => `name-${n}.some.example`)
    const run = await etrn(['--hook', 'cron', 'mx', ...names])
    assert.deepEqual([run.status, run.stdout], [64, ''])
    assert.match(
      run.stderr,
      /^etrn: the crontab line would have more than 990 octets; write the names to a file and use --names-from FILE\n$/,
    )
  })
  test('accepts a line of 990 octets, and refuses one of 991', async () => {
    const print = async (length: number) =>
      etrn(['--hook', 'cron', 'mx', '--queue', 'q'.repeat(400), '--queue', 'q'.repeat(length)])
    const { stdout } = await print(1)
    const left = 990 - (/^3-59\/10 \* \* \* \* (.*)$/m.exec(stdout)?.[1]?.length ?? 0)
    assert.deepEqual([(await print(1 + left)).status, (await print(2 + left)).status], [0, 64])
  })
})
