import { hash } from 'node:crypto'
import type { CommandLine } from './arguments.js'

const SERVER_CHARACTERS = 60

/** Returns the name of a file that belongs to the requests of a command line: its server, and a digest of all that identifies them. */
export function requestFileName({ options, words }: CommandLine, identity: unknown): string {
  const server = options.mx?.join('-') ?? (options.all ? 'all' : (words[0] ?? ''))
  const digest = hash('sha256', JSON.stringify(identity)).slice(0, 8)
  return `${server.replace(/[^\w.-]+/g, '-').slice(0, SERVER_CHARACTERS)}-${digest}`
}
