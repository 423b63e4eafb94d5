import { printable, shortenMessage } from '../printable.js'
import { SessionError } from './errors.js'
import type { Reply } from './reply.js'
import type { RawTraceEvent, TraceEvent } from './trace.js'

/** The shortest secret that is masked: a shorter one occurs in any text. */
const SECRET_CHARACTERS = 4
export const MASK = '****'
/** The end of a text that was cut */
const ELLIPSIS = '...'

/** Masks passwords, and what sessions make from them, in output. No decision depends on a masked text. */
export class Redactor {
  /** Secrets in each form in which a server could repeat them, longest first: one can contain another. */
  #secrets: readonly string[] = []

  constructor(password = '') {
    this.#addSecret(password)
  }

  /** Returns a trace function that masks every event before it passes it on. */
  redactTrace(trace: (event: TraceEvent) => void): (event: RawTraceEvent) => void {
    return (event) => {
      if (event.type === 'secret') this.#addSecret(event.text)
      else trace(this.#redactEvent(event))
    }
  }

  redactError(error: SessionError): SessionError {
    const { stage, exitStatus, reply, kind, hint, cause } = error
    const message = shortenMessage(this.redact(error.message))
    return new SessionError(stage, message, { exitStatus, reply: reply && this.#redactReply(reply), kind, hint, cause })
  }

  /** Returns the text with secrets masked, in upper and lower case: keywords are shown in capitals. */
  redact(text: string): string {
    let shown = text
    for (const secret of this.#secrets) {
      shown = shown.replace(new RegExp(secret.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'gi'), MASK)
      if (shown.endsWith(ELLIPSIS)) shown = redactCutSecret(shown, secret)
    }
    return shown
  }

  #addSecret(secret: string): void {
    const base64 = Buffer.from(secret).toString('base64')
    const forms = [secret, printable(secret), base64, base64.replace(/=+$/, '')]
    const added = forms.filter((text) => text.length >= SECRET_CHARACTERS)
    this.#secrets = [...new Set([...this.#secrets, ...added])].sort((a, b) => b.length - a.length)
  }

  #redactEvent(event: TraceEvent): TraceEvent {
    if (event.type === 'greeting' || event.type === 'warning') return { ...event, text: this.redact(event.text) }
    if (event.type === 'extensions') {
      const entries = [...event.extensions].map(([word, rest]) => [this.redact(word), this.redact(rest)] as const)
      return { ...event, extensions: new Map(entries) }
    }
    return event.type === 'received' ? { ...event, reply: this.#redactReply(event.reply) } : event
  }

  #redactReply(reply: Reply): Reply {
    return { ...reply, lines: reply.lines.map((line) => this.redact(line)), text: this.redact(reply.text) }
  }
}

/** Masks the beginning of a secret at the end of a text that was cut inside it. */
function redactCutSecret(text: string, secret: string): string {
  const end = text.slice(0, -ELLIPSIS.length).toLowerCase()
  for (let length = secret.length - 1; length >= SECRET_CHARACTERS; length--) {
    if (end.endsWith(secret.slice(0, length).toLowerCase()))
      return `${text.slice(0, -ELLIPSIS.length - length)}${MASK}${ELLIPSIS}`
  }
  return text
}
