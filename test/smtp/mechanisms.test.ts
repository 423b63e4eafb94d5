import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { completeWords } from '../../src/command/completion.js'
import { MECHANISMS, ONLY_IF_NAMED } from '../../src/smtp/mechanisms.js'

suite('MECHANISMS', () => {
  test('are the values of --auth', async () => {
    assert.deepEqual(await completeWords(['etrn', '--auth', '']), MECHANISMS)
  })
  test('are listed from the strongest to the weakest', () => {
    assert.deepEqual(MECHANISMS, [
      'EXTERNAL',
      'SCRAM-SHA-512-PLUS',
      'SCRAM-SHA-512',
      'SCRAM-SHA-256-PLUS',
      'SCRAM-SHA-256',
      'SCRAM-SHA-1',
      'CRAM-MD5',
      'PLAIN',
      'LOGIN',
      'XOAUTH2',
      'OAUTHBEARER',
    ])
  })
  test('with tokens are used only if --auth names them', () => {
    assert.deepEqual([...ONLY_IF_NAMED], ['XOAUTH2', 'OAUTHBEARER'])
  })
})
