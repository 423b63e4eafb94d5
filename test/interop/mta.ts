import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MailServer, type Message } from '../demo/provider.js'
import { fixture } from '../helpers/files.js'

// What the tests of every MTA need: its packages, its port and processes, and the site that its mail is for.

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** Returns the command that enters namespaces with the packages of an MTA, or of `hooks`, mounted over the system. */
export function enterCommand(packages: string): string[] {
  if (process.env['ETRN_TEST_INSIDE'] !== undefined) return []
  return [pathOf('enter.sh'), execFileSync(pathOf('packages.sh'), [packages], { encoding: 'utf8' }).trim()]
}

/** Returns the command that also starts a systemd in those namespaces. */
export const bootCommand = (packages: string): string[] => [...enterCommand(packages), pathOf('boot.sh')]

/** Writes a fixture's key and certificate into one file that an MTA can read; returns its path. */
export function writeChain(name: string): string {
  const file = `/etc/${name}-chain.pem`
  writeFileSync(file, fixture(`${name}.key`) + fixture(`${name}.pem`))
  return file
}

/** Waits until the port accepts connections, and the server has seen the end of one. */
export async function waitForPort(port: number): Promise<void> {
  await waitUntil(
    () =>
      new Promise((resolve) => {
        let isConnected = false
        const socket = createConnection(port, '127.0.0.1', () => {
          isConnected = true
          socket.end().resume()
        })
        // The port refused the connection, or the greeting came after the end and caused a reset.
        socket.on('error', () => undefined).on('close', () => resolve(isConnected))
      }),
  )
}

const WAIT_MS = 20_000

/** Polls for a state that an MTA doesn't announce. */
export async function waitUntil(isReached: () => boolean | Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(WAIT_MS)
  while (!(await isReached())) {
    if (signal.aborted) assert.fail(`not reached in ${WAIT_MS} ms: ${isReached.toString()}`)
    await sleep(50)
  }
}

/** Tells whether the process has live children. */
export function hasChildren(pid: number | undefined): boolean {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return children.split(' ').some((child) => readStatus(child) !== '')
}

/** Tells whether a process runs this program, beside the one with this number. */
export function isRunning(program: string, except?: number): boolean {
  return readdirSync('/proc').some((pid) => pid !== String(except) && readStatus(pid).startsWith(`Name:\t${program}\n`))
}

/** Returns the status from proc(5), or '' for a zombie or a missing process. Exim's daemon reaps its zombies only now and then. */
function readStatus(pid: string): string {
  if (!/^\d+$/.test(pid)) return ''
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return /^State:\tZ/m.test(status) ? '' : status
  } catch {
    return ''
  }
}

async function waitForEvent(emitter: EventEmitter, event: string): Promise<void> {
  const signal = AbortSignal.timeout(WAIT_MS)
  await once(emitter, event, { signal }).catch(() => assert.fail(`no ${event} in ${WAIT_MS} ms`))
}

/** The site's own mail server, which receives the mail that a request moves */
export type SiteServer = {
  readonly server: MailServer
  readonly nextMessage: () => Promise<Message>
  /** Waits for this many messages; returns their recipients, sorted. */
  readonly nextRecipients: (count: number) => Promise<string[]>
}

export async function startSiteServer(t: TestContext, port = 25): Promise<SiteServer> {
  const emitter = new EventEmitter()
  const messages: Message[] = []
  const server = new MailServer('gw.site.example', (message) => {
    messages.push(message)
    emitter.emit('message')
  })
  await server.listen(port, '127.0.0.2')
  t.after(() => server.close())
  const nextMessage = async (): Promise<Message> => {
    if (messages.length === 0) await waitForEvent(emitter, 'message')
    return messages.shift() ?? assert.fail()
  }
  const nextRecipients = async (count: number): Promise<string[]> => {
    const recipients: string[] = []
    while (recipients.length < count) recipients.push((await nextMessage()).to)
    return recipients.sort()
  }
  return { server, nextMessage, nextRecipients }
}

export type HeldSiteServer = SiteServer & {
  readonly waitForConnection: () => Promise<void>
  readonly release: () => void
}

/** Starts a site server that doesn't greet before `release` is called, so that a delivery stays in progress until then. */
export async function startHeldSiteServer(t: TestContext): Promise<HeldSiteServer> {
  const innerPort = 2525
  const siteServer = await startSiteServer(t, innerPort)
  const emitter = new EventEmitter()
  const heldSockets: Socket[] = []
  const forward = (outer: Socket): void => {
    const inner = createConnection(innerPort, '127.0.0.2')
    for (const socket of [outer, inner]) socket.on('error', () => undefined)
    outer.pipe(inner).pipe(outer)
  }
  let isReleased = false
  const listener = createServer((socket) => {
    if (isReleased) forward(socket)
    else heldSockets.push(socket)
    emitter.emit('connection')
  })
  listener.listen(25, '127.0.0.2')
  await once(listener, 'listening')
  const waitForConnection = async (): Promise<void> => {
    if (heldSockets.length === 0) await waitForEvent(emitter, 'connection')
  }
  const release = (): void => {
    isReleased = true
    for (const socket of heldSockets.splice(0)) forward(socket)
  }
  t.after(() => {
    listener.close()
    // After a failed test, the mail server must not wait for its delivery.
    release()
  })
  return { ...siteServer, waitForConnection, release }
}
