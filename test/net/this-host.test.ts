import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { isSameHost, isThisHost, ownHostName } from '../../src/net/this-host.js'
import { etrn } from '../helpers/command.js'
import { runWithFewDescriptors } from '../helpers/descriptors.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, scripted } from '../helpers/scripted-server.js'
import { addBlackHole, OWN_ADDRESS, PORT, runIp, serveAt, writeHosts } from './network.js'

function setHostName(name: string): void {
  execFileSync('hostname', [name])
}

if (isInNamespace(import.meta.url)) {
  suite("this host's own name", () => {
    const isNamed = (title: string, name: string, file: string, own: string): void =>
      void test(title, async (t) => {
        setHostName(name)
        writeHosts(t, `127.0.0.1 localhost\n${file}`)
        const server = await scripted(t, [
          'S: 220 mx',
          `C: EHLO ${own}`,
          'S: 250-mx',
          'S: 250 ETRN',
          `C: ETRN ${own}`,
          'S: 250 OK',
          ...BYE,
        ])
        const word = `127.0.0.1:${server.port}`
        const run = await etrn([word])
        await server.verify()
        assert.equal(run.status, 0)
        assert.equal(
          run.stderr,
          `etrn: no NAME given; requesting ${own}, the name of this host, from the server ${word}\n`,
        )
      })
    isNamed('is the host name if it has a dot', 'gw.site.example', '', 'gw.site.example')
    isNamed(
      'is the dotted name that /etc/hosts gives for the host name',
      'gw',
      '127.0.1.1 gw.site.example gw\n',
      'gw.site.example',
    )
    isNamed(
      'is the first name in /etc/hosts that is known outside',
      'gw',
      '10.0.0.1 gw gw.lan GW.Site.Example\n',
      'gw.site.example',
    )
    isNamed('is in small letters', 'GW.Site.Example', '', 'gw.site.example')

    for (const [name, file] of [
      ['gw', ''],
      ['gw.local', ''],
      ['gw.lan', '10.0.0.1 gw.lan gw.site.example\n'],
      ['gw', '127.0.1.1 gw.localdomain gw.home.arpa gw\n'],
    ] as const) {
      test(`is unknown if the host name is ${name} and /etc/hosts has ${JSON.stringify(file)}`, async (t) => {
        setHostName(name)
        writeHosts(t, `127.0.0.1 localhost\n${file}`)
        const run = await etrn(['127.0.0.1'])
        assert.deepEqual([run.status, run.stdout], [64, ''])
        assert.match(run.stderr, /^etrn: no name given, and .* \(host name: \S+\); write etrn SERVER NAME\n$/)
        const greetedBy = (literal: string): Conversation => [
          'S: 220 mx',
          `C: EHLO ${literal}`,
          'S: 250-mx',
          'S: 250 ETRN',
          'C: ETRN a.example',
          'S: 250 OK',
          ...BYE,
        ]
        const four = await serveAt(t, '127.0.0.1', greetedBy('[127.0.0.1]'))
        assert.equal((await etrn([`127.0.0.1:${PORT}`, 'a.example'])).status, 0)
        await four.verify()
        const six = await serveAt(t, '::1', greetedBy('[IPv6:::1]'))
        assert.equal((await etrn([`[::1]:${PORT}`, 'a.example'])).status, 0)
        await six.verify()
      })
    }
  })

  suite('ownHostName', () => {
    for (const name of ['gw.site.example', 'local.example', 'gw.xlan', 'arpa.home.example', 'lan.example'])
      test(`is the host name ${name}`, () => {
        setHostName(name)
        assert.equal(ownHostName(), name)
      })
    for (const name of ['gw', 'gw.local', 'gw.lan', 'gw.localdomain', 'gw.home.arpa', '192.0.2.1'])
      test(`is undefined for the host name ${name}`, (t) => {
        writeHosts(t, '127.0.0.1 localhost\n')
        setHostName(name)
        assert.equal(ownHostName(), undefined)
      })
  })

  suite('isThisHost', () => {
    addBlackHole()
    for (const address of [
      ...[OWN_ADDRESS, '127.0.0.1', '127.1.2.3', '127.255.255.255', '::1', '0:0::1'],
      ...['0.0.0.0', '0.1.2.3', '::', '::ffff:0.0.0.0', '::ffff:127.0.0.1', '::ffff:7f01:203'],
      ...[`::ffff:${OWN_ADDRESS}`, '::ffff:c633:6401', `::${OWN_ADDRESS}`, `64:ff9b::${OWN_ADDRESS}`],
    ])
      test(`is true for ${address}, which this host has`, async () => assert.equal(await isThisHost(address), true))
    test('is true for an address that the routing table makes local', async () => {
      runIp('route add local 203.0.113.0/24 dev lo')
      runIp('-6 route add local 2001:db8:1::/64 dev lo')
      assert.equal(await isThisHost('203.0.113.9'), true)
      assert.equal(await isThisHost('2001:db8:1::9'), true)
    })
    test('is true for a second address of an interface without a carrier', async () => {
      runIp('link add idle0 type veth peer name idle1')
      for (const end of ['10.9.0.1/24', '10.9.0.2/24', '2001:db8:9::1/64 nodad', '2001:db8:9::2/64 nodad'])
        runIp(`address add ${end} dev idle0`)
      runIp('link set idle0 up')
      for (const address of ['10.9.0.1', '10.9.0.2', '2001:db8:9::2']) assert.equal(await isThisHost(address), true)
    })
    test('is true for a local route whose source is another address', async () => {
      runIp(`route add local 198.18.0.0/24 dev lo src ${OWN_ADDRESS}`)
      assert.equal(await isThisHost('198.18.0.9'), true)
    })
    test('is false for a multicast address, and for another host if the system binds to any address', async () => {
      assert.equal(await isThisHost('224.0.0.251'), false)
      writeFileSync('/proc/sys/net/ipv4/ip_nonlocal_bind', '1')
      assert.equal(await isThisHost('192.0.2.9'), false)
      writeFileSync('/proc/sys/net/ipv4/ip_nonlocal_bind', '0')
    })
    for (const address of ['192.0.2.9', '::ffff:192.0.2.9', '::192.0.2.9', '64:ff9b::192.0.2.9', '255.255.255.255'])
      test(`is false for ${address}, an address of another host`, async () =>
        assert.equal(await isThisHost(address), false))
    test('is true for an address in another notation', async () => {
      runIp('addr add 2001:db8:3::1/128 dev lo')
      assert.equal(await isThisHost('2001:DB8:3:0::1'), true)
    })
    test('tells apart the same link-local address on two links', async () => {
      runIp('link add here0 type veth peer name there0')
      for (const name of ['here0', 'there0']) runIp(`link set ${name} up`)
      runIp('address add fe80::77/64 dev here0 nodad')
      assert.equal(await isThisHost('fe80::77%here0'), true)
      assert.equal(await isThisHost('fe80::77%there0'), false)
    })
    test('throws 75, whatever the address, if this host lacks file descriptors', async () => {
      const { stdout, stderr } = await runWithFewDescriptors(`
        import { isThisHost } from './src/net/this-host.ts'
        await isThisHost('192.0.2.9')
        for (const address of ['${OWN_ADDRESS}', '192.0.2.9']) {
          const { exitStatus, kind } = await withoutDescriptors(async () => isThisHost(address))
          console.log(exitStatus, kind)
        }`)
      assert.equal(stdout, '75 no-resources\n75 no-resources\n', stderr)
    })
    test('is false for an address without a route', async () => {
      assert.equal(await isThisHost('100.64.0.1'), false)
      assert.equal(await isThisHost('2001:db8:2::1'), false)
    })
  })

  suite('isSameHost', () => {
    for (const [local, remote] of [
      ['192.0.2.1', '192.0.2.1'],
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['2001:db8::1', '2001:DB8:0::1'],
      ['192.0.2.1', '127.0.0.1'],
      ['127.0.0.1', '192.0.2.1'],
    ] as const)
      test(`is true for ${local} and ${remote}`, () => assert.equal(isSameHost(local, remote), true))
    for (const [local, remote] of [
      ['192.0.2.1', '192.0.2.2'],
      ['2001:db8::1', '2001:db8::2'],
      ['', '192.0.2.1'],
    ] as const)
      test(`is false for "${local}" and ${remote}`, () => assert.equal(isSameHost(local, remote), false))
  })
}
