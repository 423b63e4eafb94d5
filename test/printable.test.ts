import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { StepError, UsageError } from '../src/errors.js'
import { bugReport } from '../src/errors.js'
import {
  listSome,
  printable,
  printableJson,
  printableLines,
  shortenMessage,
  truncate,
  truncateOctets,
} from '../src/printable.js'
import { anyText } from './helpers/any-text.js'
import { etrn } from './helpers/command.js'
import { makeFile, makeFolder } from './helpers/files.js'
import { BYE, type Conversation, HELLO, loose } from './helpers/scripted-server.js'

/** What a terminal would obey or hide. */
const UNPRINTABLE = /[^\P{C}\n]|[^\P{Z} ]/u

const HOSTILE = Buffer.concat([
  Buffer.from('a\x1b[2J\x1b]0;owned\x07\b\r\v\x7f\0'),
  Buffer.from([0x9b, 0xc3, 0xff]),
  Buffer.from('\u0085\u009b31m\u202edaer\u2066\u200b\u00ad\u2028\u3000\ufeff\u{e0041}é'),
])

/** Returns the exit status and all output, which must be printable and have no stack trace. */
async function requestFrom(
  t: TestContext,
  conversation: Conversation,
  options: readonly string[] = [],
): Promise<{ status: number | null; output: string }> {
  const server = await loose(t, conversation)
  const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...options, 'site.example']
  const { status, stdout, stderr } = await etrn(args)
  assert.doesNotMatch(stdout + stderr, UNPRINTABLE)
  assert.doesNotMatch(stdout + stderr, /^ +at /m)
  return { status, output: stdout + stderr }
}

const concat = (...parts: readonly (string | Buffer)[]): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part)))

suite('all output is printable if control characters stand', { concurrency: true }, () => {
  for (const options of [[], ['-v'], ['--json'], ['-q', '-v'], ['--color', 'always', '--json']]) {
    const title = options.length === 0 ? 'without options' : `with ${options.join(' ')}`
    test(`in a reply to ETRN, ${title}`, async (t) => {
      const conversation = [...HELLO, 'C: ETRN site.example', concat('459 4.7.1 ', HOSTILE, '\r\n'), ...BYE] as const
      const { output } = await requestFrom(t, conversation, options)
      if (!options.includes('-q')) assert.ok(output.includes('\\x1b[2J') || output.includes('\\\\x1b[2J'), output)
    })
    test(`in the greeting, ${title}`, async (t) => {
      assert.equal((await requestFrom(t, [concat('554 ', HOSTILE, '\r\n'), ...BYE], options)).status, 69)
    })
    test(`in an EHLO keyword, ${title}`, async (t) => {
      const conversation = [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        concat('250-mx\r\n250-', HOSTILE, '\r\n250 X', HOSTILE, '\r\n'),
        ...BYE,
      ] as const
      assert.equal((await requestFrom(t, conversation, options)).status, 69)
    })
    test(`in a line that is no reply, ${title}`, async (t) => {
      assert.equal((await requestFrom(t, [concat(HOSTILE, '\r\n'), ...BYE], options)).status, 76)
    })
  }
})

test('the message about a line of 2000 NULs has fewer than 800 characters', async (t) => {
  const leave = (socket: Socket): void => void socket.once('data', () => socket.destroy())
  const { output } = await requestFrom(t, [Buffer.from(`${'\0'.repeat(2000)}\n`), leave])
  assert.ok(output.length < 800, output)
})

