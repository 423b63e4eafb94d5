import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ROOT } from '../helpers/files.js'

// LICENSE holds our own licence and those of the packages that are bundled. `tsx test/licences.ts` writes the second part anew.

const root = ROOT
const file = (name: string): string => readFileSync(new URL(name, root), 'utf8')

type Output = {
  readonly imports: readonly { readonly path: string; readonly kind: string }[]
  readonly inputs: Record<string, unknown>
  readonly entryPoint?: string
}

/** The files of dist/, those of the library and the command's, as esbuild's documented metafiles have them */
export function bundled(): Record<string, Output> {
  const outputs = ['dist/meta.json', 'dist/meta-cli.json'].map(
    // As documented
    (name) => (JSON.parse(file(name)) as { readonly outputs: Record<string, Output> }).outputs,
  )
  return Object.assign({}, ...outputs) as Record<string, Output>
}

/** The packages that the bundle holds, by esbuild's own account. */
export function bundledPackages(): string[] {
  const inputs = Object.values(bundled()).flatMap((output) => Object.keys(output.inputs))
  const names = inputs.flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? [])
  return [...new Set(names)].sort()
}

/** LICENSE as it should be: each licence once, behind the packages that have it. */
export function licence(): string {
  const packagesOf = new Map<string, string[]>()
  for (const name of bundledPackages()) {
    const folder = `node_modules/${name}/`
    const found = readdirSync(new URL(folder, root)).find((entry) => /^licen[cs]e/i.test(entry))
    if (found === undefined) throw new Error(`${name} has no licence file`)
    const text = file(folder + found)
      .replaceAll('\r', '')
      .trim()
    packagesOf.set(text, [...(packagesOf.get(text) ?? []), name])
  }
  const [own = ''] = file('LICENSE').split(SEPARATOR)
  const others = [...packagesOf].map(([text, names]) => `${names.join(', ')}:\n\n${text}\n`)
  return [own, BUNDLED, ...others].join(SEPARATOR)
}

const SEPARATOR = `\n${'-'.repeat(78)}\n\n`
const BUNDLED = `The packages that are bundled with etrn have the licences that follow. The list
of public suffixes within tldts is that of publicsuffix.org, under the Mozilla
Public License 2.0 (https://mozilla.org/MPL/2.0/), with its source at
https://publicsuffix.org/list/public_suffix_list.dat.
`

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(new URL('LICENSE', root), licence())
