import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

/**
 * The address of the site, a network namespace within the test's. A link joins it to the world: the namespace of the test, which runs
 * its mail servers and its name server at the addresses of WORLD.
 */
export const SITE = '192.0.2.100'
export const WORLD = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'] as const

/** Runs a command at the site. */
export const AT_SITE = ['nsenter', '--net=/run/netns/site'] as const

/** Creates the site. A test file calls this once, inside the namespaces of namespace.ts. */
export function makeSite(): void {
  sh(`ip netns add site
    ip link add world type veth peer name eth0 netns site
    ip link set world up
    ${WORLD.map((address) => `ip addr add ${address}/24 dev world`).join('\n')}
    ip -n site link set lo up
    ip -n site addr add ${SITE}/24 dev eth0
    ip -n site link set eth0 up`)
}

/** Sets the link to the world up or down, as pppd would. */
export function link(state: 'up' | 'down'): void {
  sh(`ip -n site link set eth0 ${state}`)
}

/** Writes /etc/resolv.conf with this name server, or none. */
export function resolver(address: string | undefined): void {
  writeFileSync('/etc/resolv.conf', address === undefined ? '' : `nameserver ${address}\n`)
}

function sh(script: string): void {
  execFileSync('sh', ['-ec', script])
}
