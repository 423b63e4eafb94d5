import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isPublicSuffix } from '../../src/input/public-suffix.js'

suite('isPublicSuffix', () => {
  for (const domain of ['com', 'co.uk', 'CO.UK', 'github.io', 'dyndns.org'])
    test(`is true for ${domain}`, () => assert.equal(isPublicSuffix(domain), true))
  for (const domain of ['site.com', 'site.co.uk', 'site.github.io', 'site.example'])
    test(`is false for ${domain}`, () => assert.equal(isPublicSuffix(domain), false))
})
