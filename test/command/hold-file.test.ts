import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { pathChanger } from '../../src/command/file-safety.js'
import { canHoldFiles, holdFile } from '../../src/command/hold-file.js'
import { spawnEtrn } from '../helpers/command.js'
import { makeFolder } from '../helpers/files.js'

const UID = process.getuid?.()
const needsRoot = { skip: UID === 0 ? (canHoldFiles() ? false : 'only Linux can hold files') : 'needs root' }
const OTHER = 1234
const THIRD = 1235

/** Creates `a/b/file` in a folder of its own, whose path it returns. */
function makeTree(t: TestContext): string {
  const root = makeFolder(t)
  mkdirSync(join(root, 'a/b'), { recursive: true })
  writeFileSync(join(root, 'a/b/file'), '')
  return root
}

function makeLink(target: string, path: string, owner = 0): string {
  symlinkSync(target, path)
  lchownSync(path, owner, owner)
  return path
}

/** Asserts that the file is held that the system finds at its path. */
function assertHeld(file: string, uid = 0): void {
  const held = holdFile(file, uid)
  const { ino, dev } = fstatSync(held)
  closeSync(held)
  const expected = statSync(file)
  assert.deepEqual([ino, dev], [expected.ino, expected.dev])
}

function assertUnsafe(file: string, message: RegExp, uid = 0): void {
  assert.throws(() => holdFile(file, uid), { name: 'UnsafePathError', message })
}

/** Returns the pipe that a descriptor of this process belongs to; undefined if it is none. */
function pipeOf(fd: string): string | undefined {
  try {
    return /^pipe:.*/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[0]
  } catch {
    // It was open for readdir alone.
    return undefined
  }
}

