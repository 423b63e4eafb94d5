import assert from 'node:assert/strict'
import { chmodSync, lchownSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { suite, test } from 'node:test'
import type { PartialOptions } from '../../src/command/options.js'
import { createNameReader, noNameError, typedNames } from '../../src/command/requested-names.js'
import { ownHostName } from '../../src/net/this-host.js'
import { assertRefused, etrn, etrnJson } from '../helpers/command.js'
import { makeFile, makeFolder } from '../helpers/files.js'
import { NO_SOURCES, settle } from '../helpers/options.js'
import { etrnSteps, scripted, sessionWith } from '../helpers/scripted-server.js'

const HELO = 'helo = "gw.site.example"\n'

suite('requested-names: which source counts', { concurrency: true }, () => {
  test('names on the command line replace all names of the profile', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('c.example', '250 OK')))
    const toml = `${HELO}[servers.isp]\nserver = "127.0.0.1:${server.port}"\nnames = ["a.example"]\nqueue = ["q"]\n`
    assert.equal((await etrn(['--config', makeFile(t, 'config.toml', toml), 'isp', 'c.example'])).status, 0)
  })
  test('names at the top of the file count if neither the command line nor the profile has any', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('top.example', '250 OK')))
    const toml = `${HELO}names = ["top.example"]\n[servers.isp]\nserver = "127.0.0.1:${server.port}"\n`
    assert.equal((await etrn(['--config', makeFile(t, 'config.toml', toml), 'isp'])).status, 0)
  })
  test('are requested in the order words, --subdomains, --queue, --names-from, each once', async (t) => {
    const names = ['a.example', '@b.example', '#c', 'd.example', 'e.example']
    const server = await scripted(t, sessionWith(...names.flatMap((name) => etrnSteps(name, '250 OK'))))
    const list = makeFile(t, 'names', 'd.example\na.example\n')
    const target = [`127.0.0.1:${server.port}`, 'a.example', '--helo', 'gw.site.example', '--jobs', '1']
    const options = ['--names-from', list, '--queue', 'c', '--subdomains', 'b.example', '--names-from', '-']
    const run = await etrnJson([...target, ...options], { input: 'e.example\n' })
    assert.deepEqual(
      run.document.servers[0]?.names.map(({ name }) => name),
      names,
    )
    assert.equal(run.status, 0)
  })
})

suite('requested-names: standard input', { concurrency: true }, () => {
  test('two profiles with a different allow-wide both get the names of standard input', async (t) => {
    const isp = await scripted(t, sessionWith(...etrnSteps('a.example', '250 OK'), ...etrnSteps('b', '250 OK')))
    const backup = await scripted(t, sessionWith(...etrnSteps('a.example', '250 OK')))
    const profile = (name: string, { port }: { port: number }, rest: string): string =>
      `[servers.${name}]\nserver = "127.0.0.1:${port}"\nnames-from = ["-"]\n${rest}`
    const toml = `${HELO}jobs = 1\n${profile('isp', isp, 'allow-wide = true\n')}${profile('backup', backup, '')}`
    const run = await etrnJson(['--config', makeFile(t, 'config.toml', toml), 'isp,backup'], {
      input: 'a.example\nb\n',
    })
    assert.deepEqual(
      run.document.servers.map(({ names }) => names.map(({ outcome }) => outcome)),
      [
        ['started', 'started'],
        ['started', 'rejected'],
      ],
    )
    assert.equal(run.status, 65)
  })
})

suite('requested-names: refused names', { concurrency: true }, () => {
  test('reports # in the value of --queue', async () =>
    assertRefused(
      ['mx', '--queue', '#q'],
      'etrn: --queue "#q" must not start with #; write, for example, --queue uucp\n',
    ))
  test('reports @ in the value of --subdomains', async () =>
    assertRefused(
      ['mx', '--subdomains', '@a.example'],
      'etrn: --subdomains "@a.example" must not start with @; write, for example, --subdomains site.example\n',
    ))
  test('reports names that are joined by a comma', async () =>
    assertRefused(
      ['mx', 'a.example,b.example'],
      'etrn: name "a.example,b.example" contains a comma; write each name separately: a.example b.example\n',
    ))
  test('reports values of a repeated option that are joined by a comma', async () => {
    await assertRefused(
      ['mx', '--subdomains', 'a.example,b.example'],
      'etrn: --subdomains "a.example,b.example" contains several names; repeat the option: --subdomains a.example --subdomains b.example\n',
    )
    await assertRefused(
      ['--mx', 'a.example,b.example'],
      'etrn: --mx "a.example,b.example" is not a fully qualified domain name; repeat the option: --mx a.example --mx b.example\n',
    )
  })
  test('reports a server that stands after a name', async () =>
    assertRefused(
      ['a.example', 'mx:25'],
      'etrn: name "mx:25" looks like a server; the server comes first: etrn mx:25 NAME (separate several servers with commas)\n',
    ))
  test('reports 66 if standard input has no name', async () =>
    assertRefused(
      ['127.0.0.1', '--names-from', '-'],
      /^etrn: standard input contains no name; write one name per line\n$/,
      66,
    ))
  test('reports 66 if standard input has no name, and --failed-to names a file -', async () =>
    assertRefused(
      ['127.0.0.1', '--names-from', '-', '--failed-to', './-'],
      /^etrn: standard input contains no name; /,
      66,
    ))
  test('reports 66 and the file that has no name', async (t) => {
    const file = makeFile(t, 'names', '\n')
    await assertRefused(
      ['127.0.0.1', '--names-from', file],
      `etrn: ${file} contains no name; write one name per line\n`,
      66,
    )
  })
})

