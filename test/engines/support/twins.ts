// Two of everything, one per engine, that are told the same and must answer the same.

import { comparable, expectSame, outcome, outcomeSync, type Outcome } from './outcome.ts'

/** How many calls a failure shows. */
const CALLS_SHOWN = 12

export interface Twin<T> {
  readonly native: T
  readonly typescript: T
}

/** Compares what calls come to, and remembers the last ones for the failure. */
export class Comparison {
  calls = 0
  readonly #title: string
  readonly #directories: Twin<string>
  readonly #trail: string[] = []

  constructor(title: string, directories: Twin<string>) {
    this.#title = title
    this.#directories = directories
  }

  /** Throws if the two differ. */
  same(what: string, native: unknown, typescript: unknown): void {
    this.#note(what)
    this.#expect(what, native, typescript)
  }

  /** Calls both; the outcome that they share. */
  callSync<T>(what: string, twin: Twin<T>, call: (one: T) => unknown): Outcome {
    this.#note(what)
    const native = outcomeSync(this.#directories.native, () => call(twin.native))
    const typescript = outcomeSync(this.#directories.typescript, () => call(twin.typescript))
    this.#expect(what, comparable(native), comparable(typescript))
    return native
  }

  async call<T>(what: string, twin: Twin<T>, call: (one: T) => Promise<unknown>): Promise<Outcome> {
    this.#note(what)
    const [native, typescript] = await Promise.all([
      outcome(this.#directories.native, async () => call(twin.native)),
      outcome(this.#directories.typescript, async () => call(twin.typescript)),
    ])
    this.#expect(what, comparable(native), comparable(typescript))
    return native
  }

  #note(what: string): void {
    this.calls++
    this.#trail.push(what)
    if (this.#trail.length > CALLS_SHOWN) this.#trail.shift()
  }

  #expect(what: string, native: unknown, typescript: unknown): void {
    try {
      expectSame(what, native, typescript)
    } catch (error) {
      const trail = this.#trail.join('\n  ')
      const message = `${this.#title}, call ${this.calls}\n  ${trail}\n${(error as Error).message}`
      throw new Error(message, { cause: error })
    }
  }
}
