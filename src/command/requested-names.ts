import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { UsageError } from '../errors.js'
import { type NameEntry, parseNamesFile, removeDuplicates } from '../input/names-file.js'
import { type NodeName, parseNodeName, quoteName } from '../input/node-name.js'
import { ownHostName } from '../net/this-host.js'
import { forOption } from './option-sources.js'
import type { Options } from './options.js'
import type { InputSources } from './read-file.js'

/** Returns the names to request from a server, as the user named it; the domain is that of --mx. */
export type NameReader = (options: Options, server: string, domain?: string) => Promise<readonly NameEntry[]>

/**
 * Returns a reader of names, in the order NAME, --subdomains, --queue, --names-from; else the domain of --mx, else this host's own name
 * (RFC 1985, section 6). It reads each file once, because standard input can be read only once.
 */
export function createNameReader(sources: InputSources): NameReader {
  const { warn, signal } = sources
  const texts = new Map<string, Promise<NamesText>>()
  const lists = new Map<string, Promise<readonly NameEntry[]>>()
  const readList = async (path: string, options: Options): Promise<readonly NameEntry[]> => {
    const file = STDIN_PATHS.includes(path) ? '-' : path
    const reading = texts.get(file) ?? readNames(file, sources)
    texts.set(file, reading)
    const { text, isHidden } = await reading
    const source = file === '-' ? 'standard input' : file
    const { 'allow-wide': allowWide, 'failed-to': failedTo } = options
    const key = `${String(allowWide)} ${file}`
    // The run before has written the names that failed, and there were none.
    const mayBeEmpty = failedTo !== undefined && file !== '-' && resolve(file) === resolve(failedTo)
    const parse = async () => parseNamesFile(text, source, { allowWide, isHidden, mayBeEmpty }, signal)
    const list = lists.get(key) ?? forOption('names-from', parse)
    lists.set(key, list)
    return list
  }
  return async (options, server, domain) => {
    const { 'names-from': files, 'allow-wide': allowWide } = options
    const typed = await typedNames(options)
    const listed = await Promise.all([...new Set(files)].map(async (file) => readList(file, options)))
    const entries = [...typed, ...listed.flat()]
    if (entries.length > 0 || files.length > 0) return removeDuplicates(entries)
    if (domain !== undefined) return [await parseNodeName(domain, { allowWide })]
    const own = ownHostName()
    if (own === undefined) {
      // --check has much to check without a name.
      if (options.check) return []
      throw noNameError()
    }
    warn(`etrn: no NAME given; requesting ${own}, the name of this host, from the server ${server}`)
    return [await parseNodeName(own, { allowWide })]
  }
}

type NamesText = { readonly text: string; readonly isHidden: boolean }

async function readNames(file: string, sources: InputSources): Promise<NamesText> {
  const { input, signal } = sources
  const { readInput, readText } = await import('./read-file.js')
  if (file === '-') return { text: await readInput('names-from', input, signal), isHidden: false }
  const { warnIfExposed } = await import('./file-safety.js')
  let isHidden = false
  const text = await readText('names-from', file, sources, (stats) => {
    isHidden = !warnIfExposed(file, stats, 'list of names', sources)
  })
  return { text, isHidden }
}

const STDIN_PATHS = ['/dev/stdin', '/dev/fd/0', '/proc/self/fd/0', '/proc/thread-self/fd/0']

export function noNameError(): UsageError {
  const problem = `this host has no domain name that other hosts know (host name: ${hostname()})`
  return new UsageError(`no name given, and ${problem}; write etrn SERVER NAME`)
}

/** Returns the names that options give, in their order. Throws OptionError. */
export async function typedNames(options: Options): Promise<NodeName[]> {
  const { names, subdomains, queue, 'allow-wide': allowWide } = options
  const given = [
    ...names.map((name) => ['names', name, undefined] as const),
    ...subdomains.map((node) => ['subdomains', `@${node}`, `--subdomains ${quoteName(node)}`] as const),
    ...queue.map((name) => ['queue', `#${name}`, `--queue ${quoteName(name)}`] as const),
  ]
  return Promise.all(
    given.map(async ([option, name, typed]) => forOption(option, () => parseNodeName(name, { allowWide }, typed))),
  )
}
