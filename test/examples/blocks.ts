import { writeFileSync } from 'node:fs'
import { packageFile, ROOT } from '../helpers/files.js'

/** The documents whose examples are tested */
export const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'man/providers.md',
  'man/comparison.md',
  'man/library.md',
] as const
export type DocumentName = (typeof DOCUMENTS)[number]

/** A block of a document that is indented by four spaces; the text is without the indent. */
export type Block = { readonly document: DocumentName; readonly text: string }

/** A command of a block, the output that the block shows, and the blank lines after it */
export type Command = { readonly command: string; readonly output: string; readonly gap: string }

const INDENT = '    '

/** Returns the blocks of a document. A block includes its blank lines. */
export function blocksOf(document: DocumentName): Block[] {
  const blocks: string[][] = []
  let isInside = false
  let blankLines = 0
  for (const line of packageFile(document).split('\n')) {
    if (line === '') {
      blankLines++
      continue
    }
    const isIndented = line.startsWith(INDENT)
    const block = isInside ? blocks.at(-1) : undefined
    if (isIndented && block !== undefined) block.push(...Array<string>(blankLines).fill(''), line.slice(INDENT.length))
    else if (isIndented && blankLines > 0) blocks.push([line.slice(INDENT.length)])
    isInside = isIndented
    blankLines = 0
  }
  return blocks.map((lines) => ({ document, text: lines.join('\n') }))
}

/** Returns the commands of a block. In a block with output each begins with `$ `, and goes on after a backslash. */
export function commandsOf({ text }: Block): Command[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [, command = '', rest = '', gap = ''] = /^(.*(?:\\\n.*)*)\n?([^]*?)(\n*)$/.exec(part) ?? []
      return { command, output: rest === '' ? '' : `${rest}\n`, gap: gap.slice(1) }
    })
}

/** Returns the text of a block with these commands. */
export function textOf(commands: readonly Command[]): string {
  return commands
    .map(({ command, output, gap }) => `$ ${command}\n${output}${gap}`)
    .join('')
    .trimEnd()
}

/** Replaces a block in its document by another text. */
export function replaceBlock({ document, text }: Block, replacement: string): void {
  const indent = (lines: string): string => lines.replace(/^(?=.)/gm, INDENT)
  const page = packageFile(document).replace(`\n\n${indent(text)}\n`, () => `\n\n${indent(replacement)}\n`)
  writeFileSync(new URL(document, ROOT), page)
}

/** Returns a text without what differs from run to run: ports, durations and times. */
export function withoutVariables(text: string): string {
  return text
    .replace(/(?<=127\.0\.0\.1:)\d+/g, 'PORT')
    .replace(/ *\d+ ms\b/g, ' N ms')
    .replace(/\d+ days/g, 'N days')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME')
}

/** True if the documents receive the real output (npm run documents). */
export const isUpdate = process.env['UPDATE_DOCUMENTS'] !== undefined
