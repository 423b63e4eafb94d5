import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blocksOf } from '../examples/blocks.js'
import { spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { ETRN_COMMAND_BY_TABLE, install, startExim } from './exim.js'
import { enterCommand } from './mta.js'

// The settings that man/providers.md shows for Exim

const textFrom = (start: string): string =>
  blocksOf('man/providers.md').find(({ text }) => text.startsWith(start))?.text ?? assert.fail(start)

if (isInside(import.meta.url, enterCommand('exim'))) {
  install()

  for (const [network, replies] of [
    ['127.0.0.0/8', [250, 501]],
    ['192.0.2.0/24', [458, 458]],
  ] as const)
    test(`Exim with the ACL of man/providers.md replies ${replies.join(' and ')} if ${network} may request`, async (t) => {
      const acl = textFrom('acl_smtp_etrn = check_etrn').split('check_etrn:\n  ')[1] ?? assert.fail()
      await startExim(t, { etrn: acl.replace('192.0.2.0/24', network) })
      const { stdout } = await spawnEtrn(['--keep-going', '127.0.0.1', '#site.example', 'site.example'])
      assert.deepEqual(
        [...stdout.matchAll(/\((\d+) /g)].map(([, code]) => Number(code)),
        replies,
      )
    })
  test('the smtp_etrn_command of man/providers.md is that of the other tests', () => {
    assert.equal(textFrom('smtp_etrn_command'), ETRN_COMMAND_BY_TABLE)
  })
}