suite('hold-file', needsRoot, () => {
  test('holds a file, a pipe, and what root and this user link to', (t) => {
    const root = makeTree(t)
    execFileSync('mkfifo', [join(root, 'a/pipe')])
    makeLink('b/file', join(root, 'a/link'))
    makeLink('a/../a', join(root, 'folder'))
    makeLink('folder/link', join(root, 'own'), OTHER)
    for (const name of ['a/b/file', 'a/pipe', 'a/link', 'folder/link', 'folder/b/../link']) assertHeld(join(root, name))
    assertHeld(join(root, 'own'), OTHER)
  })
  for (const [title, fileOwner, linkOwner] of [
    ["root's file", 0, OTHER],
    ['the file of a third user', THIRD, OTHER],
  ] as const)
    test(`refuses a link of another user to ${title}`, (t) => {
      const root = makeTree(t)
      const file = join(root, 'a/b/file')
      chownSync(file, fileOwner, fileOwner)
      const link = makeLink(file, join(root, 'link'), linkOwner)
      const reason = new RegExp(`^the symbolic link ${link} belongs to neither root nor the owner of the file$`)
      assertUnsafe(link, reason)
      makeLink('link', join(root, 'second'))
      assertUnsafe(join(root, 'second'), reason)
    })
  test('refuses a link of another user to a folder of the path', (t) => {
    const root = makeTree(t)
    makeLink('a', join(root, 'link'), OTHER)
    assertUnsafe(join(root, 'link/b/file'), /^the symbolic link \S+\/link belongs to /)
  })
  test('holds a file of the user whose link leads to it', (t) => {
    const root = makeTree(t)
    chownSync(join(root, 'a/b/file'), OTHER, OTHER)
    makeLink('a/b/file', join(root, 'first'), OTHER)
    makeLink('first', join(root, 'second'))
    for (const name of ['first', 'second']) assertHeld(join(root, name))
  })
  for (const [title, change, reason] of [
    [
      'belongs to another user',
      (folder: string) => chownSync(folder, OTHER, OTHER),
      / belongs to a user other than root/,
    ],
    [
      'other users can write to',
      (folder: string) => chmodSync(folder, 0o777),
      /^links on the path can't be trusted: other users can write to the directory /,
    ],
    [
      'its group can write to',
      (folder: string) => chmodSync(folder, 0o775),
      /: group members can write to the directory /,
    ],
  ] as const)
    test(`follows no link, not even root's, in a folder that ${title}`, (t) => {
      const root = makeTree(t)
      makeLink('file', join(root, 'a/b/link'))
      makeLink('b', join(root, 'a/folder'))
      change(join(root, 'a'))
      for (const name of ['a/b/link', 'a/folder/file']) assertUnsafe(join(root, name), reason)
      assertHeld(join(root, 'a/b/file'))
      assertUnsafe(`${root}/a/b/../b/file`, reason)
      assertHeld(`${root}/a/../a/b/file`)
    })
  test('follows each link in a folder of another user to a file of that user', (t) => {
    const root = makeTree(t)
    chownSync(join(root, 'a'), OTHER, OTHER)
    chownSync(join(root, 'a/b/file'), OTHER, OTHER)
    makeLink('b', join(root, 'a/folder'), OTHER)
    assertHeld(join(root, 'a/folder/file'))
  })
  test('takes the number of users that a namespace does not know for several users', (t) => {
    const root = makeTree(t)
    chownSync(join(root, 'a/b/file'), 65_534, 65_534)
    assertUnsafe(makeLink('a/b/file', join(root, 'link'), 65_534), /^the symbolic link \S+\/link belongs to /)
  })
  test('refuses the link of a third user in a folder of another user', (t) => {
    const root = makeTree(t)
    chownSync(join(root, 'a'), OTHER, OTHER)
    chownSync(join(root, 'a/b/file'), OTHER, OTHER)
    makeLink('file', join(root, 'a/b/link'), THIRD)
    assertUnsafe(
      join(root, 'a/b/link'),
      /^the symbolic link \S+\/link belongs to neither root nor the owner of the file$/,
    )
  })
  for (const [title, mode] of [
    ['is sticky', 0o1777],
    ['its group can write to', 0o2775],
  ] as const)
    test(`follows the owner's links alone in a folder of another user that ${title}`, (t) => {
      const root = makeTree(t)
      for (const name of ['a', 'a/b/file']) chownSync(join(root, name), OTHER, OTHER)
      chmodSync(join(root, 'a'), mode)
      assertHeld(makeLink('b/file', join(root, 'a/own'), OTHER))
      assertUnsafe(makeLink('b/file', join(root, 'a/third'), THIRD), /^the symbolic link \S+\/third belongs to /)
    })
  test('follows no link in a folder of another user that a group of others can write to', (t) => {
    const root = makeTree(t)
    for (const name of ['a', 'a/b/file']) chownSync(join(root, name), OTHER, THIRD)
    chmodSync(join(root, 'a'), 0o775)
    for (const uid of [0, OTHER])
      assertUnsafe(makeLink('b/file', join(root, `a/${uid}`), uid), /: group members can write to the directory /, uid)
    assertHeld(join(root, 'a/b/file'))
  })
  test("follows no link of another user to a process, not even to that user's own", (t) => {
    const root = makeTree(t)
    const child = spawn('sleep', ['60'], { uid: OTHER, gid: OTHER })
    t.after(() => child.kill())
    const cwd = process.cwd()
    t.after(() => process.chdir(cwd))
    const file = `/proc/${child.pid ?? 0}/limits`
    assert.equal(statSync(file).uid, OTHER)
    const reason = /^another user's link leads to \/proc$/
    assertUnsafe(makeLink(file, join(root, 'absolute'), OTHER), reason)
    makeLink(`../../..${file}`, join(root, 'a/relative'), OTHER)
    assertUnsafe(join(root, 'a/relative'), reason)
    process.chdir(join(root, 'a'))
    assertUnsafe('relative', reason)
    assertHeld(file)
  })
  test("refuses a third user's link behind another user's link", (t) => {
    const root = makeTree(t)
    chownSync(join(root, 'a/b/file'), OTHER, OTHER)
    chmodSync(join(root, 'a'), 0o1777)
    makeLink('b/file', join(root, 'a/third'), THIRD)
    assertUnsafe(makeLink('a/third', join(root, 'link'), OTHER), /^the symbolic link \S+\/third belongs to /)
  })
  test("refuses another user's link in a folder that the caller's group can write to", (t) => {
    const root = makeTree(t)
    for (const name of ['', 'a', 'a/b', 'a/b/file']) chownSync(join(root, name), OTHER, OTHER)
    chmodSync(join(root, 'a'), 0o2775)
    assertUnsafe(makeLink('b/file', join(root, 'a/link'), THIRD), /\/link belongs to neither root, you nor /, OTHER)
  })
  test('takes .. for a link if another user can move the folder', (t) => {
    const root = makeTree(t)
    const cwd = process.cwd()
    t.after(() => process.chdir(cwd))
    process.chdir(join(root, 'a/b'))
    chownSync(join(root, 'a/b'), OTHER, OTHER)
    writeFileSync(join(root, 'a/file'), '')
    assertHeld('../file')
    chmodSync(join(root, 'a'), 0o1777)
    assertUnsafe('../file', /: the directory \. belongs to a user other than root/)
    assertUnsafe('../../a/file', /: the directory \. belongs to a user other than root/)
    chownSync(join(root, 'a/file'), OTHER, OTHER)
    assertHeld('../file')
    chmodSync(join(root, 'a'), 0o777)
    assertUnsafe('../file', /: other users can write to the directory \.\. /)
    chmodSync(join(root, 'a'), 0o755)
    chownSync(join(root, 'a'), OTHER, OTHER)
    assertHeld('../file')
    mkdirSync(join(root, 'a/drop'))
    chmodSync(join(root, 'a/drop'), 0o1777)
    chownSync(join(root, 'a'), 0, 0)
    chmodSync(join(root, 'a'), 0o1777)
    process.chdir(join(root, 'a/drop'))
    assertUnsafe('../b/file', /: other users can write to the directory \. /)
    process.chdir(join(root, 'a/b'))
    chmodSync(join(root, 'a'), 0o755)
    chownSync(join(root, 'a'), OTHER, OTHER)
    assertUnsafe('../../a/../a/b/../../a/b/file', /: the directory \.\. belongs to a user other than root/)
  })
  test('trusts the group of an ordinary user', (t) => {
    const root = makeTree(t)
    for (const name of ['', 'a', 'a/b', 'a/b/file']) chownSync(join(root, name), OTHER, OTHER)
    chmodSync(join(root, 'a'), 0o775)
    assertHeld(makeLink('b/file', join(root, 'a/link'), OTHER), OTHER)
  })
  test('holds a file and follows a link of root in a sticky folder, where only the owner can replace them', (t) => {
    const root = makeTree(t)
    chmodSync(join(root, 'a'), 0o1777)
    writeFileSync(join(root, 'a/file'), '')
    assertHeld(join(root, 'a/file'))
    assertHeld(makeLink('b/file', join(root, 'a/link')))
    assertUnsafe(makeLink('b/file', join(root, 'a/foreign'), OTHER), /\/foreign belongs to /)
  })
  test('holds a file that is replaced again and again', (t) => {
    const root = makeTree(t)
    const file = join(root, 'a/b/file')
    chmodSync(join(root, 'a'), 0o777)
    for (let count = 0; count < 10; count++) {
      writeFileSync(`${file}-new`, '')
      renameSync(`${file}-new`, file)
      assertHeld(file)
    }
  })
  test('refuses a file of another user if its path leads through the folder of a third user', (t) => {
    const root = makeTree(t)
    chownSync(join(root, 'a/b/file'), OTHER, OTHER)
    chownSync(join(root, 'a'), THIRD, THIRD)
    makeLink('a/b/file', join(root, 'link'), OTHER)
    assertUnsafe(join(root, 'link'), /: the directory \S+\/a belongs to a user other than root \(chown\)$/)
  })
  test('follows no more links than the system', (t) => {
    const root = makeTree(t)
    makeLink('a/b/file', join(root, '1'))
    for (let count = 2; count <= 41; count++) makeLink(String(count - 1), join(root, String(count)))
    assertHeld(join(root, '40'))
    assert.throws(() => holdFile(join(root, '41'), 0), { code: 'ELOOP' })
  })
  test('holds a relative path, also with ..', (t) => {
    const root = makeTree(t)
    const cwd = process.cwd()
    t.after(() => process.chdir(cwd))
    process.chdir(join(root, 'a'))
    for (const name of ['b/file', './b/file', '../a/b/file']) assertHeld(name)
    chownSync(join(root, 'a'), OTHER, OTHER)
    assertHeld('../a/b/file')
  })
  test('follows the links of /proc, but none behind those to a folder', (t) => {
    const root = makeTree(t)
    makeLink('/proc/self/cwd', join(root, 'link'))
    assertHeld(join(root, 'link/package.json'))
    makeLink('b/file', join(root, 'a/link'), OTHER)
    const fd = openSync(join(root, 'a'), 'r')
    t.after(() => closeSync(fd))
    for (const folder of ['/dev/fd', '/proc/self/fd', '/proc/thread-self/fd']) {
      assertHeld(`${folder}/${fd}/b/file`)
      assertUnsafe(`${folder}/${fd}/link`, /^links behind \S+ are not followed$/)
    }
    assertUnsafe(`/proc/self/root${root}/a/link`, /^links behind \S+ are not followed$/)
    assertHeld('/proc/self/root/etc/passwd')
    makeLink('/dev/stdin', join(root, 'stdin'))
    assertHeld(join(root, 'stdin'))
    assertHeld('/dev/stdin')
  })
  for (const [title, name, code] of [
    ['is missing', 'none', 'ENOENT'],
    ['is behind a missing folder', 'none/file', 'ENOENT'],
    ['is behind a file', 'a/b/file/name', 'ENOTDIR'],
    ['is a link to itself', 'loop', 'ELOOP'],
  ] as const)
    test(`throws the system's error for a file that ${title}`, (t) => {
      const root = makeTree(t)
      makeLink('loop', join(root, 'loop'))
      assert.throws(() => holdFile(join(root, name), 0), { code })
    })
})

