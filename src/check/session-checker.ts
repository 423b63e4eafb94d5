import type { NameEntry } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { canonicalAddress, familyOf, isPrivate } from '../net/address.js'
import { listSome } from '../printable.js'
import type { CertificateInfo } from '../smtp/certificate.js'
import { SessionError, type Stage, STAGE_LABELS } from '../smtp/errors.js'
import { type Extensions, formatExtensions } from '../smtp/extensions.js'
import type { Server } from '../smtp/session-settings.js'
import type { TlsInfo } from '../smtp/trace.js'
import { NO_FACTS, type ServerFacts, type TraceEvent, updateFacts } from '../smtp/trace.js'
import { type Step, type StepListener, StepLog } from './steps.js'

/** The findings at one server; null if it is unknown. */
export type ServerCheck = ServerFacts & {
  readonly server: ServerAddress
  /** The names that a real run would request, and the bad lines */
  readonly entries: readonly NameEntry[]
  readonly steps: readonly Step[]
  readonly error: SessionError | null
  /** This host's address as the server sees it */
  readonly seenAs: string | null
}

export const NO_CHECK_FACTS: ServerFacts & Pick<ServerCheck, 'seenAs'> = { ...NO_FACTS, seenAs: null }

export class SessionChecker extends StepLog {
  facts = NO_CHECK_FACTS
  readonly #server: Server
  #localAddress = ''
  /** The whole list: that of the facts may be cut. */
  #extensions: Extensions = new Map()
  /** When each stage started, by performance.now() */
  readonly #startedAt = new Map<Stage, number>()

  constructor(title: string, server: Server, listener: StepListener) {
    super(title, listener)
    this.#server = server
  }

  addEvent(event: TraceEvent): void {
    this.facts = updateFacts(this.facts, event)
    switch (event.type) {
      case 'step':
        this.#startedAt.set(event.stage, performance.now())
        return this.start()
      case 'done':
        if (event.stage === 'greeting') this.add('greeting', true, this.facts.greeting ?? '')
        if (event.stage === 'auth') this.add('AUTH', true, `logged in as ${this.#server.credentials?.user ?? ''}`)
        return
      case 'resolved':
        return this.add('resolve', true, listSome(event.addresses))
      case 'connected':
        this.#localAddress = canonicalAddress(event.localAddress)
        this.facts = { ...this.facts, seenAs: null }
        return this.add('connect', true, `${event.address} (from ${event.localAddress})`)
      case 'received':
        if (event.reply.code !== 250 || this.facts.seenAs !== null) return
        this.facts = { ...this.facts, seenAs: addressInHello(event.reply.lines[0] ?? '') }
        return
      case 'tls':
        // What came before TLS no longer counts (RFC 3207, 4.2).
        this.facts = { ...this.facts, seenAs: null }
        return this.#addTls(event.tls)
      case 'warning':
        return this.note(event.stage === 'starttls' ? 'TLS' : STAGE_LABELS[event.stage], null, event.text)
      case 'extensions':
        this.#extensions = event.extensions
        return this.add('EHLO', true, formatExtensions(event.extensions).join(', ') || 'no extensions listed')
      default:
        return
    }
  }

  /** Adds the failure that ended the session. `ok` is null if the failure is no problem. */
  addFailure({ stage, message }: SessionError, ok: false | null, hint: string | null): void {
    this.start(this.#startedAt.get(stage))
    const certificate = stage === 'tls' ? this.facts.tls?.certificate : undefined
    if (certificate && this.#isRejected(certificate))
      this.add('certificate', ok, describeCertificate(certificate), hint)
    else this.add(stage === 'dns' ? 'resolve' : STAGE_LABELS[stage], ok, message, hint)
  }

  /** Adds what a session shows that has reached ETRN. */
  addConclusions(): void {
    this.#addAddress()
    const isOff = this.#server.tls.level === 'none'
    // A warning has told why TLS is not used although it is offered.
    if (this.facts.tls === null && (isOff || !this.#extensions.has('STARTTLS')))
      this.note('TLS', null, `${isOff ? '--tls none' : 'not offered'}: the session is unencrypted`)
    const offered = this.#extensions.get('AUTH')
    const mechanisms = offered === undefined ? 'the server offers no AUTH' : `the server offers ${offered}`
    if (this.#server.credentials === undefined) this.note('AUTH', null, `no credentials given; ${mechanisms}`)
    if (this.#extensions.has('ETRN')) this.note('ETRN', true, 'listed')
    else this.note('ETRN', null, 'not listed; --assume-etrn sends it anyway')
  }

  #addTls(tls: TlsInfo): void {
    this.add('TLS', true, `${tls.protocol} ${tls.cipher}`)
    if (tls.certificate === null) return
    const { problem } = tls.certificate
    // addFailure reports it.
    if (this.#isRejected(tls.certificate)) return
    const hint = problem === null ? null : '--tls verify would reject this certificate'
    this.note('certificate', problem === null ? true : null, describeCertificate(tls.certificate), hint)
  }

  /** Returns true if the certificate ends the session. */
  #isRejected({ problem }: CertificateInfo): boolean {
    const { level, fingerprint } = this.#server.tls
    return problem !== null && (level === 'verify' || fingerprint !== undefined)
  }

  #addAddress(): void {
    const { seenAs, address } = this.facts
    const local = this.#localAddress
    const forward = 'forward port 25 to this host'
    if (seenAs === local) return this.note('address', true, `the server sees ${seenAs}, this host's own address`)
    if (seenAs !== null) return this.note('address', null, `the server sees ${seenAs}, not ${local} (NAT)`, forward)
    if (!isPrivate(local)) return this.note('address', true, `${local} is a public address`)
    const isNat = address !== null && !isPrivate(address)
    this.note('address', null, `${local} is a private address`, isNat ? `behind NAT, ${forward}` : null)
  }
}

const DAY_MS = 86_400_000
const CERTIFICATE_NAMES_SHOWN = 8

/** Returns the problem of a certificate, its names, its issuer, and until when it is valid. */
function describeCertificate({ names, issuer, validTo, problem }: CertificateInfo): string {
  const days = Math.floor((new Date(validTo).valueOf() - Date.now()) / DAY_MS) + 1
  const remaining = Number.isNaN(days) || days < 0 ? '' : ` (${days} day${days === 1 ? '' : 's'} left)`
  const shown = names.slice(0, CERTIFICATE_NAMES_SHOWN).join(', ')
  const text = `${shown === '' ? 'contains no host name' : `for ${shown}`}; issued by ${issuer}; valid until ${validTo}${remaining}`
  return problem === null ? text : `${problem}; ${text}`
}

/** Returns the last address in the first line of an EHLO reply: `mx Hello gw [192.0.2.7]` (Exim, Sendmail). The EHLO argument can come first. */
function addressInHello(line: string): string | null {
  const found = [...line.matchAll(/[[(](?:IPv6:)?([0-9a-f.:]+)[\])]/gi)].map(([, address = '']) => address)
  const last = found.filter((address) => familyOf(address) !== 0).at(-1)
  return last === undefined ? null : canonicalAddress(last)
}
