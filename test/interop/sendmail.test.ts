import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { entering, online } from './mta.js'
import { install, sendmail } from './sendmail.js'

if (isInside(import.meta.url, entering('sendmail'))) {
  install()
  suite('Sendmail', { timeout: 300_000 }, () => {
    test('held mail moves over a new connection, for the very domain', async (t) => {
      const { hold, settled, waiting } = await sendmail(t)
      await hold('a@site.example', 'b@sub.site.example')
      const { site, arrival } = await online(t)
      const { status, stderr, document } = await etrnJson(['127.0.0.1', 'site.example'], {}, spawnEtrn)
      assert.deepEqual([status, stderr], [0, ''])
      assert.deepEqual(document.servers[0]?.names, [
        {
          name: 'site.example',
          outcome: 'started',
          code: 250,
          enhancedCode: '2.0.0',
          text: 'Queuing for node site.example started',
          pending: null,
        },
      ])
      assert.equal((await arrival()).to, 'a@site.example')
      await settled({ moved: ['a@site.example'] })
      assert.deepEqual(waiting(), ['b@sub.site.example'])
      assert.equal(site.connections, 1)
    })
    test('--wait: it can not tell, says so after the second answer, and ends with 2', async (t) => {
      const { sessions } = await sendmail(t)
      const run = await spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', 'site.example'])
      assert.equal(run.status, 2)
      assert.equal(run.stderr, "127.0.0.1: says 250 each time: it can't tell whether anything is left\n")
      assert.deepEqual(sessions(), [['site.example'], ['site.example']])
    })
    test('--check: what it is, and whom it sees', async (t) => {
      const { sessions } = await sendmail(t)
      const { stdout, status } = await spawnEtrn(['--check', '127.0.0.1', 'site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}ok address .* the server sees 127\.0\.0\.1, which is this host's own$/m)
      assert.match(stdout, /^ {2}ok ETRN .* listed$/m)
      assert.match(stdout, /^127\.0\.0\.1 is Sendmail 8\.17\.1\.9$/m)
      assert.deepEqual(sessions(), [])
    })
  })
}
