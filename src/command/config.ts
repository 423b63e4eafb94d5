import { dirname, resolve } from 'node:path'
import { EXIT, messageOf, UsageError } from '../errors.js'
import { hidePassword } from '../input/hide-password.js'
import { parseServer } from '../input/server-address.js'
import { printable } from '../printable.js'
import type { OptionSource } from './option-sources.js'
import { findConflict, OPTION_ROWS, type OptionRow, type PartialOptions } from './options.js'
import type { Reader } from './read-file.js'
import { readSafely } from './read-safely.js'
import type { TomlEntry, TomlTable, TomlValue } from './toml.js'

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
  for (const file of files) configs.push(await new ConfigParser(file).parse(await readSafely(file, reader)))
  return {
    tops: configs.flatMap(({ tops }) => tops).toReversed(),
    profiles: new Map(configs.flatMap(({ profiles }) => [...profiles])),
    paths: new Map(configs.flatMap(({ paths }) => [...paths])),
  }
}

/** The probable mistake, by the parser's message */
const TOML_HINTS = [
  [/Unterminated string|control character/i, 'a closing quote may be missing'],
  [
    /unexpected (?:character|token)|more text after/i,
    'write strings in quotes, as in timeout = "60s"; end lists with ]',
  ],
] as const

type Scope = 'run' | 'profile'

const SERVER_EXAMPLE = 'server = "mail.isp.example"'

/** Turns one file's TOML into options. All its methods throw UsageError (78), with file, line, profile and key. */
class ConfigParser {
  readonly #paths = new Map<string, string>()
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  async parse(text: string): Promise<Config> {
    const root = await this.#parseTables(text)
    const { value, line } = root.get('servers') ?? { value: new Map<string, TomlEntry>(), line: 1 }
    root.delete('servers')
    if (!(value instanceof Map))
      throw this.#error(line, `servers must be a table; write [servers.NAME], and below it ${SERVER_EXAMPLE}`)
    const profiles = new Map<string, Profile>()
    for (const [name, entry] of value) profiles.set(name, await this.#parseProfile(name, entry))
    const options = await this.#parseOptions(root)
    const locate = (option: string): string => this.#locate(root, option)
    return { tops: [{ options, locate }], profiles, paths: this.#paths }
  }

  async #parseTables(text: string): Promise<TomlTable> {
    const { parseToml } = await import('./toml.js')
    const errorOf = (line: number, message: string, cause: unknown): UsageError => {
      const hasLoneCr = /\r(?!\n)/.test(text)
      const hint = hasLoneCr
        ? 'end lines with LF or CRLF, not CR'
        : TOML_HINTS.find(([pattern]) => pattern.test(message))?.[1]
      const facts = { exitStatus: EXIT.CONFIG, hint, cause }
      return new UsageError(`${this.#file}:${line}: not valid TOML: ${printable(message)}`, facts)
    }
    try {
      return parseToml(text.replace(/^\ufeff/, ''), errorOf)
    } catch (cause) {
      // The parser's stack overflows.
      if (!(cause instanceof RangeError)) throw cause
      const message = `${this.#file}: a string is too long, or lists or tables are nested too deeply`
      throw new UsageError(message, { exitStatus: EXIT.CONFIG, cause })
    }
  }

  async #parseProfile(name: string, { value, line }: TomlEntry): Promise<Profile> {
    if (!/^[\w-]+$/.test(name))
      throw this.#error(
        line,
        `profile name "${hidePassword(name)}" contains characters other than letters, digits, - and _`,
      )
    if (!(value instanceof Map))
      throw this.#error(
        line,
        `profile ${name} must be a table; write [servers.${name}], and below it ${SERVER_EXAMPLE}`,
      )
    const entry = value.get('server')
    const server = entry && this.#parseServer(name, entry)
    const table = new Map([...value].filter(([key]) => key !== 'server'))
    const options = await this.#parseOptions(table, name)
    // Only now: an unknown key may have been meant for it.
    if (server === undefined) throw this.#error(line, `profile ${name} has no server; write ${SERVER_EXAMPLE}`)
    return { server, options, locate: (option) => `${this.#locate(value, option)}: profile ${name}` }
  }

  #parseServer(profile: string, { value, line }: TomlEntry): string {
    if (typeof value !== 'string' || value === '') {
      const rule = value === '' ? 'is empty' : 'must be a string'
      throw this.#error(line, `server ${rule}; write, for example, ${SERVER_EXAMPLE}`, profile)
    }
    try {
      parseServer(value)
      return value
    } catch (error) {
      throw this.#error(line, messageOf(error), profile)
    }
  }

  async #parseOptions(table: TomlTable, profile?: string): Promise<PartialOptions> {
    const scope = profile === undefined ? 'run' : 'profile'
    const options: Record<string, unknown> = {}
    for (const [key, entry] of table) {
      if (key === 'names') {
        options[key] = this.#parseNames(entry, profile)
        continue
      }
      const row = OPTION_ROWS.get(key)
      const reason = row === undefined ? await unknownReason(key, entry.value, scope) : misplacedReason(key, row, scope)
      if (row === undefined || reason !== undefined) throw this.#error(entry.line, reason ?? '', profile)
      const value = this.#parseValue(row, key, entry, profile)
      options[key] = row.isPath ? this.#resolvePaths(value) : value
    }
    const [excluded = '', key] = findConflict(options) ?? []
    if (key === undefined) return options
    const message = `${excluded} and ${key} can't be used together; use only one`
    throw this.#error(table.get(key)?.line ?? 0, message, profile)
  }

  #parseNames(entry: TomlEntry, profile?: string): string[] {
    const names = this.#parseList('names', entry, 'site.example', profile)
    if (!names.some((name) => /^[^#].*[,;]/.test(name))) return names
    const message = 'names must have one name per string, for example names = ["a.example", "b.example"]'
    throw this.#error(entry.line, message, profile)
  }

  #parseValue({ kind, example, parse }: OptionRow, key: string, entry: TomlEntry, profile?: string): unknown {
    const { value, line } = entry
    const words = kind === 'list' ? this.#parseList(key, entry, example ?? '', profile) : []
    try {
      if (kind === 'list') return parse(words)
      if (kind === 'flag' && typeof value !== 'boolean') throw new Error('must be true or false')
      if (kind === 'counter' && !(typeof value === 'number' && [0, 1, 2].includes(value)))
        throw new Error('must be 0, 1 or 2')
      if (kind !== 'value') return parse(value)
      if (typeof value !== 'string' && typeof value !== 'number') throw new Error('must be a string or a number')
      return parse(String(value))
    } catch (error) {
      throw this.#error(line, `${key} ${messageOf(error)}${exampleOf(key, kind, example)}`, profile)
    }
  }

  #parseList(key: string, { value, line }: TomlEntry, example: string, profile?: string): string[] {
    const words = Array.isArray(value) ? (value as readonly TomlValue[]) : []
    if (words.length > 0 && words.every((word) => typeof word === 'string' && word !== '')) return words.map(String)
    const message = `${key} must be a non-empty list of strings${exampleOf(key, 'list', example)}`
    throw this.#error(line, message, profile)
  }

  #error(line: number, message: string, profile?: string): UsageError {
    const place = profile === undefined ? '' : `profile ${profile}: `
    return new UsageError(`${this.#file}:${line}: ${place}${message}`, { exitStatus: EXIT.CONFIG })
  }

  #locate(table: TomlTable, option: string): string {
    const line = table.get(option)?.line
    return line === undefined ? this.#file : `${this.#file}:${line}`
  }

  /** A file name is relative to the folder of the configuration. */
  #resolvePaths(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((path) => this.#resolvePaths(path))
    if (value === '-') return value
    const path = resolve(dirname(this.#file), String(value))
    this.#paths.set(path, String(value))
    return path
  }
}

