import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { foreignLinkReason, unsafePathReason, warnIfExposed } from '../../src/command/file-safety.js'
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
      const found = unsafePathReason(change(root), UID, { distrustsSticky: 'file' })
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
      unsafePathReason(file, UID, { distrustsSticky: 'file' }) ?? '',
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

suite('file-safety: foreignLinkReason', { concurrency: true }, () => {
  const makeLink = (target: string, path: string, owner: number): string => {
    symlinkSync(target, path)
    lchownSync(path, owner, owner)
    return path
  }
  const reasonOf = (file: string): string | undefined => foreignLinkReason(file, statSync(file), 0)
  const OTHER = 1235
  for (const [title, owner] of [
    ['the file', FOREIGNER],
    ['a file of a third user', OTHER],
  ] as const)
    test(`refuses a link of another user to ${title} if one of them is not the owner`, needsRoot, (t) => {
      const root = makeTree(t)
      const file = join(root, 'a/b/file')
      chownSync(file, owner, owner)
      const first = makeLink(file, join(root, 'first'), FOREIGNER)
      const second = makeLink('first', join(root, 'second'), OTHER)
      const wrong = owner === OTHER ? first : second
      const reason = `the symbolic link ${wrong} belongs to neither root nor the owner of the file`
      assert.equal(reasonOf(second), reason)
    })
  test('refuses a link of another user to a folder of the path', needsRoot, (t) => {
    const root = makeTree(t)
    makeLink('a', join(root, 'link'), FOREIGNER)
    assert.match(reasonOf(join(root, 'link/b/file')) ?? '', /^the symbolic link \S+\/link belongs to /)
  })
  test('accepts links of another user to a file of that user, and links of root', needsRoot, (t) => {
    const root = makeTree(t)
    const own = makeLink('a/b/file', join(root, 'own'), 0)
    assert.equal(reasonOf(own), undefined)
    chownSync(join(root, 'a/b/file'), FOREIGNER, FOREIGNER)
    assert.equal(reasonOf(own), undefined)
    assert.equal(reasonOf(makeLink('own', join(root, 'foreign'), FOREIGNER)), undefined)
  })
  const CHANGED = 'the path changed while etrn opened the file'
  test('refuses a file if others can write to its folder and the path leads to another one since, or nowhere', (t) => {
    const root = makeTree(t)
    const file = join(root, 'a/b/file')
    const stats = statSync(file)
    const other = join(root, 'other')
    writeFileSync(other, '')
    chmodSync(root, 0o777)
    assert.equal(foreignLinkReason(other, stats, UID), CHANGED)
    assert.equal(foreignLinkReason(join(root, 'none'), stats, UID), CHANGED)
  })
  test('accepts a file that has been replaced since, also if others can write to its folder', (t) => {
    const root = makeTree(t)
    const file = join(root, 'a/b/file')
    const stats = statSync(file)
    writeFileSync(`${file}-new`, '')
    renameSync(`${file}-new`, file)
    for (const mode of [0o755, 0o777]) {
      chmodSync(join(root, 'a/b'), mode)
      assert.equal(foreignLinkReason(file, stats, UID, `${file} (deleted)`), undefined)
    }
  })
  for (const type of ['file', 'pipe'])
    test(`refuses a ${type} that is elsewhere than its path in a sticky folder shows`, (t) => {
      const root = makeTree(t)
      const path = join(root, 'sticky/name')
      mkdirSync(join(root, 'sticky'))
      chmodSync(join(root, 'sticky'), 0o1777)
      // When the file was opened, another user's link was here.
      writeFileSync(path, '')
      const secret = join(root, 'a/b/secret')
      if (type === 'file') writeFileSync(secret, '')
      else execFileSync('mkfifo', [secret])
      assert.equal(foreignLinkReason(path, statSync(secret), UID, secret), CHANGED)
      assert.equal(foreignLinkReason(path, statSync(path), UID, path), undefined)
    })
  test("refuses a file that is elsewhere than another user's folder shows, whatever is there now", needsRoot, (t) => {
    const root = makeTree(t)
    const file = join(root, 'a/b/file')
    chownSync(join(root, 'a/b'), FOREIGNER, FOREIGNER)
    assert.equal(foreignLinkReason(file, statSync(file), 0, file), undefined)
    // When the file was opened, its folder was a link to this one.
    assert.equal(foreignLinkReason(file, statSync(file), 0, join(root, 'secrets/file')), CHANGED)
  })
  test('accepts a descriptor, and a link to one', (t) => {
    const root = makeTree(t)
    const stats = statSync(join(root, 'a/b/file'))
    symlinkSync('/dev/stdin', join(root, 'link'))
    for (const file of ['/dev/stdin', join(root, 'link')]) assert.equal(foreignLinkReason(file, stats, UID), undefined)
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
