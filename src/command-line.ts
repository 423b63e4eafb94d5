import yargs from 'yargs'
import { dashed, type Layer, layerOf, type Row, ROWS } from './options.js'
import { UsageError } from './outcome.js'
import { printable } from './printable.js'

export type CommandLine = {
  readonly said: Layer
  readonly words: readonly string[]
  /** The options as they were typed */
  readonly given: Readonly<Record<string, unknown>>
}

/** Options and the other words of the command line. Throws UsageError. */
export async function parseCommandLine(argv: readonly string[]): Promise<CommandLine> {
  await checkWords(argv)
  const parsed: Record<string, unknown> = await parser().parse([...argv])
  const words = parsed['_']
  return { said: layerOf(parsed), words: Array.isArray(words) ? words.map(String) : [], given: parsed }
}

/** The text of --help. */
export async function help(): Promise<string> {
  return parser({ choices: true }).getHelp()
}

/** Prints a completion script for the user's shell. */
export function showCompletionScript(): void {
  parser().completion('--completion', false).showCompletionScript()
}

/** What could stand in place of the last word; `profiles` where a server can. */
export async function completions(words: readonly string[], profiles: readonly string[] = []): Promise<string[]> {
  const found = await parser({ choices: true }).getCompletion([...words])
  // yargs lists the letters too, with two dashes.
  return [...serversFor(words, profiles), ...found.filter((word) => !/^--.(?:[:\t]|$)/.test(word))]
}

/** Profiles that go on with the last word: the first one that is no option, and none that it has already. */
function serversFor(words: readonly string[], profiles: readonly string[]): string[] {
  const [, ...before] = words.slice(0, -1)
  const last = words.at(-1) ?? ''
  let takesValue = false
  for (const word of before) {
    const said: Said[] = takesValue ? [] : optionsIn(word)
    const isPlain = !takesValue && said.length === 0
    if (isPlain || said.some(({ name }) => name === 'all' || name === 'mx')) return []
    takesValue = said.some(({ row, attached }) => (row?.kind === 'value' || row?.kind === 'list') && !attached)
  }
  if (takesValue || last.startsWith('-')) return []
  const given = last.split(',').slice(0, -1)
  const front = given.map((word) => `${word},`).join('')
  const left = profiles.filter((name) => !given.includes(name))
  return left.map((name) => front + name).filter((name) => name.startsWith(last))
}

/** Refuses unknown options and missing values in words of our own; what passes here, yargs understands. */
async function checkWords(argv: readonly string[]): Promise<void> {
  for (let at = 0; at < argv.length && argv[at] !== '--'; at++) {
    const word = argv[at] ?? ''
    for (const { name, row, attached } of optionsIn(word)) {
      if (row === undefined) throw await unknownOption(name, word)
      const wantsValue = row.kind === 'value' || row.kind === 'list'
      // yargs would take these two words for a flag's value.
      const isTaken = !wantsValue && /^(?:true|false)$/.test(argv[at + 1] ?? '')
      if (!wantsValue && (attached || isTaken)) {
        throw new UsageError(`${dashed(name)} takes no value: type ${dashed(name)} alone`)
      }
      if (!wantsValue || attached) continue
      const next = argv[++at]
      if (next === undefined || /^-./.test(next)) {
        throw new UsageError(`${dashed(name)} needs a value, for example ${dashed(name)} ${row.example ?? ''}`)
      }
    }
  }
}

type Said = { readonly name: string; readonly row: Row | undefined; readonly attached: boolean }

/** The options that one word holds: `--name`, `--name=value`, `-kq`, `-p25`; none in any other word. */
function optionsIn(word: string): Said[] {
  const long = /^--([^=]+)(=)?/.exec(word)
  if (long !== null) {
    const [, name = '', equals] = long
    return [{ name, row: name.length > 1 ? ROWS.get(name) : undefined, attached: equals !== undefined }]
  }
  const said: Said[] = []
  for (let rest = /^-(.+)/.exec(word)?.[1] ?? ''; rest !== '';) {
    const name = rest.slice(0, 1)
    const row = [...ROWS].find(([key, r]) => key === name || r.alias === name)?.[1]
    const takesRest = row === undefined || row.kind === 'value' || row.kind === 'list' || rest[1] === '='
    // After another letter yargs takes a digit for that one's value.
    const isLost = said.length > 0 && /^\d/.test(name)
    said.push({ name: isLost ? rest : name, row: isLost ? undefined : row, attached: takesRest && rest.length > 1 })
    rest = takesRest ? '' : rest.slice(1)
  }
  // yargs takes several digits for a number, not for two options.
  return said.length > 1 && /^-\d+$/.test(word) ? [{ name: word.slice(1), row: undefined, attached: false }] : said
}

async function unknownOption(name: string, word: string): Promise<UsageError> {
  if (name === 'no-color') return new UsageError('unknown option --no-color; did you mean --color never?')
  const { nearest } = await import('./nearest.js')
  const known = [...ROWS.keys()]
  // -version is meant as --version.
  const long = name.length > 1 ? name : known.find((key) => `-${key}` === word)
  if (long === undefined || /^\d+$|^no-/.test(long)) {
    const shown = /^-\d+$/.test(word) || name.length === 1 ? `-${name}` : word.replace(/=.*/s, '')
    return new UsageError(`unknown option ${printable(shown)}; etrn --help lists them all`)
  }
  return new UsageError(
    `unknown option ${printable(word.replace(/=.*/s, ''))}; did you mean ${dashed(nearest(long, known))}?`,
  )
}

function parser({ choices = false } = {}) {
  const options = [...ROWS].map(([name, row]) => [
    name,
    {
      describe: row.placeholder === undefined ? row.describe : `${row.placeholder}: ${row.describe}`,
      group: `${row.group}:`,
      ...(row.kind === 'flag'
        ? { type: 'boolean' }
        : row.kind === 'counter'
          ? { type: 'count' }
          : { type: 'string', nargs: 1 }),
      ...(row.alias === undefined ? {} : { alias: row.alias }),
      ...(row.default === undefined ? {} : { defaultDescription: row.default }),
      ...(choices && row.choices !== undefined ? { choices: row.choices } : {}),
    },
  ])
  return yargs()
    .help(false)
    .version(false)
    .locale('en')
    .exitProcess(false)
    .scriptName('etrn')
    .usage(USAGE)
    .epilogue(EPILOGUE)
    .options(Object.fromEntries(options))
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'dot-notation': false,
      'boolean-negation': false,
      'camel-case-expansion': false,
    })
    .fail((message, error: Error | undefined) => {
      throw error ?? new UsageError(message)
    })
}

const USAGE = `etrn [options] SERVER[,SERVER...] [NAME ...]
etrn [options] --mx DOMAIN [NAME ...]
etrn [options] --all

Asks a mail server to send the mail that it holds for your site, now
(ETRN, RFC 1985).

SERVER\thost, host:port, 192.0.2.1, [2001:db8::1]:port, smtp://host,\n\tsmtps://host; a profile of the configuration
NAME\tsite.example, @site.example (with its subdomains), '#queue';
none:\tthis host's own name`

const EPILOGUE = `Exit status: 0 every name was accepted, 64 bad usage, 65 a name was rejected,
66 no such file, 68 no such host, 69 no ETRN there, 75 worth trying again,
76 not SMTP, 77 not allowed, 78 bad configuration; 2 --wait can't tell.
More of it, and examples: man etrn`
