import type { Stats } from 'node:fs'
import { EXIT, OptionError } from '../errors.js'
import { warnIfExposed } from './file-safety.js'
import { runPasswordCommand } from './password-command.js'
import { promptPassword } from './password-prompt.js'
import { type InputSources, readFirstLine } from './read-file.js'
import { type Target, userOption } from './targets.js'

/**
 * Returns the password from the file, the command, the environment or the terminal, whichever comes first. Throws UsageError: 64 if there
 * is no source, 66 if the source has no password.
 */
export async function readPassword(target: Target, sources: InputSources): Promise<string> {
  const { 'password-file': file, 'password-command': command } = target.options
  const { ETRN_PASSWORD: typed } = sources.environment
  if (file !== undefined) {
    const check = (stats: Stats): void => void warnIfExposed(file, stats, 'password', sources)
    const text = await readFirstLine('password-file', file, sources, check)
    const source = `--password-file ${file}`
    return checkPassword(firstLine(text), 'password-file', source, `${source}: no password on the first line`)
  }
  if (command !== undefined) {
    const output = await runPasswordCommand(command, sources)
    const source = '--password-command'
    return checkPassword(
      firstLine(output),
      'password-command',
      source,
      `${source} printed no password on the first line`,
    )
  }
  if (typed !== undefined) return checkPassword(firstLine(typed), '', 'ETRN_PASSWORD', 'ETRN_PASSWORD is empty')
  const option = userOption(target)
  const answer = await promptPassword(target.server.word, option, sources)
  return checkPassword(firstLine(answer), option, 'the terminal', 'no password entered')
}

/** The longest password: a SASL response must fit into a line of SMTP. */
const PASSWORD_CHARACTERS = 8192

function firstLine(text: string): string {
  const [line = ''] = text.replace(/^\ufeff/, '').split('\n', 1)
  return text.includes('\n') ? line.replace(/\r$/, '') : line
}

/** Returns a password from a source that an option names. Throws OptionError (66), with the message `ifEmpty` if there is none. */
function checkPassword(password: string, option: string, source: string, ifEmpty: string): string {
  const rule = brokenPasswordRule(password)
  if (password !== '' && rule === undefined) return password
  const message = password === '' ? ifEmpty : `the password from ${source} ${rule ?? ''}`
  throw new OptionError(option, message, { exitStatus: EXIT.NOINPUT })
}

function brokenPasswordRule(password: string): string | undefined {
  if (password.length > PASSWORD_CHARACTERS) return `has more than ${PASSWORD_CHARACTERS} characters`
  if (password.includes('\0')) return 'contains a NUL character'
  // Octets that are not UTF-8 have become this character, and the password has become another one.
  return /\ufffd/.test(password) ? 'is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8' : undefined
}
