import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { enterCommand, startSiteServer } from './mta.js'
import { QUEUE_UNKNOWN } from './request-checks.js'
import { install, startSendmail } from './sendmail.js'

if (isInside(import.meta.url, enterCommand('sendmail'))) {
  install()
  suite('Sendmail', { timeout: 300_000 }, () => {
    test('a request moves held mail for the domain, but not for its subdomain', async (t) => {
      const { hold, waitForDelivery, waitingRecipients } = await startSendmail(t)
      await hold('a@site.example', 'b@sub.site.example')
      const { server: site, nextMessage } = await startSiteServer(t)
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
          hint: null,
        },
      ])
      assert.equal((await nextMessage()).to, 'a@site.example')
      await waitForDelivery({ moved: ['a@site.example'] })
      assert.deepEqual(waitingRecipients(), ['b@sub.site.example'])
      assert.equal(site.connections, 1)
    })
    test('--wait ends with exit status 2 after the second reply, because Sendmail reports no counts', async (t) => {
      const { namesBySession } = await startSendmail(t)
      const run = await spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', 'site.example'])
      assert.equal(run.status, 2)
      assert.match(run.stderr, QUEUE_UNKNOWN)
      assert.deepEqual(namesBySession(), [['site.example'], ['site.example']])
    })
    test('--check prints the software and the address that the server sees', async (t) => {
      const { namesBySession } = await startSendmail(t)
      const { stdout, status } = await spawnEtrn(['--check', '127.0.0.1', 'site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}ok address .* the server sees 127\.0\.0\.1, this host's own address$/m)
      assert.match(stdout, /^ {2}ok ETRN .* listed$/m)
      assert.match(stdout, /^127\.0\.0\.1 runs Sendmail 8\.17\.1\.9 \(according to its greeting\)$/m)
      assert.deepEqual(namesBySession(), [])
    })
  })
}
