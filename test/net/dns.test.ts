import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { hostname } from 'node:os'
import { suite, test, type TestContext } from 'node:test'
import { type FailureKind, StepError } from '../../src/errors.js'
import { lookUpAddresses, lookUpMx, queryAddresses } from '../../src/net/dns.js'
import { etrn, etrnJson } from '../helpers/command.js'
import { runWithFewDescriptors } from '../helpers/descriptors.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { ACCEPTED, PORT, REQUEST, serveAt, serveNames, writeHosts, writeResolvConf } from './network.js'

const LIMITS = { timeoutMs: 10_000, signal: new AbortController().signal }

function failsWith(exitStatus: number, message: RegExp, kind?: FailureKind): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof StepError, String(error))
    assert.deepEqual([error.exitStatus, error.kind], [exitStatus, kind])
    assert.match(error.message, message)
    return true
  }
}

if (isInNamespace(import.meta.url)) {
  suite('the exit status of a failed lookup', () => {
    const fails = (
      title: string,
      answers: Readonly<Record<string, Answer>>,
      status: number,
      message: RegExp,
      ...options: string[]
    ): void =>
      void test(title, async (t) => {
        await serveNames(t, answers)
        const run = await etrnJson([...REQUEST, ...options])
        const [report] = run.document.servers
        assert.deepEqual([run.status, report?.error?.stage, report?.error?.exitStatus], [status, 'dns', status])
        assert.match(report?.error?.message ?? '', message)
      })
    fails('is 68 if the host does not exist', {}, 68, /^no such host$/)
    const blocked = { 'A mail.example': { addresses: ['0.0.0.0'] }, 'AAAA mail.example': { addresses: ['::'] } }
    fails(
      'is 75 if a resolver blocks the host',
      blocked,
      75,
      /^the resolver returns ::, 0\.0\.0\.0, which is not the address of a host$/,
    )
    test('ends with the run if the host is blocked, and the other family is not answered', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: ['0.0.0.0'] }, 'AAAA mail.example': { silent: true } })
      const { status, document } = await etrnJson([...REQUEST, '--max-time', '1s'])
      assert.equal(status, 75)
      assert.match(document.servers[0]?.error?.message ?? '', /^--max-time limit reached while waiting for /)
    })
    test('is 0 if one of the addresses is that of a host', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: ['0.0.0.0', '127.0.0.1'] } })
      await serveAt(t, '127.0.0.1', ACCEPTED)
      assert.equal((await etrn(REQUEST)).status, 0)
    })
    const alias = {
      'CNAME mail.example': { cname: 'mail.isp.example' },
      'CNAME site.example': { cname: 'isp.example' },
    }
    const loop = {
      'CNAME mail.example': { cname: 'mail.example' },
      'CNAME site.example': { cname: 'site.example' },
    }
    for (const [title, answers] of [
      ...(['YXDOMAIN', 'YXRRSET', 'NXRRSET', 'NOTAUTH', 'NOTZONE', 'DSOTYPENI'] as const).map(
        (rcode) => [`replies ${rcode}`, { '*': { rcode } }] as const,
      ),
      ['is lame', { '*': { lame: true } }],
      ['is lame and replies NXDOMAIN', { '*': { lame: true, rcode: 'NXDOMAIN' } }],
      ['cuts its answer short', { '*': { truncated: true } }],
      ['refers to others', { '*': { authority: ['NS'] } }],
      ['knows only an alias that leads out of its zone', { ...alias, '*': { authoritative: true } }],
      ['refers to others for the end of an alias', { ...alias, '*': { authority: ['NS'] } }],
      ['has an alias that leads back to itself', loop],
      ['returns an alias without the records of its end', { ...alias, '*': {} }],
      ['has only an alias of another name', { ...alias, '*': { owner: 'other.example' } }],
      ['answers with a record of another type', { '*': { text: 'mail' } }],
      ['has the start of another zone', { '*': { authoritative: true, authority: ['SOA', 'NS'], zone: 'other.test' } }],
      ['has the start of a zone that only ends alike', { '*': { authority: ['SOA', 'NS'], zone: 'ample' } }],
      ["has the start of the alias's zone only", { ...alias, '*': { authority: ['SOA'], zone: 'mail.example' } }],
    ] as const) {
      fails(`is 75 if the name server ${title}`, answers, 75, /./, '--timeout', '2s')
      test(`is 75 for --mx if the name server ${title}`, async (t) => {
        await serveNames(t, answers)
        const run = await etrn(['--mx', 'site.example'])
        assert.equal(run.status, 75)
        assert.match(
          run.stderr,
          /: the DNS resolver gives no definite answer \(EBADRESP\); site\.example not requested/,
        )
      })
    }
    for (const [title, answers] of [
      ['knows the zone', { '*': { authoritative: true, authority: ['SOA'] } }],
      ['knows the zone and lists its name servers', { '*': { authority: ['NS', 'SOA'] } }],
      ['answers over TCP alone', { '*': { truncated: 'udp' } }],
      ['knows the zone that an alias leads to', { ...alias, '*': { authoritative: true, authority: ['SOA'] } }],
    ] as const)
      fails(`is 68 if a name server has no address that ${title}`, answers, 68, /^no address found$/)
    test('is 75 if the name server is silent when it is asked about an answer without records again', async (t) => {
      let count = 0
      await serveNames(t, {
        get 'MX site.example'(): Answer {
          return ++count === 1 ? {} : { silent: true }
        },
      })
      await assert.rejects(
        lookUpMx('site.example', { ...LIMITS, timeoutMs: 1000 }),
        failsWith(75, /no answer/, 'timeout'),
      )
    })
    fails('is 68 if the host has no address', { 'MX mail.example': {} }, 68, /^no address found$/)
    fails(
      'is 68 if the host has no IPv6 address and -6 is given',
      { 'A mail.example': { addresses: ['127.0.0.1'] } },
      68,
      /no IPv6 address/,
      '-6',
    )
    fails(
      'is 68 if the host has no IPv4 address and -4 is given',
      { 'AAAA mail.example': { addresses: ['::1'] } },
      68,
      /no IPv4 address/,
      '-4',
    )
    fails(
      'is 75 if the name server replies SERVFAIL',
      { 'A mail.example': { rcode: 'SERVFAIL' }, 'AAAA mail.example': { rcode: 'SERVFAIL' } },
      75,
      /SERVFAIL/,
    )
    fails(
      'is 75 if the name server replies REFUSED',
      { 'A mail.example': { rcode: 'REFUSED' }, 'AAAA mail.example': { rcode: 'REFUSED' } },
      75,
      /REFUSED/,
    )
    fails(
      'is 75 if there is no A record and the AAAA query fails',
      { 'A mail.example': {}, 'AAAA mail.example': { rcode: 'SERVFAIL' } },
      75,
      /SERVFAIL/,
    )
    fails(
      'is 75 if the name server is silent',
      { 'A mail.example': { silent: true }, 'AAAA mail.example': { silent: true } },
      75,
      /silent|no answer/,
      '--timeout',
      '2s',
    )
    test('is 75 if no name server listens', async () => {
      writeResolvConf('nameserver 127.0.0.9\n')
      const run = await etrnJson(REQUEST)
      assert.deepEqual([run.status, run.document.servers[0]?.error?.stage], [75, 'dns'])
    })
    test('is 75 if resolv.conf is empty', async () => {
      writeResolvConf('')
      const run = await etrnJson(REQUEST)
      assert.deepEqual([run.status, run.document.servers[0]?.error?.stage], [75, 'dns'])
    })
  })

  suite('the address that is used', () => {
    const uses = (title: string, answers: Readonly<Record<string, Answer>>, host: string, ...options: string[]): void =>
      void test(title, async (t) => {
        await serveNames(t, answers)
        const server = await serveAt(t, host, ACCEPTED)
        const run = await etrnJson([...REQUEST, ...options])
        await server.verify()
        assert.deepEqual([run.status, run.document.servers[0]?.address], [0, host])
      })
    const BOTH = { 'A mail.example': { addresses: ['127.0.0.1'] }, 'AAAA mail.example': { addresses: ['::1'] } }
    uses('is the IPv6 address if both families exist', BOTH, '::1')
    uses('is the IPv4 address with -4', BOTH, '127.0.0.1', '-4')
    uses('is the IPv6 address with -6', BOTH, '::1', '-6')
    uses(
      'is the A record if the AAAA query gets no answer',
      { ...BOTH, 'AAAA mail.example': { silent: true } },
      '127.0.0.1',
    )
    uses('is the AAAA record if the A query gets no answer', { ...BOTH, 'A mail.example': { silent: true } }, '::1')
  })

  suite('lookUpAddresses', () => {
    for (const [title, family, addresses] of [
      [
        'alternates between the families, IPv6 first',
        undefined,
        ['2001:db8::1', '192.0.2.1', '2001:db8::2', '192.0.2.2', '192.0.2.3'],
      ],
      ['returns only IPv4 addresses for family 4', 4, ['192.0.2.1', '192.0.2.2', '192.0.2.3']],
      ['returns only IPv6 addresses for family 6', 6, ['2001:db8::1', '2001:db8::2']],
    ] as const) {
      test(title, async (t) => {
        // The answers of DNS come one by one, and the first one may be used alone.
        const hosts = ['192.0.2.1', '192.0.2.2', '2001:db8::1', '192.0.2.3', '2001:db8::2']
        writeHosts(t, hosts.map((address) => `${address} mail.example\n`).join(''))
        const { first, late } = await lookUpAddresses('mail.example', family, LIMITS)
        assert.deepEqual([first, await late], [addresses, []])
      })
    }
    for (const family of [4, 6] as const) {
      test(`returns the IPv${family} addresses of DNS for family ${family}`, async (t) => {
        const addresses = { 4: ['192.0.2.1', '192.0.2.2'], 6: ['2001:db8::1', '2001:db8::2'] }
        await serveNames(t, {
          'A mail.example': { addresses: addresses[4] },
          'AAAA mail.example': { addresses: addresses[6] },
        })
        const { first, late } = await lookUpAddresses('mail.example', family, LIMITS)
        assert.deepEqual([first, await late], [addresses[family], []])
      })
    }
    test('sends no query for the other family', async (t) => {
      const { asked } = await serveNames(t, {
        'A mail.example': { addresses: ['192.0.2.1'] },
        'AAAA mail.example': { addresses: ['2001:db8::1'] },
      })
      await lookUpAddresses('mail.example', 4, LIMITS)
      await lookUpAddresses('mail.example', 6, LIMITS)
      assert.deepEqual(asked, ['A mail.example', 'AAAA mail.example'])
    })
    test('asks once for each family of a host that lacks one', async (t) => {
      const { asked } = await serveNames(t, { 'A mail.example': { addresses: ['192.0.2.1'] }, 'AAAA mail.example': {} })
      const { late } = await lookUpAddresses('mail.example', undefined, LIMITS)
      await late
      assert.deepEqual([...asked].sort(), ['A mail.example', 'AAAA mail.example'])
    })
    test('returns an address as it is, without a query', async (t) => {
      const { asked } = await serveNames(t, {})
      for (const address of ['192.0.2.1', '2001:db8::1', 'fe80::1%eth0'])
        assert.deepEqual((await lookUpAddresses(address, undefined, LIMITS)).first, [address])
      await assert.rejects(lookUpAddresses('192.0.2.1', 6, LIMITS), failsWith(68, /^no IPv6 address found$/))
      await assert.rejects(lookUpAddresses('2001:db8::1', 4, LIMITS), failsWith(68, /^no IPv4 address found$/))
      assert.deepEqual(asked, [])
    })
    test('returns a late answer in `late` only, without the addresses that came first', async (t) => {
      let answer = (): void => undefined
      const after = new Promise<void>((resolve) => (answer = resolve))
      await serveNames(t, {
        'A mail.example': { addresses: ['192.0.2.1'] },
        'AAAA mail.example': { addresses: ['2001:db8::1'], after },
      })
      const { first, late } = await lookUpAddresses('mail.example', undefined, LIMITS)
      assert.deepEqual(first, ['192.0.2.1'])
      answer()
      assert.deepEqual(await late, ['2001:db8::1'])
    })
    test('ends a late query when it is cancelled', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: ['192.0.2.1'] },
        'AAAA mail.example': { silent: true },
      })
      const { late, cancel } = await lookUpAddresses('mail.example', undefined, LIMITS)
      cancel()
      assert.deepEqual(await late, [])
    })
    test('rejects with the reason of its signal', async (t) => {
      await serveNames(t, { 'A mail.example': { silent: true }, 'AAAA mail.example': { silent: true } })
      const controller = new AbortController()
      const reason = new StepError('enough', { exitStatus: 75, kind: 'interrupted' })
      const lookup = lookUpAddresses('mail.example', undefined, { ...LIMITS, signal: controller.signal })
      controller.abort(reason)
      await assert.rejects(lookup, reason)
    })
    test('sends no query if its signal has aborted', async (t) => {
      const { asked } = await serveNames(t, {})
      const signal = AbortSignal.abort(new StepError('enough', { exitStatus: 75 }))
      await assert.rejects(lookUpAddresses('mail.example', undefined, { ...LIMITS, signal }), failsWith(75, /^enough$/))
      await assert.rejects(lookUpMx('mail.example', { ...LIMITS, signal }), failsWith(75, /^enough$/))
      assert.deepEqual(asked, [])
    })
    test('sends no query for the remaining servers if --max-time is over', { timeout: 10_000 }, async (t) => {
      await serveNames(t, {
        'A a.example': { silent: true },
        'AAAA a.example': { silent: true },
        'A b.example': { silent: true },
        'AAAA b.example': { silent: true },
      })
      const run = await etrn(['a.example,b.example', 'site.example', '--jobs', '1', '--max-time', '1s'])
      assert.equal(run.status, 75)
    })
  })

  suite('a name that the system resolves', () => {
    const SILENT = { 'A mail': { silent: true }, 'AAAA mail': { silent: true } } as const
    test('fails with 68 if nobody knows it', async (t) => {
      await serveNames(t, {})
      await assert.rejects(lookUpAddresses('nowhere', undefined, LIMITS), failsWith(68, /^no such host$/))
    })
    test('fails with 75 if no name server answers', async () => {
      writeResolvConf('nameserver 127.0.0.9\n')
      await assert.rejects(
        lookUpAddresses('mail', undefined, LIMITS),
        failsWith(75, /^the resolver reports a temporary failure \(EAI_AGAIN\)$/),
      )
    })
    test('fails with the reason of its signal', async (t) => {
      await serveNames(t, SILENT)
      const controller = new AbortController()
      const reason = new StepError('stopped', { exitStatus: 75, kind: 'interrupted' })
      const lookup = lookUpAddresses('mail', undefined, { ...LIMITS, signal: controller.signal })
      controller.abort(reason)
      await assert.rejects(lookup, reason)
    })
    test('leaves no process behind when the time is over', { timeout: 8000 }, async (t) => {
      await serveNames(t, SILENT)
      // Left alone, the process would wait for 40 s.
      writeResolvConf('nameserver 127.0.0.1\noptions timeout:20\n')
      await assert.rejects(
        lookUpAddresses('mail', undefined, { ...LIMITS, timeoutMs: 100 }),
        failsWith(75, /^no answer from DNS within 0\.1s$/, 'timeout'),
      )
      while (process.getActiveResourcesInfo().includes('ProcessWrap')) await new Promise(setImmediate)
    })
    test('waits for the resolver no longer than --timeout', { timeout: 8000 }, async (t) => {
      await serveNames(t, { 'A mail': { silent: true }, 'AAAA mail': { silent: true } })
      writeResolvConf('nameserver 127.0.0.1\noptions timeout:20\n')
      const run = await etrn([`mail:${PORT}`, '--timeout', '1s', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /no answer from DNS within 1s/)
    })
    test('is completed by the search list if it has no dot', async (t) => {
      await serveNames(t, { 'A mail.isp.example': { addresses: ['127.0.0.6'] }, 'AAAA mail.isp.example': {} })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      await serveAt(t, '127.0.0.6', ACCEPTED)
      assert.equal((await etrn([`mail:${PORT}`, ...REQUEST.slice(1)])).status, 0)
      assert.equal((await etrn([`nowhere:${PORT}`, ...REQUEST.slice(1)])).status, 68)
    })
    for (const rcode of ['FORMERR', 'SERVFAIL', 'REFUSED'] as const)
      test(`fails with 75 without a dot if DNS replies ${rcode}`, async (t) => {
        await serveNames(t, { '*': { rcode } })
        await assert.rejects(lookUpAddresses('mail', undefined, LIMITS), failsWith(75, /./))
      })
    test('is completed by the search list if it ends in .local', async (t) => {
      await serveNames(t, {
        'A mail.local.isp.example': { addresses: ['192.0.2.6'] },
        'AAAA mail.local.isp.example': {},
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      assert.deepEqual((await lookUpAddresses('mail.LOCAL', undefined, LIMITS)).first, ['192.0.2.6'])
    })
    test('is completed by the search list if DNS has no such name', async (t) => {
      await serveNames(t, { 'A mail.dmz.isp.example': { addresses: ['127.0.0.6'] } })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      await serveAt(t, '127.0.0.6', ACCEPTED)
      assert.equal((await etrn([`mail.dmz:${PORT}`, ...REQUEST.slice(1)])).status, 0)
    })
    test('is completed by the search list if it exists, but has no address of any family', async (t) => {
      await serveNames(t, {
        'A mail.dev': {},
        'AAAA mail.dev': {},
        'A mail.dev.isp.example': { addresses: ['192.0.2.6'] },
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      assert.deepEqual((await lookUpAddresses('mail.dev', undefined, LIMITS)).first, ['192.0.2.6'])
    })
    test('is not completed if it has a final dot', async (t) => {
      await serveNames(t, { 'A mail.dmz.isp.example': { addresses: ['127.0.0.6'] } })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      assert.equal((await etrn([`mail.dmz.:${PORT}`, ...REQUEST.slice(1)])).status, 68)
    })
    test('is not completed if the host exists and has no address of the family', async (t) => {
      await serveNames(t, {
        'AAAA mail.dmz': { addresses: ['2001:db8::6'] },
        'A mail.dmz': {},
        'A mail.dmz.isp.example': { addresses: ['192.0.2.6'] },
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      await assert.rejects(lookUpAddresses('mail.dmz', 4, LIMITS), failsWith(68, /^no IPv4 address found$/))
    })
    test('is completed by the search list if the name servers refuse to answer', async (t) => {
      await serveNames(t, {
        '*': { rcode: 'REFUSED' },
        'A mail.dmz.isp.example': { addresses: ['192.0.2.6'] },
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      assert.deepEqual((await lookUpAddresses('mail.dmz', undefined, LIMITS)).first, ['192.0.2.6'])
    })
    for (const [host, search, failing] of [
      ['mail.dmz', 'search isp.example', 'mail.dmz.isp.example'],
      ['mail.dmz', 'search a.example\t b.example.', 'mail.dmz.b.example'],
      ['mail.dmz', 'domain isp.example', 'mail.dmz.isp.example'],
      ['mail.local', 'search isp.example', 'mail.local.isp.example'],
      ['mail', 'search a.example b.example', 'mail.a.example'],
    ] as const)
      for (const answer of [{ rcode: 'SERVFAIL' }, { rcode: 'REFUSED' }, { lame: true }] as const)
        test(`fails with 75 if "${search}" makes ${failing} of ${host} and gets ${JSON.stringify(answer)}`, async (t) => {
          // For an answer without records, getaddrinfo forgets a failure before it.
          await serveNames(t, { [`A ${failing}`]: answer, [`AAAA ${failing}`]: answer, 'MX mail.b.example': {} })
          writeResolvConf(`nameserver 127.0.0.1\n${search}\n`)
          await assert.rejects(lookUpAddresses(host, undefined, LIMITS), failsWith(75, /./))
        })
    test('fails with 75 and the name if the completed name fails', async (t) => {
      const failure = { rcode: 'SERVFAIL' } as const
      await serveNames(t, { 'A mail.dmz.isp.example': failure, 'AAAA mail.dmz.isp.example': failure })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      const message = /^mail\.dmz\.isp\.example: the DNS resolver reports a failure \(ESERVFAIL\)$/
      await assert.rejects(lookUpAddresses('mail.dmz', undefined, LIMITS), failsWith(75, message))
    })
    test('fails with 75 if the name servers are silent about the completed name', async (t) => {
      await serveNames(t, {
        'A mail.dmz.isp.example': { silent: true },
        'AAAA mail.dmz.isp.example': { silent: true },
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\noptions timeout:1 attempts:1\n')
      await assert.rejects(
        lookUpAddresses('mail.dmz', undefined, { ...LIMITS, timeoutMs: 2000 }),
        failsWith(75, /^no answer from DNS within 2s$/, 'timeout'),
      )
    })
    test("fails with 75 if the name in this host's own domain fails, which completes names without a search list", async (t) => {
      const own = hostname()
      t.after(() => execFileSync('hostname', [own]))
      execFileSync('hostname', ['gw.site.example'])
      const failure = { rcode: 'SERVFAIL' } as const
      await serveNames(t, { 'A mail.dmz.site.example': failure, 'AAAA mail.dmz.site.example': failure })
      await assert.rejects(lookUpAddresses('mail.dmz', undefined, LIMITS), failsWith(75, /SERVFAIL/))
    })
    test('fails with 68 if no name of the search list exists', async (t) => {
      const { asked } = await serveNames(t, {})
      writeResolvConf('nameserver 127.0.0.1\nsearch other.example\nsearch a.example b..example .\n')
      await assert.rejects(lookUpAddresses('mail.dmz', undefined, LIMITS), failsWith(68, /^no such host$/))
      assert.deepEqual(
        [...new Set(asked)].sort(),
        ['A', 'AAAA'].flatMap((type) => [`${type} mail.dmz`, `${type} mail.dmz.a.example`]).sort(),
      )
    })
    test('is completed by the search list while DNS is silent, if ndots says so', async (t) => {
      await serveNames(t, {
        'A mail.dmz': { silent: true },
        'AAAA mail.dmz': { silent: true },
        'A mail.dmz.isp.example': { addresses: ['192.0.2.6'] },
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\noptions ndots:3\n')
      const { first, cancel } = await lookUpAddresses('mail.dmz', undefined, { ...LIMITS, timeoutMs: 2000 })
      cancel()
      assert.deepEqual(first, ['192.0.2.6'])
    })
    test('is asked for without the search list if it is absolute', async (t) => {
      const { asked } = await serveNames(t, {
        'A mail.isp.example': { addresses: ['192.0.2.6'] },
        'A mail.dmz.isp.example': { addresses: ['192.0.2.6'] },
        'A mail.local.isp.example': { addresses: ['192.0.2.6'] },
      })
      writeResolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      for (const host of ['mail', 'mail.dmz', 'mail.local'])
        await assert.rejects(
          lookUpAddresses(host, undefined, LIMITS, { isAbsolute: true }),
          failsWith(68, /^no such host$/),
        )
      assert.deepEqual([...new Set(asked)].sort(), [
        ...['A mail', 'A mail.dmz', 'A mail.local', 'AAAA mail', 'AAAA mail.dmz', 'AAAA mail.local'],
      ])
    })
    test('fails with 75 if this host lacks file descriptors for a process', async () => {
      writeResolvConf('nameserver 127.0.0.9\n')
      const { stdout, stderr } = await runWithFewDescriptors(`
        import { closeSync } from 'node:fs'
        import { lookUpAddresses } from './src/net/dns.ts'
        await import('node:child_process')
        const open = []
        try { for (;;) open.push(openSync('/dev/null')) } catch {}
        for (let free = 0; free < 8; free++) {
          await lookUpAddresses('mail', undefined, { timeoutMs: 10_000, signal: new AbortController().signal })
            .then(console.log, ({ exitStatus }) => console.log(exitStatus))
          closeSync(open.pop())
        }`)
      assert.equal(stdout, '75\n'.repeat(8), stderr)
    })
    test('shares one process with the other lookups', async (t) => {
      await serveNames(t, { '*': { silent: true } })
      const controller = new AbortController()
      const limits = { ...LIMITS, signal: controller.signal }
      const lookups = Array.from({ length: 20 }, async (_, n) => lookUpAddresses(`mail${n}`, undefined, limits))
      while (!process.getActiveResourcesInfo().includes('ProcessWrap')) await new Promise(setImmediate)
      assert.equal(process.getActiveResourcesInfo().filter((name) => name === 'ProcessWrap').length, 1)
      const ended = Promise.allSettled(lookups)
      controller.abort(new StepError('enough', { exitStatus: 75 }))
      assert.ok((await ended).every(({ status }) => status === 'rejected'))
    })
  })

  test('a link-local name server, whose interface only resolv.conf tells, gives a definite answer', async (t) => {
    execFileSync('ip', ['-6', 'addr', 'add', 'fe80::53/64', 'dev', 'lo', 'nodad'])
    await nameServer(t, { 'A site.example': { addresses: ['192.0.2.1'] } }, 'fe80::53%lo')
    for (const others of ['', 'nameserver fe80::53%lo\n']) {
      writeResolvConf(`${others}nameserver fe80::53%lo\n`)
      assert.deepEqual(await lookUpMx('site.example', LIMITS), [])
      await assert.rejects(lookUpMx('nobody.example', LIMITS), failsWith(68, /^no such domain$/))
    }
  })

  test('localhost is not looked up in DNS', async (t) => {
    const { asked } = await serveNames(t, {})
    const { first } = await queryAddresses('mx.localhost', undefined, LIMITS)
    assert.deepEqual([first, asked], [['::1', '127.0.0.1'], []])
  })
  test('a reply that is longer than DNS allows is no definite answer', { timeout: 60_000 }, async (t) => {
    await serveNames(t, { '*': { rcode: 'NXDOMAIN', padded: true } })
    await assert.rejects(lookUpMx('site.example', LIMITS), failsWith(75, /\(EBADRESP\)$/))
  })

  for (const host of ['mail.isp.example', 'isp.example'])
    for (const [title, answer, kind] of [
      ['fails', { rcode: 'SERVFAIL' }, undefined],
      ['is silent', { silent: true }, 'timeout'],
    ] as const)
      test(`a wildcard in the search list does not answer for ${host} if DNS ${title}`, async (t) => {
        writeResolvConf('nameserver 127.0.0.1\nsearch site.example\noptions timeout:1 attempts:1\n')
        const zone = { [`A ${host}.site.example`]: { addresses: ['127.0.0.1'] }, '*': answer }
        await nameServer(t, zone)
        const limits = { ...LIMITS, timeoutMs: 3000 }
        await assert.rejects(lookUpAddresses(host, 4, limits), failsWith(75, /DNS|resolver/, kind))
      })

  suite('with two name servers', () => {
    // The delays are parts of the timeout.
    const limits = { ...LIMITS, timeoutMs: 1000 }
    /** Starts two name servers, with these answers. */
    const serveTwo = async (
      t: TestContext,
      first: Readonly<Record<string, Answer>> | undefined,
      second: Readonly<Record<string, Answer>> | undefined,
    ): Promise<{ readonly askedSecond: readonly string[] }> => {
      writeResolvConf('nameserver 127.0.0.2\nnameserver 127.0.0.3\n')
      if (first !== undefined) await nameServer(t, first, '127.0.0.2')
      return { askedSecond: second === undefined ? [] : (await nameServer(t, second, '127.0.0.3')).asked }
    }
    const KNOWN = {
      'A mail.example': { addresses: ['127.0.0.1'] },
      'MX site.example': { mx: [[10, 'mail.example']] },
    } as const
    const lookUpOne = async (host: string): Promise<readonly string[]> => {
      const { first, cancel } = await lookUpAddresses(host, undefined, limits)
      cancel()
      return first
    }
    for (const [title, first] of [
      ['refuses', { '*': { rcode: 'REFUSED' } }],
      ['fails', { '*': { rcode: 'SERVFAIL' } }],
      ['implements nothing', { '*': { rcode: 'NOTIMP' } }],
      ['finds the query malformed', { '*': { rcode: 'FORMERR' } }],
      ['is lame', { '*': { lame: true } }],
      ['has no such record', { '*': {} }],
      ['refers to others', { '*': { authority: ['NS'] } }],
      ['is lame and replies NXDOMAIN', { '*': { lame: true, rcode: 'NXDOMAIN' } }],
      ['is silent', { '*': { silent: true } }],
      ['does not listen', undefined],
    ] as const) {
      test(`finds the address and the MX at the second one if the first one ${title}`, async (t) => {
        await serveTwo(t, first, KNOWN)
        assert.deepEqual(await lookUpOne('mail.example'), ['127.0.0.1'])
        assert.deepEqual(await lookUpMx('site.example', limits), [{ host: 'mail.example', preference: 10 }])
        const { first: found, cancel } = await queryAddresses('mail.example', undefined, limits)
        cancel()
        assert.deepEqual(found, ['127.0.0.1'])
      })
    }
    test('finds the address at the second one if the first one fails for one family and denies the other one', async (t) => {
      const first = { 'A mail.example': { rcode: 'SERVFAIL' }, 'AAAA mail.example': { rcode: 'NXDOMAIN' } } as const
      await serveTwo(t, first, KNOWN)
      assert.deepEqual(await lookUpOne('mail.example'), ['127.0.0.1'])
    })
    test('sends the request if only the second one knows the server', async (t) => {
      await serveTwo(t, { '*': { rcode: 'REFUSED' } }, KNOWN)
      await serveAt(t, '127.0.0.1', ACCEPTED)
      assert.equal((await etrn(REQUEST)).status, 0)
    })
    test('asks the first one alone if it answers', async (t) => {
      const { askedSecond } = await serveTwo(t, { ...KNOWN, 'AAAA mail.example': {} }, KNOWN)
      await lookUpOne('mail.example')
      await lookUpMx('site.example', limits)
      assert.deepEqual(askedSecond, [])
    })
    for (const [title, answer] of [
      ['no answer', { silent: true }],
      ['a failure', { rcode: 'SERVFAIL' }],
    ] as const)
      test(`finds the A record at the second one if the first one has ${title} for it, and an AAAA record`, async (t) => {
        const first = { 'A mail.example': answer, 'AAAA mail.example': { addresses: ['2001:db8::1'] } }
        const { askedSecond } = await serveTwo(t, first, KNOWN)
        const { first: known, late, cancel } = await lookUpAddresses('mail.example', undefined, limits)
        assert.deepEqual(known, ['2001:db8::1'])
        assert.deepEqual(await late, ['127.0.0.1'])
        cancel()
        assert.deepEqual(askedSecond, ['A mail.example'])
      })
    test('finds the AAAA record at the second one in time if the first one loses it, and the A record is blocked', async (t) => {
      const first = { 'A mail.example': { addresses: ['0.0.0.0'] }, 'AAAA mail.example': { silent: true } } as const
      await serveTwo(t, first, { ...first, 'AAAA mail.example': { addresses: ['::1'] } })
      await serveAt(t, '::1', ACCEPTED)
      assert.equal((await etrn(REQUEST)).status, 0)
    })
    test('asks the first one alone if it says that the name does not exist, as the system does', async (t) => {
      const { askedSecond } = await serveTwo(t, {}, KNOWN)
      await assert.rejects(lookUpOne('mail.example'), failsWith(68, /^no such host$/))
      await assert.rejects(lookUpMx('site.example', limits), failsWith(68, /^no such domain$/))
      assert.deepEqual(askedSecond, [])
    })
    test('finds the MX at the first one if that is slow, and the second one says that the name does not exist', async (t) => {
      // The second query starts after a quarter of the timeout, and its answer waits for half of the timeout.
      const slow = { 'MX site.example': { ...KNOWN['MX site.example'], afterMs: 400 } }
      const { askedSecond } = await serveTwo(t, slow, {})
      assert.deepEqual(await lookUpMx('site.example', limits), [{ host: 'mail.example', preference: 10 }])
      assert.deepEqual(new Set(askedSecond), new Set(['MX site.example']))
    })
    test('fails with 68 if the first one is silent, and the second one says that the name does not exist', async (t) => {
      await serveTwo(t, { '*': { silent: true } }, {})
      await assert.rejects(lookUpMx('site.example', limits), failsWith(68, /^no such domain$/))
    })
    test('completes a name although the system has finished before a silent server is given up', async (t) => {
      await serveTwo(t, { '*': { silent: true } }, { 'A mail.dmz.isp.example': { addresses: ['192.0.2.6'] } })
      writeResolvConf('nameserver 127.0.0.2\nnameserver 127.0.0.3\nsearch isp.example\noptions timeout:1 attempts:1\n')
      const { first, cancel } = await lookUpAddresses('mail.dmz', undefined, { ...limits, timeoutMs: 8000 })
      cancel()
      assert.deepEqual(first, ['192.0.2.6'])
    })
    test('fails with 68 if one refuses and the other one says that the name does not exist', async (t) => {
      await serveTwo(t, { '*': { rcode: 'REFUSED' } }, {})
      await assert.rejects(lookUpOne('mail.example'), failsWith(68, /^no such host$/))
    })
    test('fails with 75 and the reason of the first one if both fail', async (t) => {
      await serveTwo(t, { '*': { rcode: 'REFUSED' } }, { '*': { rcode: 'SERVFAIL' } })
      await assert.rejects(lookUpOne('mail.example'), failsWith(75, /\(EREFUSED\)$/))
      await assert.rejects(lookUpMx('site.example', limits), failsWith(75, /\(EREFUSED\)$/))
    })
    test('fails with 75 if one is lame and the other one fails', async (t) => {
      await serveTwo(t, { '*': { lame: true } }, { '*': { rcode: 'SERVFAIL' } })
      await assert.rejects(lookUpOne('mail.example'), failsWith(75, / \([A-Z_]+\)$/))
    })
    test('fails with 75 if both are lame', async (t) => {
      await serveTwo(t, { '*': { lame: true } }, { '*': { lame: true } })
      await assert.rejects(lookUpOne('mail.example'), failsWith(75, / \([A-Z_]+\)$/))
    })
    for (const [title, other] of [
      ['refuses', { '*': { rcode: 'REFUSED' } }],
      ['fails', { '*': { rcode: 'SERVFAIL' } }],
      ['is silent', { '*': { silent: true } }],
    ] as const)
      for (const order of ['first', 'second'] as const)
        test(`knows that there is no record if the ${order} one proves it and the other one ${title}`, async (t) => {
          const proof = { '*': { authority: ['SOA'] } } as const
          await (order === 'first' ? serveTwo(t, proof, other) : serveTwo(t, other, proof))
          assert.deepEqual(await lookUpMx('site.example', limits), [])
          // The system waits longer for a silent server than this test does.
          if (title !== 'is silent')
            await assert.rejects(lookUpOne('mail.example'), failsWith(68, /^no address found$/))
        })
    test('fails with 75 if one has no record, but the start of another zone, and the other one refuses', async (t) => {
      await serveTwo(t, { '*': { authority: ['SOA'], zone: 'isp.test' } }, { '*': { rcode: 'REFUSED' } })
      await assert.rejects(lookUpOne('mail.example'), failsWith(75, /\(EREFUSED\)$/))
    })
    test('fails with 75 if one proves that there is no record for one family, and the other one refuses', async (t) => {
      await serveTwo(t, { 'AAAA mail.example': { authority: ['SOA'] } }, { '*': { rcode: 'REFUSED' } })
      await assert.rejects(lookUpOne('mail.example'), failsWith(75, /\(EREFUSED\)$/))
    })
    for (const [title, second] of [
      ['is silent', { '*': { silent: true } }],
      ['does not listen', undefined],
    ] as const)
      test(`throws 75 for a host or MX without a record at the first one if the second one ${title}`, async (t) => {
        await serveTwo(t, { '*': {} }, second)
        const isUncertain = failsWith(75, /^no answer from DNS$|^no DNS server answers|^no DNS server can be reached/)
        await assert.rejects(lookUpOne('mail.example'), isUncertain)
        await assert.rejects(lookUpMx('site.example', limits), isUncertain)
      })
  })

  suite('the addresses of a host', () => {
    const numbered = (prefix: string, length: number): string[] => Array.from({ length }, (_, n) => `${prefix}${n + 1}`)
    test('are fifty at most, of both families', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: numbered('192.0.2.', 200) },
        'AAAA mail.example': { addresses: numbered('2001:db8::', 200) },
      })
      const { first, late } = await queryAddresses('mail.example', undefined, LIMITS)
      const all = [...first, ...(await late)]
      assert.ok(first.length === 50 && all.length <= 75)
      assert.ok(all.includes('192.0.2.1') && all.includes('2001:db8::1'))
    })
    test('are listed once each, IPv4-mapped ones as IPv4', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: ['192.0.2.1', '192.0.2.1'] },
        'AAAA mail.example': { addresses: ['::ffff:192.0.2.1', '::ffff:192.0.2.2'] },
      })
      const { first, late } = await queryAddresses('mail.example', undefined, LIMITS)
      assert.deepEqual([...first, ...(await late)].sort(), ['192.0.2.1', '192.0.2.2'])
      assert.deepEqual((await lookUpAddresses('::ffff:192.0.2.1', undefined, LIMITS)).first, ['192.0.2.1'])
      await assert.rejects(lookUpAddresses('::ffff:192.0.2.1', 6, LIMITS), failsWith(68, /^no IPv6 address found$/))
    })
  })

  suite('lookUpMx', () => {
    test('returns hosts in small letters with their preferences', async (t) => {
      await serveNames(t, {
        'MX site.example': {
          mx: [
            [20, 'MX2.ISP.example'],
            [10, 'mx1.isp.example'],
          ],
        },
      })
      const found = await lookUpMx('site.example', LIMITS)
      assert.deepEqual(
        found.sort((a, b) => a.preference - b.preference),
        [
          { host: 'mx1.isp.example', preference: 10 },
          { host: 'mx2.isp.example', preference: 20 },
        ],
      )
    })
    test("returns '' for a null MX", async (t) => {
      await serveNames(t, { 'MX site.example': { mx: [[0, '']] } })
      assert.deepEqual(await lookUpMx('site.example', LIMITS), [{ host: '', preference: 0 }])
    })
    test('returns an empty list if the domain has no MX', async (t) => {
      await serveNames(t, { 'A site.example': { addresses: ['192.0.2.1'] } })
      assert.deepEqual(await lookUpMx('site.example', LIMITS), [])
    })
    test('asks nothing for localhost and the names within it', async (t) => {
      const { asked } = await serveNames(t, { 'MX site.localhost': { mx: [[0, 'mx.isp.example']] } })
      for (const name of ['localhost', 'site.localhost']) assert.deepEqual(await lookUpMx(name, LIMITS), [])
      assert.deepEqual(asked, [])
    })
    test('rejects with 68 if the domain does not exist', async (t) => {
      await serveNames(t, {})
      await assert.rejects(lookUpMx('site.example', LIMITS), failsWith(68, /^no such domain$/))
    })
    test('rejects with 75 if the name server fails', async (t) => {
      await serveNames(t, { 'MX site.example': { rcode: 'SERVFAIL' } })
      await assert.rejects(
        lookUpMx('site.example', LIMITS),
        failsWith(75, /^the DNS resolver reports a failure \(ESERVFAIL\)$/),
      )
    })
    test('rejects with 75 if the name server is silent for the whole timeout', async (t) => {
      await serveNames(t, { 'MX site.example': { silent: true } })
      await assert.rejects(
        lookUpMx('site.example', { ...LIMITS, timeoutMs: 100 }),
        failsWith(75, /^no answer from DNS within 0\.1s$/, 'timeout'),
      )
    })
  })

  test('queryAddresses ignores /etc/hosts', async (t) => {
    writeHosts(t, '192.0.2.7 mail.example\n')
    await serveNames(t, { 'A mail.example': { addresses: ['192.0.2.8'] } })
    assert.deepEqual((await queryAddresses('mail.example', undefined, LIMITS)).first, ['192.0.2.8'])
  })
}
