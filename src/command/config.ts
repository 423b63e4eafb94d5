import { dirname, resolve } from 'node:path'
import { EXIT, UsageError } from '../errors.js'
import { parseServer } from '../input/server-address.js'
import { parseText } from '../input/values.js'
import { printable } from '../printable.js'
import { type Reader, readSafely } from './config-files.js'
import type { OptionSource } from './option-sources.js'
import { OPTION_ROWS, type OptionRow, type PartialOptions } from './options.js'
import type { TomlEntry, TomlTable, TomlValue } from './toml.js'

/** What the configuration files set. */
export type Config = {
  /** The tops of the files, strongest first */
  readonly tops: readonly OptionSource[]
  readonly profiles: ReadonlyMap<string, Profile>
  /** The files that options name: absolute paths, and how they are written */
  readonly paths: ReadonlyMap<string, string>
}

export type Profile = OptionSource & {
  /** A SERVER argument */
  readonly server: string
}

/**
 * Reads configuration files (TOML). A later file overrides an earlier one, a profile as a whole. Throws UsageError: 78, with file and
 * line, if a file is wrong or unsafe, 66 if it can't be read.
 */
export async function readConfig(files: readonly string[], reader: Reader): Promise<Config> {
  const configs: Config[] = []
  for (const file of files) configs.push(await parseConfig(file, await readSafely(file, reader)))
  return {
    tops: configs.flatMap(({ tops }) => tops).toReversed(),
    profiles: new Map(configs.flatMap(({ profiles }) => [...profiles])),
    paths: new Map(configs.flatMap(({ paths }) => [...paths])),
  }
}

async function parseConfig(file: string, text: string): Promise<Config> {
  const parser = new ConfigParser(file)
  const root = await parser.parseToml(text.replace(/^\ufeff/, ''))
  const profiles = new Map<string, Profile>()
  const { value, line } = root.get('servers') ?? { value: new Map(), line: 1 }
  if (!isTable(value))
    throw parser.error(['servers'], line, 'a table of profiles; write [servers.NAME] and what is theirs')
  for (const [name, entry] of value) profiles.set(name, await parser.parseProfile(name, entry))
  const top = new Map([...root].filter(([key]) => key !== 'servers'))
  const options = await parser.parseOptions(top, [], 'run')
  const locate = (option: string): string => parser.locate(top, option, '')
  return { tops: [{ options, locate }], profiles, paths: parser.paths }
}

/** Turns one file's TOML into options. All its methods throw UsageError (78), with file, line and key. */
class ConfigParser {
  /** The files that options name: absolute paths, and how they are written */
  readonly paths = new Map<string, string>()
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  async parseToml(text: string): Promise<TomlTable> {
    const { parseToml, TomlError } = await import('./toml.js')
    try {
      return parseToml(text)
    } catch (error) {
      if (!(error instanceof TomlError)) throw error
      const { message, line } = error
      const isUnclosed = /Unterminated string|control character/i.test(message)
      const isUnquoted = /Unexpected (?:character|token)|Must be a newline/i.test(message)
      const hint = isUnclosed
        ? '; is its closing quote missing?'
        : isUnquoted
          ? '; a text stands in quotes: timeout = "60s"'
          : ''
      throw new UsageError(`${this.#file}:${line}: this is not TOML: ${printable(message)}${hint}`, EXIT.CONFIG, error)
    }
  }

  async parseProfile(name: string, { value, line }: TomlEntry): Promise<Profile> {
    const path = ['servers', name]
    if (!isTable(value))
      throw this.error(path, line, `a table; write [servers.${name}] and below it server = "mail.isp.example"`)
    if (!/^[\w-]+$/.test(name)) throw this.error(path, line, "a profile's name has letters, digits, - and _ only")
    const entry = value.get('server')
    if (entry === undefined) throw this.error(path, line, 'it has no server; write server = "mail.isp.example"')
    const serverPath = [...path, 'server']
    if (typeof entry.value !== 'string') throw this.error(serverPath, entry.line, 'a text, as "mail.isp.example"')
    const server = entry.value
    this.#wrap(serverPath, entry.line, () => parseServer(parseText(server)))
    const table = new Map([...value].filter(([key]) => key !== 'server'))
    const options = await this.parseOptions(table, path, 'profile')
    return { server, options, locate: (option) => this.locate(value, option, `: profile ${name}`) }
  }

