import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { completeWords, completionScript, shellOf } from '../../src/command/completion.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { makeFile, makeFolder, ROOT } from '../helpers/files.js'
import { optionNames } from '../helpers/option-names.js'

const PROFILES = ['isp', 'backup', 'branch']
const complete = async (...words: readonly string[]): Promise<string[]> =>
  (await completeWords(words, async () => Promise.resolve(PROFILES))).map((word) => word.replace(/\t.*/, ''))
const completes = (title: string, words: readonly string[], expected: readonly string[]): void =>
  void test(title, async () => assert.deepEqual(await complete(...words), expected))

suite('completion of options', () => {
  test('offers every option in its long form', async () =>
    assert.deepEqual(new Set(await complete('--')), new Set(optionNames().filter((name) => name.startsWith('--')))))
  test('describes an option', async () =>
    assert.deepEqual(await completeWords(['--jobs'], async () => Promise.resolve([])), [
      '--jobs\tOpen at most N sessions at once',
    ]))
  completes('offers the options that begin with the word', ['--timeo'], ['--timeout'])
  completes('offers no option after --', ['--', '-'], [])
  completes('offers no option that does not exist', ['--x'], [])
})

suite('completion of values', () => {
  completes('offers the choices of an option', ['--color', ''], ['auto', 'always', 'never'])
  completes('offers the choices that begin with the word', ['--tls', 'v'], ['verify'])
  completes('offers the choices behind =', ['--tls=v'], ['--tls=verify'])
  completes('offers every choice behind =', ['--color='], ['--color=auto', '--color=always', '--color=never'])
  completes('offers choices in another case', ['--auth', 'pl'], ['PLAIN'])
  completes('offers the shells', ['--completion', ''], ['bash', 'zsh', 'fish'])
  completes('offers the kinds of hooks', ['--hook', 'c'], ['cron'])
  completes('offers files for a file', ['--tls-ca', '/etc/'], [':files'])
  completes('offers files for a list of names', ['--names-from', ''], [':files'])
  completes('offers files behind =', ['--config=/etc/'], [':files'])
  for (const option of ['--helo', '--interface', '--timeout', '--mx', '--user', '--tls-name', '--queue', '-p'])
    completes(`offers nothing for the value of ${option}`, [option, ''], [])
  completes('offers nothing for a value that begins with a dash', ['--helo', '-'], [])
  completes('offers nothing behind the = of a flag', ['--json='], [])
  completes('offers nothing behind the = of an unknown option', ['--xyzzy=a'], [])
})

suite('completion of profiles', () => {
  completes('offers every profile for an empty word', [''], PROFILES)
  completes('offers the profiles that begin with the word', ['b'], ['backup', 'branch'])
  completes('offers the profiles that a list lacks', ['isp,b'], ['isp,backup', 'isp,branch'])
  completes('offers nothing for a word that no profile begins with', ['x'], [])
  completes('offers nothing after a server', ['isp', 'b'], [])
  completes('offers nothing after a server and an option', ['isp', '-k', 'b'], [])
  completes('offers nothing with --all', ['--all', ''], [])
  completes('offers nothing with --mx DOMAIN', ['--mx', 'a.example', ''], [])
  completes('offers nothing with --mx=DOMAIN', ['--mx=a.example', 'b'], [])
  completes('offers them after options with their values', ['--helo', 'x', '--port=25', '-p25', '-kq', 'i'], ['isp'])
  completes('offers them after --', ['--', 'i'], ['isp'])
  completes('offers them after an option whose value may be left out', ['--completion', '-k', 'i'], ['isp'])

  test('reads them from the configuration of the user', async (t) => {
    const folder = makeFolder(t)
    mkdirSync(join(folder, '.config/etrn'), { recursive: true })
    writeFileSync(join(folder, '.config/etrn/config.toml'), '[servers.isp]\nserver = "b.invalid"\n')
    const uid = process.getuid?.() || 1000
    const user = { env: { HOME: folder }, user: { uid } }
    assert.equal((await etrn(['--complete', 'i'], user)).stdout, 'isp\n')
    assert.equal((await etrn(['--complete', '--tls', 'v'], user)).stdout, 'verify\n')
  })
  test('reads them from the file of --config', async (t) => {
    const config = makeFile(t, 'config.toml', '[servers.other]\nserver = "b.invalid"\n')
    for (const words of [['--config', config], [`--config=${config}`]])
      assert.equal((await etrn(['--complete', ...words, ''])).stdout, 'other\n')
  })
  test('offers nothing if the configuration is wrong', async (t) => {
    const run = await etrn(['--complete', '--config', makeFile(t, 'config.toml', 'x'), ''])
    assert.deepEqual([run.status, run.stdout, run.stderr], [0, '', ''])
  })
})

