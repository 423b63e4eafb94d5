import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blocksOf } from '../examples/blocks.js'
import { spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { enterCommand } from './mta.js'
import { install, startPostfix } from './postfix.js'

// The settings that man/providers.md shows for Postfix

if (isInside(import.meta.url, enterCommand('postfix'))) {
  install()

  test('Postfix with the settings of man/providers.md accepts relay domains from mynetworks', async (t) => {
    const block = blocksOf('man/providers.md').find(({ text }) => text.startsWith('relay_domains')) ?? assert.fail()
    const [relayDomains, restrictions = ''] = block.text.split('\n')
    // startPostfix has set it already.
    assert.equal(relayDomains, 'relay_domains = site.example')
    await startPostfix(t, `${restrictions}\n`)
    const { status, stdout } = await spawnEtrn(['127.0.0.1', 'site.example', 'sub.site.example', 'other.example'])
    assert.equal(status, 77)
    assert.match(
      stdout,
      /^site\.example: .*\(250 .*\)\nsub\.site\.example: .*\(250 .*\)\nother\.example: .*\(459 <other\.example>: service unavailable\)\n$/,
    )
  })
}
