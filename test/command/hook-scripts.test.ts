import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { hookText } from '../../src/command/hook.js'
import { etrn } from '../helpers/command.js'
import { commandIn, CRON_NAMES, inputOf, ISP, printHook, printHookWithConfig, splitByShell } from '../helpers/hook.js'

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
    const text = await printHook('networkmanager')
    // The guard alone: the rest would run etrn.
    const guard = `${text.slice(0, text.indexOf('PATH='))}echo went on\n`
    const run = (...args: string[]): string =>
      execFileSync('sh', ['-s', ...args], { input: guard, encoding: 'utf8' }).trim()
    assert.deepEqual(
      [run('eth0', 'up'), run('lo', 'up'), run('eth0', 'down'), run('none', 'hostname'), run()],
      ['went on', '', '', '', ''],
    )
  })
  test('the pppd hook says which name distributions need that run *.sh only', async () =>
    assert.match(
      await printHook('pppd'),
      /^# .* only \/etc\/ppp\/ip-up\.d\/\*\.sh run,\n# so save the script as etrn\.sh\.$/m,
    ))
  test('leaves a word without special characters as it is, and quotes an empty one', async () => {
    assert.match(await printHook('pppd', '--queue', 'A_z09@+=:,./-%'), / --queue A_z09@\+=:,\.\/-% mail/)
    const input = inputOf({ options: {}, words: ['mx', ''], typed: {} })
    assert.match(hookText('pppd', input), / mx '' 2>&1/)
  })
  for (const kind of ['pppd', 'ifupdown', 'networkmanager'] as const)
    test(`${kind}: sh -n accepts the script`, async () => {
      execFileSync('sh', ['-n'], { input: await printHook(kind, '--queue', "it's") })
    })
})

suite('hook-scripts: comments', { concurrency: true }, () => {
  for (const [kind, file, attempt] of [
    ['pppd', '/etc/ppp/ip-up.d/etrn', '/etc/ppp/ip-up.d/etrn ppp0'],
    ['ifupdown', '/etc/network/if-up.d/etrn', 'IFACE=ppp0 /etc/network/if-up.d/etrn'],
    ['networkmanager', '/etc/NetworkManager/dispatcher.d/50-etrn', '/etc/NetworkManager/dispatcher.d/50-etrn ppp0 up'],
  ] as const)
    test(`the ${kind} hook says where the file goes and how to run it once`, async () => {
      const text = await printHook(kind)
      assert.ok(text.includes(`\n# Save this script as ${file}, and run: chmod 755 ${file}\n`))
      assert.ok(text.includes(`\n# To try the script once, run: ${attempt}\n`))
    })
  test('the attempt names the interface of --interface', async () =>
    assert.match(await printHook('ifupdown', '--interface', 'wwan0'), /^# To try the script once, run: IFACE=wwan0 /m))
  test('the crontab says where the lines go and how to run the command once', async () =>
    assert.match(
      await printHook('cron'),
      /^# Add .* crontab -e\n# To try the command once, start sh, and run the part /m,
    ))
})

suite('hook-scripts: the crontab', { concurrency: true }, () => {
  test('cron: the crontab says which output cron will mail', async () => {
    const noteOf = async (...options: string[]): Promise<string | undefined> =>
      /^# cron mails any output: (.*)\.$/m.exec(await printHook('cron', ...options))?.[1]
    assert.equal(await noteOf(), 'permanent failures at once, temporary failures after the time of --report-after')
    assert.equal(await noteOf('-qq'), 'with a second --quiet, permanent failures only')
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
