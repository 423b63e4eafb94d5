import assert from 'node:assert/strict'
import { test } from 'node:test'
import { etrn, type Finished } from './command.js'
import { BYE, type Conversation, scripted, type Step } from './scripted-server.js'

export const PASSWORD = 'sesame, open "yourself"'
/** The environment that holds the password */
export const PASSWORD_ENVIRONMENT = { ETRN_PASSWORD: PASSWORD }
export const encodeBase64 = (text: string): string => Buffer.from(text).toString('base64')
/** The AUTH command for the user "site" and the password */
export const AUTH_PLAIN = `AUTH PLAIN ${encodeBase64(`\0site\0${PASSWORD}`)}`

/** Returns the steps of EHLO and a reply that lists these keywords. */
export const ehloSteps = (...keywords: readonly string[]): Step[] => [
  'C: EHLO gw.site.example',
  'S: 250-mx.example',
  ...keywords.map((keyword): Step => `S: 250-${keyword}`),
  'S: 250 HELP',
]
/** Returns a session with these steps between the greeting and QUIT. */
export const greetedSession = (...steps: readonly Step[]): Conversation => ['S: 220 mx.example ESMTP', ...steps, ...BYE]
export const ETRN_ACCEPTED: readonly Step[] = ['C: ETRN site.example', 'S: 250 OK']

/** Asserts that no output contains the password or a form of it that SASL sends. */
export function assertSecret({ stdout, stderr }: Pick<Finished, 'stdout' | 'stderr'>): void {
  for (const secret of [PASSWORD, encodeBase64(PASSWORD), encodeBase64(`\0site\0${PASSWORD}`), 'sesame'])
    assert.ok(!(stdout + stderr).includes(secret), `${secret} in ${stdout}${stderr}`)
}

export type LoginCase = {
  readonly conversations: readonly Conversation[]
  readonly args?: readonly string[]
  readonly status: number
  /** The pattern of standard error without -v and --json */
  readonly stderr?: RegExp
  readonly env?: Readonly<Record<string, string>>
}

/** Defines a test that logs in as "site" with -v, with --json -v and with neither, and that finds the password in no output. */
export const testLogin = (title: string, { conversations, args = [], status, stderr, env }: LoginCase): void =>
  void test(title, async (t) => {
    for (const form of [['-v'], ['--json', '-v'], []]) {
      const server = await scripted(t, ...conversations)
      const target = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example']
      const run = await etrn([...target, ...args, ...form], { env: env ?? PASSWORD_ENVIRONMENT })
      await server.verify()
      assertSecret(run)
      assert.equal(run.status, status)
      if (form.length === 0 && stderr !== undefined) assert.match(run.stderr, stderr)
    }
  })
