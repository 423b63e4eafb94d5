import { canonicalAddress, familyOf, isPrivate } from '../net/address.js'
import type { CertificateInfo } from '../smtp/certificate.js'
import type { Stage } from '../smtp/errors.js'
import { formatExtensions } from '../smtp/extensions.js'
import { Redactor } from '../smtp/redact.js'
import type { Server } from '../smtp/session.js'
import type { TlsInfo } from '../smtp/tls.js'
import { addEvent, type ServerFacts, NO_FACTS, type TraceEvent } from '../smtp/trace.js'

/** One thing that was looked at. */
export type Step = {
  readonly step: string
  /** true: as it should be; false: it isn't; null: nothing speaks for or against it */
  readonly ok: boolean | null
  readonly elapsedMs: number | null
  readonly text: string
  /** What to do about it */
  readonly hint: string | null
}

/** What a session shows; null: not known. */
export type CheckFacts = ServerFacts & {
  /** This host's address as the server sees it */
  readonly seenAs: string | null
}

/** Before anything is known */
export const NO_CHECK_FACTS: CheckFacts = { ...NO_FACTS, seenAs: null }

/** Steps as they are made. */
export class StepLog {
  readonly all: Step[] = []
  readonly #onStep: (step: Step) => void
  #began = performance.now()

  constructor(onStep: (step: Step) => void) {
    this.#onStep = onStep
  }

  /** What follows takes time from now on. */
  begin(at = performance.now()): void {
    this.#began = at
  }

  /** A step, with the time since it began. */
  add(step: string, ok: boolean | null, text: string, advice: string | null = null): void {
    this.#add({ step, ok, elapsedMs: Math.round(performance.now() - this.#began), text, hint: advice })
  }

  /** What is said of it besides; it took no time. */
  note(step: string, ok: boolean | null, text: string, advice: string | null = null): void {
    this.#add({ step, ok, elapsedMs: null, text, hint: advice })
  }

  #add(step: Step): void {
    this.all.push(step)
    this.#onStep(step)
  }
}

/** Makes steps and facts of what happens in a session. */
export class SessionChecker {
  readonly steps: StepLog
  readonly secrets: Redactor
  facts = NO_CHECK_FACTS
  readonly #server: Server
  #localAddress = ''
  /** When each stage began, by performance.now() */
  readonly #begun = new Map<Stage, number>()

  constructor(server: Server, onStep: (step: Step) => void) {
    this.#server = server
    this.steps = new StepLog(onStep)
    this.secrets = new Redactor(server.credentials?.password)
  }

  addEvent(event: TraceEvent): void {
    const { steps } = this
    this.facts = addEvent(this.facts, event)
    switch (event.type) {
      case 'step':
        this.#begun.set(event.stage, performance.now())
        return steps.begin()
      case 'done':
        if (event.stage === 'greeting') steps.add('greeting', true, this.facts.greeting ?? '')
        if (event.stage === 'auth') steps.add('AUTH', true, `logged in as ${this.#server.credentials?.user ?? ''}`)
        return
      case 'resolved':
        return steps.add('resolve', true, event.addresses.join(', '))
      case 'connected':
        this.#localAddress = canonicalAddress(event.localAddress)
        return steps.add('connect', true, `${event.address}, from ${event.localAddress}`)
      case 'received':
        if (event.reply.code === 250)
          this.facts = { ...this.facts, seenAs: this.facts.seenAs ?? addressInEhlo(event.reply.lines[0] ?? '') }
        return
      case 'tls':
        return this.#addTls(event.tls)
      case 'warning':
        return steps.note('TLS', null, event.text)
      case 'extensions':
        return steps.add('EHLO', true, formatExtensions(event.extensions).join(', ') || 'nothing listed')
      default:
        return
    }
  }

  #addTls(tls: TlsInfo): void {
    this.steps.add('TLS', true, `${tls.protocol} ${tls.cipher}`)
    if (tls.certificate === null) return
    const { problem } = tls.certificate
    const { level, fingerprint } = this.#server.tls
    // It ends the session then, and is told as what failed.
    if (problem !== null && (level === 'verify' || fingerprint !== undefined)) return
    const advice = problem === null ? null : 'with --tls verify this is a failure'
    this.steps.note('certificate', problem === null ? true : null, describeCertificate(tls.certificate), advice)
  }

  /** What follows belongs to this stage, whatever has begun since. */
  returnTo(stage: Stage): void {
    this.steps.begin(this.#begun.get(stage))
  }

  /** What an open session shows besides. */
  addConclusions(): void {
    const { steps } = this
    const { level } = this.#server.tls
    this.#addAddress()
    if (!steps.all.some(({ step }) => step === 'TLS'))
      steps.note('TLS', null, `${level === 'none' ? '--tls none' : 'not offered'}: everything goes in clear`)
    const offered = this.facts.extensions?.get('AUTH')
    const mechanisms = offered === undefined ? 'none is offered' : `offered: ${offered}`
    if (this.#server.credentials === undefined) steps.note('AUTH', null, `no login is given; ${mechanisms}`)
    if (this.facts.extensions?.has('ETRN')) steps.note('ETRN', true, 'listed')
    else steps.note('ETRN', null, 'not listed; --assume-etrn sends it all the same')
  }

  #addAddress(): void {
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

const DAY_MS = 86_400_000

/** Whom a certificate is for, whose it is, how long it holds, and why it doesn't. */
export function describeCertificate({ names, issuer, validTo, problem }: CertificateInfo): string {
  const days = Math.floor((new Date(validTo).valueOf() - Date.now()) / DAY_MS) + 1
  const left = Number.isNaN(days) || days < 0 ? '' : ` (${days} days left)`
  const what = `for ${names.slice(0, CERTIFICATE_NAMES_SHOWN).join(', ') || 'no host'}; by ${issuer}; valid to ${validTo}${left}`
  return problem === null ? what : `${what}; ${problem}`
}

/** Of a certificate's names */
const CERTIFICATE_NAMES_SHOWN = 8

/** The address in EHLO's first line, as Exim and Sendmail have it: `mx Hello gw [192.0.2.7]`. Our own argument may stand before it. */
function addressInEhlo(line: string): string | null {
  const found = [...line.matchAll(/[[(](?:IPv6:)?([0-9a-f.:]+)[\])]/gi)].map(([, address = '']) => address)
  const last = found.filter((address) => familyOf(address) !== 0).at(-1)
  return last === undefined ? null : canonicalAddress(last)
}
