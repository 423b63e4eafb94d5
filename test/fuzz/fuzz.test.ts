import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { type Act, type Conversation, type Script, utf8 } from './grammar.js'
import { judgeEnd } from './judge.js'
import { parseSeed } from './parser.js'
import { isWithin, say, stream } from './reference.js'
import { play, playSeed } from './run.js'
import { afterTurns, type Played, sceneOf } from './scene.js'
import { serve } from './server.js'

// The long run is `npm run fuzz`; here is a short one, what a long one found, and that it would find something.

const FIRST_SEED = 1
const RUNS = 240
const RUNS_AT_ONCE = 8
const SAMPLES = 3000

function nothingIn(played: Played, seed?: number): Played {
  assert.deepEqual(played.findings, [], `seed ${seed}\n${played.told()}`)
  return played
}

suite('a short run', () => {
  test('over sockets', async (t) => {
    let next = FIRST_SEED
    let replies = 0
    const one = async (): Promise<void> => {
      while (next < FIRST_SEED + RUNS) {
        const seed = next++
        replies += nothingIn(await playSeed(seed), seed).replies
      }
    }
    await Promise.all(Array.from({ length: RUNS_AT_ONCE }, one))
    t.diagnostic(`${replies} replies`)
  })
  test('to the parser', (t) => {
    let replies = 0
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SAMPLES; seed++) replies += nothingIn(parseSeed(seed), seed).replies
    t.diagnostic(`${replies} replies`)
  })
})

const act = (...writes: readonly string[]): Act => ({ writes, pauseMs: 0, flood: '', then: 'wait' })
const CONVERSATION: Conversation = {
  greeting: act('220 mx.example\r\n'),
  hello: [act('250-mx.example\r\n250 ETRN\r\n')],
  starttls: act('220 go ahead\r\n'),
  certificate: 'mx',
  handshake: act(),
  auth: [act('235 welcome\r\n')],
  etrn: [act('250 OK\r\n')],
  quit: act('221 bye\r\n'),
}
const NAMES = Array.from({ length: 8 }, (_, index) => `n${index}.example`)

function scriptOf(conversation: Partial<Conversation>, more: Partial<Script> = {}): Script {
  return {
    ...{ names: NAMES, level: 'may', isImplicitTls: false, mechanism: null, keepGoing: false, assumeEtrn: false },
    ...{ interruptedAt: 0, conversations: [{ ...CONVERSATION, ...conversation }] },
    ...more,
  }
}

suite('what a long run found', () => {
  const text = utf8(`a${'😀'.repeat(300)}`)
  test('a message is not cut within a character', async () => {
    nothingIn(await play(scriptOf({ greeting: act(`554 ${text}\r\n`) })))
  })
  test('nor a reply', async () => {
    nothingIn(await play(scriptOf({ etrn: [act(`250-${text}\r\n`.repeat(4) + `250 ${text}\r\n`)] })))
  })
})

const turns = async (): Promise<void> => new Promise((resolve) => afterTurns(resolve, 20))

/** Says these lines one by one, in so many connections, whatever the server says; what is found then. */
async function findings(script: Script, lines: readonly string[], connections = 1): Promise<readonly string[]> {
  // No excuse, however busy the machine is: this client waits for nothing.
  const scene = { ...sceneOf(script, 3000, () => undefined), beganMs: Infinity }
  const { port, server, works } = await serve(scene)
  const sockets = Array.from({ length: connections }, () => connect({ host: '127.0.0.1', port }).resume())
  // Loopback may take its time, too: a line has been heard when the server has read it.
  const heard = async (octets: number): Promise<void> => {
    const isHeard = (): boolean =>
      scene.talks.length === connections && scene.talks.every(({ bare }) => bare.bytesRead === octets)
    do await turns()
    while (!isHeard())
    await turns()
  }
  await Promise.all(sockets.map(async (socket) => once(socket, 'connect')))
  let octets = 0
  await heard(octets)
  for (const line of lines) {
    for (const socket of sockets) socket.write(line)
    await heard((octets += line.length))
  }
  for (const socket of sockets) socket.end()
  server.close()
  await once(server, 'close')
  await Promise.all(works)
  scene.quits = connections
  judgeEnd(scene)
  return scene.findings
}

