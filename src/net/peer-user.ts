import { closeSync, openSync, readSync } from 'node:fs'
import { endianness } from 'node:os'
import { canonicalAddress, familyOf } from './address.js'
import { isLackOfResources, resourcesError } from './resources-error.js'

/** The two ends of a connection */
export type SocketEnds = {
  readonly [K in 'localAddress' | 'remoteAddress']: string
} & { readonly [K in 'localPort' | 'remotePort']: number | undefined }

/** The kernel's tables of connections (proc(5)); IPv4 connections of a socket for both families are in the second one. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']

/** States of a connection (include/net/tcp_states.h); one that has ended, or is not accepted yet, is printed as root's. */
const ESTABLISHED = '01'
const LISTEN = '0A'
const NO_INODE = '0'

/** The address of a listener for all addresses of a family; one for IPv6 may take IPv4 connections, too. */
const ANY_ADDRESS = { 0: '', 4: '0.0.0.0', 6: '::' } as const

/**
 * Returns the users whose processes have the other end of a connection within this host, and those who listen there: a user can make
 * sockets that look like that end, and the kernel prints the connections that a user's SMC socket accepts as root's (af_smc). Returns
 * none if the kernel doesn't tell: the other end is elsewhere, nobody listens any more, the tables can't be read, or the system isn't
 * Linux. Throws StepError (75) if this host lacks the resources to read them.
 */
export function usersOfPeer(ends: SocketEnds): readonly number[] {
  const { accepted, listening } = readPeer(ends)
  return accepted.size === 0 || listening.size === 0 ? [] : [...new Set([...accepted, ...listening])]
}

/**
 * Returns the users who listen at the other end of a connection within this host that this end or the other one has ended: the kernel no
 * longer tells who had it. Returns none while it stands, and where usersOfPeer returns none. Throws as usersOfPeer does.
 */
export function listenersOfEnded(ends: SocketEnds): readonly number[] {
  const { isOpen, listening } = readPeer(ends)
  return isOpen ? [] : [...listening]
}

/** Returns the users who listen at the other end of a connection within this host, whatever has become of it. Throws as usersOfPeer does. */
export function listenersOf(ends: SocketEnds): readonly number[] {
  return [...readPeer(ends).listening]
}

type Peer = { readonly accepted: Set<number>; readonly listening: Set<number>; readonly isOpen: boolean }

function readPeer({ localAddress, localPort, remoteAddress, remotePort }: SocketEnds): Peer {
  const [own, peer] = [canonicalAddress(localAddress), canonicalAddress(remoteAddress)]
  const accepted = new Set<number>()
  let isOpen = false
  // The kernel prefers the listener that is named first.
  const listeners = new Map(
    [peer, ANY_ADDRESS[familyOf(peer)], ANY_ADDRESS[6]].map((address) => [address, new Set<number>()]),
  )
  try {
    for (const line of readLines(TABLES)) {
      // The other end's local address is our remote one.
      const [, local, remote, state, , , , user, , inode] = line.trim().split(/\s+/)
      const isPeer = isEnd(local, peer, remotePort) && isEnd(remote, own, localPort)
      if (isPeer && state === ESTABLISHED && inode !== NO_INODE) accepted.add(Number(user))
      isOpen ||= state === ESTABLISHED && isEnd(local, own, localPort) && isEnd(remote, peer, remotePort)
      if (state === LISTEN && portOf(local) === remotePort) listeners.get(addressOf(local))?.add(Number(user))
    }
  } catch (error) {
    if (isLackOfResources(error)) throw resourcesError("can't tell who runs the server on this host", error)
    // A table that can't be read whole tells nothing.
    return { accepted: new Set(), listening: new Set(), isOpen: true }
  }
  return { accepted, listening: [...listeners.values()].find(({ size }) => size > 0) ?? new Set(), isOpen }
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
function isEnd(end: string | undefined, address: string, port: number | undefined): boolean {
  return portOf(end) === port && addressOf(end) === address
}

function portOf(end = ''): number {
  return parseInt(end.split(':')[1] ?? '', 16)
}

/** Returns the address that the kernel prints as words of 32 bits, each in the machine's order of octets. */
function addressOf(end = ''): string {
  const octets = Buffer.from(end.split(':')[0] ?? '', 'hex')
  if (endianness() === 'LE' && octets.length % 4 === 0) octets.swap32()
  const address = octets.length === 4 ? octets.join('.') : octets.toString('hex').replace(/.{4}(?=.)/g, '$&:')
  return canonicalAddress(address)
}
