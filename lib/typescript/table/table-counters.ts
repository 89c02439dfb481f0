/**
 * What the tables of one tree count while they are read. A question that has to wait is asked again
 * from its beginning; each thing that it meets is counted once all the same.
 */

export class TableCounters {
  filterQueries = 0
  filterNegatives = 0
  filterFalsePositives = 0
  /** Blocks that a question was given by the cache, and that had to be read; each once. */
  loadsCached = 0
  loadsIo = 0
  /** Point reads that asked a table, and what they loaded of all of these. */
  lookups = 0
  lookupLoads = 0
}

/** Tells things that the attempts of one question meet, in the same order each time. */
export class Once {
  /** In this attempt, and in those before it. */
  #met = 0
  #metBefore = 0

  /** The next thing; whether no attempt has met it before. */
  isNew(): boolean {
    return ++this.#met > this.#metBefore
  }

  /** Whether the next thing was met before. */
  get isRepeat(): boolean {
    return this.#met < this.#metBefore
  }

  /** The next thing has been counted: it is fetched for the attempt that follows. */
  skip(): void {
    this.#metBefore = Math.max(this.#metBefore, this.#met + 1)
  }

  askAgain(): void {
    this.#metBefore = this.counted
    this.#met = 0
  }

  get counted(): number {
    return Math.max(this.#metBefore, this.#met)
  }

  /** Another question; or one of which others have counted so many. */
  begin(counted = 0): void {
    this.#met = 0
    this.#metBefore = counted
  }
}
