import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

// A ship's link: 300 ms each way, 9,600 bit/s. Always the test's own forwarder over TUN devices, never the kernel's netem, which many
// kernels lack: one mechanism that works everywhere, counts packets, and loses the same ones again.

const FORWARDER = fileURLToPath(new URL('slow-link.py', import.meta.url))
const MTU = 576

/** What one end sent */
export type Count = {
  readonly packets: number
  /** With the headers of IP and TCP */
  readonly octets: number
  /** TCP segments that carry something, or a SYN or FIN, each counted once... */
  readonly segments: number
  /** ...and how often one of them went again */
  readonly repeated: number
  readonly lost: number
  /** The line's queue was full. */
  readonly dropped: number
}

export type Counts = { readonly site: Count; readonly world: Count }

export type Link = {
  /** The world's end, for a server to listen at */
  readonly host: string
  readonly count: () => Promise<Counts>
  /** From now on nothing gets through, and what is under way is lost. */
  readonly cut: () => Promise<Counts>
  readonly mend: () => Promise<Counts>
}

let links = 0

/** Lays such a link between the world and the site (site.ts), beside any others. It goes when the test ends. */
export async function slowLink(t: TestContext, { loss = 0, seed = 0 } = {}): Promise<Link> {
  const number = links++
  const [site, world] = [`site${number}`, `world${number}`]
  const child = spawn(FORWARDER, [site, world, `--loss=${loss}`, `--seed=${seed}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => undefined)
  const ended = once(child, 'close')
  t.after(async () => {
    child.stdin.end()
    await ended
  })
  const lines: AsyncIterator<string, undefined> = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const counts = async (): Promise<Counts> => {
    const { value } = await lines.next()
    if (value === undefined) throw new Error('the forwarder has ended')
    // slow-link.py says it so.
    const said = JSON.parse(value) as Readonly<Record<string, Count>>
    const [there, back] = [said[site], said[world]]
    if (there === undefined || back === undefined) throw new Error(value)
    return { site: there, world: back }
  }
  const tell = async (command: string): Promise<Counts> => {
    child.stdin.write(`${command}\n`)
    return counts()
  }
  await counts()
  const [host, other] = [`198.51.100.${2 * number}`, `198.51.100.${2 * number + 1}`]
  const lay = `ip link set ${site} netns site
    ip -n site addr add ${other}/31 dev ${site}
    ip -n site link set ${site} mtu ${MTU} up
    ip addr add ${host}/31 dev ${world}
    ip link set ${world} mtu ${MTU} up`
  await promisify(execFile)('sh', ['-ec', lay])
  return { host, count: () => tell('count'), cut: () => tell('cut'), mend: () => tell('mend') }
}

/** Why there can be no such link here; false: there can, or this is CI, where it has to be. */
export function noLink(): string | false {
  const inside = ['--map-root-user', '--net', FORWARDER, 'site0', 'world0']
  const { status, stderr, error } = spawnSync('unshare', inside, { input: '', encoding: 'utf8' })
  const why = `no TUN devices, or no Python, here: ${error?.message ?? stderr.trim().replace(/.*\n/gs, '')}`
  return status !== 0 && process.env['CI'] === undefined ? why : false
}
