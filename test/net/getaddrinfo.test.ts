import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { timeoutError } from '../../src/net/deadline.js'
import { callGetaddrinfo } from '../../src/net/getaddrinfo.js'
import { etrn } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { PORT, serveNames, writeHosts, writeResolvConf } from './network.js'

const LIMITS = { timeoutMs: 10_000, signal: new AbortController().signal }
const overdue = (): StepError => timeoutError('too late')

if (isInNamespace(import.meta.url)) {
  suite('callGetaddrinfo', () => {
    test('returns the addresses of /etc/hosts', async (t) => {
      writeHosts(t, '192.0.2.7 mail\n2001:db8::7 mail\n')
      const result = await callGetaddrinfo('mail', LIMITS, overdue)
      assert.ok('addresses' in result)
      assert.deepEqual([...result.addresses].sort(), ['192.0.2.7', '2001:db8::7'])
    })
    test('returns ENOTFOUND for a name that nobody knows', async (t) => {
      await serveNames(t, {})
      assert.deepEqual(await callGetaddrinfo('nowhere', LIMITS, overdue), { code: 'ENOTFOUND' })
    })
    test('returns EAI_AGAIN if no name server answers', async () => {
      writeResolvConf('nameserver 127.0.0.9\n')
      assert.deepEqual(await callGetaddrinfo('mail', LIMITS, overdue), { code: 'EAI_AGAIN' })
    })
    test('rejects with the error of its deadline', async (t) => {
      await serveNames(t, { 'A mail': { silent: true }, 'AAAA mail': { silent: true } })
      await assert.rejects(callGetaddrinfo('mail', { ...LIMITS, timeoutMs: 100 }, overdue), /^StepError: too late$/)
    })
    test('rejects with the reason of its signal', async (t) => {
      await serveNames(t, { 'A mail': { silent: true }, 'AAAA mail': { silent: true } })
      const controller = new AbortController()
      const reason = new StepError('stopped', { exitStatus: 75, kind: 'interrupted' })
      const lookup = callGetaddrinfo('mail', { ...LIMITS, signal: controller.signal }, overdue)
      controller.abort(reason)
      await assert.rejects(lookup, reason)
    })
  })

  test('callGetaddrinfo ends its process when the time is over', { timeout: 8000 }, async (t) => {
    await serveNames(t, { 'A mail': { silent: true }, 'AAAA mail': { silent: true } })
    // Left alone, the process would wait for 40 s.
    writeResolvConf('nameserver 127.0.0.1\noptions timeout:20\n')
    await assert.rejects(callGetaddrinfo('mail', { ...LIMITS, timeoutMs: 100 }, overdue), /^StepError: too late$/)
    while (process.getActiveResourcesInfo().includes('ProcessWrap')) await new Promise(setImmediate)
  })

  suite('a name that the system resolves', () => {
    test('waits for the resolver no longer than --timeout', { timeout: 8000 }, async (t) => {
      await serveNames(t, { 'A mail': { silent: true }, 'AAAA mail': { silent: true } })
      writeResolvConf('nameserver 127.0.0.1\noptions timeout:20\n')
      const run = await etrn([`mail:${PORT}`, '--timeout', '1s', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /no answer from the DNS within 1s/)
    })
  })
}