suite('printable', () => {
  for (const [title, raw, text] of [
    ['keeps printable text', 'a é 漢 😀 ~', 'a é 漢 😀 ~'],
    ['escapes ASCII control characters as \\xNN', '\0\t\n\r\x1b\x7f', '\\x00\\x09\\x0a\\x0d\\x1b\\x7f'],
    ['escapes C1 control characters as \\u{NN}', '\u0080\u009b', '\\u{80}\\u{9b}'],
    ['escapes invisible characters', 'a\u00ad\u200b\ufeff\u{e0041}', 'a\\u{ad}\\u{200b}\\u{feff}\\u{e0041}'],
    ['escapes characters that change the direction', '\u202e\u2066', '\\u{202e}\\u{2066}'],
    [
      'escapes every blank but the space',
      'a \u00a0\u2003\u3000\u1680\u2800\u{13441}\u{13442}\u{16fe4}\u{1d159}b',
      'a \\u{a0}\\u{2003}\\u{3000}\\u{1680}\\u{2800}\\u{13441}\\u{13442}\\u{16fe4}\\u{1d159}b',
    ],
    ['escapes separators of lines and paragraphs', '\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['escapes characters of private use', '\ue000', '\\u{e000}'],
    ['escapes a lone surrogate', 'a\ud800', 'a\\u{d800}'],
    ['decodes UTF-8', Buffer.from('é漢😀'), 'é漢😀'],
    ['escapes octets that are no UTF-8', Buffer.from([0x61, 0x80, 0xff, 0xc0, 0x61]), 'a\\x80\\xff\\xc0a'],
    [
      'keeps UTF-8 beside octets that are none',
      concat('é', Buffer.of(0xc3), '漢', Buffer.of(0xf0, 0x9f), '😀'),
      'é\\xc3漢\\xf0\\x9f😀',
    ],
    [
      'keeps the first and last UTF-8 of each length beside an octet that is none',
      concat('\u00a1\u07ff\u0800\ufffd\u{10000}', Buffer.of(0xff)),
      '\u00a1\u07ff\u0800\ufffd\u{10000}\\xff',
    ],
    ['escapes overlong UTF-8 octet by octet', Buffer.from([0xc0, 0xaf, 0xe0, 0x80, 0xaf]), '\\xc0\\xaf\\xe0\\x80\\xaf'],
    ['escapes a surrogate in UTF-8 octet by octet', Buffer.from([0xed, 0xa0, 0x80]), '\\xed\\xa0\\x80'],
    ['escapes control characters beside octets that are no UTF-8', Buffer.from([0x1b, 0xff, 0x00]), '\\x1b\\xff\\x00'],
  ] as const) {
    test(title, () => assert.equal(printable(raw), text))
  }
  test('returns text that no terminal obeys, for any octets and any text', () => {
    const raw = fc.oneof(fc.uint8Array({ maxLength: 60 }), anyText())
    fc.assert(
      fc.property(raw, (input) => {
        const shown = printable(input)
        assert.match(shown, /^(?:[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]| )*$/u)
        assert.equal(printable(shown), shown)
      }),
    )
  })
  test('returns different texts for different octets without a backslash', () => {
    const octets = fc.uint8Array({ maxLength: 8 }).map((all) => all.filter((octet) => octet !== 0x5c))
    fc.assert(
      fc.property(octets, octets, (one, other) => {
        if (Buffer.compare(one, other) !== 0) assert.notEqual(printable(one), printable(other))
      }),
    )
  })
})

suite('truncate', () => {
  for (const [text, characters, truncated] of [
    ['abc', 3, 'abc'],
    ['abcd', 3, 'abc'],
    ['ab😀', 4, 'ab😀'],
    ['ab😀', 3, 'ab'],
    ['', 3, ''],
  ] as const) {
    test(`makes ${JSON.stringify(truncated)} of ${JSON.stringify(text)} at ${characters}`, () =>
      assert.equal(truncate(text, characters), truncated))
  }
})

suite('truncateOctets', () => {
  for (const [text, octets, truncated] of [
    ['abcd', 4, 'abcd'],
    ['abcde', 4, 'a...'],
    ['éé', 4, 'éé'],
    ['éééé', 6, 'é...'],
    ['a€€€', 6, 'a...'],
    ['abcde', 2, '..'],
    ['abcde', 0, ''],
  ] as const)
    test(`makes "${truncated}" of "${text}" at ${octets}`, () => assert.equal(truncateOctets(text, octets), truncated))
  test('returns the text or a beginning of it with dots, within the octets', () =>
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat({ max: 40 }), (text, octets) => {
        const truncated = truncateOctets(text, octets)
        assert.ok(Buffer.byteLength(truncated) <= octets)
        assert.ok(truncated === text || text.startsWith(truncated.replace(/\.{0,3}$/, '')))
      }),
    ))
})

