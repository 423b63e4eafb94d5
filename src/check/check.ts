import { EXIT, StepError } from '../errors.js'
import { chooseExchangers, formatExclusion, noExchangerError, notListedWarning } from '../etrn/mx.js'
import { mergeExitStatuses } from '../etrn/outcome.js'
import type { Request } from '../etrn/request.js'
import { type NameEntry, validNames } from '../input/names-file.js'
import { hintFor } from '../report/hints.js'
import { SessionError, sessionErrorOf, STAGE_LABELS } from '../smtp/errors.js'
import { openSession, type Server } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'
import { checkDelivery } from './delivery.js'
import { describeCertificate, type CheckFacts, type Step, StepLog, NO_CHECK_FACTS, SessionChecker } from './steps.js'

/** What was found at one server; null: not known. */
export type ServerCheck = CheckFacts & {
  readonly server: Server
  /** What would have been asked for, and the lines that are no names */
  readonly entries: readonly NameEntry[]
  readonly steps: readonly Step[]
  readonly error: SessionError | null
}

export type CheckOptions = {
  readonly signal: AbortSignal
  /** A real run would wait for this host's own server, and end where that isn't there. */
  readonly waitsForLocal: boolean
  readonly trace: (server: Server, event: TraceEvent) => void
  /** Told of each part before its steps, and of each step when it is done */
  readonly onPart: (title: string) => void
  readonly onStep: (step: Step) => void
}

export type Check = {
  readonly servers: readonly ServerCheck[]
  /** Whether what a server releases would get here */
  readonly delivery: readonly Step[]
  readonly exitStatus: number
}

/**
 * Looks at all that has to hold before ETRN can work, up to the command itself, which is not sent. The exit status is that of a real
 * run, as far as it can be known; a way back that doesn't hold is no failure. Never throws for what the network or a server does.
 */
export async function check(requests: readonly Request[], o: CheckOptions): Promise<Check> {
  const servers: ServerCheck[] = []
  // One after another: somebody reads along.
  for (const request of requests)
    servers.push(...(request.isMx ? await checkExchangers(request, o) : [await checkServer(request, o)]))
  const wayBack = new StepLog(o.onStep)
  // Whoever has had enough is told nothing of what nobody looked at.
  if (!o.signal.aborted) {
    o.onPart('the way back')
    const names = requests.flatMap(({ entries }) => validNames(entries))
    const ends = {
      seenAs: servers.flatMap(({ seenAs }) => seenAs ?? []),
      servers: servers.flatMap(({ address }) => address ?? []),
    }
    const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
    await checkDelivery(names, ends, { timeoutMs, signal: o.signal }, wayBack)
  }
  const isMissed = o.waitsForLocal && wayBack.all[0]?.ok === false
  const exitStatus = mergeExitStatuses([isMissed ? EXIT.TEMPFAIL : EXIT.OK, ...servers.flatMap(checkExitStatuses)])
  return { servers, delivery: wayBack.all, exitStatus }
}

function checkExitStatuses({ error, entries }: ServerCheck): number[] {
  const status = error?.exitStatus ?? EXIT.OK
  if (entries.length === 0) return [status, EXIT.USAGE]
  const ofEntries = entries.map((entry) => (typeof entry === 'string' ? status : EXIT.DATAERR))
  // A list of bad lines alone connects nowhere.
  return validNames(entries).length > 0 ? [...ofEntries, status] : ofEntries
}

/** The servers behind a domain, but for this site itself; where there are none, why. */
async function checkExchangers(request: Request, o: CheckOptions): Promise<ServerCheck[]> {
  const { server, settings, entries } = request
  o.onPart(`the mail exchangers of ${server.host}`)
  const steps = new StepLog(o.onStep)
  try {
    const found = await chooseExchangers(server.host, settings.self, { ...settings, signal: o.signal })
    if (found.requested.length === 0) throw noExchangerError(found.excluded)
    const leftOut = found.excluded.map((one) => `; left out: ${formatExclusion(one)}`).join('')
    const advice = found.includesSelf ? null : notListedWarning(server.host, settings.self)
    steps.add('MX', found.includesSelf ? true : null, found.requested.join(', ') + leftOut, advice)
    const checked: ServerCheck[] = []
    for (const host of found.requested)
      checked.push(await checkServer({ ...request, server: { ...server, word: host, host } }, o))
    const others = checked.filter(({ error }) => error?.kind !== 'self')
    if (others.length > 0) return others
    throw noExchangerError([...found.excluded, ...found.requested.map((host) => ({ host, reason: 'this site' }))])
  } catch (thrown) {
    if (!(thrown instanceof StepError)) throw thrown
    const error = sessionErrorOf('dns', thrown)
    steps.add('MX', false, error.message, hintForError(error, ''))
    return [{ ...NO_CHECK_FACTS, server, entries, steps: steps.all, error }]
  }
}

/** The session up to the first ETRN, step by step. */
async function checkServer({ server, entries, settings, failure }: Request, o: CheckOptions): Promise<ServerCheck> {
  o.onPart(`${server.word === server.host ? '' : `${server.word}: `}${server.host} port ${server.port}`)
  const watch = new SessionChecker(server, o.onStep)
  const { steps, secrets } = watch
  const trace = secrets.redactTrace((event) => {
    // What a warning says is a step here.
    if (event.type !== 'warning') o.trace(server, event)
    watch.addEvent(event)
  })
  const found = (error: SessionError | null): ServerCheck => ({
    ...watch.facts,
    server,
    entries,
    steps: steps.all,
    error,
  })
  try {
    if (failure !== undefined) throw failure
    const inspected = { ...server, tls: { ...server.tls, isInspected: true as const } }
    const session = await openSession(inspected, { ...settings, signal: o.signal, trace })
    await session.quit()
    watch.addConclusions()
    for (const hint of hintsForNames(entries, watch.facts.greeting ?? '')) steps.note('names', null, hint)
    if (entries.length === 0)
      steps.note('names', null, 'none is given, and this host has none of its own: a real run needs one')
    return found(null)
  } catch (thrown) {
    if (!(thrown instanceof SessionError)) throw thrown
    const error = secrets.redactError(thrown)
    const isOurs = error.kind === 'self'
    const advice = isOurs
      ? 'a NAT leads back to it: a real run leaves it out'
      : hintForError(error, watch.facts.greeting ?? '')
    const certificate = error.stage === 'tls' ? watch.facts.tls?.certificate : undefined
    const [step, text] = certificate
      ? ['certificate', describeCertificate(certificate)]
      : [error.stage === 'dns' ? 'resolve' : STAGE_LABELS[error.stage], error.message]
    watch.returnTo(error.stage)
    steps.add(step, isOurs ? null : false, text, advice)
    return found(error)
  }
}

/** Every failure has a next step, if only to show it to somebody. */
function hintForError(error: SessionError, greeting: string): string {
  const { stage, message: text, reply, hint: ownHint } = error
  const hint = hintFor({ stage, code: reply?.code ?? null, text, name: '', greeting })
  if (error.kind === 'interrupted' || error.kind === 'time-over') return ''
  return ownHint ?? hint ?? 'show your provider these lines'
}

/** What this server is known to make of names of these forms. */
function hintsForNames(entries: readonly NameEntry[], greeting: string): Set<string> {
  const hints = validNames(entries).map((name) => hintFor({ stage: 'etrn', code: 250, text: '', name, greeting }))
  return new Set(hints.filter((hint) => hint !== undefined))
}
