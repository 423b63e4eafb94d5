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
  const faults = (title: string, cases: readonly (readonly [toml: string, line: number, message: RegExp])[]): void => {
    for (const [toml, line, message] of cases)
      for (const [ending, text] of [
        ['LF', toml],
        ['CRLF', toml.replaceAll('\n', '\r\n')],
        ['no final line ending', toml.trimEnd()],
      ] as const)
        test(`${title}: ${JSON.stringify(toml)} with ${ending}: names line ${line}`, () =>
          assert.throws(
            () => parse(text),
            (error) => {
              assert.ok(error instanceof TomlError)
              assert.match(`${error.line}: ${error.message}`, new RegExp(`^${line}: ${message.source}`))
              return true
            },
          ))
  }
  const NO_EQUAL = /expected equal \(=\) token$/
  const SAME_LINE = /the key, equals sign, and value must be on the same line$/
  faults('a key alone', [
    ['x\n', 1, NO_EQUAL],
    ['\n\nx # y\n\n# z\n\n', 3, NO_EQUAL],
    ['[servers.isp]\nserver\nport = 1\n', 2, SAME_LINE],
    ['[servers.isp]\nserver\n\n[servers.b]\n', 2, SAME_LINE],
    ['a = """\nx\n"""\n"b"\n', 4, NO_EQUAL],
    ['a = { b,\nc = 1 }\n', 1, NO_EQUAL],
    ['port 25\nx = 1\n', 1, NO_EQUAL],
    ['a\n= 1\n', 1, SAME_LINE],
    ['= 1\n', 1, /unexpected token$/],
  ])
  const NO_VALUE = /there is no value after =$/
  faults('no value', [
    ['a = # b\n\nc = 1\n', 1, NO_VALUE],
    ['a =\n1\n', 1, NO_VALUE],
    ['a = {b =\n1}\n', 1, NO_VALUE],
    ['b = 1\na = soon\n', 2, /unexpected character$/],
  ])
  faults('a bracket that is not closed', [
    ['[servers.isp\n', 1, /unterminated table-key$/],
    ['\n[[servers.isp] # x\n\nport = 1\n', 2, SAME_LINE],
    ['b = 1\na = [1,\n2 # ]\n# ]\n', 3, /unterminated array$/],
    ['a = [\n[1, 2],\n[3, "]"\n', 3, /unterminated array$/],
    ['a = [\n"x"\n[[b]]\n', 2, /expected comma/],
    ['b = 1\na = {b = 1\n\n', 2, /unterminated inline table$/],
  ])
  faults('no comma', [
    ['a = [\n1,\n2 3\n]\n', 3, /expected comma \(,\) token$/],
    ['a = [\n1,\n,\n]\n', 3, /unexpected token$/],
    ['a = [\n  a.example\n]\n', 2, /unexpected character$/],
  ])
  faults('a string', [
    ['b = 1\na = "x\nc = 1\n', 2, /unterminated string constant$/],
    ["a = 'x\nb = 1\n", 1, /unterminated string constant$/],
    ['a = [\n"""\nb = \\q\n"""]\n', 3, /invalid character in escape sequence$/],
    ['a = """\n\\q\n"""\n', 2, /invalid character in escape sequence$/],
  ])
  faults('another fault behind three quotes in a comment', [
    ['# it is """ here\na = 1\nb = soon\n', 3, /unexpected character$/],
    ["a = \"'''\"\nb\n", 2, NO_EQUAL],
  ])
  faults('more text, or a key twice', [
    ['a = """\n""" x\n', 2, /there is more text after the end of the value$/],
    ['[a] b\nc = 1\n', 1, /there is more text after the end of the value$/],
    ['[a]\nb = 1\n\n[a]\nc = 1\n', 4, /defining a key multiple times is invalid$/],
    ['a = [\n{b = 1},\n{b = 1,\nb = 2},\n]\n', 4, /defining a key multiple times is invalid$/],
  ])
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
