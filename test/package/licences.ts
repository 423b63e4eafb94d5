import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ROOT } from '../helpers/files.js'
import { bundleFiles, packageOf } from './bundles.js'

// LICENSE has our own licence and those of the bundled packages. `npx tsx test/package/licences.ts` rewrites the second part.

const readFile = (name: string): string => readFileSync(new URL(name, ROOT), 'utf8')

/** Returns the names of the packages in the bundles, sorted. */
async function bundledPackages(): Promise<string[]> {
  const modules = (await bundleFiles()).flatMap(({ modules }) => modules)
  return [...new Set(modules.flatMap((module) => packageOf(module) ?? []))].sort()
}

/** Returns the expected text of LICENSE: each licence once, after the names of its packages. */
export async function licence(): Promise<string> {
  const packagesOf = new Map<string, string[]>()
  for (const name of await bundledPackages()) {
    const folder = `node_modules/${name}/`
    const fileName = readdirSync(new URL(folder, ROOT)).find((entry) => /^licen[cs]e/i.test(entry))
    if (fileName === undefined) throw new Error(`${name} has no licence file`)
    const text = readFile(folder + fileName)
      .replaceAll('\r', '')
      .trim()
    packagesOf.set(text, [...(packagesOf.get(text) ?? []), name])
  }
  const [own = ''] = readFile('LICENSE').split(SEPARATOR)
  const others = [...packagesOf].map(([text, names]) => `${names.join(', ')}:\n\n${text}\n`)
  return [own, BUNDLED_NOTE, ...others].join(SEPARATOR)
}

const SEPARATOR = `\n${'-'.repeat(78)}\n\n`
const BUNDLED_NOTE = `The packages that are bundled with etrn have the licences that follow. The list
of public suffixes within tldts is that of publicsuffix.org, under the Mozilla
Public License 2.0 (https://mozilla.org/MPL/2.0/), with its source at
https://publicsuffix.org/list/public_suffix_list.dat.
`

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(new URL('LICENSE', ROOT), await licence())
