import type { Reply } from './reply.js'

/** Keywords in capitals and their parameters, as EHLO lists them (RFC 5321, 4.1.1.1). */
export type Extensions = ReadonlyMap<string, string>

/** The list of an EHLO reply; its first line is the server's name, whatever it looks like. */
export function parseExtensions({ lines }: Reply): Extensions {
  const extensions = new Map<string, string>()
  for (const line of lines.slice(1).filter(Boolean)) {
    const [, said = '', parameters = ''] = /^([^ ]*) *(.*)$/.exec(line) ?? []
    // What is no keyword stays as it was said; a keyword said twice has the parameters of both.
    const keyword = /^[\w=.-]+$/.test(said) ? said.toUpperCase() : said
    extensions.set(keyword, [extensions.get(keyword) ?? [], parameters].flat().join(' ').trim())
  }
  return extensions
}

/** The lines of such a list. */
export function formatExtensions(extensions: Extensions): string[] {
  return [...extensions].map(([keyword, parameters]) => `${keyword} ${parameters}`.trimEnd())
}

/** `AUTH PLAIN LOGIN`, or, as servers once had it for one client, `AUTH=PLAIN LOGIN` */
export function offeredMechanisms(extensions: Extensions): string[] {
  const lists = formatExtensions(extensions).flatMap((line) => /^AUTH[= ](.*)$/.exec(line)?.[1] ?? [])
  return lists.flatMap((list) => list.toUpperCase().split(' ')).filter(Boolean)
}
