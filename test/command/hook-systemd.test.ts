import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { isReadableByAll } from '../../src/command/file-safety.js'
import { unreadByService } from '../../src/command/hook-systemd.js'
import { hookText } from '../../src/command/hook.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { makeFile, makeFolder } from '../helpers/files.js'
import { inputOf, ISP, printHook, printHookWithConfig } from '../helpers/hook.js'

suite('hook-units', { concurrency: true }, () => {
  test('loads a file that only root may read as a credential', async () => {
    const text = await printHook('systemd', '--user', 'site', '--password-file', '/etc/etrn/100%')
    assert.match(text, /^LoadCredential=file-7:\/etc\/etrn\/100%%$/m)
    assert.match(
      text,
      /^ExecStart=.* --password-file \$\{CREDENTIALS_DIRECTORY\}\/file-7 mail\.isp\.example site\.example$/m,
    )
  })
  test('loads the configuration and the files beside it as credentials of the same names', async (t) => {
    const toml = `${ISP}user = "u"\npassword-file = "isp.password"\ntls-ca = "/etc/ssl/own.pem"\n`
    const text = await printHookWithConfig(t, toml, '--hook', 'systemd', 'isp')
    assert.match(text, /^LoadCredential=config\.toml:\/c\/own\.toml\nLoadCredential=isp\.password:\/c\/isp\.password$/m)
    assert.match(text, /^# The user of this service must be able to read \/etc\/ssl\/own\.pem$/m)
    assert.match(text, /^ExecStart=.* --config \$\{CREDENTIALS_DIRECTORY\}\/config\.toml isp$/m)
    const beside = await printHookWithConfig(t, `${ISP}tls-ca = "/c/own.pem"\n`, '--hook', 'systemd', 'isp')
    assert.match(beside, /^# The user of this service must be able to read \/c\/own\.pem$/m)
  })
  const needsRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' }
  test('root is refused a file that another user can replace, since systemd opens it as root', needsRoot, async (t) => {
    const file = makeFile(t, 'names', 'a.example\n', 0o600)
    const args = ['--hook', 'systemd', '127.0.0.1', '--names-from', file]
    assert.equal((await etrn(args)).status, 0)
    chownSync(dirname(file), 12_345, 12_345)
    await assertRefused(
      args,
      /^etrn: \S+names is not safe to use: the directory .*; systemd would open the file as root\nhint: move the file /,
    )
  })
  test('root is refused a file in a directory such as /tmp, where others can create it later', needsRoot, async (t) => {
    const file = makeFile(t, 'names', 'a.example\n', 0o600)
    chmodSync(dirname(file), 0o1777)
    await assertRefused(
      ['--hook', 'systemd', '127.0.0.1', '--names-from', file],
      /^etrn: \S+names is not safe to use: other users can write to the directory [^\n]*\nhint: move the file /,
    )
  })
  test('a file in --password-command that the service can not read gets a warning', async (t) => {
    const closed = makeFile(t, 'password', 'secret\n', 0o600)
    const run = await etrn(['--hook', 'systemd', '127.0.0.1', 'a.example', '--user', 'u', '--password-command', closed])
    assert.equal(run.status, 0)
    assert.ok(run.stderr.includes(`--password-command contains ${closed}: the user of the service can't read`))
    for (const [file, isRead] of [
      ['/etc/shadow', false],
      ['/etc/passwd', true],
      ['/etc/etrn-nowhere', true],
    ] as const)
      assert.deepEqual(unreadByService([file], ['/usr/bin/node']), isRead ? [] : [file])
  })
  test('a path that leads in a circle is no file that everybody can read, and no error', (t) => {
    const link = join(makeFolder(t), 'link')
    symlinkSync(link, link)
    assert.equal(isReadableByAll(link), false)
  })
  test('the script says where the units go and how to run the service once', async () =>
    assert.match(
      await printHook('systemd'),
      /^# Save this script as .*\n# .* \/etc\/systemd\/system, .*\n# To try the service once, run: systemctl daemon-reload && systemctl start etrn-\S+\.service$/m,
    ))
  test('the service has a line for OnFailure=, as a comment', async () =>
    assert.match(
      await printHook('systemd'),
      /^\[Unit\]\n(?:[^\n]+\n)*# OnFailure=report-failure@%n\.service\n\n\[Service\]$/m,
    ))
  test('sh -n accepts the script', async () => {
    execFileSync('sh', ['-n'], { input: await printHook('systemd', '--queue', "it's") })
  })
  test('the script writes the service and the timer into the folder that it is given', async (t) => {
    const folder = makeFolder(t)
    const output = execFileSync('sh', ['-s', folder], { input: await printHook('systemd'), encoding: 'utf8' })
    const name = /etrn-mail\.isp\.example-[0-9a-f]{8}/.exec(output)?.[0] ?? assert.fail(output)
    assert.match(readFileSync(join(folder, `${name}.service`), 'utf8'), /^\[Unit\]\n[^]*^ExecStart=.*site\.example$/m)
    assert.match(readFileSync(join(folder, `${name}.timer`), 'utf8'), /^OnUnitInactiveSec=10min$/m)
  })
  test('escapes $, %, quotes and backslashes', async () => {
    const text = await printHook('systemd', '--queue', 'a$b%c"d\\e;f')
    assert.match(text, /^ExecStart=.* --queue "a\$\$b%%c\\"d\\\\e;f" mail/m)
  })
  test('leaves a word without special characters as it is, and quotes an empty one', () => {
    const line = { options: {}, words: ['mx', 'A_z09@+=:,./-', ''], typed: {} }
    assert.match(hookText('systemd', inputOf(line)), /^ExecStart=.* mx A_z09@\+=:,\.\/- ""$/m)
  })
  test('refuses a path that ends with a backslash', async () =>
    assertRefused(
      ['--hook', 'systemd', 'mx', 'a.example', '--tls-ca', '/a\\'],
      /^etrn: systemd can't load a file whose path ends with a space or a backslash: "\/a\\"\n$/,
    ))
  test('refuses a file beside the configuration that would have the name of another one', async (t) => {
    const names = makeFile(t, 'names', 'a.example\n')
    const taken = /^LoadCredential=(.*):.*names$/m.exec(
      await printHookWithConfig(t, ISP, '--hook', 'systemd', '--names-from', names, 'isp'),
    )
    const name = taken?.[1] ?? assert.fail()
    const config = makeFile(t, 'config.toml', `${ISP}tls-ca = "${name}"\n`)
    await assertRefused(
      ['--config', config, '--hook', 'systemd', '--names-from', names, 'isp'],
      new RegExp(`^etrn: the systemd service can't have two files with the name ${name}; rename /\\S+/${name}\n$`),
    )
  })
  test('refuses a file in a folder beside the configuration', async (t) => {
    const config = makeFile(t, 'config.toml', `${ISP}tls-ca = "pem/ca.pem"\n`)
    await assertRefused(
      ['--config', config, '--hook', 'systemd', 'isp'],
      /^etrn: the systemd service would not find pem\/ca\.pem by its relative path; write \/\S+\/pem\/ca\.pem in its place\n$/,
    )
  })
  test('passes the one configuration file that is read by default, and names it once', () => {
    const line = { options: {}, words: ['mx.example'], typed: {} }
    const text = hookText('systemd', { ...inputOf(line), files: ['/etc/etrn/config.toml'] })
    assert.match(text, /^LoadCredential=config\.toml:\/etc\/etrn\/config\.toml$/m)
    assert.match(text, /^ExecStart=\/node \/etrn --config \$\{CREDENTIALS_DIRECTORY\}\/config\.toml --retry-for /m)
  })
  test('names the configuration once if --config names it', async (t) => {
    const text = await printHookWithConfig(t, ISP, '--hook', 'systemd', 'isp')
    assert.equal(text.match(/--config/g)?.length, 1)
  })
  test('passes no file of two configurations, and says who must be able to read it', () => {
    const line = { options: { 'tls-ca': '/c/ca.pem' }, words: ['mx.example'], typed: {} }
    const input = { ...inputOf(line), files: ['/etc/etrn/config.toml', '/c/config.toml'] }
    const text = hookText('systemd', { ...input, paths: new Map([['/c/ca.pem', 'ca.pem']]) })
    assert.doesNotMatch(text, /LoadCredential|--config/)
    assert.match(text, /^# The user of this service must be able to read \/c\/ca\.pem$/m)
  })
  test('passes a file of --names-from', async () => {
    assert.match(await printHook('systemd', '--names-from', 'names'), /^LoadCredential=file-\d+:\/.*\/names$/m)
  })
})