suite('holdFile: descriptors', { skip: canHoldFiles() ? false : 'no /proc here' }, () => {
  test("refuses Node's own pipes, from which nothing but signals would be read", () => {
    const pipes = readdirSync('/proc/self/fd').map((fd) => ({ fd, pipe: pipeOf(fd) }))
    const hasBothEnds = (pipe: string): boolean => pipes.filter((other) => other.pipe === pipe).length > 1
    const own = pipes.flatMap(({ fd, pipe }) => (pipe !== undefined && hasBothEnds(pipe) ? [fd] : []))
    assert.ok(own.length > 1)
    for (const fd of own)
      for (const folder of ['/dev/fd', '/proc/thread-self/fd'])
        assert.throws(() => holdFile(`${folder}/${fd}`, 0), /^Error: this descriptor is not open for etrn to read$/)
  })
})

suite('pathChanger', needsRoot, () => {
  test('is somebody for each entry of a sticky folder but a folder of root', (t) => {
    const root = makeTree(t)
    writeFileSync(join(root, 'a/file'), '')
    makeLink('b/file', join(root, 'a/link'))
    const paths = ['none', 'file', 'link'].map((name) => join(root, 'a', name))
    for (const path of paths) assert.equal(pathChanger(path, 0), undefined)
    chmodSync(join(root, 'a'), 0o1777)
    const reason = `links on the path can't be trusted: other users can write to the directory ${root}/a (chmod o-w ${root}/a)`
    for (const path of paths) assert.deepEqual(pathChanger(path, 0), { uid: undefined, reason })
    assert.equal(pathChanger(join(root, 'a/b/file'), 0), undefined)
    chownSync(join(root, 'a/b'), OTHER, OTHER)
    assert.equal(pathChanger(join(root, 'a/b/file'), 0)?.uid, OTHER)
  })
})

