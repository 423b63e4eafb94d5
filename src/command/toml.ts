import { type AST, ParseError, parseTOML } from 'toml-eslint-parser'

/** A key's value and the line on which the key is set, counted from 1. */
export type TomlEntry = { readonly value: TomlValue; readonly line: number }
export type TomlValue = string | number | bigint | boolean | Date | TomlTable | readonly TomlValue[]
export type TomlTable = Map<string, TomlEntry>

/** Parses TOML (https://toml.io, version 1.0). Throws what errorOf makes of a text that is not TOML. */
export function parseToml(text: string, errorOf: (line: number, message: string, cause: unknown) => Error): TomlTable {
  const root: TomlTable = new Map()
  for (const node of parseNodes(text, errorOf)) {
    if (node.type === 'TOMLKeyValue') {
      setKey(root, node)
      continue
    }
    // The index of a table in an array is a number. Such tables are no part of a configuration, so the last one counts.
    const path = node.resolvedKey.filter((key) => typeof key === 'string')
    const { line } = node.loc.start
    const table = openTable(root, path, line)
    for (const entry of node.body) setKey(table, entry)
    if (node.kind === 'array') setValue(root, path, { value: [table], line })
  }
  return root
}

function parseNodes(text: string, errorOf: Parameters<typeof parseToml>[1]): AST.TOMLTopLevelTable['body'] {
  try {
    return parseTOML(text).body[0].body
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    throw faultOf(text, error, errorOf)
  }
}

/** Returns the error for the line to mend. The parser notices that something is missing only at the next token, perhaps some lines below. */
function faultOf(text: string, error: ParseError, errorOf: Parameters<typeof parseToml>[1]): Error {
  const { index, lineNumber, message } = error
  const before = text.slice(0, index).split('\n')
  const line = before.findLastIndex((each) => !/^\s*(?:#|$)/.test(each)) + 1
  if (/=\s*(?:#[^]*)?$/.test(text.split('\n')[line - 1] ?? '')) return errorOf(line, 'there is no value after =', error)
  const isMissing = /^(?:Expected|The key, equals)/.test(message) || text.slice(index).trim() === ''
  const opened = message.startsWith('Unterminated string') ? openStringLine(text) : undefined
  return errorOf(opened ?? (isMissing && line > 0 ? line : lineNumber), describeParseError(error), error)
}

/** Returns the parser's message as a part of a sentence. */
function describeParseError({ message }: ParseError): string {
  if (message === 'Must be a newline') return 'there is more text after the end of the value'
  return message.slice(0, 1).toLowerCase() + message.slice(1)
}

/** Returns the line of the quotes that open a string which the text never closes; the parser reports the end of the text. */
function openStringLine(text: string): number | undefined {
  const pieces = text.split(/"{3}|'{3}/)
  if (pieces.length % 2 === 1) return undefined
  return pieces.slice(0, -1).join('').split('\n').length
}

function setKey(table: TomlTable, { key, value, loc }: AST.TOMLKeyValue): void {
  const path = key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value))
  setValue(table, path, { value: valueOf(value), line: loc.start.line })
}

function setValue(root: TomlTable, path: readonly string[], entry: TomlEntry): void {
  openTable(root, path.slice(0, -1), entry.line).set(path.at(-1) ?? '', entry)
}

/** Returns the table at a path, and creates what is missing of it. */
function openTable(root: TomlTable, path: readonly string[], line: number): TomlTable {
  return path.reduce((table, key) => {
    const inner = table.get(key)?.value
    // The parser refuses to extend anything but a table.
    if (inner instanceof Map) return inner
    const made: TomlTable = new Map()
    table.set(key, { value: made, line })
    return made
  }, root)
}

function valueOf(node: AST.TOMLContentNode): TomlValue {
  if (node.type === 'TOMLArray') return node.elements.map(valueOf)
  if (node.type === 'TOMLValue') return node.value
  const table: TomlTable = new Map()
  for (const entry of node.body) setKey(table, entry)
  return table
}
