import { OptionError, UsageError } from '../errors.js'
import { type NameEntry, parseNamesFile, removeDuplicates } from '../input/names-file.js'
import { type NodeName, parseNodeName } from '../input/node-name.js'
import { ownHostName } from '../net/this-host.js'
import { warnIfExposed } from './file-safety.js'
import { forOption } from './option-sources.js'
import type { Options } from './options.js'
import { type InputSources, readInput, readText } from './read-file.js'

/** Returns the names to request; the domain is that of --mx. */
export type NameReader = (options: Options, domain: string | undefined) => Promise<readonly NameEntry[]>

/**
 * Returns a reader of names, in the order NAME, --subdomains, --queue, --names-from; else the domain of --mx, else this host's own name
 * (RFC 1985, section 6). It reads each file once, because standard input can be read only once.
 */
export function createNameReader(sources: InputSources): NameReader {
  const { input, warn, signal } = sources
  const texts = new Map<string, Promise<string>>()
  const lists = new Map<string, Promise<readonly NameEntry[]>>()
  let isWarned = false
  const readList = async (path: string, allowWide: boolean): Promise<readonly NameEntry[]> => {
    const file = STDIN_PATHS.includes(path) ? '-' : path
    const reading =
      texts.get(file) ?? (file === '-' ? readInput('names-from', input, signal) : readText('names-from', file, signal))
    texts.set(file, reading)
    const text = await reading
    if (file !== '-') warnIfExposed(file, 'names file', sources)
    const source = file === '-' ? 'standard input' : file
    const key = `${String(allowWide)} ${file}`
    const list = lists.get(key) ?? forOption('names-from', () => parseNamesFile(text, source, { allowWide }, signal))
    lists.set(key, list)
    return list
  }
  return async (options, domain) => {
    const { 'names-from': files, 'allow-wide': allowWide } = options
    const typed = await typedNames(options)
    const listed = await Promise.all([...new Set(files)].map(async (file) => readList(file, allowWide)))
    const entries = [...typed, ...listed.flat()]
    if (entries.length > 0) return removeDuplicates(entries)
    if (domain !== undefined) return [await parseNodeName(domain, { allowWide })]
    const own = ownHostName()
    if (own === undefined) {
      // --check has much to check without a name.
      if (options.check) return []
      throw noNameError()
    }
    if (!isWarned) warn(`no name given: asking for ${own}`)
    isWarned = true
    return [await parseNodeName(own, { allowWide })]
  }
}

const STDIN_PATHS = ['/dev/stdin', '/dev/fd/0', '/proc/self/fd/0']

export function noNameError(): UsageError {
  return new UsageError("no name given, and this host's own is not one that others know: type etrn SERVER NAME")
}

/** Returns the names that options give, in their order. Throws OptionError. */
export async function typedNames(options: Options): Promise<NodeName[]> {
  const { names, subdomains, queue, 'allow-wide': allowWide } = options
  const given = [
    ...names.map((name) => ['names', name] as const),
    ...subdomains.map((node) => ['subdomains', markName('subdomains', '@', node)] as const),
    ...queue.map((name) => ['queue', markName('queue', '#', name)] as const),
  ]
  const separation = { subdomains: { separation: 'several names; repeat --subdomains for each' }, names: {}, queue: {} }
  const parse = async (option: keyof typeof separation, name: string): Promise<NodeName> =>
    forOption(option, () => parseNodeName(name, { allowWide, ...separation[option] }))
  return Promise.all(given.map(async ([option, name]) => parse(option, name)))
}

function markName(option: string, mark: string, name: string): string {
  if (name.startsWith(mark)) throw new OptionError(option, `--${option} says the ${mark} already: leave it out`)
  return mark + name
}
