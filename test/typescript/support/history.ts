// What a database has promised: its contents after each commit, and how many of them must survive
// what.

import type { Durability } from '../../../lib/types.ts'
import type { Contents } from './recoveries.ts'

/** What a commit changes. No key: creates the keyspace, or takes it back. No value: removes. */
export interface Change {
  readonly keyspace: string
  readonly key?: string
  readonly value?: string | undefined
  /** Removes all keys from `key` on, up to the end, or all of them. */
  readonly range?: { readonly end: string | undefined }
  readonly isTakenBack?: boolean
}

export function changed(contents: Contents, changes: readonly Change[]): Contents {
  const next: Record<string, Readonly<Record<string, string>>> = { ...contents }
  for (const { keyspace, key, value, range, isTakenBack } of changes) {
    if (isTakenBack === true) delete next[keyspace]
    else if (key === undefined) next[keyspace] = {}
    else if (range !== undefined) {
      const { end } = range
      const isLeft = (one: string): boolean => one < key || (end !== undefined && one >= end)
      const rows = Object.entries(next[keyspace] ?? {}).filter(([one]) => isLeft(one))
      next[keyspace] = Object.fromEntries(rows)
    } else {
      const { [key]: _, ...rows } = next[keyspace] ?? {}
      next[keyspace] = value === undefined ? rows : { ...rows, [key]: value }
    }
  }
  return next
}

/** The same for equal contents. */
export function textOf(contents: Contents): string {
  const sorted = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
    Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify(sorted(contents).map(([name, rows]) => [name, sorted(rows)]))
}

export function difference(wanted: Contents, found: Contents): string {
  for (const name of new Set([...Object.keys(wanted), ...Object.keys(found)])) {
    const [a, b] = [wanted[name], found[name]]
    if (a === undefined || b === undefined) return `keyspace ${name} is ${b ? 'there' : 'gone'}`
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const brief = (text: string | undefined): string => String(text).slice(0, 20)
      if (a[key] !== b[key]) return `${name}: ${key} is ${brief(b[key])}, not ${brief(a[key])}`
    }
  }
  return 'none'
}

/** An ingestion with its place among the commits, and what it changes if it does not fail. */
interface Ingested {
  readonly number: number
  readonly changes: readonly Change[]
}

export class History {
  /** Contents after so many commits. */
  readonly states: Contents[] = [{}]
  readonly #texts: string[] = [textOf({})]
  readonly #commits: (readonly Change[])[] = []
  /** Ingestions that may still fail: until then they count as commits that change nothing. */
  #open: Ingested[] = []
  /** A commit that may be under way behind the others. */
  maybe: readonly Change[] = []
  /** Commits that survive the death of the process, and a power cut. */
  ackedOs = 0
  ackedSync = 0

  /** Commits so far. */
  get count(): number {
    return this.states.length - 1
  }

  get last(): Contents {
    return this.states.at(-1)!
  }

  push(changes: readonly Change[]): void {
    const next = changed(this.last, changes)
    this.#commits.push(changes)
    this.states.push(next)
    this.#texts.push(textOf(next))
  }

  /** One that may still fail; its number. */
  pushIngestion(changes: readonly Change[]): number {
    this.push([])
    this.#open.push({ number: this.count, changes })
    return this.count
  }

  /** It has not failed; or it has, and everybody knows. */
  settleIngestion(number: number, hasFailed: boolean): void {
    const ingested = this.#open.find((one) => one.number === number)
    if (ingested === undefined) return
    this.#open = this.#open.filter((one) => one !== ingested)
    if (!hasFailed) this.#redo([ingested])
  }

  /** What was found is what came of ingestions that nobody was told of. */
  settleBy(contents: Contents): void {
    const text = textOf(contents)
    const variant = this.#variants().find((ingested) => this.#textsWith(ingested).includes(text))
    this.#open = []
    if (variant !== undefined) this.#redo(variant)
  }

  #redo(ingested: readonly Ingested[]): void {
    const commits = this.#commitsWith(ingested)
    for (const list of [this.states, this.#texts]) list.splice(1)
    this.#commits.length = 0
    for (const changes of commits) this.push(changes)
  }

  #commitsWith(ingested: readonly Ingested[]): (readonly Change[])[] {
    const commits = [...this.#commits]
    for (const { number, changes } of ingested) commits[number - 1] = changes
    return commits
  }

  /** After each number of commits, if these have not failed. */
  #textsWith(ingested: readonly Ingested[]): string[] {
    let contents: Contents = {}
    const texts = this.#commitsWith(ingested).map((changes) => {
      contents = changed(contents, changes)
      return textOf(contents)
    })
    return [textOf({}), ...texts]
  }

  /** Which of the open ones may not have failed: all sets of them, the empty one first. */
  #variants(): (readonly Ingested[])[] {
    const open = this.#open.slice(-4)
    return Array.from({ length: 2 ** open.length }, (_, bits) =>
      open.filter((__, i) => ((bits >>> i) & 1) === 1),
    )
  }

  /** Forgets the commits behind so many: a failure has lost them. */
  cut(count: number): void {
    this.states.splice(count + 1)
    this.#texts.splice(count + 1)
    this.#commits.splice(count)
    this.#open = this.#open.filter(({ number }) => number <= count)
    this.ackedOs = Math.min(this.ackedOs, count)
    this.ackedSync = Math.min(this.ackedSync, count)
  }

  acknowledge(count: number, durability: Durability): void {
    if (durability === 'buffered') return
    this.ackedOs = Math.max(this.ackedOs, count)
    if (durability === 'sync') this.ackedSync = Math.max(this.ackedSync, count)
  }

  /** The most commits that lead to these contents, at least so many; else what is wrong. */
  prefixOf(contents: Contents, atLeast: number): number | string {
    const text = textOf(contents)
    const found = this.#texts.lastIndexOf(text)
    if (found >= atLeast) return found
    // One more than are known.
    const isMore = this.maybe.length > 0 && textOf(changed(this.last, this.maybe)) === text
    if (isMore) return this.count + 1
    for (const ingested of this.#variants().slice(1)) {
      const at = this.#textsWith(ingested).lastIndexOf(text)
      if (at >= atLeast) return at
    }
    const least = this.states[atLeast] ?? this.last
    const which = found < 0 ? 'no prefix' : `only ${found}`
    return (
      `${which} of ${this.count} commits, at least ${atLeast}; ` +
      `against the least: ${difference(least, contents)}`
    )
  }

  /** Whether some commit wrote each of these rows. */
  isMadeUp(contents: Contents): string | undefined {
    for (const [name, rows] of Object.entries(contents)) {
      for (const [key, value] of Object.entries(rows)) {
        const isOpen = this.#open.some(({ changes }) =>
          changes.some((one) => one.keyspace === name && one.key === key && one.value === value),
        )
        if (!isOpen && !this.states.some((state) => state[name]?.[key] === value)) {
          return `a value that nobody wrote, in ${name} at ${key}`
        }
      }
    }
    return undefined
  }
}
