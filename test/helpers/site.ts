import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

/**
 * A site of its own, in a network namespace within the test's: it has one address and a link to the world, which is where the test
 * runs its mail servers and its name server, at as many addresses as it likes.
 */
export const SITE = '192.0.2.100'
export const WORLD = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'] as const

/** Runs a command at the site. */
export const AT_SITE = ['nsenter', '--net=/run/netns/site'] as const

/** Makes it; once a test file, inside the namespaces of namespace.ts. */
export function makeSite(): void {
  sh(`ip netns add site
    ip link add world type veth peer name eth0 netns site
    ip link set world up
    ${WORLD.map((address) => `ip addr add ${address}/24 dev world`).join('\n')}
    ip -n site link set lo up
    ip -n site addr add ${SITE}/24 dev eth0
    ip -n site link set eth0 up`)
}

/** The link to the world, as pppd would set it. */
export function link(state: 'up' | 'down'): void {
  sh(`ip -n site link set eth0 ${state}`)
}

export function resolver(address: string | undefined): void {
  writeFileSync('/etc/resolv.conf', address === undefined ? '' : `nameserver ${address}\n`)
}

function sh(script: string): void {
  execFileSync('sh', ['-ec', script])
}
