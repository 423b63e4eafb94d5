import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { lookUpAddresses } from '../../src/net/dns.js'
import { hostsEntries } from '../../src/net/hosts-file.js'
import { etrn, etrnJson } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { ACCEPTED, PORT, REQUEST, runIp, serveAt, serveNames, writeHosts } from './network.js'

if (isInNamespace(import.meta.url)) {
  suite('/etc/hosts', () => {
    test('is used without a DNS query if it has the name', async (t) => {
      const { asked } = await serveNames(t, {})
      writeHosts(t, '127.0.0.7 mail.example # here\n')
      const server = await serveAt(t, '127.0.0.7', ACCEPTED)
      assert.equal((await etrn(REQUEST)).status, 0)
      await server.verify()
      assert.deepEqual(asked, [])
    })
    test('is passed over for the DNS if it has the name in the other family only', async (t) => {
      await serveNames(t, { 'AAAA mail.example': { addresses: ['::1'] } })
      writeHosts(t, '127.0.0.7 mail.example\n')
      await serveAt(t, '::1', ACCEPTED)
      assert.equal((await etrn([...REQUEST, '-6'])).status, 0)
    })
    test('keeps the interface of a link-local address', async (t) => {
      runIp('link add Lan0 type veth peer name Lan1')
      runIp('link set Lan1 up')
      runIp('link set Lan0 up')
      runIp('address add fe80::25/64 dev Lan0 nodad')
      writeHosts(t, 'FE80:0::25%Lan0 Mail.Example\n')
      const server = await serveAt(t, 'fe80::25%Lan0', ACCEPTED)
      const { status, document } = await etrnJson(REQUEST)
      assert.deepEqual([status, document.servers[0]?.address], [0, 'fe80::25%Lan0'])
      await server.verify()
    })
    test('resolves localhost', async (t) => {
      writeHosts(t, '127.0.0.1 localhost\n')
      const server = await serveAt(t, '127.0.0.1', ACCEPTED)
      assert.equal((await etrn([`localhost:${PORT}`, ...REQUEST.slice(1)])).status, 0)
      await server.verify()
    })
  })

  suite('localhost', () => {
    const OTHER = { addresses: ['198.51.100.9'] }
    for (const [title, hosts, family, expected] of [
      ['is ::1 and 127.0.0.1 without a line in /etc/hosts', '', undefined, ['::1', '127.0.0.1']],
      ['is 127.0.0.1 with -4', '', 4, ['127.0.0.1']],
      ['is ::1 with -6 if /etc/hosts has an IPv4 address only', '127.0.0.1 NAME\n', 6, ['::1']],
      ['has the loopback addresses of /etc/hosts', '127.0.0.7 NAME\n', undefined, ['127.0.0.7']],
      ['ignores an address of another host', '198.51.100.9 NAME\n', undefined, ['::1', '127.0.0.1']],
      ['ignores an address of another host beside its own', '198.51.100.9 NAME\n::1 NAME\n', undefined, ['::1']],
    ] as const)
      for (const name of ['localhost', 'localhost.', 'LocalHost', 'mail.localhost'])
        test(`${title}, written ${name}, without a DNS query`, async (t) => {
          const { asked } = await serveNames(t, { 'A localhost': OTHER, 'A mail.localhost': OTHER })
          writeHosts(t, hosts.replaceAll('NAME', name.toLowerCase()))
          const limits = { timeoutMs: 60_000, signal: new AbortController().signal }
          assert.deepEqual((await lookUpAddresses(name, family, limits)).first, expected)
          assert.deepEqual(asked, [])
        })
    test('is no part of a longer label or of another domain', async (t) => {
      await serveNames(t, { 'A mylocalhost.example': OTHER, 'A localhost.example': OTHER })
      const limits = { timeoutMs: 60_000, signal: new AbortController().signal }
      for (const name of ['mylocalhost.example', 'localhost.example'])
        assert.deepEqual((await lookUpAddresses(name, 4, limits)).first, OTHER.addresses)
    })
  })

  suite('hostsEntries', () => {
    test('returns every line that has the name, in the order of the file', (t) => {
      writeHosts(
        t,
        ['192.0.2.1 a.example Mail', '# 192.0.2.9 mail', '  2001:DB8:0::1\tmail\t', '192.0.2.2 mailer', ''].join('\n'),
      )
      assert.deepEqual(hostsEntries('mail'), [
        { address: '192.0.2.1', names: ['a.example', 'mail'] },
        { address: '2001:db8::1', names: ['mail'] },
      ])
    })
    test('ignores a comment, a line without an address, and a line whose address is none', (t) => {
      writeHosts(t, '192.0.2.1 a.example # mail\nmail a.example\n192.0.2.300 mail\n192.0.2.2 mail#x\n')
      assert.deepEqual(hostsEntries('mail'), [{ address: '192.0.2.2', names: ['mail'] }])
    })
    test('finds a name in capital letters, at the end of a line, in a file with CRLF and without a last line end', (t) => {
      writeHosts(t, '192.0.2.1 x.mail mail.x a.example MAIL\r\n192.0.2.2 mail')
      assert.deepEqual(
        hostsEntries('mail').map(({ address }) => address),
        ['192.0.2.1', '192.0.2.2'],
      )
    })
    test('returns a line once that has the name twice', (t) => {
      writeHosts(t, '192.0.2.1 mail mail MAIL\n')
      assert.equal(hostsEntries('mail').length, 1)
    })
    test('ignores a name in the place of the address, and the empty name', (t) => {
      writeHosts(t, 'mail mail\n\n192.0.2.1\n')
      assert.deepEqual([hostsEntries('mail'), hostsEntries('')], [[], []])
    })
    test('reads the file again when it has changed', (t) => {
      writeHosts(t, '192.0.2.1 mail\n')
      assert.equal(hostsEntries('mail')[0]?.address, '192.0.2.1')
      writeHosts(t, '192.0.2.100 mail\n')
      assert.equal(hostsEntries('mail')[0]?.address, '192.0.2.100')
    })
    test('leaves a file of more than 16 MiB to getaddrinfo', async (t) => {
      await serveNames(t, {})
      writeHosts(t, `${'# comment\n'.repeat(1_700_000)}192.0.2.1 mail.example\n`)
      assert.deepEqual(hostsEntries('mail.example'), [])
      const { first } = await lookUpAddresses('mail.example', undefined, {
        timeoutMs: 60_000,
        signal: new AbortController().signal,
      })
      assert.deepEqual(first, ['192.0.2.1'])
    })
  })
}
