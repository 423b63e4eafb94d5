import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MailServer, type Message } from '../provider.js'

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

/** Until the port accepts */
export async function accepting(port: number): Promise<void> {
  await until(async () => {
    const socket = createConnection(port, '127.0.0.1')
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    return isThere
  })
}

/** Waits for what an MTA tells nobody of; 20 s at most. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  while (!(await isSo())) await sleep(50, undefined, { signal })
}

/** The site's own server comes online; gives what arrives, waiting for it. */
export async function online(t: TestContext): Promise<{ site: MailServer; arrival: () => Promise<Message> }> {
  const arrivals = new EventEmitter()
  const messages: Message[] = []
  const site = new MailServer('gw.site.example', (message) => {
    messages.push(message)
    arrivals.emit('message')
  })
  await site.listen(25, '127.0.0.2')
  t.after(() => site.close())
  const arrival = async (): Promise<Message> => {
    while (messages.length === 0) await once(arrivals, 'message', { signal: AbortSignal.timeout(20_000) })
    return messages.shift() ?? assert.fail()
  }
  return { site, arrival }
}
