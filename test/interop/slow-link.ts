import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

// A ship's link: 300 ms each way, 9,600 bit/s. The tests' own forwarder over TUN devices works on every kernel, counts packets, and
// loses the same packets in every run. Many kernels lack netem.

const FORWARDER = fileURLToPath(new URL('slow-link.py', import.meta.url))
const MTU = 576

/** The packets that one end sent */
export type PacketCount = {
  readonly packets: number
  /** IP and TCP headers included */
  readonly octets: number
  /** Datagrams, and TCP segments with data, SYN or FIN, each counted once */
  readonly segments: number
  /** Round trips: pairs in the longest chain of segments that each waited for the one before */
  readonly trips: number
  /** Retransmissions of these segments */
  readonly retransmitted: number
  readonly lost: number
  /** Packets that found the line's queue full */
  readonly dropped: number
}

export type PacketCounts = { readonly site: PacketCount; readonly world: PacketCount }

export type SlowLink = {
  /** The address for a server, at the world's end */
  readonly host: string
  readonly count: () => Promise<PacketCounts>
  /** Loses the packets in flight, and all later ones. */
  readonly cut: () => Promise<PacketCounts>
  readonly mend: () => Promise<PacketCounts>
}

let linkCount = 0

/** Sets up one more link between the world and the site (site.ts). It is removed when the test ends. */
export async function setUpLink(t: TestContext, { loss = 0, seed = 0 } = {}): Promise<SlowLink> {
  const number = linkCount++
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
  const readCounts = async (): Promise<PacketCounts> => {
    const { value } = await lines.next()
    if (value === undefined) throw new Error('the forwarder has ended')
    // slow-link.py prints an object of this type.
    const parsed = JSON.parse(value) as Readonly<Record<string, PacketCount>>
    const [siteCount, worldCount] = [parsed[site], parsed[world]]
    if (siteCount === undefined || worldCount === undefined) throw new Error(value)
    return { site: siteCount, world: worldCount }
  }
  const sendCommand = async (command: string): Promise<PacketCounts> => {
    child.stdin.write(`${command}\n`)
    return readCounts()
  }
  await readCounts()
  const [host, siteHost] = [`198.51.100.${2 * number}`, `198.51.100.${2 * number + 1}`]
  const script = `ip link set ${site} netns site
    ip -n site addr add ${siteHost}/31 dev ${site}
    ip -n site link set ${site} mtu ${MTU} up
    ip addr add ${host}/31 dev ${world}
    ip link set ${world} mtu ${MTU} up`
  await promisify(execFile)('sh', ['-ec', script])
  return { host, count: () => sendCommand('count'), cut: () => sendCommand('cut'), mend: () => sendCommand('mend') }
}

/** Returns the reason to skip the tests if this host can't set up a link; false if it can. In CI the tests must run. */
export function slowLinkSkipReason(): string | false {
  const args = ['--map-root-user', '--net', FORWARDER, 'site0', 'world0']
  const { status, stderr, error } = spawnSync('unshare', args, { input: '', encoding: 'utf8' })
  const reason = `no TUN devices, or no Python, here: ${error?.message ?? stderr.trim().replace(/.*\n/gs, '')}`
  return status !== 0 && process.env['CI'] === undefined ? reason : false
}
