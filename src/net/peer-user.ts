import { closeSync, openSync, readSync } from 'node:fs'
import { endianness } from 'node:os'
import { canonicalAddress } from './address.js'
import { isLackOfResources, resourcesError } from './resources-error.js'

/** The two ends of a connection */
export type SocketEnds = {
  readonly [K in 'localAddress' | 'remoteAddress']: string
} & { readonly [K in 'localPort' | 'remotePort']: number | undefined }

/** The kernel's tables of connections (proc(5)); IPv4 connections of a socket for both families are in the second one. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']

/** An established connection (include/net/tcp_states.h); one that has ended, or is not accepted yet, is printed as root's. */
const ESTABLISHED = '01'
const NO_INODE = '0'

/**
 * Returns the users whose processes have the other end of a connection within this host: a user can make sockets that look like that end.
 * Returns none if the kernel doesn't tell: the other end is elsewhere, the tables can't be read, or the system isn't Linux. Throws
 * StepError (75) if this host lacks the resources to read them.
 */
export function usersOfPeer({ localAddress, localPort, remoteAddress, remotePort }: SocketEnds): readonly number[] {
  const [own, peer] = [canonicalAddress(localAddress), canonicalAddress(remoteAddress)]
  const users = new Set<number>()
  try {
    for (const line of readLines(TABLES)) {
      // The other end's local address is our remote one.
      const [, local, remote, state, , , , user, , inode] = line.trim().split(/\s+/)
      const isPeer = isEnd(local, peer, remotePort) && isEnd(remote, own, localPort)
      if (isPeer && state === ESTABLISHED && inode !== NO_INODE) users.add(Number(user))
    }
  } catch (error) {
    if (isLackOfResources(error)) throw resourcesError('who runs the server on this host', error)
    // A table that can't be read whole tells nothing.
    return []
  }
  return [...users]
}

const BLOCK_OCTETS = 65_536

/** Yields the lines of files piece by piece: other users can make the tables longer than a string can be. */
function* readLines(files: readonly string[]): Generator<string> {
  for (const file of files) {
    const fd = openSync(file, 'r')
    try {
      const block = Buffer.alloc(BLOCK_OCTETS)
      let rest = ''
      for (let octets = readSync(fd, block); octets > 0; octets = readSync(fd, block)) {
        const lines = (rest + block.toString('latin1', 0, octets)).split('\n')
        rest = lines.pop() ?? ''
        yield* lines
      }
    } finally {
      closeSync(fd)
    }
  }
}

/** Returns true if a table's `0100007F:0019` is this address and port. */
function isEnd(end = '', address: string, port = 0): boolean {
  const [words = '', portDigits = ''] = end.split(':')
  return parseInt(portDigits, 16) === port && canonicalAddress(addressOf(words)) === address
}

/** Returns the address that the kernel prints as words of 32 bits, each in the machine's order of octets. */
function addressOf(words: string): string {
  const octets = Buffer.from(words, 'hex')
  if (endianness() === 'LE' && octets.length % 4 === 0) octets.swap32()
  if (octets.length === 4) return octets.join('.')
  return octets.toString('hex').replace(/.{4}(?=.)/g, '$&:')
}
