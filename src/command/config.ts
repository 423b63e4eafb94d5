import { dirname, resolve } from 'node:path'
import { parse } from 'smol-toml'
import { EXIT, UsageError } from '../errors.js'
import { parseServer } from '../input/server-address.js'
import { parseText } from '../input/values.js'
import { printable } from '../printable.js'
import { readSafely, type Reader } from './config-files.js'
import { type PartialOptions, mergeOptions, type OptionRow, OPTION_ROWS } from './options.js'

/** What the configuration files say: at their top, and profile by profile. */
export type Config = {
  /** The files, for messages */
  readonly source: string
  readonly top: PartialOptions
  readonly profiles: ReadonlyMap<string, Profile>
  /** Files that it names, by their absolute paths, as they are written */
  readonly paths: ReadonlyMap<string, string>
}

export type Profile = {
  /** A SERVER word */
  readonly server: string
  readonly options: PartialOptions
  /** Where it stands, for messages */
  readonly source: string
}

/**
 * Reads configuration files (TOML), the later over the earlier, a profile as a whole. Throws UsageError: 78 where one is wrong or
 * not safe to use, with file and line; 66 where it can't be read.
 */
export async function readConfig(files: readonly string[], reader: Reader): Promise<Config> {
  const read: Config[] = []
  for (const file of files) read.push(await parseConfig(file, (await readSafely(file, reader)).replace(/^\ufeff/, '')))
  return {
    source: files.join(', '),
    top: mergeOptions(...read.map(({ top }) => top).reverse()),
    profiles: new Map(read.flatMap(({ profiles }) => [...profiles])),
    paths: new Map(read.flatMap(({ paths: written }) => [...written])),
  }
}

type Table = Readonly<Record<string, unknown>>

/** Where in a file something stands */
type TomlLocation = {
  readonly file: string
  readonly toml: string
  readonly path: readonly string[]
  readonly written: Map<string, string>
}

async function parseConfig(file: string, toml: string): Promise<Config> {
  const { servers = {}, ...top } = parseToml(file, toml)
  const written = new Map<string, string>()
  const spot = (...path: string[]): TomlLocation => ({ file, toml, path, written })
  if (!isTable(servers))
    throw configError(spot('servers'), 'a table of profiles; write [servers.NAME] and what is theirs')
  const profiles = new Map<string, Profile>()
  for (const [name, table] of Object.entries(servers)) {
    const at = spot('servers', name)
    if (!isTable(table))
      throw configError(at, `a table; write [servers.${name}] and below it server = "mail.isp.example"`)
    if (!/^[\w-]+$/.test(name)) throw configError(at, "a profile's name has letters, digits, - and _ only")
    const { server, ...own } = table
    if (server === undefined) throw configError(at, 'it has no server; write server = "mail.isp.example"')
    if (typeof server !== 'string') throw configError(spot('servers', name, 'server'), 'a text, as "mail.isp.example"')
    try {
      parseServer(parseText(server))
    } catch (error) {
      if (error instanceof Error) throw configError(spot('servers', name, 'server'), error.message)
      throw error
    }
    const said = await optionsOfTable(own, at, 'profile')
    profiles.set(name, { server: parseText(server), options: said, source: `${file}: profile ${name}` })
  }
  return { source: file, top: await optionsOfTable(top, spot(), 'run'), profiles, paths: written }
}

function parseToml(file: string, toml: string): Table {
  try {
    return parse(toml)
  } catch (error) {
    // The parser's message goes on with the line itself, which may hold what is nobody's business.
    const message = error instanceof Error ? error.message.replace(/\n.*/s, '').replace(/^Invalid TOML[^:]*: /, '') : ''
    const line = error instanceof Error && 'line' in error ? `:${String(error.line)}` : ''
    const isUnquoted = /numeric|invalid value|boolean|date/.test(message)
    const isOpen = /control characters|newline/.test(message)
    const advice = isOpen
      ? '; is its closing quote missing?'
      : isUnquoted
        ? '; a text stands in quotes: timeout = "60s"'
        : ''
    throw new UsageError(`${file}${line}: this is not TOML: ${printable(message)}${advice}`, EXIT.CONFIG, error)
  }
}

