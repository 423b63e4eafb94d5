import { writeFileSync } from 'node:fs'
import { packageFile, ROOT } from './files.js'

const MANUAL = 'man/etrn.1'

/** A command in a display of the manual with its prompt, and the output that the manual shows for it. */
export type ShownCommand = { readonly prompt: string; readonly command: string; readonly output: string }

/** A display of the manual that shows commands, with the heading above it. */
export type Scene = { readonly title: string; readonly commands: readonly ShownCommand[] }

/** Returns the manual's source with its escapes replaced. */
export function manualSource(): string {
  return packageFile(MANUAL).replaceAll('\\-', '-').replaceAll('\\&', '').replaceAll('\\e', '\\')
}

/** Returns a section of the manual, without its heading. */
export function manualSection(name: string): string {
  const [, section = ''] = new RegExp(`^\\.Sh ${name}\\n([^]*?)(?=^\\.Sh |$(?![^]))`, 'm').exec(manualSource()) ?? []
  return section
}

/** Returns the displays of the manual that show commands, in their order. A heading can have several. */
export function manualScenes(): Scene[] {
  const scenes: Scene[] = []
  let title = ''
  for (const part of manualSource().split(/^(?=\.S[hs] )/m)) {
    title = /^\.S[hs] (.*)$/m.exec(part)?.[1] ?? title
    for (const [, display = ''] of part.matchAll(/^\.Bd -literal.*\n([^]*?)^\.Ed$/gm))
      if (/^[$#] /.test(display)) scenes.push({ title, commands: commandsIn(display) })
  }
  return scenes
}

/** A command starts with a prompt, and goes on in the next line after a backslash. */
function commandsIn(display: string): ShownCommand[] {
  return display.split(/^(?=[$#] )/m).map((part) => {
    const [, prompt = '', command = '', output = ''] = /^([$#]) ((?:.*\\\n)*.*)\n([^]*)$/.exec(part) ?? []
    return { prompt, command, output }
  })
}

/** Replaces the output of a display by another one. */
export function replaceOutput(commands: readonly ShownCommand[], outputs: readonly string[]): void {
  const sourceOf = (lines: readonly string[]): string =>
    commands.map(({ prompt, command }, index) => escapeDisplay(`${prompt} ${command}\n${lines[index] ?? ''}`)).join('')
  const source = packageFile(MANUAL)
  const shown = sourceOf(commands.map(({ output }) => output))
  if (!source.includes(shown)) throw new Error(`not found in the manual: ${shown}`)
  const replacement = sourceOf(outputs.map(foldLines))
  writeFileSync(
    new URL(MANUAL, ROOT),
    source.replace(shown, () => replacement),
  )
}

/** Returns lines as a literal display of mdoc has them. */
function escapeDisplay(lines: string): string {
  return lines
    .replaceAll('\\', '\\e')
    .replaceAll(/(?<![\w.-])--?(?=\w)/g, (dashes) => dashes.replaceAll('-', '\\-'))
    .replaceAll(/^(?=[.'])/gm, '\\&')
}

/** In an indented display these fit into a terminal of 80 columns. */
const DISPLAY_COLUMNS = 75

/** Breaks long lines at blanks. A line that goes on is indented by four blanks. */
function foldLines(lines: string): string {
  return lines.replaceAll(new RegExp(`^.{${DISPLAY_COLUMNS + 1},}$`, 'gm'), (line) => {
    const folded: string[] = []
    for (const word of line.split(' ')) {
      const last = folded.at(-1)
      if (last !== undefined && last.length + word.length < DISPLAY_COLUMNS)
        folded[folded.length - 1] = `${last} ${word}`
      else folded.push(last === undefined ? word : `    ${word}`)
    }
    return folded.join('\n')
  })
}

/** A message of DIAGNOSTICS. `text` has the names of values in capitals; `pattern` fits a line that has values in their place. */
export type Diagnostic = { readonly text: string; readonly pattern: RegExp }

/** Returns the messages that DIAGNOSTICS explains. */
export function manualDiagnostics(): Diagnostic[] {
  return [...manualSection('DIAGNOSTICS').matchAll(/^\.It (.*)$/gm)].map(([, head = '']) => parseHead(head))
}

/** Parses `Sy the server is temporarily unavailable Pq Ar REPLY`: `Ar` marks a value, `Pq` opens a parenthesis. */
function parseHead(head: string): Diagnostic {
  let [text, pattern, blank, end] = ['', '', '', '']
  let isValue = false
  for (const word of head.replaceAll('\\(dq', '"').split(' ')) {
    if (word === 'Ns') blank = ''
    if (word === 'Ar') isValue = true
    if (['Ns', 'Ar', 'Sy', 'No'].includes(word)) continue
    if (word === 'Pq') {
      text += `${blank}(`
      pattern += `${blank}\\(`
      end = ')'
      blank = ''
      continue
    }
    text += blank + word
    pattern += blank + (isValue ? '.+' : word.replace(/[^\w\s]/g, '\\$&'))
    isValue = false
    blank = ' '
  }
  return { text: text + end, pattern: new RegExp(pattern + (end && '\\)')) }
}
