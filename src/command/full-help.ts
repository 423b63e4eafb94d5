import yargs, { type Argv } from 'yargs'
import { joinChoices } from '../input/option-values.js'
import { takesValue } from './arguments.js'
import { type Entry, EXAMPLES, formatEntries, helpWidth, placeholderOf, USAGE, wrapText } from './help.js'
import { OPTION_ROWS, type OptionRow } from './options.js'

const PURPOSE = `Request the mail queued on SERVER for NAME (ETRN, RFC 1985). The server replies at once and delivers the mail
later, over new connections. Without NAME, etrn requests mail for the DOMAIN of --mx, or else for this host's own name.`

/** Returns the help with all options. The columns are undefined or 0 if they are unknown. */
export async function fullHelpText(columns: number | undefined): Promise<string> {
  const width = helpWidth(columns)
  const parts = [
    formatEntries(USAGE, width, 'Usage: '.length),
    wrapText(PURPOSE.replaceAll('\n', ' '), width).join('\n'),
    formatEntries(valueEntries(), width),
    await optionsText(width),
    `Exit status:\n${formatEntries(EXIT_STATUSES, width)}`,
    formatEntries([...EXAMPLES, ['More:', 'man etrn']], width, 'Examples: '.length),
  ]
  return parts.join('\n\n')
}

/** Its types lack this method. */
type Printer = Argv & { readonly usageConfiguration: (configuration: { 'hide-types': boolean }) => Argv }

/** Returns all options in their groups. yargs only prints here, so that an option's name can have its placeholder: `port N`. */
async function optionsText(width: number): Promise<string> {
  const printer = yargs() as Printer
  // A locale would be a file that LANG names.
  printer.detectLocale(false).help(false).version(false).wrap(width)
  printer.usageConfiguration({ 'hide-types': true })
  printer.parserConfiguration({ 'camel-case-expansion': false, 'dot-notation': false })
  for (const [name, row] of OPTION_ROWS) {
    const { alias = [], group, describe } = row
    // Only a flag may have a digit as its short form.
    const type = takesValue(row) ? 'string' : 'boolean'
    printer.option(name + placeholderOf(row), { alias, type, group: `${group}:`, describe: describe + defaultOf(row) })
  }
  return printer.getHelp()
}

function defaultOf(row: OptionRow): string {
  const text = row.default ?? row.defaultText
  return text === undefined ? '' : ` (default: ${text})`
}

/** Returns the words that stand for values, and what they stand for. */
function valueEntries(): Entry[] {
  const choicesOf = (option: string): string => joinChoices(OPTION_ROWS.get(option)?.choices ?? [])
  return [
    ['SERVER', 'HOST, HOST:PORT, smtp://HOST, smtps://HOST (TLS from the start), or a profile in the configuration'],
    ['HOST', 'mail.isp.example, 192.0.2.1 or [2001:db8::1]'],
    ['NAME', "site.example, @site.example (with its subdomains) or '#queue'"],
    ['DUR', '90, 90s, 2m or 1h30m'],
    [
      'LEVEL',
      'none (no TLS), may (TLS if offered), encrypt (TLS required), or verify (TLS and a valid certificate required)',
    ],
    ['MECHANISM', choicesOf('auth')],
    ['KIND', choicesOf('hook')],
    ['SHELL', choicesOf('completion')],
  ]
}

const EXIT_STATUSES: readonly Entry[] = [
  ['   0', 'every name was accepted'],
  ['   2', "accepted, but the server doesn't report whether mail is waiting (--wait)"],
  ['  64', 'an option, server or name is invalid; nothing was sent'],
  ['  65', 'a name was rejected'],
  ['  66', "a file can't be read, or the password command fails"],
  ['  68', 'no such host, or no mail exchanger to request mail from'],
  ['  69', 'ETRN not supported, or the server refuses the session (5xx)'],
  ['  70', 'a bug in etrn'],
  ['  74', "the output or the --failed-to file can't be written"],
  ['  75', 'a temporary failure; try again'],
  ['  76', 'an SMTP or TLS failure'],
  ['  77', 'not allowed, or the login fails'],
  ['  78', 'the configuration is invalid or unsafe'],
]
