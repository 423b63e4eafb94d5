import { canonical } from './dns.js'
import { isIP } from 'node:net'
import { hintFor } from './hints.js'
import { exchangersOf } from './mx.js'
import type { Entry } from './names.js'
import { combined, EXIT, SessionError, type Stage, StepError } from './outcome.js'
import type { Request } from './run.js'
import { Secrets } from './secrets.js'
import { type Extensions, open, type Server, type TraceEvent } from './smtp/session.js'
import type { Certificate, TlsInfo } from './smtp/tls.js'
import { checkWayBack, isPrivate, type Step } from './way-back.js'

/** What was found at one server; null: not known. */
export type ServerCheck = Facts & {
  readonly server: Server
  /** What would have been asked for, and the lines that are no names */
  readonly entries: readonly Entry[]
  readonly steps: readonly Step[]
  readonly error: SessionError | null
}

type Facts = {
  readonly address: string | null
  readonly tls: TlsInfo | null
  readonly greeting: string | null
  readonly software: string | null
  readonly extensions: Extensions | null
  /** This host's address as the server sees it */
  readonly seenAs: string | null
}

export type CheckOptions = {
  readonly signal: AbortSignal
  readonly trace: (server: Server, event: TraceEvent) => void
  /** Told of each part before its steps, and of each step when it is done */
  readonly onPart: (title: string) => void
  readonly onStep: (step: Step) => void
}

export type Check = {
  readonly servers: readonly ServerCheck[]
  /** Whether what a server releases would get here */
  readonly wayBack: readonly Step[]
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
  o.onPart('the way back')
  const names = requests.flatMap(({ entries }) => entries).filter((entry) => typeof entry === 'string')
  const ends = {
    seenAs: servers.flatMap((server) => server.seenAs ?? []),
    servers: servers.flatMap(({ address }) => address ?? []),
  }
  const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
  const wayBack = await checkWayBack(names, ends, { timeoutMs, signal: o.signal }, o.onStep)
  return { servers, wayBack, exitStatus: combined(servers.flatMap(exitStatusesOf)) }
}

function exitStatusesOf({ error, entries }: ServerCheck): number[] {
  const isBad = entries.some((entry) => typeof entry !== 'string')
  return [error?.exitStatus ?? EXIT.OK, isBad ? EXIT.DATAERR : EXIT.OK]
}

const NOTHING: Facts = { address: null, tls: null, greeting: null, software: null, extensions: null, seenAs: null }

/** The servers behind a domain, but for this site itself; where there are none, why. */
async function checkExchangers(request: Request, o: CheckOptions): Promise<ServerCheck[]> {
  const { server, settings, entries } = request
  o.onPart(`the mail exchangers of ${server.host}`)
  const steps = new Steps(o.onStep)
  try {
    const found = await exchangersOf(server.host, settings.self, { ...settings, signal: o.signal })
    const leftOut = found.leftOut.map(({ host, reason }) => `; left out: ${host} (${reason})`).join('')
    if (found.asked.length === 0) throw new StepError(`nobody is left to ask${leftOut}`, { exitStatus: EXIT.NOHOST })
    const advice = found.isAmong ? null : `no MX of ${server.host} is this host; behind NAT say --self`
    steps.add('MX', found.isAmong ? true : null, found.asked.join(', ') + leftOut, advice)
    const checked: ServerCheck[] = []
    for (const host of found.asked)
      checked.push(await checkServer({ ...request, server: { ...server, word: host, host } }, o))
    const others = checked.filter(({ error }) => error?.kind !== 'this site')
    if (others.length > 0) return others
    throw new StepError('nobody is left to ask: each of them is this site', { exitStatus: EXIT.NOHOST })
  } catch (thrown) {
    if (!(thrown instanceof StepError)) throw thrown
    const error = new SessionError('dns', thrown.message, thrown)
    steps.add('MX', false, error.message, adviceFor(error, ''))
    return [{ ...NOTHING, server, entries, steps: steps.all, error }]
  }
}

