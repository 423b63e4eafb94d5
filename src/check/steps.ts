import { shortenMessage } from '../printable.js'

export type Step = {
  readonly step: string
  /** true: as it should be; false: a problem; null: neither */
  readonly ok: boolean | null
  readonly elapsedMs: number | null
  readonly text: string
  /** The next step for the user */
  readonly hint: string | null
}

/** The longest text of a step: a server's list of extensions can be much longer. */
const STEP_OCTETS = 2048

export type StepListener = {
  readonly onPart: (title: string) => void
  readonly onStep: (step: Step) => void
}

/** Collects the steps of one part, and reports each one at once. */
export class StepLog {
  readonly all: Step[] = []
  readonly #onStep: (step: Step) => void
  #startedAt = performance.now()

  constructor(title: string, { onPart, onStep }: StepListener) {
    this.#onStep = onStep
    onPart(title)
  }

  start(at = performance.now()): void {
    this.#startedAt = at
  }

  /** Adds a step that took time. */
  add(step: string, ok: boolean | null, text: string, hint: string | null = null): void {
    this.#add({ step, ok, elapsedMs: Math.round(performance.now() - this.#startedAt), text, hint })
  }

  /** Adds a remark, which took no time. */
  note(step: string, ok: boolean | null, text: string, hint: string | null = null): void {
    this.#add({ step, ok, elapsedMs: null, text, hint })
  }

  #add({ text, ...rest }: Step): void {
    const step = { ...rest, text: shortenMessage(text, STEP_OCTETS) }
    this.all.push(step)
    this.#onStep(step)
  }
}
