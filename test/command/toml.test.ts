import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseToml, type TomlValue } from '../../src/command/toml.js'

class TomlError extends Error {
  readonly line: number
  constructor(line: number, message: string, cause: unknown) {
    super(message, { cause })
    this.line = line
  }
}
const parse = (toml: string) => parseToml(toml, (line, message, cause) => new TomlError(line, message, cause))

/** Returns a value with tables as plain objects, and each key of a table with its line. */
function simplify(value: TomlValue): unknown {
  if (Array.isArray(value)) return value.map(simplify)
  if (!(value instanceof Map)) return value
  return Object.fromEntries([...value].map(([key, { value: inner, line }]) => [`${key}:${line}`, simplify(inner)]))
}

suite('parseToml', () => {
  const parses = (title: string, toml: string, expected: object): void =>
    void test(title, () => assert.deepEqual(simplify(parse(toml)), expected))
  parses('reads the values of each type with their lines', 'a = "x"\nb = 1\nc = true\n\nd = [\n  "y", "z",\n]\n', {
    'a:1': 'x',
    'b:2': 1,
    'c:3': true,
    'd:5': ['y', 'z'],
  })
  parses('reads tables with the lines of their headings', '[servers.isp]\nport = 1\n[servers.b]\n', {
    'servers:1': { 'isp:1': { 'port:2': 1 }, 'b:3': {} },
  })
  parses('reads dotted keys and quoted keys', 'a.b = 1\na."c.d" = 2\n', { 'a:1': { 'b:1': 1, 'c.d:2': 2 } })
  parses('reads inline tables', 'a = { b = 1, c.d = 2 }\n', { 'a:1': { 'b:1': 1, 'c:1': { 'd:1': 2 } } })
  parses('reads an array of tables as an array', '[[a]]\nb = 1\n', { 'a:1': [{ 'b:2': 1 }] })
  parses('reads __proto__ as a key like any other', '__proto__ = 1\n', { '__proto__:1': 1 })
  parses('reads an empty file', '', {})
  parses(
    'counts CRLF as the end of one line',
    'a = 1\r\n\r\n[t]\r\nb = [\r\n 1,\r\n]\r\nc = """\r\nx\r\n"""\r\nd = 2\r\n',
    {
      'a:1': 1,
      't:3': { 'b:4': [1], 'c:7': 'x\n', 'd:10': 2 },
    },
  )

  for (const [toml, line] of [
    ['a = 1\na = 2', 2],
    ['a = "x', 1],
    ['\n\na = soon', 3],
    ['port = \n', 1],
    ['a = 1\nport =\n\n\n', 2],
    ['no TOML', 1],
    ['a = 1\r\nb = soon\r\n', 2],
    ['a = 1\r\n\r\nb = \r\n', 3],
    ['a = 1\r\na = 2\r\n', 2],
    ['[t]\r\na = 1\r\n[t]\r\n', 3],
    ['a = [\r\n1,\r\n2\r\nb = 3\r\n', 4],
    ['a = 1\r\nb = "x\r\nc = 2\r\n', 2],
    ['a = 1\r\nb = """\r\nx\r\ny\r\n', 2],
    ["a = '''\nx\n'''\nb = '''\nx\ny\n", 4],
    ['a = "x\u2028y"\r\nb = \r\n', 2],
  ] as const)
    test(`refuses ${JSON.stringify(toml)} and names line ${line}`, () =>
      assert.throws(
        () => parse(toml),
        (error) => error instanceof TomlError && error.line === line && error.cause instanceof Error,
      ))
  test('any text is TOML or a TomlError', () => {
    const piece = fc.oneof(
      fc.constantFrom('a', '=', ' = ', '"', "'", '[', ']', '[[', '.', '\n', '#', '{', '}', ',', '1', 'true', '"x"'),
      fc.string({ maxLength: 4 }),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          assert.ok(parse(pieces.join('')) instanceof Map)
        } catch (error) {
          assert.ok(error instanceof TomlError, String(error))
        }
      }),
      { numRuns: 1000 },
    )
  })
})
