// The text of a reply, prepared so that patterns find the server's own words only.

/** The characters in which patterns look for a meaning: their time must not depend on what a hostile server sends. */
const MEANING_CHARACTERS = 2000

export type ReplyText = {
  /** The text without the requested name; other quoted arguments are `<?>`, so that a client's host name is no word. */
  readonly withHosts: string
  /** The same without host names, addresses and URLs, too */
  readonly words: string
}

/** Returns the beginning of a text as it is matched. */
export function readableText(text: string, name = ''): ReplyText {
  const named = removeName(text.slice(0, MEANING_CHARACTERS + name.length), name)
  const withHosts = named.replace(/<[^<>]+>/g, '<?>').replace(CLIENT, '')
  return { withHosts: tidy(withHosts), words: tidy(withHosts.replace(TOKEN, (token) => (isHost(token) ? '' : token))) }
}

/**
 * Removes the requested name, whose words are not the server's: `Node tls.example not allowed`. A queue can have any word as its name, so that
 * only the last one in the same spelling counts: `Queue queue unknown`.
 */
function removeName(text: string, name: string): string {
  if (name === '') return text
  const pattern = `(?<![\\w.-])${name.replace(/\W/g, '\\$&')}(?![\\w-])`
  if (name.includes('.')) return text.replace(new RegExp(pattern, 'gi'), '')
  return text.replace(new RegExp(`^(.*)${pattern}`, 's'), '$1')
}

/** A client as Postfix names it: `unknown[192.0.2.1]` */
const CLIENT = /(?<![\w.-])[\w.-]+\[[^\][\s]*\]/g

const TOKEN = /https?:\/\/\S+|\[[^\][\s]*\]|[\w.@%+-]+/gi

/** Returns true for a host name, an address, an address for mail, or a URL. */
function isHost(token: string): boolean {
  return /\w\.\w|\w@\w|:/.test(token)
}

/** Removes the blanks, and at the start the marks, that a removed name has left. */
function tidy(text: string): string {
  return text.replace(/ {2,}/g, ' ').replace(/^[\s:;,-]+/, '')
}
