import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { authenticate, type SendAuthLine } from '../../src/smtp/auth.js'
import { CHALLENGE_LINE_OCTETS, ReplyParser } from '../../src/smtp/reply.js'
import type { AuthContext } from '../../src/smtp/sasl.js'
import type { Credentials } from '../../src/smtp/session-settings.js'

// AUTH exchanges without a connection.

const CONTEXT = { host: 'mx.example', port: 25, exporter: undefined, hasCertificate: false }
export const CREDENTIALS: Credentials = { user: 'site', password: 'secret', mechanism: undefined }

export function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

/** A line that the client must send, and the reply, which can depend on that line. */
export type Turn = readonly [expected: string | RegExp, reply: string | ((line: string) => string)]

/** Authenticates against a server that plays these turns. Returns the lines as a transcript shows them, and adds to `secrets`. */
export async function playExchange(
  turns: readonly Turn[],
  credentials: Credentials,
  context: Partial<AuthContext> = {},
  secrets: string[] = [],
): Promise<string[]> {
  const remaining = [...turns]
  const transcript: string[] = []
  const sendLine: SendAuthLine = async (line, shown, secretsOfLine) => {
    const [expected, reply] = remaining.shift() ?? assert.fail(`the client sent another line: ${line}`)
    if (typeof expected === 'string') assert.equal(line, expected)
    else assert.match(line, expected)
    transcript.push(shown)
    secrets.push(...secretsOfLine)
    const parser = new ReplyParser()
    parser.push(Buffer.from(`${typeof reply === 'string' ? reply : reply(line)}\r\n`))
    return Promise.resolve(parser.next(CHALLENGE_LINE_OCTETS) ?? assert.fail('the reply is incomplete'))
  }
  try {
    const protection = { mechanism: undefined }
    const offered = [credentials.mechanism ?? '']
    await authenticate(sendLine, credentials, { ...CONTEXT, protection, offered, ...context })
  } finally {
    assert.equal(remaining.length, 0, 'lines that the client did not send')
  }
  return transcript
}

export function testSuccess(
  title: string,
  turns: readonly Turn[],
  credentials: Partial<Credentials>,
  context: Partial<AuthContext> = {},
): void {
  void test(title, async () => {
    await playExchange(turns, { ...CREDENTIALS, ...credentials }, context)
  })
}

export function testFailure(
  title: string,
  turns: readonly Turn[],
  credentials: Partial<Credentials>,
  status: number,
  message: RegExp,
  context: Partial<AuthContext> = {},
): void {
  void test(title, async () => {
    await assert.rejects(playExchange(turns, { ...CREDENTIALS, ...credentials }, context), (error) => {
      assert.ok(error instanceof StepError, String(error))
      assert.equal(error.exitStatus, status)
      assert.match(error.message, message)
      return true
    })
  })
}
