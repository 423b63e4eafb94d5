import { codeOf } from '../errors.js'
import { shortenMessage } from '../printable.js'
import type { CertificateInfo } from './certificate.js'
import { SessionError } from './errors.js'
import { type Extensions, formatExtensions, parseExtensions } from './extensions.js'
import { findSecrets, type Range, SecretFinder } from './find-secrets.js'
import { formatReply, type Reply, replyOf, shortenReply } from './reply.js'
import type { TraceEvent } from './trace.js'

export const MASK = '****'

/** With SCRAM and CRAM-MD5 each session makes secrets of its own, and there can be thousands of sessions. */
const GENERATION_SECRETS = 200

/** Masks passwords, and what sessions make from them, in output. No decision depends on a masked text. */
export class Redactor {
  readonly #passwords = new SecretFinder()
  /** Secrets that sessions have made from the password, in two generations: the older one is forgotten when the newer one is full. */
  #older = new SecretFinder()
  #newer = new SecretFinder()
  /** Replies that are redacted already: the transcript and the result need the same one. */
  #redacted = new WeakMap<Reply, Reply>()

  constructor(password = '') {
    this.addPassword(password)
  }

  /** Adds a password. It is masked from now on; an empty one is none. */
  addPassword(password: string): void {
    this.#redacted = new WeakMap()
    this.#passwords.add(password)
  }

  /** Adds a text that is made from the password. It is masked from now on, until some hundred others have followed. */
  addSecret(secret: string): void {
    this.#redacted = new WeakMap()
    if (this.#newer.size >= GENERATION_SECRETS) {
      this.#older = this.#newer
      this.#newer = new SecretFinder()
    }
    this.#newer.add(secret)
  }

  /** Returns a trace function that masks every event before it passes it on. */
  redactTrace(trace: (event: TraceEvent) => void): (event: TraceEvent) => void {
    return (event) => trace(this.#redactEvent(event))
  }

  /** Returns an error as it is reported: masked, and with no more of the server's words than people read. */
  redactError(error: SessionError): SessionError {
    const { stage, exitStatus, kind, hint } = error
    const reply = error.reply && this.redactReply(shortenReply(error.reply))
    const message =
      reply === null
        ? shortenMessage(this.redact(error.message))
        : this.#redactAround(error.message, formatReply(error.reply ?? reply), formatReply(reply))
    return new SessionError(stage, message, {
      exitStatus,
      kind,
      reply,
      hint: hint === undefined ? undefined : this.redact(hint),
      cause: this.#redactCause(error.cause),
    })
  }

  /**
   * Masks and shortens a message around a reply, which is masked already: its code stays, even if the password is such a number.
   */
  #redactAround(message: string, original: string, redacted: string): string {
    const start = message.lastIndexOf(original)
    const end = start + original.length
    const ranges = this.#find([message])[0] ?? []
    const isCut = ranges.some(
      (range) => range.start < end && range.end > start && (range.start < start || range.end > end),
    )
    if (start === -1 || isCut) return shortenMessage(maskRanges(message, ranges))
    const parts = [this.redact(message.slice(0, start)), redacted, this.redact(message.slice(end))]
    return parts.map((part) => shortenMessage(part)).join('')
  }

  /** Returns a reply with secrets masked in its lines, and in what is taken from them. */
  redactReply(reply: Reply): Reply {
    const known = this.#redacted.get(reply)
    if (known !== undefined) return known
    const lines = this.#redactLines(reply.lines)
    const redacted = lines.every((line, index) => line === reply.lines[index]) ? reply : replyOf(reply.code, lines)
    this.#redacted.set(reply, redacted)
    return redacted
  }

  /** Returns extensions with secrets masked: line by line, since a secret can go on from a keyword to its parameters. */
  redactExtensions(extensions: Extensions): Extensions {
    const lines = this.#redactLines(formatExtensions(extensions))
    const masked = parseExtensions({ lines: ['', ...lines] })
    if (masked.size === extensions.size) return masked
    // Masked keywords are the same: their parameters would be joined, perhaps to a secret.
    return parseExtensions({ lines: ['', ...new Set(lines.map(maskParameters))] })
  }

  redact(text: string): string {
    return this.#redactLines([text]).join('')
  }

  #redactLines(lines: readonly string[]): string[] {
    const found = this.#find(lines)
    return lines.map((line, index) => maskRanges(line, found[index] ?? []))
  }

  /** Returns where secrets stand in each line. */
  #find(lines: readonly string[]): Range[][] {
    return findSecrets(lines, [this.#passwords, this.#older, this.#newer])
  }

  #redactEvent(event: TraceEvent): TraceEvent {
    switch (event.type) {
      case 'greeting':
      case 'warning':
        return { ...event, text: this.redact(event.text) }
      case 'sent':
        return { ...event, line: this.redact(event.line) }
      case 'received': {
        const redact = (): Reply => this.redactReply(event.reply)
        // Masks a long reply only if its lines are shown.
        return {
          type: 'received',
          get reply() {
            return redact()
          },
        }
      }
      case 'extensions':
        return { ...event, extensions: this.redactExtensions(event.extensions) }
      case 'tls': {
        const { tls } = event
        return { ...event, tls: { ...tls, certificate: tls.certificate && this.#redactCertificate(tls.certificate) } }
      }
      default:
        return event
    }
  }

  /** The server chooses what its certificate says. */
  #redactCertificate({ names, issuer, problem, ...rest }: CertificateInfo): CertificateInfo {
    return {
      ...rest,
      names: names.map((name) => this.redact(name)),
      issuer: this.redact(issuer),
      problem: problem === null ? null : this.redact(problem),
    }
  }

  /** Returns the original error, unless it holds a secret. */
  #redactCause(cause: unknown): unknown {
    if (!(cause instanceof Error)) return cause
    const message = this.redact(cause.message)
    const inner = this.#redactCause(cause.cause)
    if (message === cause.message && inner === cause.cause) return cause
    return Object.assign(new Error(message, { cause: inner }), { code: codeOf(cause) })
  }
}

/** Returns an extension without its parameters if its keyword is masked. */
function maskParameters(line: string): string {
  const [keyword = ''] = line.split(' ', 1)
  return keyword.includes(MASK) ? `${keyword} ${MASK}` : line
}

function maskRanges(line: string, ranges: readonly Range[]): string {
  let shown = ''
  let end = -1
  for (const range of ranges.toSorted((a, b) => a.start - b.start)) {
    if (range.start > end) shown += line.slice(Math.max(end, 0), range.start) + MASK
    end = Math.max(end, range.end)
  }
  return shown + line.slice(Math.max(end, 0))
}