/** The session up to the first ETRN, step by step. */
async function checkServer({ server, entries, settings }: Request, o: CheckOptions): Promise<ServerCheck> {
  o.onPart(`${server.word === server.host ? '' : `${server.word}: `}${server.host} port ${server.port}`)
  const watch = new Watch(server, new Steps(o.onStep))
  const { steps, secrets } = watch
  const trace = secrets.hiding((event) => {
    // What a warning says is a step here.
    if (event.type !== 'warning') o.trace(server, event)
    watch.see(event)
  })
  const found = (error: SessionError | null): ServerCheck => ({
    ...watch.facts,
    server,
    entries,
    steps: steps.all,
    error,
  })
  try {
    const inspected = { ...server, tls: { ...server.tls, isInspected: true as const } }
    const session = await open(inspected, { ...settings, signal: o.signal, trace })
    await session.quit()
    watch.conclude()
    for (const hint of hintsFor(entries, watch.facts.greeting ?? '')) steps.add('names', null, hint)
    if (entries.length === 0)
      steps.add('names', null, 'none is given, and this host has none of its own: a real run needs one')
    return found(null)
  } catch (thrown) {
    if (!(thrown instanceof SessionError)) throw thrown
    const error = secrets.hideIn(thrown)
    const isOurs = error.kind === 'this site'
    const advice = isOurs
      ? 'a NAT leads back to it: a real run leaves it out'
      : adviceFor(error, watch.facts.greeting ?? '')
    const certificate = error.stage === 'tls' ? watch.facts.tls?.certificate : undefined
    const [step, text] = certificate
      ? ['certificate', certificateInWords(certificate)]
      : [NAMES[error.stage], error.message]
    steps.add(step, isOurs ? null : false, text, advice)
    return found(error)
  }
}

/** Steps as they are made, each with the time since the one before. */
class Steps {
  readonly all: Step[] = []
  readonly #onStep: (step: Step) => void
  #began = performance.now()

  constructor(onStep: (step: Step) => void) {
    this.#onStep = onStep
  }

  begin(): void {
    this.#began = performance.now()
  }

  /** A step of the session. */
  add(step: string, ok: boolean | null, text: string, advice: string | null = null): void {
    this.#add({ step, ok, elapsedMs: Math.round(performance.now() - this.#began), text, advice })
  }

  /** What is said of it besides; it took no time. */
  note(step: string, ok: boolean | null, text: string, advice: string | null = null): void {
    this.#add({ step, ok, elapsedMs: null, text, advice })
  }

  #add(step: Step): void {
    this.all.push(step)
    this.#onStep(step)
  }
}

/** Makes steps and facts of what happens in a session. */
class Watch {
  readonly steps: Steps
  readonly secrets: Secrets
  facts: Facts = NOTHING
  readonly #server: Server
  #localAddress = ''
  #hasWarned = false

  constructor(server: Server, steps: Steps) {
    this.#server = server
    this.steps = steps
    this.secrets = new Secrets(server.credentials?.password)
  }

  see(event: TraceEvent): void {
    const { steps } = this
    switch (event.type) {
      case 'step':
        return steps.begin()
      case 'done':
        if (event.stage === 'greeting') steps.add('greeting', true, this.facts.greeting ?? '')
        if (event.stage === 'auth') steps.add('AUTH', true, `logged in as ${this.#server.credentials?.user ?? ''}`)
        return
      case 'resolved':
        return steps.add('resolve', true, event.addresses.join(', '))
      case 'connected':
        this.facts = { ...this.facts, address: event.address }
        this.#localAddress = canonical(event.localAddress)
        return steps.add('connect', true, `${event.address}, from ${event.localAddress}`)
      case 'greeting':
        this.facts = { ...this.facts, greeting: event.text, software: softwareIn(event.text) }
        return
      case 'received':
        if (event.reply.code === 250)
          this.facts = { ...this.facts, seenAs: this.facts.seenAs ?? addressIn(event.reply.lines[0] ?? '') }
        return
      case 'tls':
        return this.#seeTls(event.tls)
      case 'warning':
        this.#hasWarned = true
        return steps.note('TLS', null, event.text)
      case 'extensions':
        this.facts = { ...this.facts, extensions: event.extensions }
        return steps.add('EHLO', true, listOf(event.extensions))
      default:
        return
    }
  }

