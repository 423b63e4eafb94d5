import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { BYE, type Conversation, HELLO, type Scripted, scriptedAt } from '../helpers/scripted-server.js'

// What the tests within a namespace of their own share (see helpers/namespace.ts).

export const PORT = 2500
/** The arguments of a request to mail.example. */
export const REQUEST = [`mail.example:${PORT}`, '--helo', 'gw.site.example', 'site.example']
/** The whole session of that request. */
export const ACCEPTED: Conversation = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE]
/** An address of this host that is not a loopback address; only after addBlackHole(). */
export const OWN_ADDRESS = '198.51.100.1'

export function writeResolvConf(text: string): void {
  writeFileSync('/etc/resolv.conf', text)
}

/** Writes /etc/hosts until the test ends. */
export function writeHosts(t: TestContext, text: string): void {
  writeFileSync('/etc/hosts', text)
  t.after(() => writeFileSync('/etc/hosts', ''))
}

export function runIp(line: string): void {
  execFileSync('ip', line.split(' '))
}

/** Starts the only name server of the namespace, with these answers. */
export async function serveNames(
  t: TestContext,
  answers: Readonly<Record<string, Answer>>,
): Promise<{ readonly asked: string[] }> {
  writeResolvConf('nameserver 127.0.0.1\n')
  return nameServer(t, answers)
}

/** Starts a scripted server at PORT of an address. */
export async function serveAt(t: TestContext, host: string, ...conversations: Conversation[]): Promise<Scripted> {
  return scriptedAt(t, { host, port: PORT }, ...conversations)
}

/** Gives this host OWN_ADDRESS, and routes 192.0.2.0/24 to a link that nobody answers from. */
export function addBlackHole(): void {
  runIp('link add hole0 type veth peer name hole1')
  runIp(`addr add ${OWN_ADDRESS}/24 dev hole0`)
  runIp('link set hole0 up')
  runIp('link set hole1 up')
  runIp('neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev hole0')
  runIp('route add 192.0.2.0/24 via 198.51.100.2')
}
