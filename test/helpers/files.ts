import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** The folder of the package. */
export const ROOT = new URL('./', import.meta.resolve('etrn/package.json'))
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

/** Creates a temporary folder, and removes it when the test ends. Returns its path. */
export function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Writes a file into a temporary folder of its own. Returns its path. */
export function makeFile(t: TestContext, name: string, text: string, mode = 0o644): string {
  const path = join(makeFolder(t), name)
  writeFileSync(path, text, { mode })
  return path
}
