import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import {
  addressLiteral,
  canonicalAddress,
  embeddedAddress,
  familyOf,
  isLinkLocal,
  isLoopback,
  isPrivate,
  isUnspecified,
  unmapAddress,
} from '../../src/net/address.js'

suite('familyOf', () => {
  for (const [word, family] of [
    ['192.0.2.1', 4],
    ['2001:db8::1', 6],
    ['::', 6],
    ['::ffff:192.0.2.1', 6],
    ['fe80::1%eth0', 6],
    ['192.0.2.1:25', 0],
    ['192.0.2.256', 0],
    ['192.0.2', 0],
    ['[2001:db8::1]', 0],
    ['2001:db8::1::2', 0],
    ['mail.example:25', 0],
    ['', 0],
  ] as const) {
    test(`is ${family} for ${JSON.stringify(word)}`, () => assert.equal(familyOf(word), family))
  }
  test("agrees with Node's own test for any text", () => {
    const word = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.ipV4Extended(),
      fc.string({ unit: fc.constantFrom('0', ':', '.', '1', 'a', 'f', '%') }),
    )
    fc.assert(fc.property(word, (text) => assert.equal(familyOf(text), isIP(text))))
  })
})

suite('addressLiteral (RFC 5321, 4.1.3)', () => {
  for (const [address, literal] of [
    ['192.0.2.1', '[192.0.2.1]'],
    ['2001:db8::1', '[IPv6:2001:db8::1]'],
    ['fe80::1%eth0', '[IPv6:fe80::1]'],
    ['2001:DB8:0:0::1', '[IPv6:2001:db8::1]'],
    ['::ffff:192.0.2.1', '[192.0.2.1]'],
    ['::ffff:c000:201', '[192.0.2.1]'],
    ['0:0:0:0:0:FFFF:192.0.2.1', '[192.0.2.1]'],
  ] as const) {
    test(`is ${literal} for ${address}`, () => assert.equal(addressLiteral(address), literal))
  }
})

suite('isLoopback', () => {
  for (const address of ['127.0.0.1', '127.255.255.254', '::1', '0:0::1', '::ffff:127.0.0.1', '::ffff:7f01:203'])
    test(`is true for ${address}`, () => assert.equal(isLoopback(address), true))
  for (const address of [
    '126.255.255.255',
    '128.0.0.1',
    '192.0.2.1',
    '::2',
    'fe80::1',
    '0.0.0.0',
    '::ffff:192.0.2.1',
    '127.example',
    '127.0.0.1.example',
  ])
    test(`is false for ${address}`, () => assert.equal(isLoopback(address), false))
})

suite('isPrivate', () => {
  for (const [network, first, last, before, after] of [
    ['10.0.0.0/8', '10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
    ['172.16.0.0/12', '172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
    ['192.168.0.0/16', '192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
    ['100.64.0.0/10', '100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
    ['169.254.0.0/16', '169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
    ['127.0.0.0/8', '127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
    ['fc00::/7', 'fc00::', 'fdff:ffff::1', 'fbff::1', 'fe00::'],
    ['fe80::/10', 'fe80::%eth0', 'febf::1', 'fe7f::1', 'fec0::1'],
    ['::1/128', '::1', '::1', '::', '::2'],
  ] as const) {
    test(`is true within ${network} and false beside it`, () => {
      assert.deepEqual([first, last, before, after].map(isPrivate), [true, true, false, false])
    })
  }
  test('is true for an IPv4-mapped private address', () => assert.equal(isPrivate('::ffff:10.0.0.1'), true))
  test('is false for a public address', () => {
    for (const address of ['192.0.2.1', '8.8.8.8', '2001:db8::1', '2600::1', '::ffff:8.8.8.8'])
      assert.equal(isPrivate(address), false)
  })
})

suite('canonicalAddress', () => {
  for (const [address, canonical] of [
    ['192.0.2.1', '192.0.2.1'],
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['fe80:0::1%eth0', 'fe80::1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['::ffff:0:0', '0.0.0.0'],
    ['::ffff:0:192.0.2.1', '::ffff:0:c000:201'],
    ['::192.0.2.1', '::192.0.2.1'],
    ['mail.example', 'mail.example'],
  ] as const) {
    test(`is ${canonical} for ${address}`, () => assert.equal(canonicalAddress(address), canonical))
  }
})

suite('unmapAddress', () => {
  for (const [address, unmapped] of [
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['0:0:0:0:0:ffff:c000:201', '192.0.2.1'],
    ['192.0.2.1', '192.0.2.1'],
    ['2001:DB8::1', '2001:DB8::1'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
    ['eth0', 'eth0'],
  ] as const) {
    test(`is ${unmapped} for ${address}`, () => assert.equal(unmapAddress(address), unmapped))
  }
})

suite('embeddedAddress', () => {
  for (const [address, embedded] of [
    ['::192.0.2.1', '192.0.2.1'],
    ['::c000:201', '192.0.2.1'],
    ['64:ff9b::192.0.2.1', '192.0.2.1'],
    ['64:ff9b::7f00:1', '127.0.0.1'],
    ['64:ff9b::1', '0.0.0.1'],
    ['64:ff9b::', '0.0.0.0'],
    ['64:ff9b::1:c000:201', undefined],
    ['2001:db8::c000:201', undefined],
    ['::1', undefined],
    ['::', undefined],
    ['192.0.2.1', undefined],
  ] as const) {
    test(`is ${embedded} for ${address}`, () => assert.equal(embeddedAddress(address), embedded))
  }
})

test('isUnspecified is true for the addresses that stand for no host, and for no other one', () => {
  for (const address of ['0.0.0.0', '0.1.2.3', '::', '0:0:0::0', '::ffff:0.0.0.0', '::ffff:0:0', '64:ff9b::0.0.0.0'])
    assert.equal(isUnspecified(address), true, address)
  for (const address of ['1.0.0.0', '127.0.0.1', '::1', '::ffff:1.0.0.0', '64:ff9b::1.0.0.0', '0.example'])
    assert.equal(isUnspecified(address), false, address)
})

test('isLinkLocal is true within fe80::/10, with a scope and without', () => {
  for (const address of ['fe80::1', 'FEBF::1%eth0']) assert.equal(isLinkLocal(address), true, address)
  for (const address of ['fe7f::1', 'fec0::1', '169.254.0.1', '2001:db8::1', 'fe80.example'])
    assert.equal(isLinkLocal(address), false, address)
})
