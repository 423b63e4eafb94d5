import { UsageError } from '../errors.js'
import { type NameEntry, parseNamesFile, removeDuplicates } from '../input/names-file.js'
import { parseNodeName, type NodeName } from '../input/node-name.js'
import { ownHostName } from '../net/this-host.js'
import type { Options } from './options.js'
import { readText, streamText } from './read-file.js'
import type { RequestSources } from './requests.js'

/**
 * Reads the names of a place, in the order: words, --subdomains, --queue, --names-from; else the domain of --mx, else this host's
 * own name (RFC 1985, section 6). A file is read once, since standard input can be read only once; so is a list that two places
 * have in common.
 */
export function createNameReader({
  input,
  warn,
  signal,
}: RequestSources): (options: Options, domain?: string) => Promise<readonly NameEntry[]> {
  const files = once(async (file: string, allowWide: boolean) => {
    const text = file === '-' ? streamText(input(), signal) : readText('--names-from', file, signal)
    return parseNamesFile(await text, file === '-' ? 'standard input' : file, { allowWide })
  })
  const owns = once(async (allowWide: boolean) => {
    const own = ownHostName()
    if (own === undefined) throw noNameError()
    warn(`no name given: asking for ${own}`)
    return parseNodeName(own, { allowWide })
  })
  return once(async (options: Options, domain?: string) => {
    const { 'names-from': from, 'allow-wide': allowWide } = options
    const named = await typedNames(options)
    const listed = await Promise.all([...new Set(from)].map(async (file) => files(file, allowWide)))
    const entries = [...named, ...listed.flat()]
    if (entries.length > 0) return removeDuplicates(entries)
    if (domain !== undefined) return [await parseNodeName(domain, { allowWide })]
    // There is enough to be looked at without a name.
    return options.check && ownHostName() === undefined ? [] : [await owns(allowWide)]
  })
}
/** The same answer to the same question. */
export function once<A extends readonly unknown[], T>(work: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  const known = new Map<string, Promise<T>>()
  return async (...args) => {
    const key = JSON.stringify(args)
    const answer = known.get(key) ?? work(...args)
    known.set(key, answer)
    return answer
  }
}
export function noNameError(): UsageError {
  return new UsageError("no name given, and this host's own is not one that others know: type etrn SERVER NAME")
}

export async function typedNames({ names, subdomains, queue, 'allow-wide': allowWide }: Options): Promise<NodeName[]> {
  const given = [
    ...names,
    ...subdomains.map((node) => markName('--subdomains', '@', node)),
    ...queue.map((word) => markName('--queue', '#', word)),
  ]
  return Promise.all(given.map(async (word) => parseNodeName(word, { allowWide })))
}
export function markName(option: string, mark: string, name: string): string {
  if (name.startsWith(mark)) throw new UsageError(`${option} says the ${mark} already: leave it out`)
  return mark + name
}
