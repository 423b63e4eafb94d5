import { Resolver } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, EXIT, StepError } from '../errors.js'
import { NameServer, NoDataError } from './name-server.js'
import { race } from './race.js'
import { firstError, isNoHost, RESOLVER_HINT } from './resolution-error.js'

/** A name server runs alone for this time, or a quarter of the timeout, before the next one is asked beside it. */
const SERVER_DELAY_MS = 1500
/** An answer that needs all servers waits for the silent ones for this time, or for half of the timeout. */
const PATIENCE_MS = 5000

/** A query to one name server. Throws StepError: 68 if there is no such record. */
export type Query<T> = (server: NameServer, signal: AbortSignal) => Promise<T>

/**
 * Asks the name servers of this host: the next one as soon as one fails, or beside it when it is silent. The first one with a record
 * wins, or with the answer that the name doesn't exist, or the proof that it has no such record. Another answer without records may come
 * from a server that has no idea (a lame one): it is certain only if every server gives it. If one has failed, or is still silent, the
 * error is 75 with that answer as its cause. The server whose address is `last` comes last.
 */
export async function askServers<T>(
  query: Query<T>,
  timeoutMs: number,
  signal: AbortSignal,
  last?: string,
): Promise<T> {
  // c-ares takes a refusal of the first server as final, so each server has a resolver of its own.
  const servers = nameServers(last)
  const running = new Set<Promise<unknown>>()
  const failures: unknown[] = []
  const ask = async (server: string): Promise<T | StepError> => {
    const nameServer = new NameServer(server, servers.length === 1)
    signal.addEventListener('abort', () => nameServer.cancel())
    const earlier = [...running]
    const ending = query(nameServer, signal)
    running.add(ending)
    try {
      return await ending
    } catch (error) {
      if (isNoHost(error) && (codeOf(error.cause) === 'ENOTFOUND' || error.cause instanceof NoDataError)) {
        // An earlier server may only be slow, and know the name: that of a VPN, for example.
        await waitForAll(earlier, patienceMs, signal)
        return error
      }
      failures.push(error)
      throw error
    } finally {
      running.delete(ending)
    }
  }
  const patienceMs = Math.min(PATIENCE_MS, timeoutMs / 2)
  const concede = async (): Promise<StepError> => {
    await waitForAll(running, patienceMs, signal)
    if (running.size > 0)
      failures.push(new StepError('no answer from DNS', { exitStatus: EXIT.TEMPFAIL, hint: RESOLVER_HINT }))
    return concededError(failures.filter((failure) => failure instanceof StepError))
  }
  const attempts = [...servers.map((server) => async () => ask(server)), concede]
  return firstAnswer(attempts, serverDelayMs(timeoutMs), signal)
}

/** Returns the first answer of a race, or throws it if it is an error. */
async function firstAnswer<T>(
  attempts: readonly (() => Promise<T | StepError>)[],
  delayMs: number,
  signal: AbortSignal,
): Promise<T> {
  const answer = await race(attempts, delayMs, signal).catch((error: unknown) => {
    throw firstError(error)
  })
  if (answer instanceof StepError) throw answer
  return answer
}

/** Returns the name servers of this host in their order, but for the one that comes last. */
function nameServers(last: string | undefined): string[] {
  return new Resolver().getServers().sort((a, b) => Number(a === last) - Number(b === last))
}

/** Returns the time that a name server has before the next one is asked beside it. */
export function serverDelayMs(timeoutMs: number): number {
  return Math.min(SERVER_DELAY_MS, timeoutMs / 4)
}

/** Waits until all promises are settled, or the time is over. Rejects if the signal aborts. */
async function waitForAll(promises: Iterable<Promise<unknown>>, timeMs: number, signal: AbortSignal): Promise<void> {
  const patience = sleep(timeMs, undefined, { ref: false, signal })
  await Promise.race([Promise.allSettled(promises), patience])
}

/** Returns the error that counts if no server has a record. Throws the failure if no server has answered. */
function concededError(failures: readonly StepError[]): StepError {
  const noRecord = failures.find(({ exitStatus }) => exitStatus === EXIT.NOHOST)
  const failure = failures.find(({ exitStatus }) => exitStatus !== EXIT.NOHOST)
  if (noRecord === undefined) throw failure ?? new Error('no name server')
  if (failure === undefined) return noRecord
  const { message, exitStatus, hint } = failure
  return new StepError(message, { exitStatus, hint, cause: noRecord.cause })
}
