import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder of the package. */
export const ROOT = new URL('../../', import.meta.url)
/** The command as it is installed. */
export const BIN = fileURLToPath(new URL('bin/etrn', ROOT))

/** Returns the path of a file in test/fixtures. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`test/fixtures/${name}`, ROOT))
}

/** Returns the text of a file in test/fixtures. */
export function fixture(name: string): string {
  return readFileSync(fixturePath(name), 'utf8')
}

/** Returns the text of a file of the package. */
export function packageFile(name: string): string {
  return readFileSync(new URL(name, ROOT), 'utf8')
}
