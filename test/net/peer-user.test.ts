import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { platform, userInfo } from 'node:os'
import { suite, test, type TestContext } from 'node:test'
import { listenersOfEnded, type SocketEnds, usersOfPeer } from '../../src/net/peer-user.js'
import { runWithFewDescriptors } from '../helpers/descriptors.js'

/** Connects to the server and returns the ends of the connection when the server has accepted it. */
async function endsOfConnection(t: TestContext, server: Server, host: string): Promise<SocketEnds> {
  const accepted = once(server, 'connection')
  const socket = connect((server.address() as AddressInfo).port, host)
  t.after(() => socket.destroy())
  await Promise.all([accepted, once(socket, 'connect')])
  const { localAddress = '', localPort, remoteAddress = '', remotePort } = socket
  return { localAddress, localPort, remoteAddress, remotePort }
}

suite('usersOfPeer', { skip: platform() !== 'linux' && 'only Linux tells' }, () => {
  for (const [title, listen, host] of [
    ['an IPv4 socket', '127.0.0.1', '127.0.0.1'],
    ['an IPv6 socket', '::1', '::1'],
    ['a socket for both families', '::', '127.0.0.1'],
  ] as const)
    test(`returns the user who has ${title}, and nobody for ends that are not connected`, async (t) => {
      const server = createServer((peer) => peer.resume()).listen(0, listen)
      t.after(() => server.close())
      await once(server, 'listening')
      const ends = await endsOfConnection(t, server, host)
      const { localPort, remotePort } = ends
      assert.deepEqual(usersOfPeer(ends), [userInfo().uid])
      const otherEnds = { ...ends, localPort: remotePort, remotePort: localPort, remoteAddress: '127.9.9.9' }
      assert.deepEqual(usersOfPeer(otherEnds), [])
    })
  test('returns nobody for a connection that the other end has closed, which the kernel prints as that of root', async (t) => {
    const server = createServer((peer) => peer.destroy()).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    t.after(() => socket.destroy())
    await once(socket.resume(), 'end')
    const { localAddress = '', localPort, remoteAddress = '', remotePort } = socket
    const ends = { localAddress, localPort, remoteAddress, remotePort }
    assert.deepEqual(usersOfPeer(ends), [])
    assert.deepEqual(listenersOfEnded(ends), [userInfo().uid])
  })
  test('listenersOfEnded returns nobody while the connection stands, or if nobody listens any more', async (t) => {
    const server = createServer((peer) => peer.resume()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const ends = await endsOfConnection(t, server, '127.0.0.1')
    assert.deepEqual(listenersOfEnded(ends), [])
    server.close()
    assert.deepEqual(listenersOfEnded({ ...ends, localPort: ends.remotePort }), [])
  })
  test(
    'also returns the user who listens, if another user has accepted the connection',
    { skip: userInfo().uid !== 0 && 'only root can listen as another user' },
    async (t) => {
      const server = createServer((peer) => peer.resume())
      process.seteuid?.(54_321)
      try {
        await once(server.listen(0, '127.0.0.1'), 'listening')
      } finally {
        process.seteuid?.(0)
      }
      t.after(() => server.close())
      assert.deepEqual(usersOfPeer(await endsOfConnection(t, server, '127.0.0.1')), [0, 54_321])
    },
  )
  test('returns nobody if the listener is closed', async (t) => {
    const server = createServer((peer) => peer.resume()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const ends = await endsOfConnection(t, server, '127.0.0.1')
    assert.deepEqual(usersOfPeer(ends), [userInfo().uid])
    server.close()
    assert.deepEqual(usersOfPeer(ends), [])
  })
  test('throws 75 if this host lacks file descriptors', async () => {
    const { stdout, stderr } = await runWithFewDescriptors(`
      import { usersOfPeer } from './src/net/peer-user.ts'
      const ends = { localAddress: '127.0.0.1', localPort: 1, remoteAddress: '127.0.0.1', remotePort: 1 }
      console.log(usersOfPeer(ends).length)
      const { exitStatus, kind } = await withoutDescriptors(() => usersOfPeer(ends))
      console.log(exitStatus, kind)`)
    assert.equal(stdout, '0\n75 no-resources\n', stderr)
  })
})
