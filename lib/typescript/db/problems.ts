/** What fails in the background, by what is done for which keyspace; the first is the state. */

import type { ShaleError } from '../../errors.ts'
import type { Keyspace } from './keyspace.ts'

export class Problems {
  readonly #problems = new Map<string, ShaleError>()
  readonly #onState: (first: ShaleError | undefined) => void

  constructor(onState: (first: ShaleError | undefined) => void) {
    this.#onState = onState
  }

  get first(): ShaleError | undefined {
    const [problem] = this.#problems.values()
    return problem
  }

  /** Undefined: it works again. */
  set(source: string, keyspace: Keyspace, problem: ShaleError | undefined): void {
    const key = `${source} ${keyspace.id}`
    if (problem === undefined && !this.#problems.delete(key)) return
    if (problem !== undefined) this.#problems.set(key, problem)
    this.#onState(this.first)
  }
}