suite('--completion', () => {
  for (const [path, shell] of [
    ['/bin/bash', 'bash'],
    ['/usr/bin/zsh', 'zsh'],
    ['fish', 'fish'],
    ['/bin/sh', 'bash'],
    ['', 'bash'],
    [undefined, 'bash'],
  ] as const)
    test(`prints the script for ${shell} if SHELL is ${path}`, async () => {
      assert.equal(shellOf(path), shell)
      const { stdout } = await etrn(['--completion'], { env: path === undefined ? {} : { SHELL: path } })
      assert.equal(stdout, completionScript(shell))
    })
  for (const shell of ['bash', 'zsh', 'fish'] as const)
    test(`prints the script for ${shell} if it is named, whatever SHELL is`, async () => {
      for (const words of [['--completion', shell], [`--completion=${shell}`]])
        assert.equal((await etrn(words, { env: { SHELL: '/bin/dash' } })).stdout, completionScript(shell))
    })
  test('refuses a shell that it does not know', async () =>
    assertRefused(
      ['--completion', 'ksh'],
      'etrn: --completion "ksh" must be bash, zsh or fish; write, for example, --completion zsh\n',
    ))
})

/** Returns the reason to skip the test of a shell that is not installed. */
const missing = (shell: string): string | false =>
  spawnSync(shell, ['-c', ':']).status === 0 ? false : `${shell} is not installed`

/** Runs a script in a shell that finds etrn. Its HOME is the folder, since fish creates files there. */
const run = (shell: string, script: string, folder: string): string => {
  const env = { PATH: `${new URL('bin', ROOT).pathname}:${process.env['PATH'] ?? ''}`, HOME: folder }
  return execFileSync(shell, ['-c', script], { env, encoding: 'utf8', cwd: folder })
}

suite('the completion script', () => {
  test('for bash completes words, also those that bash splits at =', (t) => {
    const cwd = makeFolder(t)
    writeFileSync(join(cwd, 'ca one.pem'), '')
    writeFileSync(
      join(cwd, 'config.toml'),
      '[servers.isp]\nserver = "a.invalid"\n[servers.backup]\nserver = "b.invalid"\n',
    )
    const tried = [
      ['(etrn --tim)', '<--timeout>'],
      ['(etrn --tls v)', '<verify>'],
      ['(etrn --tls = v)', '<verify>'],
      ['(etrn --color =)', '<auto><always><never>'],
      ['(etrn --tls=v)', '<--tls=verify>'],
      ['(etrn --helo "")', ''],
      ['(etrn --helo -)', ''],
      ['(etrn --interface "")', ''],
      ['(etrn --tls-ca ca)', '<ca one.pem>'],
      ['(etrn --tls-ca = ca)', '<ca one.pem>'],
      ['(etrn --tls-ca=ca)', '<--tls-ca=ca one.pem>'],
      ['(etrn --config config.toml "")', '<isp><backup>'],
      ['(etrn --config = config.toml isp,b)', '<isp,backup>'],
      ['(etrn mail.isp.example : 25 "")', ''],
      ['(etrn --completion z)', '<zsh>'],
    ] as const
    const lines = tried.map(
      ([words]) =>
        `COMP_WORDS=${words}; COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _etrn etrn "" ""; printf '<%s>' "\${COMPREPLY[@]}"; echo`,
    )
    const output = run('bash', [completionScript('bash'), 'complete -p etrn', ...lines].join('\n'), cwd)
    assert.deepEqual(output.trimEnd().split('\n'), [
      'complete -F _etrn etrn',
      ...tried.map(([, found]) => (found === '' ? '<>' : found)),
    ])
  })
  test(
    'for zsh hands words with their descriptions, or files, to the completion system',
    { skip: missing('zsh') },
    (t) => {
      const config = makeFile(t, 'config.toml', '[servers.isp]\nserver = "a.invalid"\n')
      // The functions of the completion system work in an interactive shell only.
      const system = `compdef() { print -r -- compdef "$@" }
      _describe() { print -rl -- "\${(@P)2}" }
      _files() { print -r -- "files $PREFIX" }
      compset() { PREFIX=\${PREFIX#*=} }`
      const tried = [
        [['--max-t'], '--max-time:End the whole run after DUR'],
        [['--tls', 'v'], 'verify'],
        [['--tls=v'], '--tls=verify'],
        [['--tls-ca', 'ca'], 'files ca'],
        [['--tls-ca=ca'], 'files ca'],
        [['--config', config, ''], 'isp'],
        [['--helo', ''], ''],
      ] as const
      const lines = tried.map(
        ([words]) =>
          `words=(etrn ${words.map((word) => `'${word}'`).join(' ')}); CURRENT=$#words; PREFIX=$words[-1]; _etrn`,
      )
      const output = run('zsh', [system, completionScript('zsh'), ...lines].join('\n'), makeFolder(t))
      assert.deepEqual(
        output.trimEnd().split('\n'),
        ['compdef _etrn etrn', ...tried.map(([, found]) => found)].slice(0, -1),
      )
    },
  )
  test('for fish completes words and files', { skip: missing('fish') }, (t) => {
    const cwd = makeFolder(t)
    writeFileSync(join(cwd, 'ca.pem'), '')
    for (const [line, found] of [
      ['etrn --timeo', '--timeout'],
      ['etrn --tls v', 'verify'],
      ['etrn --tls=v', '--tls=verify'],
      ['etrn --tls-ca ca', 'ca.pem'],
      ['etrn --tls-ca=ca', '--tls-ca=ca.pem'],
      ['etrn --helo ', ''],
    ] as const) {
      const output = run('fish', `${completionScript('fish')}\ncomplete -C '${line}'`, cwd)
      assert.equal(output.split('\n')[0]?.split('\t')[0], found, line)
    }
  })
})
