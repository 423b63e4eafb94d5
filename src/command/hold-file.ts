import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  type Stats,
  statfsSync,
  statSync,
} from 'node:fs'
import { platform } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { codeOf } from '../errors.js'
import { type Changer, folderChanger, isSticky, linkChanger, writerChanger } from './file-safety.js'
import { isDescriptorFile, LINKS_FOLLOWED, linkTarget, splitPath } from './path-entries.js'

/** Another user's link, or one in a folder that another user can change, may have led to a file. The message has no subject. */
export class UnsafePathError extends Error {
  override readonly name = 'UnsafePathError'
}

const { O_DIRECTORY, O_NOFOLLOW } = constants
/** Takes hold of a file without opening it (open(2)); only Linux has this flag. */
const O_PATH = 0o10000000
const OWN_DESCRIPTORS = '/proc/self/fd'
/** The type of file systems that show processes (statfs(2)); there may be others than /proc. */
const PROC_FILE_SYSTEM = 0x9fa0

/** The type of the file system of pipes without a name */
const PIPE_FILE_SYSTEM = 0x50495045

/** A link that leads to what a process has open, whatever the text of the link is */
const PROCESS_LINK = /^\/proc\/[^/]+\/./

/** True if this system can take hold of files. */
export function canHoldFiles(): boolean {
  return platform() === 'linux' && existsSync(OWN_DESCRIPTORS)
}

/** Returns the path of a file that is held, whatever is at its own path by then. */
export function pathOfHeld(fd: number): string {
  return `${OWN_DESCRIPTORS}/${fd}`
}

/**
 * Returns a descriptor that holds a file, but has not opened it. Where another user can change the path, links are followed only to a
 * file of that user: they could lead to a secret, which the reader must not send. Linux has a rule like this for sticky folders
 * (fs.protected_symlinks). Throws UnsafePathError, and system errors.
 */
export function holdFile(file: string, uid: number | undefined): number {
  const held = uid === undefined || isDescriptorFile(file) ? openSync(file, O_PATH) : holdPath(file, uid)
  if (!isOwnPipe(held)) return held
  closeSync(held)
  throw new Error('this descriptor is not open for etrn to read')
}

function holdPath(file: string, uid: number): number {
  const path = new HeldPath(file, uid)
  try {
    return path.follow()
  } catch (error) {
    path.release()
    throw error
  }
}

/** Returns true for a pipe without a name that this process itself can write to. Node.js has some: with their octets, signals are lost. */
function isOwnPipe(held: number): boolean {
  const pipe = fstatSync(held)
  if (!pipe.isFIFO() || statfsSync(pathOfHeld(held)).type !== PIPE_FILE_SYSTEM) return false
  return readdirSync(OWN_DESCRIPTORS).some((fd) => {
    const one = statSync(`${OWN_DESCRIPTORS}/${fd}`, { throwIfNoEntry: false })
    return one?.dev === pipe.dev && one.ino === pipe.ino && isWritable(fd)
  })
}

/** Returns true if a descriptor of this process was opened for writing (proc_pid_fdinfo(5)). */
function isWritable(fd: string): boolean {
  const [, flags = ''] = /^flags:\s*(\d+)$/m.exec(readFileSync(`${OWN_DESCRIPTORS}info/${fd}`, 'latin1')) ?? []
  return (parseInt(flags, 8) & (constants.O_WRONLY | constants.O_RDWR)) !== 0
}

/** A path that is followed from one held folder to the next. What is judged is what is held, whatever another user does to the names. */
class HeldPath {
  readonly #uid: number
  readonly #names: string[]
  #held: number
  /** The path of what is held, for messages */
  #path: string
  #links = 0
  #changer: Changer | undefined
  /** True after a link that the changer could replace */
  #isLed = false

  constructor(file: string, uid: number) {
    this.#uid = uid
    this.#names = splitPath(file)
    this.#path = isAbsolute(file) ? '/' : '.'
    this.#held = openSync(this.#path, O_PATH | O_DIRECTORY)
  }

