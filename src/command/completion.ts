import { optionsInWord, takesValue } from './arguments.js'
import { type ConfigSearch, configFilesOf } from './config-files.js'
import { readConfig } from './config.js'
import { OPTION_ROWS, type OptionRow, type Shell } from './options.js'
import type { Reader } from './read-file.js'

/** Stands for the names of files, which the shell itself completes. */
const FILES = ':files'

/** Returns what completeWords does, with the profiles of the configuration; none if it can't be read. */
export async function completeCommandLine(
  words: readonly string[],
  { environment, ...reader }: Reader & Pick<ConfigSearch, 'environment'>,
): Promise<string[]> {
  const search = { environment, uid: reader.uid, warn: (): void => undefined }
  return completeWords(words, async (file) => {
    const config = await readConfig(
      configFilesOf({ options: file === undefined ? {} : { config: file } }, search),
      reader,
    ).catch(() => undefined)
    return [...(config?.profiles.keys() ?? [])]
  })
}

/**
 * Returns what can replace the last word of a command line: options, their values, or profiles in place of SERVER. A description may
 * follow a tab. `readProfiles` receives the file of --config.
 */
export async function completeWords(
  words: readonly string[],
  readProfiles: (config: string | undefined) => Promise<readonly string[]> = async () => Promise.resolve([]),
): Promise<string[]> {
  const last = words.at(-1) ?? ''
  const { pending, isAfterDashes, hasServer, config } = scanWords(words.slice(0, -1))
  if (pending !== undefined) return completeValue(pending, last)
  if (last.startsWith('-') && !isAfterDashes) {
    const [, name = '', value] = /^--([^=]+)=(.*)$/s.exec(last) ?? []
    const row = OPTION_ROWS.get(name)
    if (value === undefined) return completeOption(last)
    if (row === undefined || !takesValue(row)) return []
    return completeValue(row, value).map((text) => (text === FILES ? text : `--${name}=${text}`))
  }
  return hasServer ? [] : completeServer(last, await readProfiles(config))
}

type ScannedWords = {
  /** The option whose value is next */
  readonly pending: OptionRow | undefined
  readonly isAfterDashes: boolean
  /** True if no server can follow. */
  readonly hasServer: boolean
  readonly config: string | undefined
}

function scanWords(words: readonly string[]): ScannedWords {
  let pending: { readonly name: string; readonly row: OptionRow } | undefined
  let isAfterDashes = false
  let hasServer = false
  let config: string | undefined
  for (const word of words) {
    const isValue = pending !== undefined && !(pending.row.isOptional && word.startsWith('-'))
    if (isValue && pending?.name === 'config') config = word
    pending = undefined
    if (isValue) continue
    const options = isAfterDashes || word === '--' ? [] : optionsInWord(word)
    if (options.length === 0 && (isAfterDashes || word !== '--')) hasServer = true
    isAfterDashes ||= word === '--'
    for (const { name, row, hasValue } of options) {
      if (name === 'all' || name === 'mx') hasServer = true
      if (name === 'config' && hasValue) config = word.replace(/^[^=]*=/, '')
      if (row !== undefined && takesValue(row) && !hasValue) pending = { name, row }
    }
  }
  return { pending: pending?.row, isAfterDashes, hasServer, config }
}

function completeOption(last: string): string[] {
  const rows = [...OPTION_ROWS].filter(([name]) => `--${name}`.startsWith(last))
  return rows.map(([name, { describe }]) => `--${name}\t${describe}`)
}

function completeValue({ isPath, choices = [] }: OptionRow, last: string): string[] {
  return isPath ? [FILES] : choices.filter((choice) => choice.toLowerCase().startsWith(last.toLowerCase()))
}

/** Returns the profiles that complete a server, or the last one of a list; without those that the list already has. */
function completeServer(last: string, profiles: readonly string[]): string[] {
  const earlier = last.split(',').slice(0, -1)
  const prefix = earlier.map((word) => `${word},`).join('')
  const remaining = profiles.filter((name) => !earlier.includes(name))
  return remaining.map((name) => prefix + name).filter((word) => word.startsWith(last))
}

/** Returns the shell that SHELL names; bash for any that has no completion of its own here. */
export function shellOf(path = ''): Shell {
  const name = path.replace(/^.*\//, '')
  return name === 'zsh' || name === 'fish' ? name : 'bash'
}

export function completionScript(shell: Shell): string {
  return { bash: BASH, zsh: ZSH, fish: FISH }[shell]
}

// bash splits words at = and : as well, and replaces only what follows them. Version 3.2 of macOS has no negative indexes.
const BASH = String.raw`# Bash completion for etrn(1). Save this file as
# ~/.local/share/bash-completion/completions/etrn, or run:
# source <(etrn --completion bash)
_etrn() {
  local word found full before value current=${'$'}{COMP_WORDS[COMP_CWORD]} count=0
  local -a typed=()
  for word in "${'$'}{COMP_WORDS[@]:1:COMP_CWORD}"; do
    if ((count > 0)) && [[ $word == [=:]* || (-n $word && ${'$'}{typed[count - 1]} == *[=:]) ]]; then
      typed[count - 1]+=$word
    else
      typed[count++]=$word
    fi
  done
  full=${'$'}{typed[count - 1]}
  [[ $current == [=:] ]] && current=
  before=${'$'}{full%"$current"}
  COMPREPLY=()
  while IFS= read -r found; do
    found=${'$'}{found%%$'\t'*}
    if [[ $found != ${FILES} ]]; then
      COMPREPLY+=("${'$'}{found#"$before"}")
      continue
    fi
    value=$full
    [[ $full == --*=* ]] && value=${'$'}{full#*=}
    found=${'$'}{full%"$value"}
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do
      COMPREPLY+=("${'$'}{found#"$before"}$word")
    done < <(compgen -f -- "$value")
  done < <("$1" --complete "${'$'}{typed[@]}" 2>/dev/null)
}
complete -F _etrn etrn
`

const ZSH = String.raw`#compdef etrn
# Zsh completion for etrn(1). Save this file as _etrn in a directory on your
# fpath. Or run, after compinit: source <(etrn --completion zsh)
_etrn() {
  local line
  local -a found
  for line in "${'$'}{(@f)$("${'$'}{words[1]}" --complete "${'$'}{(@)words[2,CURRENT - 1]}" "$PREFIX" 2>/dev/null)}"; do
    if [[ $line == ${FILES} ]]; then
      [[ $PREFIX == --*=* ]] && compset -P '*='
      _files
      return
    fi
    [[ -n $line ]] && found+=("${'$'}{${'$'}{line//:/\\:}/$'\t'/:}")
  done
  _describe etrn found
}
if [[ ${'$'}{funcstack[1]} == _etrn ]]; then
  _etrn "$@"
else
  compdef _etrn etrn
fi
`

const FISH = String.raw`# Fish completion for etrn(1). Save this file as
# ~/.config/fish/completions/etrn.fish, or run: etrn --completion fish | source
function __etrn_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l current (commandline -ct)
    set -l found ($program --complete $words "$current" 2>/dev/null)
    if test "$found" != ${FILES}
        printf '%s\n' $found
        return
    end
    set -l before (string match -r -- '^--[^=]*=' "$current")
    for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
        printf '%s%s\n' "$before" $path
    end
end
complete -c etrn -f -a '(__etrn_complete)'
`
