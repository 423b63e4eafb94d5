import { printable, shortened } from '../printable.js'
import { SessionError } from './errors.js'
import type { Reply } from './reply.js'
import type { InnerEvent, TraceEvent } from './trace.js'

/** Shorter ones are found in any text. */
const CHARACTERS = 4

/** Hides secrets, and what is made of them, in what is shown; nothing is decided by what is hidden. */
export class Secrets {
  /** Longest first, since one may be a part of another */
  #forms: (readonly [string, RegExp])[] = []

  constructor(password = '') {
    this.#add(password)
  }

  /** A trace that gets no secret, and learns those that a session makes. */
  hiding(trace: (event: TraceEvent) => void): (event: InnerEvent) => void {
    return (event) => {
      if (event.type === 'secret') this.#add(event.text)
      else trace(this.#shown(event))
    }
  }

  hideIn(error: SessionError): SessionError {
    const { stage, message, exitStatus, reply, kind, hint, cause } = error
    const told = shortened(this.hide(message))
    return new SessionError(stage, told, { exitStatus, reply: reply && this.#in(reply), kind, hint, cause })
  }

  /** A secret, in each form in which a server could say it back */
  #add(secret: string): void {
    const base64 = Buffer.from(secret).toString('base64')
    const forms = [secret, printable(secret), base64, base64.replace(/=+$/, '')]
    const isNew = (text: string): boolean => !this.#forms.some(([known]) => known === text)
    const added = [...new Set(forms)].filter((text) => text.length >= CHARACTERS && isNew(text))
    this.#forms.push(...added.map((text) => [text, new RegExp(escaped(text), 'gi')] as const))
    this.#forms.sort(([a], [b]) => b.length - a.length)
  }

  /** The text without secrets, in any case of letters, since keywords are put into capitals. */
  hide(text: string): string {
    let shown = text
    for (const [secret, pattern] of this.#forms) {
      shown = shown.replace(pattern, '****')
      if (shown.endsWith(CUT)) shown = withoutBeginning(shown, secret)
    }
    return shown
  }

  #shown(event: TraceEvent): TraceEvent {
    const hide = (text: string): string => this.hide(text)
    if (event.type === 'greeting' || event.type === 'warning') return { ...event, text: hide(event.text) }
    if (event.type === 'extensions') {
      const extensions = [...event.extensions].map(
        ([keyword, parameters]) => [hide(keyword), hide(parameters)] as const,
      )
      return { ...event, extensions: new Map(extensions) }
    }
    return event.type === 'received' ? { ...event, reply: this.#in(event.reply) } : event
  }

  #in(reply: Reply): Reply {
    return { ...reply, lines: reply.lines.map((line) => this.hide(line)), text: this.hide(reply.text) }
  }
}

/** How a text ends that was too long */
const CUT = '...'

/** A text may have been cut within a secret. */
function withoutBeginning(text: string, secret: string): string {
  const end = text.slice(0, -CUT.length).toLowerCase()
  for (let length = secret.length - 1; length >= CHARACTERS; length--) {
    if (end.endsWith(secret.slice(0, length).toLowerCase())) return `${text.slice(0, -CUT.length - length)}****${CUT}`
  }
  return text
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}