  /** Returns the options in a table; the scope decides which ones it may set. */
  async parseOptions(table: TomlTable, path: readonly string[], scope: 'run' | 'profile'): Promise<PartialOptions> {
    const options: Record<string, unknown> = {}
    for (const [key, entry] of table) {
      const keyPath = [...path, key]
      if (key === 'names') {
        options[key] = this.#parseList(keyPath, entry, 'site.example').map((name) => parseText(name))
        continue
      }
      const row = OPTION_ROWS.get(key)
      if (row === undefined && isTable(entry.value) && scope === 'run') {
        // Likely [isp] or [server.isp]
        const name = [...entry.value].find(([, inner]) => isTable(inner.value))?.[0] ?? key
        throw this.error(keyPath, entry.line, `unknown table; a profile is written [servers.${name}]`)
      }
      const reason = await misplacedReason(key, row, scope)
      if (row === undefined || reason !== undefined) throw this.error(keyPath, entry.line, reason ?? '')
      const value = this.#parseValue(row, keyPath, entry)
      options[key] = row.isPath ? this.#resolvePaths(value) : value
    }
    // The row of each option has made its value.
    return options
  }

  /** Returns the place of an option: file, line and profile. */
  locate(table: TomlTable, option: string, profile: string): string {
    const line = table.get(option)?.line
    return `${this.#file}${line === undefined ? '' : `:${line}`}${profile}`
  }

  error(path: readonly string[], line: number, message: string): UsageError {
    return new UsageError(`${this.#file}:${line}: ${path.map(printable).join('.')}: ${message}`, EXIT.CONFIG)
  }

  #parseValue({ kind, example = '', parse }: OptionRow, path: readonly string[], entry: TomlEntry): unknown {
    const { value, line } = entry
    if (kind === 'list') return this.#wrap(path, line, () => parse(this.#parseList(path, entry, example)), example)
    const parseOne = (): unknown => {
      if (kind === 'flag' && typeof value !== 'boolean') throw new Error('true or false')
      if (kind === 'counter' && !(typeof value === 'number' && [0, 1, 2].includes(value))) throw new Error('0, 1 or 2')
      if (kind !== 'value') return parse(value)
      if (typeof value !== 'string' && typeof value !== 'number') throw new Error('a text')
      return parse(String(value))
    }
    return this.#wrap(path, line, parseOne, example)
  }

  #parseList(path: readonly string[], { value, line }: TomlEntry, example: string): string[] {
    const words = Array.isArray(value) ? (value as readonly TomlValue[]) : []
    if (words.length > 0 && words.every((word) => typeof word === 'string' && word !== '')) return words.map(String)
    const key = path.at(-1) ?? ''
    const message = `a list of texts, and not an empty one; for example ${key} = [${tomlLiteral(example)}]`
    throw this.error(path, line, message)
  }

  /** Adds the place to a plain Error. */
  #wrap<T>(path: readonly string[], line: number, work: () => T, example = ''): T {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof Error) || (error instanceof UsageError && error.exitStatus === EXIT.CONFIG)) throw error
      const suffix = example === '' ? '' : `; for example ${path.at(-1) ?? ''} = ${tomlLiteral(example)}`
      throw this.error(path, line, error.message + suffix)
    }
  }

  /** A file name is relative to the folder of the configuration. */
  #resolvePaths(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((path) => this.#resolvePaths(path))
    if (value === '-') return value
    const path = resolve(dirname(this.#file), String(value))
    this.paths.set(path, String(value))
    return path
  }
}

/** Returns why an option can't be set there, or undefined. */
async function misplacedReason(
  key: string,
  row: OptionRow | undefined,
  scope: 'run' | 'profile',
): Promise<string | undefined> {
  if (key === 'password')
    return 'a password may not stand here; write password-file or password-command, which say where it is'
  if (row === undefined || key.length === 1) {
    const { nearest } = await import('./suggest.js')
    const known = [...OPTION_ROWS].filter(([, { scope: own = scope }]) => own === scope).map(([name]) => name)
    const others = scope === 'profile' ? ['server', 'names'] : ['servers', 'names']
    return `unknown key; did you mean ${nearest(key, [...known, ...others])}?`
  }
  if (row.scope === undefined || row.scope === scope) return undefined
  if (row.scope === 'command line') return 'this is said on the command line only'
  return scope === 'profile'
    ? 'this holds for the whole run; write it at the top of the file'
    : 'a login belongs to one server; write it in its profile, [servers.NAME]'
}

function tomlLiteral(example: string): string {
  return /^\d+$/.test(example) ? example : `"${example}"`
}

function isTable(value: TomlValue): value is TomlTable {
  return value instanceof Map
}