suite('a file without /proc', needsRoot, () => {
  /** Reads the file in a run of root's, perhaps in further namespaces. Returns the exit status: 75 after it was read, because no server listens. */
  const statusOf = async (file: string, ...enter: readonly string[]): Promise<number | null> => {
    const through = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh', ...enter]
    const run = await spawnEtrn(['127.0.0.1:9', '--names-from', file], { through })
    assert.match(run.stderr, run.status === 66 ? /: is not safe to use: / : /a\.example not requested/)
    return run.status
  }
  const makeList = (t: TestContext): string => {
    const root = makeTree(t)
    writeFileSync(join(root, 'a/b/file'), 'a.example\n')
    return root
  }
  test("is read if it is root's and only root can change the path", async (t) => {
    assert.equal(await statusOf(makeLink('a/b/file', join(makeList(t), 'link'))), 75)
  })
  test('is not read behind a link as the user for whom a namespace has no number', async (t) => {
    assert.equal(await statusOf(makeLink('a/b/file', join(makeList(t), 'link')), 'unshare', '--user'), 66)
  })
  test("is read if it is the user's who can change the path", async (t) => {
    const root = makeList(t)
    chownSync(join(root, 'a/b/file'), OTHER, OTHER)
    assert.equal(await statusOf(makeLink('a/b/file', join(root, 'link'), OTHER)), 75)
    chownSync(join(root, 'a'), OTHER, OTHER)
    assert.equal(await statusOf(join(root, 'a/b/file')), 75)
  })
  for (const [title, owner] of [
    ["root's", 0],
    ["a third user's", THIRD],
  ] as const)
    test(`is refused if it is ${title} and another user can change the path`, async (t) => {
      const root = makeList(t)
      chownSync(join(root, 'a/b/file'), owner, owner)
      assert.equal(await statusOf(makeLink('a/b/file', join(root, 'link'), OTHER)), 66)
      chownSync(join(root, 'a'), OTHER, OTHER)
      assert.equal(await statusOf(join(root, 'a/b/file')), 66)
    })
})
