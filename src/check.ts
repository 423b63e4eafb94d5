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
export type ServerCheck = {
  readonly server: Server
  readonly address: string | null
  readonly tls: TlsInfo | null
  readonly greeting: string | null
  readonly software: string | null
  readonly extensions: Extensions | null
  /** This host's address as the server sees it */
  readonly seenAs: string | null
  readonly steps: readonly Step[]
  readonly error: SessionError | null
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
  for (const request of requests) {
    for (const found of request.isMx ? await exchangersIn(request, o) : [request.server])
      servers.push('steps' in found ? found : await checkServer(found, request, o))
  }
  o.onPart('the way back')
  const names = requests.flatMap(({ entries }) => entries).filter((entry) => typeof entry === 'string')
  const ends = {
    seenAs: servers.flatMap((server) => server.seenAs ?? []),
    servers: servers.flatMap(({ address }) => address ?? []),
  }
  const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
  const wayBack = await checkWayBack(names, ends, { timeoutMs, signal: o.signal }, o.onStep)
  const exitStatus = combined(servers.map(({ error }) => error?.exitStatus ?? EXIT.OK))
  return { servers, wayBack, exitStatus }
}

const NOTHING = { address: null, tls: null, greeting: null, software: null, extensions: null, seenAs: null }

/** The servers behind a domain; where they can't be told, what went wrong. */
async function exchangersIn(request: Request, o: CheckOptions): Promise<(Server | ServerCheck)[]> {
  const { server, settings } = request
  const began = performance.now()
  o.onPart(`the mail exchangers of ${server.host}`)
  const step = (ok: boolean | null, text: string, advice: string | null = null): Step => {
    const made = { step: 'MX', ok, elapsedMs: Math.round(performance.now() - began), text, advice }
    o.onStep(made)
    return made
  }
  try {
    const found = await exchangersOf(server.host, settings.self, { ...settings, signal: o.signal })
    const leftOut = found.leftOut.map(({ host, reason }) => `; left out: ${host} (${reason})`).join('')
    if (found.asked.length === 0) throw new StepError(`nobody is left to ask${leftOut}`, { exitStatus: EXIT.NOHOST })
    const isUnsure = found.isAmong ? null : `no MX of ${server.host} is this host; behind NAT say --self`
    step(isUnsure === null ? true : null, found.asked.join(', ') + leftOut, isUnsure)
    return found.asked.map((host) => ({ ...server, word: host, host }))
  } catch (thrown) {
    if (!(thrown instanceof StepError)) throw thrown
    const error = new SessionError('dns', thrown.message, thrown)
    return [{ ...NOTHING, server, steps: [step(false, error.message, adviceFor(error, ''))], error }]
  }
}

