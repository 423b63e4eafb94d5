import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { finished } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
import { AT_SITE, makeSite, WORLD } from '../helpers/site.js'

// The site of the examples: a network and an /etc of its own, in which commands run as a document shows them.

const ROOT = '/run/root'

/** Creates the site: its network, its host name, and a view of the file system with an empty /run and a new /etc. Called once. */
export function createSite(): void {
  makeSite()
  execFileSync('hostname', ['gw.site.example'])
  mkdirSync(ROOT)
  execFileSync('mount', ['-t', 'tmpfs', 'none', ROOT])
  for (const name of readdirSync('/')) {
    const stats = lstatSync(`/${name}`)
    if (stats.isSymbolicLink()) execFileSync('cp', ['-P', `/${name}`, ROOT])
    else if (stats.isDirectory()) {
      mkdirSync(join(ROOT, name))
      if (!['etc', 'run'].includes(name)) execFileSync('mount', ['--rbind', `/${name}`, join(ROOT, name)])
    }
  }
}

/** What the site has before a command runs */
export type SiteOptions = {
  readonly files?: Readonly<Record<string, string>>
  /** Shell scripts that stand in for programs */
  readonly programs?: Readonly<Record<string, string>>
  readonly environment?: Readonly<Record<string, string>>
  readonly input?: string
}

const HOME = '/run/home'
const BIN_FOLDER = '/run/bin'
const SYSTEM_FILES = ['passwd', 'group', 'nsswitch.conf', 'ld.so.cache', 'alternatives']

function makeFolders(t: TestContext, { files = {}, programs = {} }: SiteOptions): void {
  for (const folder of ['etc', 'run']) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'none', join(ROOT, folder)])
    t.after(() => execFileSync('umount', [join(ROOT, folder)]))
  }
  for (const name of SYSTEM_FILES.filter((file) => readdirSync('/etc').includes(file)))
    execFileSync('cp', ['-RP', `/etc/${name}`, join(ROOT, 'etc')])
  for (const folder of [HOME, BIN_FOLDER]) mkdirSync(ROOT + folder)
  const write = (path: string, text: string, mode = 0o600): void => {
    mkdirSync(dirname(ROOT + path), { recursive: true })
    writeFileSync(ROOT + path, text, { mode })
  }
  write('/etc/hosts', '127.0.0.1 localhost\n')
  write('/etc/resolv.conf', `nameserver ${WORLD[0]}\n`)
  write(`${BIN_FOLDER}/etrn`, `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`, 0o755)
  for (const [name, script] of Object.entries(programs)) write(`${BIN_FOLDER}/${name}`, `#!/bin/sh\n${script}\n`, 0o755)
  for (const [path, text] of Object.entries(files)) write(path.startsWith('/') ? path : join(HOME, path), text)
}

/** Runs a script of bash at the site. Returns its exit status, and what a terminal would show: both streams in their order. */
export async function runAtSite(
  t: TestContext,
  script: string,
  options: SiteOptions = {},
): Promise<{ status: number | null; output: string }> {
  makeFolders(t, options)
  const [enter, ...words] = AT_SITE
  const bash = ['bash', '-c', `exec 2>&1; cd ${HOME}\n${script}`]
  const child = spawn(enter, [...words, 'chroot', ROOT, ...bash], {
    env: {
      PATH: `${BIN_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME,
      LANG: 'C.UTF-8',
      ...options.environment,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  const { status, stdout } = await finished(child)
  return { status, output: stdout }
}

/** Starts the site's own mail server on port 25 of 127.0.0.1, until the test ends. */
export async function startLocalServer(t: TestContext): Promise<void> {
  const code = `require('node:net')
    .createServer((socket) => socket.on('error', () => {}).end('220 gw.site.example ESMTP Postfix\\r\\n'))
    .listen(25, '127.0.0.1', () => console.log('ready'))`
  const [enter, ...words] = AT_SITE
  const child = spawn(enter, [...words, process.execPath, '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill())
  await once(child.stdout, 'data')
}
