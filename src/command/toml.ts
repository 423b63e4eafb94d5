import { type AST, ParseError, parseTOML } from 'toml-eslint-parser'

/** A key's value and the line on which the key is set, counted from 1. */
export type TomlEntry = { readonly value: TomlValue; readonly line: number }
export type TomlValue = string | number | bigint | boolean | Date | TomlTable | readonly TomlValue[]
export type TomlTable = ReadonlyMap<string, TomlEntry>
type MutableTable = Map<string, { value: TomlValue; line: number }>

/** The text is not TOML. */
export class TomlError extends Error {
  readonly line: number
  constructor(message: string, line: number, cause: unknown) {
    super(message, { cause })
    this.line = line
  }
}

/** Parses TOML (https://toml.io, version 1.0). Throws TomlError. */
export function parseToml(text: string): TomlTable {
  const root: MutableTable = new Map()
  for (const node of parseNodes(text)) {
    if (node.type === 'TOMLKeyValue') {
      setKey(root, node)
      continue
    }
    // The index of a table in an array is a number. Such tables are no part of a configuration, so the last one counts.
    const path = node.resolvedKey.filter((key) => typeof key === 'string')
    const table = openTables(root, path, node.loc.start.line)
    for (const entry of node.body) setKey(table, entry)
    const holder = openTables(root, path.slice(0, -1), node.loc.start.line)
    const name = path.at(-1) ?? ''
    if (node.kind === 'array') holder.set(name, { value: [table], line: node.loc.start.line })
  }
  return root
}

function parseNodes(text: string): AST.TOMLTopLevelTable['body'] {
  try {
    return parseTOML(text).body[0].body
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    // The parser looks for a missing value in the lines below.
    const before = text.slice(0, error.index).trimEnd()
    if (before.endsWith('=')) throw new TomlError('no value after =', before.split('\n').length, error)
    throw new TomlError(error.message, error.lineNumber, error)
  }
}

function setKey(table: MutableTable, { key, value, loc }: AST.TOMLKeyValue): void {
  const path = key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value))
  const { line } = loc.start
  openTables(table, path.slice(0, -1), line).set(path.at(-1) ?? '', { value: valueOf(value), line })
}

/** Returns the table at a path, and creates what is missing of it. */
function openTables(root: MutableTable, path: readonly string[], line: number): MutableTable {
  let table = root
  for (const key of path) {
    const next = table.get(key)?.value
    // The parser refuses to extend anything but a table, and all tables are made here.
    const inner = next instanceof Map ? (next as MutableTable) : (new Map() as MutableTable)
    if (inner !== next) table.set(key, { value: inner, line })
    table = inner
  }
  return table
}

function valueOf(node: AST.TOMLContentNode): TomlValue {
  if (node.type === 'TOMLArray') return node.elements.map(valueOf)
  if (node.type === 'TOMLValue') return node.value
  const table: MutableTable = new Map()
  for (const entry of node.body) setKey(table, entry)
  return table
}