/** The session up to the first ETRN, step by step. */
async function checkServer(server: Server, { settings, entries }: Request, o: CheckOptions): Promise<ServerCheck> {
  o.onPart(`${server.word === server.host ? '' : `${server.word}: `}${server.host} port ${server.port}`)
  const steps: Step[] = []
  const add = (
    step: string,
    ok: boolean | null,
    elapsedMs: number | null,
    text: string,
    advice: string | null = null,
  ) => {
    const made = { step, ok, elapsedMs, text, advice }
    steps.push(made)
    o.onStep(made)
  }
  let localAddress = ''
  let stepBegan = performance.now()
  const facts: { -readonly [K in keyof typeof NOTHING]: ServerCheck[K] } = { ...NOTHING }
  const times = new Map<Stage, number>()
  const time = (stage: Stage): number | null => times.get(stage) ?? null
  const secrets = new Secrets(server.credentials?.password)
  const trace = secrets.hiding((event) => {
    o.trace(server, event)
    switch (event.type) {
      case 'step':
        stepBegan = performance.now()
        return
      case 'done':
        times.set(event.stage, event.elapsedMs)
        if (event.stage === 'auth') add('AUTH', true, event.elapsedMs, `logged in as ${server.credentials?.user ?? ''}`)
        return
      case 'resolved':
        return add('resolve', true, time('dns'), event.addresses.join(', '))
      case 'connected':
        facts.address = event.address
        localAddress = event.localAddress
        return add('connect', true, time('connect'), `${event.address}, from ${event.localAddress}`)
      case 'greeting':
        facts.greeting = event.text
        facts.software = softwareIn(event.text)
        return add('greeting', true, time('greeting'), event.text)
      case 'received':
        if (steps.at(-1)?.step === 'greeting' && event.reply.code === 250)
          facts.seenAs ??= addressIn(event.reply.lines[0] ?? '')
        return
      case 'tls':
        facts.tls = event.tls
        add('TLS', true, time('tls'), `${event.tls.protocol} ${event.tls.cipher}`)
        return addCertificate(event.tls)
      case 'warning':
        return add('TLS', null, null, event.text)
      case 'extensions':
        facts.extensions = event.extensions
        return add('EHLO', true, time('ehlo'), listOf(event.extensions))
      default:
        return
    }
  })
  const addCertificate = ({ certificate, verified }: TlsInfo): void => {
    if (certificate === null) return
    const { problem } = certificate
    const advice =
      problem === null ? null : '--tls verify would fail; --tls-fingerprint pins this one, if you know that it is right'
    add('certificate', verified || problem === null ? true : null, null, certificateInWords(certificate), advice)
  }
  const addAddress = (): void => {
    const { seenAs, address } = facts
    if (seenAs === localAddress)
      return add('address', true, null, `the server sees ${seenAs}, which is this host's own`)
    const forward = 'port 25 has to be forwarded to this host'
    if (seenAs !== null)
      return add('address', null, null, `the server sees ${seenAs}, not ${localAddress}: NAT`, forward)
    const isNat = isPrivate(localAddress) && address !== null && !isPrivate(address)
    const kind = isPrivate(localAddress) ? 'a private' : 'a public'
    add('address', isNat ? null : true, null, `${localAddress} is ${kind} address`, isNat ? `NAT: ${forward}` : null)
  }
  try {
    const inspected = { ...server, tls: { ...server.tls, isInspected: true as const } }
    const session = await open(inspected, { ...settings, signal: o.signal, trace })
    await session.quit()
    addAddress()
    if (facts.tls === null && server.tls.level !== 'none')
      add('TLS', null, null, 'not offered: everything goes in clear')
    if (server.credentials === undefined) add('AUTH', null, null, `no login is given; ${offeredIn(facts.extensions)}`)
    const isListed = facts.extensions?.has('ETRN') === true
    add('ETRN', isListed ? true : null, null, isListed ? 'listed' : 'not listed; --assume-etrn sends it all the same')
    for (const hint of hintsFor(entries, facts.greeting ?? '')) add('names', null, null, hint)
    return { ...facts, server, steps, error: null }
  } catch (thrown) {
    if (!(thrown instanceof SessionError)) throw thrown
    const error = secrets.hideIn(thrown)
    const elapsedMs = Math.round(performance.now() - stepBegan)
    add(NAMES[error.stage], false, elapsedMs, error.message, adviceFor(error, facts.greeting ?? ''))
    return { ...facts, server, steps, error }
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
  return (
    advice ??
    hintFor({ stage, code: reply?.code ?? null, text, name: '', greeting }) ??
    'show your provider these lines'
  )
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
  const what = `for ${names.join(', ') || 'no host'}; by ${issuer}; valid to ${validTo}${left}`
  return problem === null ? what : `${what}; ${problem}`
}

function listOf(extensions: Extensions): string {
  return (
    [...extensions].map(([keyword, parameters]) => `${keyword} ${parameters}`.trimEnd()).join(', ') || 'nothing listed'
  )
}

function offeredIn(extensions: Extensions | null): string {
  const offered = extensions?.get('AUTH')
  return offered === undefined ? 'none is offered' : `offered: ${offered}`
}

/** What the server is, where its greeting shows it. */
function softwareIn(greeting: string): string | null {
  if (/Microsoft ESMTP MAIL/.test(greeting)) return 'Microsoft Exchange'
  const [, name, version] =
    /\b(Postfix|Exim|Sendmail|OpenSMTPD|Courier|Haraka|Kerio Connect)\b(?:[ /]([\d.]*\d))?/i.exec(greeting) ?? []
  return name === undefined ? null : [name, version ?? []].flat().join(' ')
}

/** An address in EHLO's first line, as Exim and Sendmail have it: `mx Hello gw [192.0.2.7]` */
function addressIn(line: string): string | null {
  const found = [...line.matchAll(/[[(](?:IPv6:)?([0-9a-f.:]+)[\])]/gi)].map(([, address = '']) => address)
  return found.find((address) => isIP(address) !== 0) ?? null
}
