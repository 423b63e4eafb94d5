import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isThisHost } from '../../src/net/this-host.js'
import { isInNamespace } from '../helpers/namespace.js'
import { runIp } from './network.js'

if (isInNamespace(import.meta.url))
  suite('a local route', () => {
    for (const link of ['add own0 type veth peer name own1', 'set own0 up', 'set own1 up']) runIp(`link ${link}`)
    runIp('address add 2001:db8:5::1/64 dev own0 nodad')
    runIp('-6 route add local 2001:db8:6::/48 dev lo')

    for (const [address, isOwn] of [
      ['2001:db8:6::9', true],
      ['2001:db8:6:ffff::9', true],
      ['2001:db8:7::9', false],
      ['2001:db8:5::9', false],
      ['fe80::9', false],
    ] as const)
      test(`${isOwn ? 'leads' : 'does not lead'} from this host to ${address}`, async () =>
        assert.equal(await isThisHost(address), isOwn))
  })
