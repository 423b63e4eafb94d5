import { isUtf8 } from 'node:buffer'
import { readFileSync, type Stats } from 'node:fs'
import { EXIT, OptionError } from '../errors.js'
import { warnIfExposed } from './file-safety.js'
import { runPasswordCommand } from './password-command.js'
import { promptPassword, type PasswordText } from './password-prompt.js'
import { type InputSources, readFirstLine } from './read-file.js'
import { type Target, userOption } from './targets.js'

/** The beginning of each file that has been read. Several profiles can name one pipe, which can be read only once. */
export type PasswordFiles = Map<string, Promise<Buffer>>

/**
 * Returns the password from the file, the command, the environment or the terminal, whichever comes first. Throws UsageError: 64 if there
 * is no source, 66 if the source has no password.
 */
export async function readPassword(target: Target, sources: InputSources, files: PasswordFiles): Promise<string> {
  const { 'password-file': file, 'password-command': command } = target.options
  const { ETRN_PASSWORD: typed } = sources.environment
  if (file !== undefined) {
    const check = (stats: Stats): void => void warnIfExposed(file, stats, 'password', sources)
    const reading = files.get(file) ?? readFirstLine('password-file', file, sources, check)
    files.set(file, reading)
    const octets = await reading
    const source = `--password-file ${file}`
    return checkPassword(decode(octets), 'password-file', source, `${source}: no password on the first line`)
  }
  if (command !== undefined) {
    const output = await runPasswordCommand(command, sources)
    const source = '--password-command'
    return checkPassword(decode(output), 'password-command', source, `${source} printed no password on the first line`)
  }
  if (typed !== undefined) {
    const line = { text: typed, isExact: isInEnvironment('ETRN_PASSWORD', typed) }
    return checkPassword(line, '', 'ETRN_PASSWORD', 'ETRN_PASSWORD is empty')
  }
  const option = userOption(target)
  const answer = await promptPassword(target.server.word, option, sources)
  return checkPassword(answer, option, 'the terminal', 'no password entered')
}

/** The longest password: a SASL response must fit into a line of SMTP. */
const PASSWORD_CHARACTERS = 8192

/** Returns the text whose first line is the password. */
function decode(octets: Buffer): PasswordText {
  const end = octets.indexOf('\n')
  // The rest may end in the middle of a character.
  return { text: octets.toString(), isExact: isUtf8(end === -1 ? octets : octets.subarray(0, end)) }
}

/** Returns true if this process was started with a variable of just these octets. Node replaces those that are not UTF-8 (proc_pid_environ(5)). */
function isInEnvironment(name: string, value: string): boolean {
  try {
    return readFileSync('/proc/self/environ').includes(`${name}=${value}\0`)
  } catch {
    return false
  }
}

/** Returns a password from a source that an option names. Throws OptionError (66), with the message `ifEmpty` if there is none. */
function checkPassword({ text, isExact }: PasswordText, option: string, source: string, ifEmpty: string): string {
  const password = firstLine(text)
  const rule = brokenPasswordRule(password, isExact)
  if (password !== '' && rule === undefined) return password
  const message = password === '' ? ifEmpty : `the password from ${source} ${rule ?? ''}`
  throw new OptionError(option, message, { exitStatus: EXIT.NOINPUT })
}

function firstLine(text: string): string {
  const [line = ''] = text.replace(/^\ufeff/, '').split('\n', 1)
  return text.includes('\n') ? line.replace(/\r$/, '') : line
}

function brokenPasswordRule(password: string, isExact: boolean): string | undefined {
  if (password.length > PASSWORD_CHARACTERS) return `has more than ${PASSWORD_CHARACTERS} characters`
  if (password.includes('\0')) return 'contains a NUL character'
  // Octets that are not UTF-8 have become this character, and the password has become another one.
  return password.includes('\ufffd') && !isExact
    ? 'is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8'
    : undefined
}
