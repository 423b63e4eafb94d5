import { dirname, resolve } from 'node:path'
import { EXIT, messageOf, UsageError } from '../errors.js'
import { parseText } from '../input/option-values.js'
import { parseServer } from '../input/server-address.js'
import { printable } from '../printable.js'
import { readSafely } from './config-files.js'
import type { OptionSource } from './option-sources.js'
import { findConflict, OPTION_ROWS, type OptionRow, type PartialOptions } from './options.js'
import type { Reader } from './read-file.js'
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
  [/Unterminated string|control character/i, '; is its closing quote missing?'],
  [
    /Unexpected (?:character|token)|Must be a newline/i,
    '; a text stands in quotes: timeout = "60s", and a list ends in ]',
  ],
] as const

type Scope = 'run' | 'profile'

/** Turns one file's TOML into options. All its methods throw UsageError (78), with file, line and key. */
class ConfigParser {
  readonly #paths = new Map<string, string>()
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  async parse(text: string): Promise<Config> {
    const { parseToml } = await import('./toml.js')
    const root = parseToml(text.replace(/^\ufeff/, ''), (line, message, cause) => {
      const hasLoneCr = /\r(?!\n)/.test(text)
      const hint = hasLoneCr
        ? '; lines end with LF or CRLF, not CR'
        : (TOML_HINTS.find(([pattern]) => pattern.test(message))?.[1] ?? '')
      const problem = `this is not TOML: ${printable(message)}${hint}`
      return new UsageError(`${this.#file}:${line}: ${problem}`, { exitStatus: EXIT.CONFIG, cause })
    })
    const { value, line } = root.get('servers') ?? { value: new Map<string, TomlEntry>(), line: 1 }
    root.delete('servers')
    if (!(value instanceof Map))
      throw this.#error(['servers'], line, 'a table of profiles; write [servers.NAME] and what is theirs')
    const profiles = new Map<string, Profile>()
    for (const [name, entry] of value) profiles.set(name, await this.#parseProfile(name, entry))
    const options = await this.#parseOptions(root, [], 'run')
    const locate = (option: string): string => this.#locate(root, option)
    return { tops: [{ options, locate }], profiles, paths: this.#paths }
  }

  async #parseProfile(name: string, { value, line }: TomlEntry): Promise<Profile> {
    const path = ['servers', name]
    if (!(value instanceof Map))
      throw this.#error(path, line, `a table; write [servers.${name}] and below it server = "mail.isp.example"`)
    if (!/^[\w-]+$/.test(name)) throw this.#error(path, line, "a profile's name has letters, digits, - and _ only")
    const entry = value.get('server')
    if (entry === undefined) throw this.#error(path, line, 'it has no server; write server = "mail.isp.example"')
    const serverPath = [...path, 'server']
    const server = entry.value
    if (typeof server !== 'string') throw this.#error(serverPath, entry.line, 'a text, as "mail.isp.example"')
    this.#wrap(serverPath, entry.line, () => parseServer(parseText(server)))
    const table = new Map([...value].filter(([key]) => key !== 'server'))
    const options = await this.#parseOptions(table, path, 'profile')
    return { server, options, locate: (option) => `${this.#locate(value, option)}: profile ${name}` }
  }

  async #parseOptions(table: TomlTable, path: readonly string[], scope: Scope): Promise<PartialOptions> {
    const options: Record<string, unknown> = {}
    for (const [key, entry] of table) {
      const keyPath = [...path, key]
      if (key === 'names') {
        const names = this.#parseList(keyPath, entry, 'site.example')
        if (names.some((name) => /^[^#].*[,;]/.test(name)))
          throw this.#error(keyPath, entry.line, 'each name is a text of its own: names = ["a.example", "b.example"]')
        options[key] = names
        continue
      }
      const row = OPTION_ROWS.get(key)
      if (row === undefined) throw this.#error(keyPath, entry.line, await unknownReason(key, entry.value, scope))
      const reason = misplacedReason(row, scope)
      if (reason !== undefined) throw this.#error(keyPath, entry.line, reason)
      const value = this.#parseValue(row, keyPath, entry)
      options[key] = row.isPath ? this.#resolvePaths(value) : value
    }
    const [excluded = '', key] = findConflict(options) ?? []
    if (key === undefined) return options
    throw this.#error([...path, key], table.get(key)?.line ?? 0, `${excluded} excludes it; write one of them`)
  }

  #parseValue({ kind, example = '', parse }: OptionRow, path: readonly string[], entry: TomlEntry): unknown {
    const { value, line } = entry
    const words = kind === 'list' ? this.#parseList(path, entry, example) : []
    const parseOne = (): unknown => {
      if (kind === 'list') return parse(words)
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
    const sample = `${path.at(-1) ?? ''} = ["${example}"]`
    throw this.#error(path, line, `a list of texts, and not an empty one; for example ${sample}`)
  }

  #wrap(path: readonly string[], line: number, work: () => unknown, example = ''): unknown {
    try {
      return work()
    } catch (error) {
      const literal = /^\d+$/.test(example) ? example : `"${example}"`
      const suffix = example === '' ? '' : `; for example ${path.at(-1) ?? ''} = ${literal}`
      throw this.#error(path, line, messageOf(error) + suffix)
    }
  }

  #error(path: readonly string[], line: number, message: string): UsageError {
    return new UsageError(`${this.#file}:${line}: ${path.map(printable).join('.')}: ${message}`, {
      exitStatus: EXIT.CONFIG,
    })
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

async function unknownReason(key: string, value: TomlValue, scope: Scope): Promise<string> {
  if (value instanceof Map && scope === 'run') {
    // Likely [isp] or [server.isp]
    const name = [...value].find(([, inner]) => inner.value instanceof Map)?.[0] ?? key
    return `unknown table; a profile is written [servers.${name}]`
  }
  if (key === 'password')
    return 'a password may not stand here; write password-file or password-command, which say where it is'
  const { nearestKey } = await import('./suggest.js')
  const known = [...OPTION_ROWS].filter(([, { scope: own = scope }]) => own === scope).map(([name]) => name)
  const near = nearestKey(key, [...known, scope === 'profile' ? 'server' : 'servers', 'names'])
  return `unknown key; ${near === undefined ? 'man etrn lists them all' : `did you mean ${near}?`}`
}

function misplacedReason({ scope: own }: OptionRow, scope: Scope): string | undefined {
  if (own === undefined || own === scope) return undefined
  if (own === 'command line') return 'this is said on the command line only'
  return scope === 'profile'
    ? 'this holds for the whole run; write it at the top of the file'
    : 'a login belongs to one server; write it in its profile, [servers.NAME]'
}
