import { copyText } from '../printable.js'
import type { Reply } from './reply.js'

/** Keywords in capitals and their parameters, as EHLO lists them (RFC 5321, 4.1.1.1). */
export type Extensions = ReadonlyMap<string, string>

/** Returns the extensions in an EHLO reply. Its first line is the server's name, whatever it looks like. */
export function parseExtensions({ lines }: Pick<Reply, 'lines'>): Extensions {
  const extensions = new Map<string, string>()
  for (const line of lines.slice(1).filter(Boolean)) {
    const end = line.search(/ |$/)
    const word = line.slice(0, end)
    const parameters = line.slice(end).trimStart()
    // A word that is no keyword stays as it is. A keyword that is listed twice has the parameters of both.
    const keyword = /^[\w=.-]+$/.test(word) ? word.toUpperCase() : word
    extensions.set(keyword, [extensions.get(keyword) ?? [], parameters].flat().join(' ').trim())
  }
  return extensions
}

/** The characters of a list that are kept for reports. Real servers list a tenth of that. */
const KEPT_CHARACTERS = 4096

/** Returns a copy of the list for reports; if it is too long, three dots replace its rest. Decisions need the whole list. */
export function shortenExtensions(extensions: Extensions): Extensions {
  const kept = new Map<string, string>()
  let characters = 0
  for (const [keyword, parameters] of extensions) {
    characters += keyword.length + parameters.length
    if (characters > KEPT_CHARACTERS) return kept.set('...', '')
    kept.set(copyText(keyword), copyText(parameters))
  }
  return kept
}

/** Returns the extensions as lines: `SIZE 1000`. */
export function formatExtensions(extensions: Extensions): string[] {
  return [...extensions].map(([keyword, parameters]) => `${keyword} ${parameters}`.trimEnd())
}

/** Returns the mechanisms of `AUTH PLAIN LOGIN`, and of `AUTH=PLAIN LOGIN`, which servers once listed for one client. */
export function offeredMechanisms(extensions: Extensions): string[] {
  const lists = formatExtensions(extensions).flatMap((line) => /^AUTH[= ](.*)$/.exec(line)?.[1] ?? [])
  return lists.flatMap((list) => list.toUpperCase().split(' ')).filter(Boolean)
}