suite('createNameReader', () => {
  const createReader = (input = '') => {
    const warnings: string[] = []
    let inputs = 0
    const read = createNameReader({
      ...NO_SOURCES,
      input: () => {
        inputs++
        return new PassThrough().end(input)
      },
      warn: (message) => warnings.push(message),
    })
    return {
      read: async (options: PartialOptions, domain?: string) => read(settle(options), 'isp', domain),
      warnings,
      countInputs: () => inputs,
    }
  }
  test('reads standard input once for two servers with different names', async () => {
    const { read, countInputs } = createReader('a.example\n')
    assert.deepEqual(await read({ 'names-from': ['-'] }), ['a.example'])
    assert.deepEqual(await read({ 'names-from': ['-'], queue: ['q'] }), ['#q', 'a.example'])
    assert.equal(countInputs(), 1)
  })
  test('reads standard input once under each of its names', async () => {
    const { read, countInputs } = createReader('a.example\n')
    for (const path of ['-', '/dev/stdin', '/dev/fd/0', '/proc/self/fd/0', '/proc/thread-self/fd/0'])
      assert.deepEqual(await read({ 'names-from': [path] }), ['a.example'])
    assert.equal(countInputs(), 1)
  })
  test('reads a file once that is named twice', async () => {
    const { read } = createReader('a b\n')
    assert.equal((await read({ 'names-from': ['-', '-'] })).length, 1)
  })
  test('warns of a file that others can change', async (t) => {
    const { read, warnings } = createReader()
    const file = makeFile(t, 'names.txt', 'a.example\n')
    await read({ 'names-from': [file] })
    assert.deepEqual(warnings, [])
    chmodSync(file, 0o666)
    const exposed = createReader()
    await exposed.read({ 'names-from': [file] })
    assert.match(
      exposed.warnings.join(),
      /^etrn: warning: the list of names in \S+ is not safe: other users can write to the file \(chmod o-w /,
    )
  })
  const needsRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' }
  test("shows nothing of a bad line behind another user's link, in a file of that user", needsRoot, async (t) => {
    const secret = makeFile(t, 'secret', 'root:secret:\n', 0o600)
    const link = join(makeFolder(t), 'link')
    symlinkSync(secret, link)
    const before = await createReader().read({ 'names-from': [link] })
    for (const path of [link, secret]) lchownSync(path, 1234, 1234)
    const after = await createReader().read({ 'names-from': [link] })
    assert.deepEqual(
      [before, after].map((entries) => JSON.stringify(entries).includes('secret')),
      [true, false],
    )
  })
  test('takes the domain of --mx if there is no name, without a warning', async () => {
    const { read, warnings } = createReader()
    assert.deepEqual([await read({}, 'site.example'), warnings], [['site.example'], []])
  })
  test("takes this host's own name if there is no name, with a warning that names the server", async () => {
    const own = ownHostName()
    const { read, warnings } = createReader()
    if (own === undefined) {
      await assert.rejects(read({}), noNameError())
      assert.deepEqual(await read({ check: true }), [])
    } else {
      assert.deepEqual(await read({}), [own])
      assert.deepEqual(warnings, [`etrn: no NAME given; requesting ${own}, the name of this host, from the server isp`])
    }
  })
  test('parses a file again for other rules, but reads standard input once', async () => {
    const { read, countInputs } = createReader('single\n')
    assert.equal(typeof (await read({ 'names-from': ['-'] }))[0], 'object')
    assert.deepEqual(await read({ 'names-from': ['-'], 'allow-wide': true }), ['single'])
    assert.equal(countInputs(), 1)
  })
  test('allows a wide name with --allow-wide only', async () => {
    for (const options of [{ names: ['single'] }, { subdomains: ['com'] }]) {
      await assert.rejects(typedNames(settle(options)), /is (?:not fully qualified|too wide)/)
      assert.equal((await typedNames(settle({ ...options, 'allow-wide': true }))).length, 1)
    }
    const { read } = createReader('single\n')
    assert.deepEqual(await read({ 'names-from': ['-'], 'allow-wide': true }), ['single'])
  })
})