  /** Returns the descriptor that holds the file. */
  follow(): number {
    for (let name = this.#names.shift(); name !== undefined; name = this.#names.shift())
      if (name === '..') this.#enterParent()
      else this.#enter(name)
    const { uid } = fstatSync(this.#held)
    if (this.#isLed && this.#changer !== undefined && this.#changer.uid !== uid)
      throw new UnsafePathError(this.#changer.reason)
    return this.#held
  }

  release(): void {
    closeSync(this.#held)
  }

  #hold(next: number, path: string): void {
    closeSync(this.#held)
    this.#held = next
    this.#path = path
  }

  #enter(name: string): void {
    this.#addChanger(folderChanger(fstatSync(this.#held), this.#uid, this.#path))
    // Not join(): it would scan the whole path at each step.
    const path = this.#path === '.' ? name : `${this.#path === '/' ? '' : this.#path}/${name}`
    const [next, stats] = openEntry(this.#entry(name), this.#names.length > 0)
    if (!stats.isSymbolicLink()) {
      this.#hold(next, path)
      // A process can have its files there keep a reader waiting.
      if (this.#isLed && statfsSync(pathOfHeld(next)).type === PROC_FILE_SYSTEM)
        throw new UnsafePathError("another user's link leads to /proc")
      return
    }
    try {
      this.#addChanger(linkChanger(stats, this.#uid, path))
      this.#trustLink()
      if (PROCESS_LINK.test(path)) this.#followProcessLink(name, path)
      else this.#followLink(name, stats)
    } finally {
      // Not before: another link could get its number.
      closeSync(next)
    }
  }

  #followLink(name: string, stats: Stats): void {
    const target = this.#readLink(name, stats)
    if (target === undefined) this.#names.unshift(name)
    else {
      this.#names.unshift(...splitPath(target))
      if (isAbsolute(target)) this.#hold(openSync('/', O_PATH | O_DIRECTORY), '/')
    }
  }

  /** Returns where a link leads; undefined if something else is in its place by now, perhaps the link of yet another user. */
  #readLink(name: string, { dev, ino }: Stats): string | undefined {
    const target = linkTarget(this.#entry(name))
    const now = lstatSync(this.#entry(name), { throwIfNoEntry: false })
    return now?.dev === dev && now.ino === ino ? target : undefined
  }

  #followProcessLink(name: string, path: string): void {
    this.#hold(openSync(this.#entry(name), O_PATH), path)
    // The folders above were not judged.
    this.#addChanger({ uid: undefined, reason: `links behind ${path} are not followed` })
  }

  /** A folder that another user can move has another parent then, so that `..` is like a link. */
  #enterParent(): void {
    const child = fstatSync(this.#held)
    const childPath = this.#path
    this.#hold(openSync(this.#entry('..'), O_PATH | O_DIRECTORY), join(this.#path, '..'))
    const stats = fstatSync(this.#held)
    const changers = [
      folderChanger(stats, this.#uid, this.#path),
      // Who can write to a folder can have moved it there.
      isSticky(stats) ? writerChanger(child, this.#uid, childPath) : undefined,
    ]
    for (const changer of changers) this.#addChanger(changer)
    if (changers.some((changer) => changer !== undefined)) this.#trustLink()
  }

  #entry(name: string): string {
    return `${pathOfHeld(this.#held)}/${name}`
  }

  #addChanger(changer: Changer | undefined): void {
    if (changer === undefined) return
    const known = this.#changer
    if (known === undefined) this.#changer = changer
    else if (known.uid !== undefined && known.uid !== changer.uid) this.#changer = { ...changer, uid: undefined }
  }

  /** Throws UnsafePathError if several users can change the path up to a link, and an error if there are too many links. */
  #trustLink(): void {
    if (this.#changer !== undefined && this.#changer.uid === undefined) throw new UnsafePathError(this.#changer.reason)
    this.#isLed ||= this.#changer !== undefined
    // As the system does; another user can change a link again and again.
    if (++this.#links > LINKS_FOLLOWED) throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' })
  }
}

/** Takes hold of what is in a folder, a link for itself. */
function openEntry(path: string, isFolder: boolean): [fd: number, stats: Stats] {
  const fd = openItself(path, isFolder)
  try {
    return [fd, fstatSync(fd)]
  } catch (error) {
    // The file system of another user may refuse.
    closeSync(fd)
    throw error
  }
}

function openItself(path: string, isFolder: boolean): number {
  try {
    // Without DIRECTORY, the system would not mount what is there (automount).
    return openSync(path, O_PATH | O_NOFOLLOW | (isFolder ? O_DIRECTORY : 0))
  } catch (error) {
    if (!isFolder || !['ENOTDIR', 'ELOOP'].includes(codeOf(error))) throw error
    return openSync(path, O_PATH | O_NOFOLLOW)
  }
}
