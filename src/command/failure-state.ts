import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, readFileSync, unlinkSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { codeOf } from '../errors.js'
import type { CommandLine } from './arguments.js'
import { unsafePathReason, unsafeReason } from './file-safety.js'
import { OPTION_ROWS } from './options.js'
import { describeFileError, OPEN_FLAGS } from './file-errors.js'
import { replaceFile } from './replace-file.js'
import { requestFileName } from './request-file.js'

// The state of --report-after: since when the requests of a command line have been failing, from one run to the next.

export type StateOptions = {
  readonly line: CommandLine
  readonly reportAfterMs: number
  /** Returns the time in milliseconds since 1970. */
  readonly now: () => number
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly uid: number | undefined
}

/** The temporary failures to report now: their targets, and lines that say how long they have lasted, or why they are reported. */
export type DueFailures = { readonly targets: ReadonlySet<string>; readonly lines: readonly string[] }

/** The temporary failures of a target, one run after another. Times are milliseconds since 1970. */
type FailureRecord = {
  /** A SERVER or a domain of --mx; RUN for a failure before any of them was tried */
  readonly target: string
  readonly since: number
  readonly runs: number
  /** The time of the last report; undefined if there was none */
  readonly reported: number | undefined
}

/** The target of a failure that concerns the whole run */
export const RUN = ''

/**
 * Records the targets that failed temporarily in this run, and forgets the others. Returns the failures to report now: those that have
 * lasted long enough, or all if the state is lost. Never throws, and never waits for another run.
 */
export function recordFailures(targets: readonly string[], options: StateOptions): DueFailures {
  if (targets.length === 0) {
    forgetFailures(options)
    return { targets: new Set(), lines: [] }
  }
  const now = options.now()
  const { file, before, problem } = loadState(options)
  const records = targets.map((target) => nextRecord(target, before.get(target), now))
  const isLost = problem !== undefined
  const due = new Set(records.filter((record) => isLost || isReportDue(record, now, options)))
  // A failure of the whole run says nothing about its targets.
  const others = targets.includes(RUN) ? [...before.values()].filter(({ target }) => target !== RUN) : []
  const saved = [...records.map((record) => (due.has(record) ? { ...record, reported: now } : record)), ...others]
  const reasons = [problem ?? [], saveState(file, saved) ?? []].flat()
  const reported = reasons.length === 0 ? [...due] : records
  const explanations = reasons
    .slice(0, 1)
    .map((reason) => `the failure is reported at once, because the --report-after state is not usable: ${reason}`)
  return {
    targets: new Set(reported.map(({ target }) => target)),
    lines: [...reported.flatMap(describeRecord), ...explanations],
  }
}

function forgetFailures(options: StateOptions): void {
  try {
    const file = stateFile(options)
    checkFolders(dirname(file), options.uid)
    unlinkSync(file)
  } catch {
    // There is none, or a later failure shows why it can't be changed.
  }
}

/** Returns the record with one more run. A clock that was ahead must not make a failure last longer, or silence it. */
function nextRecord(target: string, before: FailureRecord | undefined, now: number): FailureRecord {
  const { since = now, runs = 0, reported } = before ?? {}
  return { target, since: Math.min(since, now), runs: runs + 1, reported: reported && Math.min(reported, now) }
}

/** Returns true if the failure has lasted for another whole --report-after since the last report. */
function isReportDue(
  { since, reported = since }: FailureRecord,
  now: number,
  { reportAfterMs }: StateOptions,
): boolean {
  const periodsUntil = (time: number): number => Math.floor((time - since) / reportAfterMs)
  return periodsUntil(now) > periodsUntil(reported)
}

function describeRecord({ target, since, runs }: FailureRecord): string[] {
  const subject = target === RUN ? '' : `${target}: `
  const time = formatTime(since).replace(/\.\d+/, '')
  return runs === 1 ? [] : [`${subject}temporary failure in ${runs} runs since ${time}`]
}

/** Returns the file of the state. Throws an Error if this user has no place for it. */
function stateFile({ line, environment, uid }: StateOptions): string {
  const folder = uid === 0 ? '/var/lib' : stateHome(environment)
  return join(folder, 'etrn', `${requestFileName(line, identityOf(line))}.json`)
}

/** Returns the folder for the user's state (XDG Base Directory Specification). cron and pppd may leave the variables out. */
function stateHome({ XDG_STATE_HOME, HOME }: StateOptions['environment']): string {
  if (XDG_STATE_HOME?.startsWith('/')) return XDG_STATE_HOME
  return join(HOME?.startsWith('/') ? HOME : userInfo().homedir, '.local/state')
}

const IDENTIFYING_GROUPS = ['Server and names', 'Connection']

