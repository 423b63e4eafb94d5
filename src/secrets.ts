import { printable } from './printable.js'

/** Shorter ones are found in any text. */
const CHARACTERS = 4

/** Hides secrets, and what is made of them, in what is shown; nothing is decided by what is hidden. */
export class Secrets {
  readonly #texts: string[] = []

  /** A secret, in each form in which a server could say it back */
  add(secret: string): void {
    const base64 = Buffer.from(secret).toString('base64')
    const forms = [secret, printable(secret), base64, base64.replace(/=+$/, '')]
    this.#texts.push(...forms.filter((text) => text.length >= CHARACTERS))
    // One may be a part of another.
    this.#texts.sort((a, b) => b.length - a.length)
  }

  hide(text: string): string {
    return this.#texts.reduce((rest, secret) => rest.replaceAll(secret, '****'), text)
  }
}
