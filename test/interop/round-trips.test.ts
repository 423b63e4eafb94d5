import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { type Running, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { AUTH_PLAIN, ehloSteps, ETRN_ACCEPTED, PASSWORD_ENVIRONMENT } from '../helpers/login.js'
import { nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, scriptedAt } from '../helpers/scripted-server.js'
import { AT_SITE, makeSite, resolver } from '../helpers/site.js'
import { certificateStep } from '../smtp/tls-server.js'
import { countingServer } from './counting-server.js'
import { setUpLink, slowLinkSkipReason } from './slow-link.js'

// A whole run takes no more round trips than its protocols need, from the first query to the reply to QUIT. All servers are at the
// other end of a slow link, the name server too.

/** Starts the servers at the other end, and returns the arguments of the run. */
type SetUp = (t: TestContext, host: string) => Promise<readonly string[]>

function testTrips(title: string, trips: number, setUp: SetUp): void {
  test(`${title} takes ${trips} round trips`, { timeout: 60_000 }, async (t) => {
    const link = await setUpLink(t)
    const args = await setUp(t, link.host)
    const during = (child: Running): void => t.signal.addEventListener('abort', () => child.kill('SIGKILL'))
    const options = { through: AT_SITE, env: PASSWORD_ENVIRONMENT, during }
    const { status, stderr } = await spawnEtrn(['--helo', 'gw.site.example', ...args], options)
    assert.equal(status, 0, stderr)
    assert.equal((await link.count()).site.trips, trips)
  })
}

/** Starts a name server, and a server that accepts all names. Returns the server's port. */
async function serve(t: TestContext, host: string): Promise<string> {
  resolver(host)
  const exchangers = ['gw.site.example', 'mx1.example', 'mx2.example']
  await nameServer(
    t,
    {
      'MX site.example': { mx: exchangers.map((name, index) => [10 * index, name] as const) },
      'A mx1.example': { addresses: [host] },
      'A mx2.example': { addresses: [host] },
    },
    host,
  )
  const { argument } = await countingServer(t, host, { reply: () => '250 OK' })
  return argument.replace(`${host}:`, '')
}

const LOGIN: Conversation = [
  'S: 220 mx.example ESMTP',
  ...ehloSteps('STARTTLS'),
  'C: STARTTLS',
  'S: 220 go ahead',
  certificateStep('mx'),
  ...ehloSteps('AUTH PLAIN', 'ETRN'),
  `C: ${AUTH_PLAIN}`,
  'S: 235 welcome',
  ...ETRN_ACCEPTED,
  ...BYE,
]

const skip = slowLinkSkipReason()

if (skip !== false) test('round trips over a slow link', { skip }, () => undefined)
else if (isInNamespace(import.meta.url)) {
  makeSite()
  suite('a run over a slow link', () => {
    // TCP, greeting, EHLO, ETRN, QUIT
    testTrips('one name at an address', 5, async (t, host) => [`${host}:${await serve(t, host)}`, 'site.example'])
    // A and AAAA go together.
    testTrips('one name at a host', 6, async (t, host) => [`mx1.example:${await serve(t, host)}`, 'site.example'])
    // The addresses of all exchangers are looked up together, and the sessions run together.
    testTrips('--mx', 7, async (t, host) => ['--mx', 'site.example', '--port', await serve(t, host)])
    // STARTTLS, the handshake, EHLO and AUTH are four more; and the end of TLS, which nobody waits for, counts here.
    testTrips('one name over TLS with a login', 10, async (t, host) => {
      const { port } = await scriptedAt(t, { host, port: 0, isLoose: true }, LOGIN)
      const tls = ['--tls-ca', fixturePath('ca.pem'), '--tls-name', 'mx.example']
      return [`${host}:${port}`, '--user', 'site', ...tls, 'site.example']
    })
  })
}