/** Returns the end of a message: how a key could be set. */
function exampleOf(key: string, kind: OptionRow['kind'], example?: string): string {
  if (example === undefined) return ''
  const literal = /^\d+$/.test(example) ? example : `"${example}"`
  return `; write, for example, ${key} = ${kind === 'list' ? `[${literal}]` : literal}`
}

async function unknownReason(key: string, value: TomlValue, scope: Scope): Promise<string> {
  if (value instanceof Map && scope === 'run') {
    // Likely [isp] or [server.isp]
    const name = [...value].find(([, inner]) => inner.value instanceof Map)?.[0] ?? key
    return `unknown table [${key}]; write a profile as [servers.${name}]`
  }
  if (key === 'password') return 'this file must not contain a password; use password-file or password-command'
  const { nearestKey } = await import('./suggest.js')
  const known = [...OPTION_ROWS].filter(([, { scope: own = scope }]) => own === scope).map(([name]) => name)
  const near = nearestKey(key, [...known, scope === 'profile' ? 'server' : 'servers', 'names'])
  return `unknown key ${key}; ${near === undefined ? 'man etrn lists all keys' : `did you mean ${near}?`}`
}

function misplacedReason(key: string, { scope: own }: OptionRow, scope: Scope): string | undefined {
  if (own === undefined || own === scope) return undefined
  if (own === 'command line') return `${key} is not a configuration key; use --${key} on the command line`
  return scope === 'profile'
    ? `${key} applies to the whole run; move ${key} to the top of the file`
    : `${key} applies to one server; move ${key} into its profile, below [servers.NAME]`
}
