import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { ask } from '../../src/index.js'
import { ownHostName } from '../../src/net/this-host.js'
import { fixture, fixturePath, makeFile, makeFolder, packageFile, ROOT } from '../helpers/files.js'
import { BYE, type Conversation, HELLO, scripted } from '../helpers/scripted-server.js'

const OPTIONS = { helo: 'gw.site.example' }

suite("the library page's examples", () => {
  const page = packageFile('man/library.md')

  /** Runs an example with another server, other files and the path of etrn. Returns its output. */
  const runExample = async (
    t: TestContext,
    example: string,
    conversation: Conversation | undefined,
    { replace = {}, args = [] }: { replace?: Record<string, string>; args?: readonly string[] } = {},
  ): Promise<string> => {
    const code = packageFile(`test/examples/${example}.ts`)
    const indented = code.replace(/^(?=.)/gm, '    ')
    assert.ok(page.includes(`\n\n${indented}\n`), `man/library.md contains test/examples/${example}.ts, word for word`)
    const { port } = await scripted(t, ...(conversation === undefined ? [] : [conversation]))
    const folder = makeFolder(t)
    const replacements = {
      "'etrn'": `'${new URL('dist/index.js', ROOT).href}'`,
      'mail.isp.example': `127.0.0.1:${port}`,
      ...replace,
    }
    const runnable = Object.entries(replacements).reduce((text, [from, to]) => text.replace(from, to), code)
    writeFileSync(join(folder, 'example.mjs'), runnable)
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(folder, 'example.mjs'), ...args])
    return stdout + stderr
  }

  const ehlo = `EHLO ${ownHostName() ?? '[127.0.0.1]'}`
  const hello: Conversation = [`C: ${ehlo}`, 'S: 250-mx.example', 'S: 250 ETRN']

  test('the table of report fields lists each field of a report, and no other', async (t) => {
    const { port } = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE])
    const report = await ask(`127.0.0.1:${port}`, ['site.example'], OPTIONS)
    const [, table = ''] = /^\| report \|.*\n((?:\|.*\n)+)/m.exec(page) ?? []
    const fields = [...table.matchAll(/^\|([^|]*)/gm)].flatMap(([, cell = '']) => cell.match(/\w+/g) ?? [])
    assert.deepEqual(Object.keys(report).sort(), fields.sort())
  })
  test('the table of options lists options that exist', async () => {
    const [, table = ''] = /^\| option \|.*\n((?:\|.*\n)+)/m.exec(page) ?? []
    const options = [...table.matchAll(/^\|([^|]*)/gm)].flatMap(([, cell = '']) => cell.match(/\w+/g) ?? [])
    assert.ok(options.length > 0)
    for (const option of options) {
      // A symbol is no option's value, and an unknown option would be named otherwise.
      const request = ask('127.0.0.1:1', ['site.example'], { [option]: Symbol() })
      await assert.rejects(request, { name: 'UsageError', message: new RegExp(`^${option} must `) })
    }
  })
  test('first.ts prints the results of two names', async (t) => {
    const replies: Conversation = [
      ...(['C: ETRN site.example', 'S: 253 OK, 2 pending messages for node site.example started'] as const),
      ...(['C: ETRN @sub.site.example', 'S: 458 later'] as const),
    ]
    assert.equal(
      await runExample(t, 'first', ['S: 220 mx.example', ...hello, ...replies, ...BYE]),
      `site.example pending 2 OK, 2 pending messages for node site.example started
@sub.site.example deferred null later
`,
    )
  })
  test('login.ts logs in over verified TLS', async (t) => {
    const password = makeFile(t, 'password', 'secret\n')
    const listed = [`C: ${ehlo}`, 'S: 250-mx.example', 'S: 250-AUTH PLAIN', 'S: 250 ETRN'] as const
    const output = await runExample(
      t,
      'login',
      [
        ...['S: 220 mx.example', `C: ${ehlo}`, 'S: 250-mx.example', 'S: 250 STARTTLS'],
        ...['C: STARTTLS', 'S: 220 go ahead'],
        { tls: { key: fixture('mx.key'), cert: fixture('mx.pem') } },
        ...listed,
        ...[`C: AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`, 'S: 235 welcome'],
        ...['C: ETRN site.example', 'S: 250 OK'],
        ...BYE,
      ] as Conversation,
      { replace: { '/etc/ssl/isp.pem': fixturePath('ca.pem'), '/etc/etrn.password': password } },
    )
    assert.equal(output, 'TLSv1.3 true started\n')
  })
  test('trace.ts prints each command, and that a deferred name can be tried again', async (t) => {
    const conversation: Conversation = ['S: 220 mx.example', ...hello, 'C: ETRN site.example', 'S: 458 later', ...BYE]
    assert.equal(
      await runExample(t, 'trace', conversation, { args: ['site.example'] }),
      `session 1: ${ehlo}
session 1: ETRN site.example
site.example deferred
session 1: QUIT
try again later
`,
    )
  })
  test('trace.ts prints that the provider must help with a refused name', async (t) => {
    const conversation: Conversation = ['S: 220 mx.example', ...hello, 'C: ETRN site.example', 'S: 459 no', ...BYE]
    assert.match(await runExample(t, 'trace', conversation, { args: ['site.example'] }), /\nask your provider\n$/)
  })
  test('trace.ts prints that nothing was sent for an invalid name', async (t) => {
    const output = await runExample(t, 'trace', undefined, { args: ['no name'] })
    assert.match(output, /^nothing was sent: .*no name.*\n$/)
  })
})