suite('shortenMessage', () => {
  test('keeps 400 octets of text beyond ASCII, and whole characters', () =>
    assert.equal(shortenMessage('世'.repeat(600)), `${'世'.repeat(133)}...`))
  test('keeps 400 characters', () => assert.equal(shortenMessage('x'.repeat(400)), 'x'.repeat(400)))
  test('cuts 401 characters to 400 and three dots', () =>
    assert.equal(shortenMessage('x'.repeat(401)), `${'x'.repeat(400)}...`))
  test('cuts no escape in half', () => {
    for (const half of ['%', '%4', '=4', '+', '\\', '\\x', '\\x4', '\\u', '\\u{', '\\u{202'])
      assert.equal(shortenMessage(`${'x'.repeat(400 - half.length)}${half}1b}`), `${'x'.repeat(400 - half.length)}...`)
    for (const whole of ['%41', '\\x41', '\\u{e9}', 'a4', '{e9'])
      assert.ok(shortenMessage(`${'x'.repeat(400 - whole.length)}${whole}x`).endsWith(`${whole}...`))
  })
  test('cuts no character in half', () => assert.equal(shortenMessage(`${'x'.repeat(399)}😀`), `${'x'.repeat(399)}...`))
})

suite(
  'all output is printable if control characters stand in what the user or the system gives',
  { concurrency: true },
  () => {
    const WORD = 'a\x1b[31mb\u202ec\u200bd\x07e\u009b2Jf\ng'
    const ESCAPED = 'a\\x1b[31mb\\u{202e}c\\u{200b}d\\x07e\\u{9b}2Jf\\x0ag'
    const TARGET = ['127.0.0.1:9', 'site.example']
    const prints = (
      title: string,
      prepare: (t: TestContext) => { args: readonly string[]; env?: Readonly<Record<string, string>> },
      { isShown = true } = {},
    ): void => {
      for (const options of [[], ['--json'], ['-v'], ['--color', 'always'], ['--check']])
        test(`${title}, ${options.join(' ') || 'without options'}`, async (t) => {
          const { args, env = {} } = prepare(t)
          const run = await etrn([...options, ...args], { env, user: { uid: process.getuid?.() || 1000 } })
          // The command's own colours are apart.
          const own = options[0] === '--color' ? [2, 22, 31, 32, 33, 39] : []
          const printed = run.stdout + run.stderr
          const output = own.reduce((text, code) => text.replaceAll(`\x1b[${code}m`, ''), printed)
          assert.doesNotMatch(output, UNPRINTABLE)
          if (isShown)
            assert.ok(
              [ESCAPED, ESCAPED.replaceAll('\\', '\\\\')].some((text) => output.includes(text)),
              output,
            )
          assert.notEqual(run.status, 70)
          if (options[0] === '--json' && run.stdout !== '') assert.doesNotThrow(() => JSON.parse(run.stdout) as unknown)
        })
    }
    for (const [option, ...others] of [
      ['--names-from'],
      ['--tls-ca'],
      ['--tls-cert'],
      ['--config'],
      ['--password-file', '--user', 'u'],
      ['--port'],
      ['--timeout'],
      ['--user'],
      ['--auth'],
      ['--helo'],
      ['--interface'],
      ['--hook'],
      ['--color'],
      ['--mx'],
    ] as const)
      prints(`in the value of ${option}`, () => ({ args: [...TARGET, ...others, option, `/${WORD}`] }))
    prints('in an unknown option', () => ({ args: [...TARGET, `--${WORD}`] }))
    prints('in a server', () => ({ args: [WORD, 'site.example'] }))
    prints('in a name', () => ({ args: ['127.0.0.1:9', WORD] }))
    prints('in the name of a password file that others may read', (t) => {
      const file = join(makeFolder(t), WORD)
      writeFileSync(file, 'sesame')
      chmodSync(file, 0o606)
      return { args: [...TARGET, '--user', 'u', '--password-file', file] }
    })
    prints('in the name of a configuration, with a wrong key', (t) => {
      const file = join(makeFolder(t), WORD)
      writeFileSync(file, '"x\\u001b[31m" = 1\n')
      return { args: [...TARGET, '--config', file] }
    })
    prints('in the name of an unsafe configuration', (t) => {
      const file = join(makeFolder(t), WORD)
      writeFileSync(file, '')
      chmodSync(file, 0o666)
      return { args: [...TARGET, '--config', file] }
    })
    prints('in the file names of two profiles', (t) => {
      const text = JSON.stringify(`/${WORD}`).replace('\u009b', '\\u009b')
      const profile = (name: string): string =>
        `[servers.${name}]\nserver = "127.0.0.1:9"\nnames = ["a.example"]\ntls-ca = ${text}\n`
      return { args: ['--config', makeFile(t, 'c.toml', profile('a') + profile('b')), '--all'] }
    })
    prints('in HOME and XDG_CONFIG_HOME', (t) => {
      const home = join(makeFolder(t), WORD)
      mkdirSync(join(home, 'etrn'), { recursive: true })
      writeFileSync(join(home, 'etrn/config.toml'), 'x = 1')
      return { args: TARGET, env: { HOME: home, XDG_CONFIG_HOME: home } }
    })
    prints(
      'in a password command that fails',
      () => ({
        args: [...TARGET, '--user', 'u', '--password-command', `exit 3 # ${WORD.replace('\n', '')}`],
      }),
      { isShown: false },
    )
    test('in words that are completed', async () => {
      const run = await etrn(['--complete', `${WORD},`])
      assert.doesNotMatch(run.stdout + run.stderr, UNPRINTABLE)
    })
    test('in the stack of a bug', () => {
      const error = new Error(WORD)
      assert.doesNotMatch(bugReport(error), UNPRINTABLE)
      assert.doesNotMatch(bugReport(WORD), UNPRINTABLE)
    })
    test('in the message and the hint of an error', () => {
      const { message, hint } = new StepError(WORD, { exitStatus: 75, hint: WORD })
      const usage = new UsageError(WORD, { hint: WORD })
      assert.deepEqual([message, hint, usage.message, usage.hint], [ESCAPED, ESCAPED, ESCAPED, ESCAPED])
    })
  },
)

test('printable changes nothing that it has made', () => {
  fc.assert(fc.property(anyText(), (text) => printable(printable(text)) === printable(text)))
})

test('printableLines keeps ends of lines and tabs', () =>
  assert.equal(printableLines('a\x1b\n\tb\r\n'), 'a\\x1b\n\tb\\x0d\n'))

test('printableJson means the same, and has only characters that can be seen', () => {
  fc.assert(
    fc.property(anyText(), (text) => {
      const json = printableJson(JSON.stringify({ text }, undefined, 2))
      assert.doesNotMatch(json, UNPRINTABLE)
      assert.deepEqual(JSON.parse(json), { text })
    }),
  )
})

suite('listSome', () => {
  for (const [items, text] of [
    [[], ''],
    [['a', 'b', 'c'], 'a, b, c'],
    [['a', 'b', 'c', 'd'], 'a, b, c and 1 more'],
    [['a', 'b', 'c', 'd', 'e'], 'a, b, c and 2 more'],
  ] as const)
    test(`is "${text}" for ${items.length} items of which 3 are shown`, () => assert.equal(listSome(items, 3), text))
})
