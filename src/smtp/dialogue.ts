import { StepError } from '../errors.js'
import type { Connection } from './connection.js'
import type { JudgedEnds } from './credentials-policy.js'
import { describeRejection, exitStatusOfReply, SessionError, sessionErrorOf, type Stage } from './errors.js'
import type { Reply } from './reply.js'
import type { Server, SessionOptions } from './session-settings.js'
import type { SecureConnection } from './tls.js'

/** A connection to a server, and what holds for the session on it. */
export type Dialogue = {
  readonly smtp: Connection
  readonly address: string
  readonly ends: JudgedEnds
  readonly helo: string
  readonly server: Server
  readonly options: SessionOptions
}

/** A connection that has replied to EHLO. */
export type GreetedDialogue = Dialogue & {
  readonly secured: SecureConnection | undefined
  readonly greeting: Reply
  readonly hello: Reply
}

/** The event that each stage waits for, as messages name it */
const AWAITED: Readonly<Record<Stage, string>> = {
  dns: 'DNS',
  connect: 'a connection',
  greeting: 'the greeting',
  ehlo: 'the reply to EHLO',
  starttls: 'the reply to STARTTLS',
  tls: 'the TLS handshake',
  auth: 'the login',
  etrn: 'the reply to ETRN',
}

/** Reports a step and its time to the trace, and adds the stage to its failure. */
export async function runStep<T>(stage: Stage, options: SessionOptions, work: () => Promise<T>): Promise<T> {
  const { trace, signal } = options
  const isTooLate = signal.aborted
  trace({ type: 'step', stage })
  const startedAt = performance.now()
  try {
    const result = await work()
    trace({ type: 'done', stage, elapsedMs: Math.round(performance.now() - startedAt) })
    return result
  } catch (error) {
    if (!(error instanceof StepError) || error instanceof SessionError) throw error
    const failure = sessionErrorOf(stage, error)
    if (error.kind !== 'time-over') throw failure
    if (isTooLate)
      throw failure.withMessage(`not contacted: ${error.message} before it was this server's turn`, TOO_LATE_HINT)
    // A limit on the whole run doesn't tell what the run was waiting for.
    const hint = 'a longer --max-time gives the server more time'
    throw failure.withMessage(`${error.message} while waiting for ${AWAITED[stage]}`, hint)
  }
}

const TOO_LATE_HINT =
  'a higher --jobs allows more sessions at the same time, and a longer --max-time gives the servers more time'

/** Returns the reply if it has this code; otherwise throws SessionError, whose message names the argument of the command. */
export function expectCode(stage: Stage, code: number, reply: Reply, argument?: string): Reply {
  if (reply.code === code) return reply
  throw new SessionError(stage, describeRejection(stage, { reply, argument }), {
    exitStatus: exitStatusOfReply(stage, reply),
    reply,
  })
}
