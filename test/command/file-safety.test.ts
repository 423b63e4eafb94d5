import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, lchownSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { unsafePathReason, warnIfExposed } from '../../src/command/file-safety.js'
import { makeFile, makeFolder } from '../helpers/files.js'

const UID = process.getuid?.() ?? 0
const needsRoot = { skip: UID === 0 ? false : 'needs root' }
const FOREIGNER = 1234

/** Creates `a/b/file` in a folder of its own, whose path it returns. */
function makeTree(t: TestContext): string {
  const root = makeFolder(t)
  mkdirSync(join(root, 'a/b'), { recursive: true })
  writeFileSync(join(root, 'a/b/file'), 'text')
  return root
}

suite('file-safety: unsafePathReason', { concurrency: true }, () => {
  const finds = (title: string, change: (root: string) => string, reason: RegExp | undefined, skip = {}): void =>
    void test(title, skip, (t) => {
      const root = makeTree(t)
      const found = unsafePathReason(change(root), UID, { isStrict: true })
      if (reason === undefined) assert.equal(found, undefined)
      else assert.match(found ?? '', reason)
    })
  const FOREIGN = /^the directory \S+ belongs to (?:neither root nor you|a user other than root) \(chown\)$/

  finds('accepts a file below /tmp that only its owner may write', (root) => join(root, 'a/b/file'), undefined)
  finds(
    'refuses a file that its group may write',
    (root) => {
      chmodSync(join(root, 'a/b/file'), 0o660)
      return join(root, 'a/b/file')
    },
    /^group members can write to the file \(chmod g-w \S+\/file\)$/,
  )
  for (const folder of ['a/b', 'a', ''])
    finds(
      `refuses a file if others may write /${folder} of its path`,
      (root) => {
        chmodSync(join(root, folder), 0o777)
        return join(root, 'a/b/file')
      },
      /^other users can write to the directory (\S+) \(chmod o-w \1\)$/,
    )
  finds(
    'refuses a file if a folder above its folder belongs to somebody else',
    (root) => {
      chownSync(join(root, 'a'), FOREIGNER, FOREIGNER)
      return join(root, 'a/b/file')
    },
    FOREIGN,
    needsRoot,
  )
  finds(
    'refuses a sticky folder of somebody else',
    (root) => {
      chownSync(join(root, 'a'), FOREIGNER, FOREIGNER)
      chmodSync(join(root, 'a'), 0o1777)
      return join(root, 'a/b/file')
    },
    FOREIGN,
    needsRoot,
  )
  finds(
    'refuses a link of somebody else in a sticky folder',
    (root) => {
      chmodSync(root, 0o1777)
      symlinkSync('a', join(root, 'link'))
      lchownSync(join(root, 'link'), FOREIGNER, FOREIGNER)
      return join(root, 'link/b/file')
    },
    /^the symbolic link \S+\/link belongs to /,
    needsRoot,
  )
  finds(
    'refuses a chain of links if others may write the folder of the second link',
    (root) => {
      mkdirSync(join(root, 'open'))
      symlinkSync(join(root, 'a/b/file'), join(root, 'open/second'))
      symlinkSync('open/second', join(root, 'first'))
      chmodSync(join(root, 'open'), 0o777)
      return join(root, 'first')
    },
    /^other users can write to the directory \S+\/open \(chmod o-w /,
  )
  finds(
    'follows .. behind a link as the system does',
    (root) => {
      mkdirSync(join(root, 'open/inner'), { recursive: true })
      writeFileSync(join(root, 'open/file'), '')
      writeFileSync(join(root, 'file'), '')
      chmodSync(join(root, 'open'), 0o777)
      symlinkSync('open/inner', join(root, 'link'))
      return `${root}/link/../file`
    },
    /^other users can write to the directory \S+\/open \(chmod o-w /,
  )
  finds(
    'accepts the null device of another user, as in a container without root',
    (root) => {
      execFileSync('mknod', [join(root, 'null'), 'c', '1', '3'])
      chownSync(join(root, 'null'), FOREIGNER, FOREIGNER)
      return join(root, 'null')
    },
    undefined,
    needsRoot,
  )
  test('accepts a file in a sticky folder, unless it is strict', (t) => {
    const root = makeTree(t)
    chmodSync(join(root, 'a/b'), 0o1777)
    const file = join(root, 'a/b/file')
    assert.equal(unsafePathReason(file, UID), undefined)
    assert.match(
      unsafePathReason(file, UID, { isStrict: true }) ?? '',
      /^other users can write to the directory \S+\/b; move the file$/,
    )
  })
  test('throws ELOOP for links that form a loop', (t) => {
    const link = join(makeFolder(t), 'link')
    symlinkSync('link', link)
    assert.throws(() => unsafePathReason(link, UID), { code: 'ELOOP' })
  })
  test('finds nothing on a system without user numbers', (t) => {
    const file = makeFile(t, 'file', '', 0o666)
    chmodSync(file, 0o666)
    assert.equal(unsafePathReason(file, undefined), undefined)
  })
})

suite('file-safety: warnIfExposed', { concurrency: true }, () => {
  type Content = Parameters<typeof warnIfExposed>[2]
  const warningsOf = (file: string, secret: Content, uid = UID, stats = statSync(file)): string => {
    const warnings: string[] = []
    const warn = (message: string): unknown => warnings.push(message.replaceAll(file, 'FILE'))
    const isSafe = warnIfExposed(file, stats, secret, { uid, warn })
    assert.equal(isSafe, !warnings.some((warning) => warning.includes(' is not safe: ')))
    return warnings.join('\n')
  }
  const makeSecret = (t: TestContext, mode: number): string => {
    const file = makeFile(t, 'secret', '')
    chmodSync(file, mode)
    return file
  }
  for (const [secret, mode, expected] of [
    ['password', 0o600, ''],
    ['password', 0o640, 'other users can read the password in FILE (chmod 600 FILE)'],
    ['password', 0o604, 'other users can read the password in FILE (chmod 600 FILE)'],
    ['password', 0o602, 'the password in FILE is not safe: other users can write to the file (chmod o-w FILE)'],
    ['password', 0o620, 'the password in FILE is not safe: group members can write to the file (chmod g-w FILE)'],
    ['private key', 0o640, ''],
    ['private key', 0o644, 'other users can read the private key in FILE (chmod 600 FILE)'],
    ['private key', 0o602, 'the private key in FILE is not safe: other users can write to the file (chmod o-w FILE)'],
    ['CA certificate', 0o644, ''],
    [
      'CA certificate',
      0o666,
      'the CA certificate in FILE is not safe: other users can write to the file (chmod o-w FILE)',
    ],
  ] as const)
    test(`a ${secret} with mode ${mode.toString(8)}: ${expected === '' ? 'no warning' : expected}`, (t) => {
      assert.equal(warningsOf(makeSecret(t, mode), secret), expected && `etrn: warning: ${expected}`)
    })
  test('accepts a password of root that the group of its reader may read', needsRoot, (t) => {
    assert.equal(warningsOf(makeSecret(t, 0o640), 'password', FOREIGNER), '')
    assert.match(warningsOf(makeSecret(t, 0o644), 'password', FOREIGNER), /other users can read/)
  })
  test('says nothing about a device', () => {
    for (const file of ['/dev/null', '/dev/tty']) assert.equal(warningsOf(file, 'password'), '')
  })
  test('warns that the safety of a file that is gone is unknown', (t) => {
    const file = makeSecret(t, 0o600)
    const stats = statSync(file)
    rmSync(file)
    const expected = "etrn: warning: the password in FILE is not safe: the path can't be checked (no such file)"
    assert.equal(warningsOf(file, 'password', UID, stats), expected)
  })
  test('judges the file that is open, not the one that has taken its place', (t) => {
    const file = makeSecret(t, 0o666)
    const stats = statSync(file)
    rmSync(file)
    writeFileSync(file, '', { mode: 0o600 })
    assert.match(
      warningsOf(file, 'password', UID, stats),
      /other users can read .*\n.* other users can write to the file/,
    )
  })
})
