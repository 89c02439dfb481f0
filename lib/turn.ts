/** Work that goes on from promise to promise leaves the event loop its turns. */

/** Milliseconds that memory may answer one such work in a row. */
const SHARE = 1

export class Turn {
  #ends = Infinity
  #passing: Promise<void> | undefined

  /** Whether the event loop should have its turn before more is done; then call `pass`. */
  get isOver(): boolean {
    const now = performance.now()
    if (this.#ends === Infinity) this.#ends = now + SHARE
    return now >= this.#ends
  }

  /** Resolves when timers and I/O had their turn, for all at once who wait for it. */
  pass(): Promise<void> {
    this.#passing ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#passing = undefined
        this.#ends = performance.now() + SHARE
        resolve()
      })
    })
    return this.#passing
  }
}

// --- answers given at once -----------------------------------------------------------------------

/** Answers between two looks at the clock. */
const ANSWERS_A_LOOK = 32

const DONE: Promise<undefined> = Promise.resolve(undefined)
let answers = 0
/** When the share of all answers of this turn ends; Infinity: nobody looked yet. */
let shareEnds = Infinity

function beginTurn(): void {
  shareEnds = Infinity
}

function isShareOver(): boolean {
  const now = performance.now()
  if (shareEnds === Infinity) {
    shareEnds = now + SHARE
    setImmediate(beginTurn)
  }
  return now >= shareEnds
}

function afterTurn<T>(value: T): Promise<T> {
  return new Promise((resolve) => {
    setImmediate(resolve, value)
  })
}

/**
 * A promise of what memory answered at once. A caller who awaits one call after the other never
 * leaves the microtasks; so once a share of the turn is used up, answers wait for the next one.
 */
export function answered<T>(value: T): Promise<T> {
  const isLate = ++answers % ANSWERS_A_LOOK === 0 && isShareOver()
  return isLate ? afterTurn(value) : Promise.resolve(value)
}

/** The same of nothing. */
export function answeredNothing(): Promise<undefined> {
  return ++answers % ANSWERS_A_LOOK === 0 && isShareOver() ? afterTurn(undefined) : DONE
}
