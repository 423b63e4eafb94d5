import { readFileSync, statSync } from 'node:fs'
import { canonicalAddress, familyOf } from './address.js'

export type HostsEntry = { readonly address: string; readonly names: readonly string[] }

/** A larger file, of half a million lines, is left to getaddrinfo, which reads it line by line. */
const HOSTS_FILE_OCTETS = 16 * 1024 * 1024

/** Returns the lines of /etc/hosts that have this name. All names are in lower case. Without the file there are none. */
export function hostsEntries(name: string): HostsEntry[] {
  if (name === '') return []
  const { text, lowerCase } = readHostsFile()
  const entries: HostsEntry[] = []
  for (let at = lowerCase.indexOf(name); at !== -1; at = lowerCase.indexOf(name, at)) {
    const [start, end] = [text.lastIndexOf('\n', at) + 1, text.indexOf('\n', at)]
    const isWord = isBlank(text[at - 1]) && isBlank(text[at + name.length])
    // Each line is parsed once.
    at = isWord ? end : at + 1
    if (isWord) entries.push(...parseLine(text.slice(start, end)).filter(({ names }) => names.includes(name)))
  }
  return entries
}

function isBlank(character: string | undefined): boolean {
  return character === undefined || /[\s#]/.test(character)
}

function parseLine(line: string): HostsEntry[] {
  const [address = '', ...names] = Buffer.from(line, 'latin1').toString().replace(/#.*/, '').trim().split(/\s+/)
  if (familyOf(address) === 0) return []
  // A link-local address can't be connected to without its interface.
  const scope = /%.*/.exec(address)?.[0] ?? ''
  return [{ address: canonicalAddress(address) + scope, names: names.map((name) => name.toLowerCase()) }]
}

type HostsFile = { readonly version: string; readonly text: string; readonly lowerCase: string }

const NO_FILE: HostsFile = { version: '', text: '', lowerCase: '' }

/** The file as it was read last. It is searched as text: an index of 150,000 lines would take longer than a hundred searches. */
let cached = NO_FILE

function readHostsFile(): HostsFile {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync('/etc/hosts')
    const version = [dev, ino, size, mtimeMs, ctimeMs].join(' ')
    if (cached.version !== version) {
      // In Latin-1 a capital letter and its small letter have the same length.
      const text = size > HOSTS_FILE_OCTETS ? '' : `${readFileSync('/etc/hosts', 'latin1')}\n`
      cached = { version, text, lowerCase: text.toLowerCase() }
    }
    return cached
  } catch {
    return NO_FILE
  }
}
