import { printable, shortenMessage } from '../printable.js'
import { SessionError } from './errors.js'
import type { Reply } from './reply.js'
import type { RawTraceEvent, TraceEvent } from './trace.js'

/** Shorter ones are found in any text. */
const SECRET_CHARACTERS = 4

/** Hides secrets, and what is made of them, in what is shown; nothing is decided by what is hidden. */
export class Redactor {
  /** Longest first, since one may be a part of another */
  #forms: (readonly [string, RegExp])[] = []

  constructor(password = '') {
    this.#addSecret(password)
  }

  /** A trace that gets no secret, and learns those that a session makes. */
  redactTrace(trace: (event: TraceEvent) => void): (event: RawTraceEvent) => void {
    return (event) => {
      if (event.type === 'secret') this.#addSecret(event.text)
      else trace(this.#redactEvent(event))
    }
  }

  redactError(error: SessionError): SessionError {
    const { stage, message, exitStatus, reply, kind, hint, cause } = error
    const told = shortenMessage(this.redact(message))
    return new SessionError(stage, told, { exitStatus, reply: reply && this.#redactReply(reply), kind, hint, cause })
  }

  /** A secret, in each form in which a server could say it back */
  #addSecret(secret: string): void {
    const base64 = Buffer.from(secret).toString('base64')
    const forms = [secret, printable(secret), base64, base64.replace(/=+$/, '')]
    const isNew = (text: string): boolean => !this.#forms.some(([known]) => known === text)
    const added = [...new Set(forms)].filter((text) => text.length >= SECRET_CHARACTERS && isNew(text))
    this.#forms.push(...added.map((text) => [text, new RegExp(escapeRegExp(text), 'gi')] as const))
    this.#forms.sort(([a], [b]) => b.length - a.length)
  }

  /** The text without secrets, in any case of letters, since keywords are put into capitals. */
  redact(text: string): string {
    let shown = text
    for (const [secret, pattern] of this.#forms) {
      shown = shown.replace(pattern, '****')
      if (shown.endsWith(ELLIPSIS)) shown = redactCutSecret(shown, secret)
    }
    return shown
  }

  #redactEvent(event: TraceEvent): TraceEvent {
    const hide = (text: string): string => this.redact(text)
    if (event.type === 'greeting' || event.type === 'warning') return { ...event, text: hide(event.text) }
    if (event.type === 'extensions') {
      const extensions = [...event.extensions].map(
        ([keyword, parameters]) => [hide(keyword), hide(parameters)] as const,
      )
      return { ...event, extensions: new Map(extensions) }
    }
    return event.type === 'received' ? { ...event, reply: this.#redactReply(event.reply) } : event
  }

  #redactReply(reply: Reply): Reply {
    return { ...reply, lines: reply.lines.map((line) => this.redact(line)), text: this.redact(reply.text) }
  }
}

/** How a text ends that was too long */
const ELLIPSIS = '...'

/** A text may have been cut within a secret. */
function redactCutSecret(text: string, secret: string): string {
  const end = text.slice(0, -ELLIPSIS.length).toLowerCase()
  for (let length = secret.length - 1; length >= SECRET_CHARACTERS; length--) {
    if (end.endsWith(secret.slice(0, length).toLowerCase()))
      return `${text.slice(0, -ELLIPSIS.length - length)}****${ELLIPSIS}`
  }
  return text
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}
