import type { ParseError } from 'toml-eslint-parser'

/** What is wrong with a text that is not TOML, as a part of a sentence, and the line to mend, counted from 1. */
export type TomlFault = { readonly line: number; readonly message: string }

/** Strings that are not closed extend to the end of the text, or of their line. */
const TOKEN =
  /\n|#[^\n]*|"""(?:[^"\\]|\\[^]?|"(?!""))*(?:"{3,5}|$)|'''(?:[^']|'(?!''))*(?:'{3,5}|$)|"(?:[^"\\\n]|\\[^\n])*"?|'[^'\n]*'?|[[\]{},=]|[^ \t\r\n"'#[\]{},=]+/g

/** A line that sets a key, or that begins a table. No list has such a line. */
const ENTRY_LINE = /^[ \t]*(?:(?:[\w.-]|"[^"]*"|'[^']*')+[ \t]*=|\[{1,2}(?=[^\]]*[a-z])[\w.-]+\]{1,2}[ \t\r]*(?:#|$))/i

/** The messages about a text that can't be where it is */
const MISPLACED = /^(?:Expected comma|Unexpected)/

type Token = {
  readonly text: string
  readonly line: number
  /** The line on which it ends */
  readonly endLine: number
}

type Bracket = Token & {
  /** It begins the name of a table, not a list. */
  readonly isHeading: boolean
}

/**
 * Returns the fault that the parser's error means. The parser notices that something is missing only at the next token, or at the end of
 * the text; the line to mend is an earlier one.
 */
export function findFault(text: string, error: ParseError): TomlFault {
  const { index, lineNumber, message } = error
  const { last, brackets } = scanTokens(text.slice(0, index))
  if (message.startsWith('Unterminated string')) return { line: last.line, message: describe(message) }
  const rest = text.slice(index)
  if (last.text === '=' && (last.line < lineNumber || /^(?:$|[,\]}])/.test(rest)))
    return { line: last.line, message: 'there is no value after =' }
  const isNoticedLate = rest.trim() === '' || last.endLine < lineNumber
  const outer = brackets.findLast(({ line }) => line < lineNumber)
  const missing =
    outer?.text === '[' &&
    !outer.isHeading &&
    MISPLACED.test(message) &&
    ENTRY_LINE.test(text.split('\n')[lineNumber - 1] ?? '')
      ? unclosed(outer)
      : isNoticedLate
        ? findMissing(message, rest, last, brackets.at(-1))
        : undefined
  return missing ?? { line: lineNumber, message: describe(message) }
}

/** Returns what is missing behind the last token before the error. */
function findMissing(message: string, rest: string, last: Token, open: Bracket | undefined): TomlFault | undefined {
  const { endLine: line } = last
  if (open?.isHeading) return { line, message: "the table's name is not closed with ]" }
  // Keys that stand alone, in an inline table or outside
  if (/^(?:Expected equal|The key, equals)/.test(message))
    return { line, message: describe(rest.startsWith('=') ? message : 'expected equal (=) token') }
  if (open === undefined) return undefined
  if (rest.trim() === '') return unclosed(open)
  const isBehindValue = !/^[[{,]$/.test(last.text) && MISPLACED.test(message)
  return isBehindValue ? { line, message: `there is no comma or ${CLOSING[open.text]} after the value` } : undefined
}

function unclosed({ text, line }: Token): TomlFault {
  return { line, message: `the ${text === '[' ? 'list' : 'inline table'} is not closed with ${CLOSING[text]}` }
}

const CLOSING: Readonly<Record<string, string>> = { '[': ']', '{': '}' }

/** Returns the parser's message as a part of a sentence. */
function describe(message: string): string {
  if (message === 'Must be a newline') return 'there is more text after the end of the value'
  return message.slice(0, 1).toLowerCase() + message.slice(1)
}

/** Returns the last token, and the brackets that are open behind it, the innermost last. */
function scanTokens(text: string): { readonly last: Token; readonly brackets: readonly Bracket[] } {
  let last: Token = { text: '', line: 1, endLine: 1 }
  let line = 1
  const brackets: Bracket[] = []
  for (const [token] of text.matchAll(TOKEN)) {
    const start = line
    line += token.split('\n').length - 1
    if (token === '\n' || token.startsWith('#')) continue
    const isHeading = brackets.at(-1)?.isHeading ?? last.text !== '='
    last = { text: token, line: start, endLine: line }
    if (/^[[{]$/.test(token)) brackets.push({ ...last, isHeading })
    if (/^[\]}]$/.test(token)) brackets.pop()
  }
  return { last, brackets }
}
