import type { ServerAddress } from '../input/server-address.js'
import { countOf } from './names.js'

/** A server, and the name that a hint is about; null if the hint is about the whole session. */
type Subject = { readonly server: ServerAddress; readonly name: string | null }

/** The hints of a run, in the order of their causes. Hints that differ only in the requested name are one hint about several names. */
export class HintList {
  readonly #subjects = new Map<string, { readonly hint: string; readonly subjects: Subject[] }>()

  add(hint: string, subject: Subject): void {
    const bareName = subject.name?.replace(/^[@#]/, '')
    const key = bareName === undefined ? hint : hint.replaceAll(bareName, ' ')
    const known = this.#subjects.get(key)
    if (known === undefined) this.#subjects.set(key, { hint, subjects: [subject] })
    else known.subjects.push(subject)
  }

  /** Returns one line for each hint, which starts with what the hint is about. `several`: the run has several servers. */
  lines(several: boolean): string[] {
    return [...this.#subjects.values()].map(
      ({ hint, subjects }) => `hint: ${describeSubjects(subjects, several)}${hint}`,
    )
  }
}

function describeSubjects(subjects: readonly Subject[], several: boolean): string {
  const servers = [...new Set(subjects.map(({ server }) => server.word))]
  const names = [...new Set(subjects.flatMap(({ name }) => name ?? []))]
  const serverPart = servers.length === 1 ? `${servers[0] ?? ''}: ` : `${countOf(servers, 'server')}: `
  const namePart = names.length === 0 ? '' : `${names.length === 1 ? (names[0] ?? '') : countOf(names, 'name')}: `
  return `${several ? serverPart : ''}${namePart}`
}
