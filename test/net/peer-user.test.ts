import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { platform, userInfo } from 'node:os'
import { suite, test } from 'node:test'
import { userOfPeer } from '../../src/net/peer-user.js'

suite('userOfPeer', { skip: platform() !== 'linux' && 'only Linux tells' }, () => {
  for (const [title, listen, host] of [
    ['an IPv4 socket', '127.0.0.1', '127.0.0.1'],
    ['an IPv6 socket', '::1', '::1'],
    ['a socket for both families', '::', '127.0.0.1'],
  ] as const)
    test(`returns the user who has ${title}, and nobody for ends that are not connected`, async (t) => {
      const server = createServer((peer) => peer.resume()).listen(0, listen)
      t.after(() => server.close())
      await once(server, 'listening')
      const accepted = once(server, 'connection')
      const socket = connect((server.address() as AddressInfo).port, host)
      t.after(() => socket.destroy())
      await Promise.all([accepted, once(socket, 'connect')])
      const { localAddress = '', localPort, remoteAddress = '', remotePort } = socket
      const ends = { localAddress, localPort, remoteAddress, remotePort }
      assert.equal(userOfPeer(ends), userInfo().uid)
      assert.equal(
        userOfPeer({ ...ends, localPort: remotePort, remotePort: localPort, remoteAddress: '127.9.9.9' }),
        undefined,
      )
    })
})
