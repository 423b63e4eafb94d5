import { fileURLToPath } from 'node:url'
import { packageFile } from '../helpers/files.js'

// `release.ts TAG OWNER/NAME`, as .github/workflows/release.yml runs it: checks that a tag of a GitHub repository may be published.

export type Release = {
  readonly tag: string
  /** The GitHub repository, as OWNER/NAME */
  readonly repository: string
  readonly manifest: { readonly version: string; readonly repository?: { readonly url: string } }
  readonly changelog: string
}

/** Returns the reasons why a tag must not be published. */
export function releaseFaults({ tag, repository, manifest, changelog }: Release): string[] {
  const { version } = manifest
  const faults: string[] = []
  if (tag !== `v${version}`) faults.push(`tag ${tag} does not match version ${version} in package.json`)
  const sections = changelog.split('\n').map((line) => /^## (\S+) - \d{4}-\d\d-\d\d$/.exec(line)?.[1])
  if (!sections.includes(version)) faults.push(`CHANGELOG.md has no section "## ${version} - YYYY-MM-DD"`)
  const url = `git+https://github.com/${repository}.git`
  if (manifest.repository?.url !== url)
    faults.push(`package.json must have "repository": { "type": "git", "url": "${url}" }, for npm's provenance`)
  return faults
}

/** Returns the dist-tag of npm under which a version is published. */
export function distTag(version: string): string {
  return version.includes('-') ? 'next' : 'latest'
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , tag = '', repository = ''] = process.argv
  // npm requires a version in it.
  const manifest = JSON.parse(packageFile('package.json')) as Release['manifest']
  const faults = releaseFaults({ tag, repository, manifest, changelog: packageFile('CHANGELOG.md') })
  for (const fault of faults) console.error(`::error::${fault}`)
  if (faults.length > 0) process.exitCode = 1
  else console.log(`dist-tag=${distTag(manifest.version)}`)
}