  #seeTls(tls: TlsInfo): void {
    this.facts = { ...this.facts, tls }
    this.steps.add('TLS', true, `${tls.protocol} ${tls.cipher}`)
    if (tls.certificate === null) return
    const { problem } = tls.certificate
    const { level, fingerprint } = this.#server.tls
    // It ends the session then, and is told as what failed.
    if (problem !== null && (level === 'verify' || fingerprint !== undefined)) return
    const advice = problem === null ? null : 'with --tls verify this is a failure'
    this.steps.note('certificate', problem === null ? true : null, certificateInWords(tls.certificate), advice)
  }

  /** What an open session shows besides. */
  conclude(): void {
    const { steps } = this
    const { tls, extensions } = this.facts
    this.#address()
    if (tls === null && !this.#hasWarned) {
      const isOff = this.#server.tls.level === 'none'
      steps.note('TLS', null, `${isOff ? '--tls none' : 'not offered'}: everything goes in clear`)
    }
    const offered = extensions?.get('AUTH')
    if (this.#server.credentials === undefined)
      steps.note(
        'AUTH',
        null,
        `no login is given; ${offered === undefined ? 'none is offered' : `offered: ${offered}`}`,
      )
    const isListed = extensions?.has('ETRN') === true
    steps.note('ETRN', isListed ? true : null, isListed ? 'listed' : 'not listed; --assume-etrn sends it all the same')
  }

  #address(): void {
    const { seenAs, address } = this.facts
    const local = this.#localAddress
    const forward = 'port 25 has to be forwarded to this host'
    if (seenAs === local) return this.steps.note('address', true, `the server sees ${seenAs}, which is this host's own`)
    if (seenAs !== null)
      return this.steps.note('address', null, `the server sees ${seenAs}, not ${local}: NAT`, forward)
    if (!isPrivate(local)) return this.steps.note('address', true, `${local} is a public address`)
    const isNat = address !== null && !isPrivate(address)
    this.steps.note('address', null, `${local} is a private address`, isNat ? `NAT: ${forward}` : null)
  }
}

const NAMES: Readonly<Record<Stage, string>> = {
  dns: 'resolve',
  connect: 'connect',
  greeting: 'greeting',
  ehlo: 'EHLO',
  starttls: 'STARTTLS',
  tls: 'TLS',
  auth: 'AUTH',
  etrn: 'ETRN',
}

/** Every failure has a next step, if only to show it to somebody. */
function adviceFor(error: SessionError, greeting: string): string {
  const { stage, message: text, reply, advice } = error
  const hint = hintFor({ stage, code: reply?.code ?? null, text, name: '', greeting })
  return advice ?? hint ?? 'show your provider these lines'
}

/** What this server is known to make of names of these forms. */
function hintsFor(entries: readonly Entry[], greeting: string): Set<string> {
  const names = entries.filter((entry) => typeof entry === 'string')
  const hints = names.map((name) => hintFor({ stage: 'etrn', code: 250, text: '', name, greeting }))
  return new Set(hints.filter((hint) => hint !== undefined))
}

const DAY_MS = 86_400_000

function certificateInWords({ names, issuer, validTo, problem }: Certificate): string {
  const days = Math.floor((new Date(validTo).valueOf() - Date.now()) / DAY_MS) + 1
  const left = Number.isNaN(days) || days < 0 ? '' : ` (${days} days left)`
  const what = `for ${names.slice(0, NAMES_SHOWN).join(', ') || 'no host'}; by ${issuer}; valid to ${validTo}${left}`
  return problem === null ? what : `${what}; ${problem}`
}

/** Of a certificate's names */
const NAMES_SHOWN = 8

function listOf(extensions: Extensions): string {
  const lines = [...extensions].map(([keyword, parameters]) => `${keyword} ${parameters}`.trimEnd())
  return lines.join(', ') || 'nothing listed'
}

/** What the server is, where its greeting shows it. */
function softwareIn(greeting: string): string | null {
  if (/Microsoft ESMTP MAIL/.test(greeting)) return 'Microsoft Exchange'
  const [, name, version] =
    /\b(Postfix|Exim|Sendmail|OpenSMTPD|Courier|Haraka|Kerio Connect)\b(?:[ /]([\d.]*\d))?/i.exec(greeting) ?? []
  return name === undefined ? null : [name, version ?? []].flat().join(' ')
}

/** The address in EHLO's first line, as Exim and Sendmail have it: `mx Hello gw [192.0.2.7]`. Our own argument may stand before it. */
function addressIn(line: string): string | null {
  const found = [...line.matchAll(/[[(](?:IPv6:)?([0-9a-f.:]+)[\])]/gi)].map(([, address = '']) => address)
  const last = found.filter((address) => isIP(address) !== 0).at(-1)
  return last === undefined ? null : canonical(last)
}
