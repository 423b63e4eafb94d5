import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { replaceFile } from '../../src/command/replace-file.js'
import { etrn, spawnEtrn } from '../helpers/command.js'
import { makeFolder, ROOT } from '../helpers/files.js'
import { isInNamespace } from '../helpers/namespace.js'

const NOBODY_LISTENS = ['127.0.0.1:9', 'a.example']

if (isInNamespace(import.meta.url)) {
  suite('replaceFile', () => {
    test('writes the text with the mode, whatever the umask is', (t) => {
      const file = join(makeFolder(t), 'later')
      const umask = process.umask(0o077)
      t.after(() => process.umask(umask))
      replaceFile(file, 'a\n', { mode: 0o644 })
      assert.deepEqual([readFileSync(file, 'utf8'), statSync(file).mode & 0o777], ['a\n', 0o644])
      replaceFile(file, 'b\n', { mode: 0o600 })
      assert.deepEqual([readFileSync(file, 'utf8'), statSync(file).mode & 0o777], ['b\n', 0o600])
    })
    test('replaces a link, and leaves its target alone', (t) => {
      const folder = makeFolder(t)
      writeFileSync(join(folder, 'target'), 'old\n')
      symlinkSync('target', join(folder, 'later'))
      replaceFile(join(folder, 'later'), 'new\n', { mode: 0o600 })
      assert.deepEqual(
        ['target', 'later'].map((name) => readFileSync(join(folder, name), 'utf8')),
        ['old\n', 'new\n'],
      )
    })
    test('accepts a file whose name is as long as can be', (t) => {
      const file = join(makeFolder(t), 'n'.repeat(255))
      replaceFile(file, 'a\n', { mode: 0o600 })
      assert.equal(readFileSync(file, 'utf8'), 'a\n')
    })
    test('removes what a killed run has left, but not what another run may be writing', (t) => {
      const folder = makeFolder(t)
      mkdirSync(join(folder, 'later'))
      assert.throws(() => replaceFile(join(folder, 'later'), '', { mode: 0o600 }))
      assert.deepEqual(readdirSync(folder), ['later'])
      const prefix = `.etrn-${hash('sha256', 'later').slice(0, 8)}-`
      const old = new Date(Date.now() - 3_600_000)
      const ahead = new Date(Date.now() + 3_600_000)
      for (const name of ['old', 'ahead', 'young']) writeFileSync(join(folder, prefix + name), '')
      mkdirSync(join(folder, `${prefix}folder`))
      utimesSync(join(folder, `${prefix}folder`), old, old)
      utimesSync(join(folder, `${prefix}old`), old, old)
      utimesSync(join(folder, `${prefix}ahead`), ahead, ahead)
      writeFileSync(join(folder, '.etrn-00000000-other'), '')
      utimesSync(join(folder, '.etrn-00000000-other'), old, old)
      assert.throws(() => replaceFile(join(folder, 'later'), '', { mode: 0o600 }))
      assert.deepEqual(readdirSync(folder).sort(), [
        '.etrn-00000000-other',
        `${prefix}folder`,
        `${prefix}young`,
        'later',
      ])
    })
    test('a process that is killed leaves a whole file', async (t) => {
      const file = join(makeFolder(t), 'state')
      const module = fileURLToPath(new URL('src/command/replace-file.ts', ROOT))
      const script = `import { replaceFile } from ${JSON.stringify(module)}
        for (let n = 0; ; n++) {
          replaceFile(${JSON.stringify(file)}, String(n % 10).repeat(100_000), { mode: 0o600 })
          if (n === 20) console.log('ready')
        }`
      const args = ['--import', 'tsx', '--input-type=module', '-e', script]
      const child = spawn(process.execPath, args, { cwd: fileURLToPath(ROOT), stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      child.kill('SIGKILL')
      await once(child, 'close')
      assert.match(readFileSync(file, 'utf8'), /^(\d)\1{99999}$/)
    })
  })

  suite('a full disk', () => {
    const DISK = '/run/disk'
    mkdirSync(DISK)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', DISK])
    const isFull = (): void =>
      assert.throws(() => writeFileSync(`${DISK}/filler`, Buffer.alloc(1_000_000)), { code: 'ENOSPC' })
    const args = ['--report-after', '4h', ...NOBODY_LISTENS]
    const env = { XDG_STATE_HOME: DISK }
    const user = { uid: 1000 }

    test('--report-after reports the failure at once with the reason, and keeps the older state', async () => {
      const time = Date.parse('2026-11-23T00:00:00Z')
      assert.equal((await etrn(args, { env, user, now: () => time })).stderr, '')
      const [name = ''] = readdirSync(`${DISK}/etrn`)
      const before = readFileSync(`${DISK}/etrn/${name}`, 'utf8')
      isFull()
      const run = await etrn(args, { env, user, now: () => time + 1000 })
      assert.equal(run.status, 75)
      assert.deepEqual(run.stderr.split('\n').slice(0, 3), [
        'etrn: 127.0.0.1:9: connection refused (127.0.0.1 port 9); a.example not requested',
        'etrn: 127.0.0.1:9: temporary failure in 2 runs since 2026-11-23T00:00:00Z',
        `etrn: the failure is reported at once, because the --report-after state is not usable: ${DISK}/etrn/${name}: no space left on the device`,
      ])
      assert.equal(readFileSync(`${DISK}/etrn/${name}`, 'utf8'), before)
      assert.deepEqual(readdirSync(`${DISK}/etrn`), [name])
    })
    test('--failed-to keeps the file as it was, says so, and does not hide the failure of the run', async () => {
      const folder = `${DISK}/lists`
      mkdirSync(folder)
      writeFileSync(`${folder}/later`, '')
      isFull()
      const run = await spawnEtrn(['--failed-to', `${folder}/later`, ...NOBODY_LISTENS])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /^etrn: --failed-to \/run\/disk\/lists\/later: no space left on the device$/m)
      assert.deepEqual([readdirSync(folder), readFileSync(`${folder}/later`, 'utf8')], [['later'], ''])
    })
  })

  suite('several runs at once', () => {
    test('keep one whole state, and all are silent', async (t) => {
      const home = makeFolder(t)
      const runs = Array.from({ length: 6 }, async () =>
        spawnEtrn(['--report-after', '4h', ...NOBODY_LISTENS], { env: { XDG_STATE_HOME: home }, through: AS_USER }),
      )
      for (const { status, stdout, stderr } of await Promise.all(runs))
        assert.deepEqual([status, stdout, stderr], [75, '', ''])
      const [name = '', ...others] = readdirSync(join(home, 'etrn'))
      assert.deepEqual(others, [])
      const state = JSON.parse(readFileSync(join(home, 'etrn', name), 'utf8')) as { failures: { runs: number }[] }
      const [failure] = state.failures
      assert.ok(failure !== undefined && failure.runs >= 1 && failure.runs <= 6)
    })
  })

  suite('root', () => {
    test('has its state in /var/lib/etrn, whatever the environment says', async (t) => {
      execFileSync('mount', ['-t', 'tmpfs', 'none', '/var/lib'])
      t.after(() => execFileSync('umount', ['/var/lib']))
      const home = makeFolder(t)
      const env = { HOME: home, XDG_STATE_HOME: home }
      await spawnEtrn(['--report-after', '4h', ...NOBODY_LISTENS], { env })
      assert.deepEqual([readdirSync('/var/lib'), readdirSync(home)], [['etrn'], []])
      assert.equal(statSync('/var/lib/etrn').mode & 0o777, 0o700)
      assert.ok(existsSync(join('/var/lib/etrn', readdirSync('/var/lib/etrn')[0] ?? '')))
    })
  })
}

const AS_USER = ['unshare', '--user', '--map-user=1000', '--map-group=1000']