suite('a client that does what it must not is found out', { concurrency: true }, () => {
  const EHLO = 'EHLO gw.site.example\r\n'
  const QUIT = 'QUIT\r\n'
  const etrn = (index: number): string => `ETRN n${index}.example\r\n`
  const rows: readonly (readonly [string, readonly string[], RegExp, Partial<Conversation>?])[] = [
    ['two commands at once', [EHLO + etrn(0), QUIT], /^sent before the whole reply to what went before: ETRN/],
    ['HELO', ['HELO gw.site.example\r\n', QUIT], /^no command of ours: HELO/],
    ['ETRN before EHLO', [etrn(0), QUIT], /^sent before EHLO/],
    ['LF alone', [EHLO.replace('\r', ''), QUIT], /^a line without CRLF/],
    ['ETRN that is not listed', [EHLO, etrn(0), QUIT], /not listed/, { hello: [act('250 ETRN\r\n')] }],
    ['a name that nobody asked for', [EHLO, etrn(9), QUIT], /^nobody asked for n9/],
    ['a name again', [EHLO, etrn(0), etrn(0), QUIT], /^sent again: n0/],
    ['eight names', [EHLO, ...NAMES.map((_, index) => etrn(index)), QUIT], /^8 names in a session$/],
    [
      'more after a 5xx',
      [EHLO, etrn(0), etrn(1), QUIT],
      /^sent behind what was the end/,
      { etrn: [act('554 no\r\n')] },
    ],
    [
      'behind early octets',
      [EHLO, etrn(0), etrn(1), QUIT],
      /spoken before its turn/,
      { etrn: [act('250 OK\r\n250 OK\r\n')] },
    ],
    [
      'STARTTLS behind clear text',
      [EHLO, 'STARTTLS\r\n', '\x16'],
      /^TLS begun/,
      { starttls: act('220 go\r\n250 a\r\n') },
    ],
    ['AUTH without credentials', [EHLO, 'AUTH LOGIN\r\n', QUIT], /^not to be said here/],
    ['more after QUIT', [EHLO, QUIT, EHLO], /^said after QUIT/],
    ['no QUIT', [EHLO, etrn(0)], /^connection 1 ended without QUIT$/],
  ]
  for (const [title, lines, finding, conversation = {}] of rows) {
    test(title, async () => {
      const all = await findings(scriptOf(conversation), lines)
      assert.ok(
        all.some((one) => finding.test(one)),
        all.join('\n'),
      )
    })
  }
  test('two sessions at once, and five', async () => {
    assert.match((await findings(scriptOf({}), [EHLO], 2)).join('\n'), /^2 sessions before a name was accepted/)
    assert.match((await findings(scriptOf({}), [EHLO], 5)).join('\n'), /^5 sessions at once/m)
  })
  test('and one that does nothing wrong is not', async () => {
    assert.deepEqual(await findings(scriptOf({}), [EHLO, etrn(0), etrn(1), QUIT]), [])
  })
})

suite('what octets mean, without the parser of src', () => {
  const rows: readonly (readonly [octets: string, whole: number, then: 'nothing' | 'half' | 'broken'])[] = [
    ['250\r\n', 1, 'nothing'],
    ['250-a\n250 b\n', 1, 'nothing'],
    ['250 O', 0, 'half'],
    ['250-a\r\n', 0, 'half'],
    ['250 a\r\n250', 1, 'half'],
    ['250-a\r\n251 b\r\n', 0, 'broken'],
    ['600 a\r\n', 0, 'broken'],
    ['2500\r\n', 0, 'broken'],
    [`250 ${'x'.repeat(2042)}\r\n`, 1, 'nothing'],
    [`250 ${'x'.repeat(2043)}\r\n`, 0, 'broken'],
    [`${'250-x\r\n'.repeat(127)}250 x\r\n`, 1, 'nothing'],
    [`${'250-x\r\n'.repeat(128)}250 x\r\n`, 0, 'broken'],
  ]
  for (const [octets, whole, then] of rows) {
    test(JSON.stringify(octets.slice(0, 20)), () => {
      const s = stream()
      say(s, octets)
      assert.deepEqual([s.whole.length, s.isBroken ? 'broken' : isWithin(s) ? 'half' : 'nothing'], [whole, then])
    })
  }
})
