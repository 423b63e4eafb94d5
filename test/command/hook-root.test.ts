import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { parseArguments } from '../../src/command/arguments.js'
import { type Config, readConfig } from '../../src/command/config.js'
import { checkProfiles, ROOT_FILES, unreadSettings } from '../../src/command/hook-root.js'
import { makeFile } from '../helpers/files.js'

const ISP = '[servers.isp]\nserver = "mail.isp.example"\nnames = ["a.example"]\n'

async function configsOf(t: TestContext, system: string, own: string): Promise<{ config: Config; both: Config }> {
  const reader = { uid: process.geteuid?.(), signal: new AbortController().signal }
  const [first, second] = [makeFile(t, 'system.toml', system), makeFile(t, 'own.toml', own)]
  return { config: await readConfig([first], reader), both: await readConfig([first, second], reader) }
}

suite('checkProfiles', () => {
  const parsing = parseArguments(['--hook', 'pppd', 'isp'])
  test("throws for a profile that this user's file replaces", async (t) => {
    const line = await parsing
    const { config, both } = await configsOf(t, ISP, ISP)
    assert.throws(
      () => checkProfiles(line, config, both, ROOT_FILES),
      /own\.toml:2: profile isp: root runs this hook, but root does not read this file$/,
    )
  })
  test('throws nothing for a profile that only the file of the system has', async (t) => {
    const line = await parsing
    const { config, both } = await configsOf(t, ISP, 'retry-for = "1h"\n')
    checkProfiles(line, config, both, ROOT_FILES)
  })
})

test('unreadSettings names the file of this user, unless it has no settings for all servers', async (t) => {
  const { config, both } = await configsOf(t, 'retry-for = "1h"\n', 'tls = "verify"\n')
  assert.match(unreadSettings(config, both, ROOT_FILES).join('\n'), /own\.toml:1: root runs this hook, [^\n]*$/)
  const profilesOnly = await configsOf(t, 'retry-for = "1h"\n', ISP)
  assert.deepEqual(unreadSettings(profilesOnly.config, profilesOnly.both, ROOT_FILES), [])
})
