import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MailServer, type Message } from '../demo/provider.js'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** The command that enters namespaces in which the packages of an MTA, or of `hooks`, lie over the system. */
export function entering(mta: string): string[] {
  if (process.env['ETRN_TEST_INSIDE'] !== undefined) return []
  return [here('enter.sh'), execFileSync(here('packages.sh'), [mta], { encoding: 'utf8' }).trim()]
}

/** A file of test/fixtures */
export function fixture(name: string): string {
  return here(`../fixtures/${name}`)
}

/** A fixture's key and certificate in one file, where an MTA can read them. */
export function chain(name: string): string {
  const file = `/etc/${name}-chain.pem`
  writeFileSync(file, readFileSync(fixture(`${name}.key`), 'utf8') + readFileSync(fixture(`${name}.pem`), 'utf8'))
  return file
}

/** Until the port accepts; the server has seen the connection end, too. */
export async function accepting(port: number): Promise<void> {
  await until(
    () =>
      new Promise((resolve) => {
        let isThere = false
        const socket = createConnection(port, '127.0.0.1', () => {
          isThere = true
          socket.end().resume()
        })
        // Refused; or a greeting that nobody awaits any more was answered with a reset.
        socket.on('error', () => undefined).on('close', () => resolve(isThere))
      }),
  )
}

const PATIENCE_MS = 20_000

/** Waits for what an MTA tells nobody of. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  while (!(await isSo())) {
    if (signal.aborted) assert.fail(`still not so: ${isSo.toString()}`)
    await sleep(50)
  }
}

/** Whether a process has children. */
export function hasChildren(pid: number | undefined): boolean {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return children.split(' ').some((child) => statusOf(child) !== '')
}

/** Whether any process runs this program. */
export function isRunning(program: string): boolean {
  return readdirSync('/proc').some((pid) => statusOf(pid).startsWith(`Name:\t${program}\n`))
}

/** What proc(5) has of a process; '' where it is gone, or dead: Exim's daemon may leave its children lie until somebody comes. */
function statusOf(pid: string): string {
  if (!/^\d+$/.test(pid)) return ''
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return /^State:\tZ/m.test(status) ? '' : status
  } catch {
    return ''
  }
}

async function happens(emitter: EventEmitter, event: string): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  await once(emitter, event, { signal }).catch(() => assert.fail(`no ${event} comes`))
}

/** The site's own server comes online; gives what arrives, waiting for it. */
export async function online(t: TestContext, port = 25): Promise<Site> {
  const arrived = new EventEmitter()
  const messages: Message[] = []
  const site = new MailServer('gw.site.example', (message) => {
    messages.push(message)
    arrived.emit('message')
  })
  await site.listen(port, '127.0.0.2')
  t.after(() => site.close())
  const arrival = async (): Promise<Message> => {
    if (messages.length === 0) await happens(arrived, 'message')
    return messages.shift() ?? assert.fail()
  }
  const arrivals = async (count: number): Promise<string[]> => {
    const recipients: string[] = []
    while (recipients.length < count) recipients.push((await arrival()).to)
    return recipients.sort()
  }
  return { site, arrival, arrivals }
}

export type Site = {
  readonly site: MailServer
  readonly arrival: () => Promise<Message>
  /** The recipients of the next so many messages, in order */
  readonly arrivals: (count: number) => Promise<string[]>
}

/** The same, but whoever comes is let in and greeted only when it is time: mail that has set out is under way until then. */
export async function hesitant(
  t: TestContext,
): Promise<Site & { readonly visited: () => Promise<void>; readonly greet: () => void }> {
  const inner = 2525
  const site = await online(t, inner)
  const visits = new EventEmitter()
  const visitors: Socket[] = []
  const letIn = (visitor: Socket): void => {
    const way = createConnection(inner, '127.0.0.2')
    for (const end of [visitor, way]) end.on('error', () => undefined)
    visitor.pipe(way).pipe(visitor)
  }
  let isOpen = false
  const door = createServer((visitor) => {
    if (isOpen) letIn(visitor)
    else visitors.push(visitor)
    visits.emit('visit')
  })
  door.listen(25, '127.0.0.2')
  await once(door, 'listening')
  t.after(() => door.close())
  const visited = async (): Promise<void> => {
    if (visitors.length === 0) await happens(visits, 'visit')
  }
  const greet = (): void => {
    isOpen = true
    for (const visitor of visitors.splice(0)) letIn(visitor)
  }
  return { ...site, visited, greet }
}