/** Returns everything by which two command lines are about different requests. How long they try makes no difference. */
function identityOf({ options, words }: CommandLine): unknown {
  const rows = [...OPTION_ROWS].filter(([, { group }]) => IDENTIFYING_GROUPS.includes(group))
  const settings = rows.map(([name, { isPath }]) => {
    const values = [Reflect.get(options, name) ?? []].flat().map(String)
    return [name, isPath ? values.map((path) => (path === '-' ? path : resolve(path))) : values]
  })
  return [settings.filter(([, values]) => values?.length !== 0), words]
}

type LoadedState = {
  /** Undefined if there is no safe place for it */
  readonly file: string | undefined
  readonly before: ReadonlyMap<string, FailureRecord>
  /** The reason if the records of earlier runs, which there may be, can't be used */
  readonly problem: string | undefined
}

function loadState(options: StateOptions): LoadedState {
  let path = ''
  let file: string | undefined
  try {
    path = stateFile(options)
    makeFolder(dirname(path), options.uid)
    file = path
    const records = readRecords(path, options.uid)
    return { file, before: new Map(records.map((record) => [record.target, record])), problem: undefined }
  } catch (error) {
    return { file, before: new Map(), problem: describeProblem(path, error) }
  }
}

/** Returns the reason if the state can't be written. */
function saveState(file: string | undefined, records: readonly FailureRecord[]): string | undefined {
  if (file === undefined) return undefined
  try {
    replaceFile(file, formatRecords(records), { mode: 0o600 })
    return undefined
  } catch (error) {
    return describeProblem(file, error)
  }
}

function describeProblem(file: string, error: unknown): string {
  return file === '' ? 'this user has no home directory' : `${file}: ${describeFileError(error)}`
}

/** Creates the folder if there is none. Throws if another user can change what is in it, or put another folder in its place. */
function makeFolder(folder: string, uid: number | undefined): void {
  let existing = folder
  while (lstatSync(existing, { throwIfNoEntry: false }) === undefined) existing = dirname(existing)
  // Before anything is created: another user's link may lead anywhere.
  checkFolders(existing, uid)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  checkFolders(folder, uid)
  const stats = lstatSync(folder)
  if (!stats.isDirectory()) throw new Error(`${folder} is not a directory`)
  const reason = unsafeReason(stats, uid, folder, { subject: `the directory ${folder}` })
  if (reason !== undefined) throw new Error(reason)
}

/** Throws if another user can replace a folder, or one above it. A group may: the group of a user may have no other member. */
function checkFolders(folder: string, uid: number | undefined): void {
  if (uid === undefined) return
  const reason = unsafePathReason(join(folder, 'file'), uid, { ignoresFile: true, trustsGroups: true })
  if (reason !== undefined) throw new Error(reason)
}

/** More than any number of servers needs */
const STATE_OCTETS = 16 * 1024 * 1024

/** Returns the records of earlier runs; none if there is no file. Throws if it is not a file of this user's, written by etrn. */
function readRecords(file: string, uid: number | undefined): FailureRecord[] {
  let fd: number
  try {
    fd = openSync(file, OPEN_FLAGS | constants.O_NOFOLLOW)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw codeOf(error) === 'ELOOP' ? new Error('is a symbolic link') : error
  }
  try {
    const stats = fstatSync(fd)
    const reason = stats.isFile() ? unsafeReason(stats, uid, file) : 'is not a regular file'
    if (reason !== undefined) throw new Error(reason)
    return parseRecords(stats.size > STATE_OCTETS ? '' : readFileSync(fd, 'utf8'))
  } finally {
    closeSync(fd)
  }
}

/** Changes if older versions of etrn would misread the file. */
const STATE_VERSION = 1

function formatRecords(records: readonly FailureRecord[]): string {
  const failures = records.map(({ target, since, runs, reported }) => ({
    target,
    since: formatTime(since),
    runs,
    reported: reported === undefined ? null : formatTime(reported),
  }))
  return `${JSON.stringify({ version: STATE_VERSION, failures }, null, 2)}\n`
}

function formatTime(time: number): string {
  return new Date(time).toISOString()
}

/** Throws an Error if the text is not what formatRecords makes. */
function parseRecords(text: string): FailureRecord[] {
  try {
    const { version, failures } = JSON.parse(text) as { version: unknown; failures: Record<string, unknown>[] }
    if (version === STATE_VERSION) return failures.map(parseRecord)
  } catch {
    // It is not even JSON of this shape.
  }
  throw new Error('the file is not an etrn state file')
}

function parseRecord({ target, since, runs, reported }: Record<string, unknown>): FailureRecord {
  if (typeof target !== 'string' || !Number.isSafeInteger(runs)) throw new Error()
  return {
    target,
    since: parseTime(since),
    runs: Number(runs),
    reported: reported === null ? undefined : parseTime(reported),
  }
}

function parseTime(value: unknown): number {
  const time = Date.parse(String(value))
  if (Number.isNaN(time)) throw new Error()
  return time
}