/** What a table says; `where` it is decides which options may stand there. */
async function optionsOfTable(table: Table, spot: TomlLocation, where: 'run' | 'profile'): Promise<PartialOptions> {
  const layer: Record<string, unknown> = {}
  for (const [key, given] of Object.entries(table)) {
    const at = { ...spot, path: [...spot.path, key] }
    if (key === 'names') {
      layer[key] = parseList(given, at, 'site.example').map((name) => parseText(name))
      continue
    }
    const row = OPTION_ROWS.get(key)
    if (row === undefined && isTable(given) && where === 'run') {
      // [isp], or [server.isp]
      const name = Object.keys(given).find((inner) => isTable(given[inner])) ?? key
      throw configError(at, `unknown table; a profile is written [servers.${name}]`)
    }
    const misplaced = await misplacedReason(key, row, where)
    if (row === undefined || misplaced !== undefined) throw configError(at, misplaced ?? '')
    const value = parseValue(row, given, at)
    layer[key] = row.isPath ? resolvePaths(spot, value) : value
  }
  // Each value has been made by its row.
  return layer
}

/** Why an option can't be said there; undefined: it can. */
async function misplacedReason(
  key: string,
  row: OptionRow | undefined,
  where: 'run' | 'profile',
): Promise<string | undefined> {
  if (key === 'password')
    return 'a password may not stand here; write password-file or password-command, which say where it is'
  if (row === undefined || key.length === 1) {
    const { nearest } = await import('./suggest.js')
    const known = [...OPTION_ROWS].filter(([, { scope: there = where }]) => there === where).map(([name]) => name)
    const others = where === 'profile' ? ['server', 'names'] : ['servers', 'names']
    return `unknown key; did you mean ${nearest(key, [...known, ...others])}?`
  }
  if (row.scope === undefined || row.scope === where) return undefined
  if (row.scope === 'command line') return 'this is said on the command line only'
  return where === 'profile'
    ? 'this holds for the whole run; write it at the top of the file'
    : 'a login belongs to one server; write it in its profile, [servers.NAME]'
}

function parseValue(row: OptionRow, given: unknown, spot: TomlLocation): unknown {
  const { kind, example = '' } = row
  try {
    if (kind === 'flag' && typeof given !== 'boolean') throw new Error('true or false')
    if (kind === 'counter' && !(typeof given === 'number' && [0, 1, 2].includes(given))) throw new Error('0, 1 or 2')
    if (kind === 'value' && typeof given !== 'string' && typeof given !== 'number') throw new Error('a text')
    if (kind === 'list') return row.parse(parseList(given, spot, example))
    return row.parse(kind === 'value' ? String(given) : given)
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UsageError) throw error
    const shown = example === '' ? '' : `; for example ${spot.path.at(-1) ?? ''} = ${tomlLiteral(example)}`
    throw configError(spot, error.message + shown)
  }
}

function parseList(given: unknown, spot: TomlLocation, example: string): string[] {
  if (Array.isArray(given) && given.length > 0 && given.every((word) => typeof word === 'string' && word !== ''))
    return given.map(String)
  throw configError(
    spot,
    `a list of texts, and not an empty one; for example ${spot.path.at(-1) ?? ''} = [${tomlLiteral(example)}]`,
  )
}

function tomlLiteral(example: string): string {
  return /^\d+$/.test(example) ? example : `"${example}"`
}

/** A file is meant from where the configuration is, whoever reads it. */
function resolvePaths({ file, written, ...spot }: TomlLocation, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((path) => resolvePaths({ file, written, ...spot }, path))
  if (value === '-') return value
  const path = resolve(dirname(file), String(value))
  written.set(path, String(value))
  return path
}

function configError({ file, toml, path }: TomlLocation, message: string): UsageError {
  const line = lineOf(toml, path)
  const key = path.map(printable).join('.')
  return new UsageError(`${file}${line === undefined ? '' : `:${line}`}: ${key}: ${message}`, EXIT.CONFIG)
}

/** The line on which a key is set, or what holds it begins. The parser tells it only of what it can't read. */
function lineOf(toml: string, path: readonly string[]): number | undefined {
  let table: readonly string[] = []
  for (const [index, line] of toml.split('\n').entries()) {
    if (/^\s*\[/.test(line)) table = keysOf(line) ?? table
    const key = /^\s*([^=#[]+)=/.exec(line)?.[1]
    const here = key === undefined ? table : [...table, ...(keysOf(`${key} = 0`) ?? [])]
    if (path.every((name, depth) => here[depth] === name)) return index + 1
  }
  return path.length > 1 ? lineOf(toml, path.slice(0, -1)) : undefined
}

/** The keys that one line of TOML sets, each within the one before. */
function keysOf(line: string): string[] | undefined {
  try {
    const keys: string[] = []
    for (let at: unknown = parse(line); isTable(at) || Array.isArray(at);) {
      const [key, value] = Object.entries(at)[0] ?? []
      if (key === undefined) break
      if (isTable(at)) keys.push(key)
      at = value
    }
    return keys
  } catch {
    return undefined
  }
}

function isTable(given: unknown): given is Table {
  return typeof given === 'object' && given !== null && !Array.isArray(given) && !(given instanceof Date)
}
