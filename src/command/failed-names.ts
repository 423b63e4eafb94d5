import { accessSync, constants, lstatSync, readFileSync, realpathSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { codeOf } from '../errors.js'
import type { Result } from '../etrn/result.js'
import type { ServerReport } from '../etrn/server-report.js'
import type { FailedRequest, Request } from '../etrn/request.js'
import type { Run } from '../etrn/run.js'
import { validNames } from '../input/names-file.js'
import { describeFileError } from './file-errors.js'
import { isSticky, unsafePathReason } from './file-safety.js'
import { replaceFile } from './replace-file.js'

const NEW_FILE_MODE = 0o600
const IS_FOLDER = 'is a directory'
/** The permissions of a file that a new one keeps: others may not write names that a later run requests. */
const KEPT_MODE = 0o755

/**
 * Returns the reason if the file of --failed-to can't be written safely, as far as this shows before the run. Throws if the current
 * directory is gone.
 */
export function failedToProblem(file: string, uid: number | undefined): string | undefined {
  resolve(file)
  return problemOf(file, () => {
    const stats = lstatSync(file, { throwIfNoEntry: false })
    const isFolder = file.endsWith('/')
    const reason = isFolder ? IS_FOLDER : (unsuitableReason(stats) ?? (stats && irreplaceableReason(file, stats, uid)))
    if (reason !== undefined) throw new Error(reason)
    accessSync(dirname(file), constants.W_OK | constants.X_OK)
    checkPath(file, uid)
  })
}

/**
 * Writes the names that can still succeed, one a line, as --names-from reads them: whole or not at all. Returns the reason if the file
 * can't be written.
 */
export function writeFailedNames(
  file: string,
  run: Run,
  requests: readonly (Request | FailedRequest)[],
  uid: number | undefined,
): string | undefined {
  const names =
    run.error === null ? orderedNamesLeft(run.servers) : requests.flatMap(({ entries }) => validNames(entries))
  return problemOf(file, () => {
    const stats = lstatSync(file, { throwIfNoEntry: false })
    // Another user has made the file to keep access to it.
    const isOwn = stats !== undefined && (stats.uid === uid || stats.uid === 0)
    const permissions = isOwn ? { mode: stats.mode & KEPT_MODE, gid: stats.gid } : { mode: NEW_FILE_MODE }
    checkPath(file, uid)
    // Names of an earlier run may be among those that could not be read now.
    const isAdded = isOwn && stats.isFile() && requests.some((request) => 'lacksNames' in request)
    const lines = new Set([...names, ...(isAdded ? readLines(file) : [])])
    replaceFile(file, [...lines].map((line) => `${line}\n`).join(''), permissions)
  })
}

function readLines(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}

/** Throws if another user chooses where the file is: any file of that name could be replaced, and its text has that user's names. */
function checkPath(file: string, uid: number | undefined): void {
  const reason = unsafePathReason(file, uid, { trustsGroups: true, ignoresFile: true })
  if (reason !== undefined) throw new Error(`is not safe to write: ${reason}`)
}

function problemOf(file: string, work: () => void): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    const isMissing = codeOf(error) === 'ENOENT'
    return `--failed-to ${file}: ${isMissing ? `no such directory: ${dirname(file)}` : describeFileError(error)}`
  }
}

/**
 * Returns the names that are left, each once: first those that had no turn at one of the servers, because it stopped before. In each run
 * one name at least goes behind them, so that no name is held up for more runs than there are names.
 */
function orderedNamesLeft(reports: readonly ServerReport[]): string[] {
  const all = new Set<string>()
  const left = new Set<string>()
  const heldUp = new Set<string>()
  for (const report of reports) {
    for (const { name } of report.names) all.add(name)
    for (const name of namesLeft(report)) left.add(name)
    for (const name of namesHeldUp(report)) heldUp.add(name)
  }
  const names = [...all].filter((name) => left.has(name))
  return [...names.filter((name) => heldUp.has(name)), ...names.filter((name) => !heldUp.has(name))]
}

/** Returns the names that had no turn at a server. Where no name was sent, none held up the others. */
function namesHeldUp({ names, turns }: ServerReport): string[] {
  if (turns === undefined || turns.size === 0) return []
  return names.filter(({ name }) => !turns.has(name)).map(({ name }) => name)
}

/**
 * Returns the names that a later run can request with success: deferred, or without a reply, or mail may be waiting after --wait. A
 * session that failed for good says nothing about its names: once the certificate or the login is right, the names can succeed. Nor does
 * a reply to another command. After a surplus reply, a name may have another one's result.
 */
function namesLeft({ names, error, waiting = [] }: ServerReport): string[] {
  if (error?.kind === 'surplus-reply')
    return names.filter(({ outcome }) => outcome !== 'rejected').map(({ name }) => name)
  const accepted = new Set(waiting)
  const isLeft = ({ name, outcome, code }: Result): boolean =>
    ['deferred', 'failed'].includes(outcome) || (code === null && outcome !== 'rejected') || accepted.has(name)
  return names.filter(isLeft).map(({ name }) => name)
}

function unsuitableReason(stats: Stats | undefined): string | undefined {
  if (stats === undefined || stats.isFile()) return undefined
  if (stats.isDirectory()) return IS_FOLDER
  return stats.isSymbolicLink()
    ? 'is a symbolic link; name the file that the link points to'
    : 'is not a regular file; only a regular file can be replaced as a whole'
}

/** Returns the reason if the system would refuse to put another file in the place of this one. */
function irreplaceableReason(file: string, stats: Stats, uid: number | undefined): string | undefined {
  const folder = statSync(dirname(file))
  const owners = [0, stats.uid, folder.uid]
  if (isSticky(folder) && uid !== undefined && !owners.includes(uid))
    return 'belongs to another user, and in a sticky directory only its owner can replace it'
  return isMountPoint(realpathSync(file)) ? 'is a mount point; mount the directory of the file in its place' : undefined
}

/** Returns true for a file that is mounted itself, as those that containers share often are (proc_pid_mountinfo(5)). */
function isMountPoint(file: string): boolean {
  const decode = (path: string): string =>
    path.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
  try {
    const lines = readFileSync('/proc/self/mountinfo', 'latin1').split('\n')
    return lines.some((line) => decode(line.split(' ')[4] ?? '') === Buffer.from(file).toString('latin1'))
  } catch {
    // Only Linux has this list.
    return false
  }
}
