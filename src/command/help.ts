import yargs, { type Argv } from 'yargs'
import { PARSER_CONFIGURATION, takesValue } from './arguments.js'
import { OPTION_ROWS, type OptionRow } from './options.js'

export async function helpText(): Promise<string> {
  return createParser({ choices: true }).getHelp()
}

/** Returns yargs with the table of options. */
export function createParser({ choices = false } = {}): Argv {
  return yargs()
    .help(false)
    .version(false)
    .locale('en')
    .exitProcess(false)
    .scriptName('etrn')
    .usage(USAGE)
    .epilogue(EPILOGUE)
    .options(Object.fromEntries([...OPTION_ROWS].map(([name, row]) => [name, yargsOption(row, choices)])))
    .parserConfiguration(PARSER_CONFIGURATION)
}

function yargsOption(row: OptionRow, hasChoices: boolean): object {
  return {
    describe: row.describe,
    group: `${row.group}:`,
    alias: row.alias,
    ...(takesValue(row)
      ? { type: 'string', ...(row.isOptional ? {} : { nargs: 1 }) }
      : { type: row.kind === 'flag' ? 'boolean' : 'count' }),
    defaultDescription: row.default ?? row.defaultText,
    choices: hasChoices ? row.choices : undefined,
  }
}

const USAGE = `etrn [options] SERVER[,SERVER...] [NAME ...]
etrn [options] --mx DOMAIN [NAME ...]
etrn [options] --all

Asks a mail server to send the mail that it holds for your site, now
(ETRN, RFC 1985).

SERVER\thost, host:port, 192.0.2.1, [2001:db8::1]:port, smtp://host,\n\tsmtps://host; a profile of the configuration
NAME\tsite.example, @site.example (with its subdomains), '#queue';
none:\tthis host's own name
DUR\t90, 90s, 2m or 1h30m`

const EPILOGUE = `Exit status: 0 every name was accepted, 64 bad usage, 65 a name was rejected,
66 no such file, 68 no such host, 69 no ETRN there, 75 worth trying again,
76 not SMTP, 77 not allowed, 78 bad configuration; 2 --wait can't tell.
More of it, and examples: man etrn`
