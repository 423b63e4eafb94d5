import { lstatSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { codeOf } from '../errors.js'

/** Linux follows as many (path_resolution(7)). */
export const LINKS_FOLLOWED = 40

/** The shell and the kernel provide these files, and their folders are not those of the file that is read. */
const DESCRIPTOR_FILE = /^\/(?:dev\/(?:fd\/\d+$|std[a-z]+$)|proc\/(?:self|thread-self|\d+)\/fd\/\d+$)/

/** True for the descriptor of a process, which is no file of the folder in which it is shown. */
export function isDescriptorFile(file: string): boolean {
  return DESCRIPTOR_FILE.test(file)
}

export type PathEntry = {
  readonly folder: string
  /** From when the folder was an entry itself: by its path, it could be another one now. */
  readonly folderStats: Stats
  readonly path: string
  /** Undefined if there is no such entry. */
  readonly stats: Stats | undefined
  /** False for a link in the place of the last name, too, if names follow from the link */
  readonly isLast: boolean
}

/** Yields each folder, link and file on a path, in the order in which the system follows them. Throws system errors. */
export function* entriesOf(file: string): Generator<PathEntry> {
  // Not the function alone: `..` behind a link leads elsewhere than in the text.
  const names = splitPath(isAbsolute(file) ? file : `${resolve('.')}/${file}`)
  const root = { folder: '/', folderStats: statSync('/') }
  let parent = root
  let links = 0
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const path = join(parent.folder, name)
    const stats = lstatSync(path, { throwIfNoEntry: false })
    yield { ...parent, path, stats, isLast: names.length === 0 }
    if (stats === undefined) return
    if (stats.isSymbolicLink()) {
      // The link of a descriptor leads to no path.
      if (isDescriptorFile(path)) return
      // As the system does; another user can change a link again and again.
      if (++links > LINKS_FOLLOWED) throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' })
      const target = linkTarget(path)
      names.unshift(...(target === undefined ? [name] : splitPath(target)))
      if (target !== undefined && isAbsolute(target)) parent = root
    } else parent = { folder: path, folderStats: stats }
  }
}

/** Returns where a link leads; undefined if something else is in its place by now. Throws system errors. */
export function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (error) {
    if (['EINVAL', 'ENOENT'].includes(codeOf(error))) return undefined
    throw error
  }
}

/** Returns the names in a path, with `..` as it is: behind a link it leads elsewhere than in the text. */
export function splitPath(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}
