/**
 * One text for sync and async: work that waits for the system is a generator of its calls.
 *
 * A call (`Io`) has both forms. `const got = yield* file.read(...)` inside a flow waits for it,
 * whoever drives the flow: `runSync` blocks, `run` gives the event loop its turns. So nothing is
 * written twice, and long work runs in slices simply by yielding a `breath` now and then.
 */

import { wakeLoop } from './keep-alive.ts'

/** One call of the system, not made yet; `sync` or `async` makes it. */
export class Io<T> {
  readonly sync: () => T
  readonly async: () => Promise<T>

  constructor(sync: () => T, async: () => Promise<T>) {
    this.sync = sync
    this.async = async
  }

  /** A call that memory answers. */
  static now<T>(call: () => T): Io<T> {
    return new Io(call, async () => call())
  }

  /** A flow as one call. */
  static flow<T>(begin: () => Flow<T>): Io<T> {
    return new Io(
      () => runSync(begin()),
      async () => run(begin()),
    )
  }

  *[Symbol.iterator](): Flow<T> {
    return (yield this) as T
  }
}

export type Flow<T> = Generator<Io<unknown>, T, unknown>

/** Makes every call of the flow at once. */
export function runSync<T>(flow: Flow<T>): T {
  let step = flow.next()
  while (step.done !== true) {
    let answer: unknown
    try {
      answer = step.value.sync()
    } catch (error) {
      step = flow.throw(error)
      continue
    }
    step = flow.next(answer)
  }
  return step.value
}

/** Awaits every call of the flow. */
export async function run<T>(flow: Flow<T>): Promise<T> {
  let step = flow.next()
  while (step.done !== true) {
    let answer: unknown
    try {
      // One call after the other is what a flow is.
      // oxlint-disable-next-line no-await-in-loop
      answer = await step.value.async()
    } catch (error) {
      step = flow.throw(error)
      continue
    }
    step = flow.next(answer)
  }
  return step.value
}

/**
 * Work for each of `items`, so many at once where a caller waits for it: their calls of the system
 * overlap. The work does not fail.
 */
export function each<T>(items: Iterable<T>, most: number, work: (item: T) => Flow<void>): Io<void> {
  return new Io<void>(
    () => {
      for (const item of items) runSync(work(item))
    },
    async () => {
      const left = items[Symbol.iterator]()
      const worker = async (): Promise<void> => {
        for (let next = left.next(); next.done !== true; next = left.next()) {
          // Each takes the next one when it is free.
          // oxlint-disable-next-line no-await-in-loop
          await run(work(next.value))
        }
      }
      await Promise.all(Array.from({ length: most }, worker))
    },
  )
}

/** Flows that let the event loop turn, in the order in which they go on. */
const waiting: (() => void)[] = []

/** It holds no process. */
function awaitTurn(): void {
  setImmediate(takeTurn).unref()
  wakeLoop()
}

function takeTurn(): void {
  waiting.shift()?.()
  if (waiting.length > 0) awaitTurn()
}

/**
 * Lets the event loop turn; nothing to a flow that blocks. Of all flows that wait here one goes on
 * in each turn, so that several hold the loop no longer than one.
 */
export const breath: Io<void> = new Io<void>(
  () => undefined,
  async () =>
    new Promise((resolve) => {
      waiting.push(resolve)
      if (waiting.length === 1) awaitTurn()
    }),
)

/** Milliseconds that a job works in a row. */
const SLICE_MILLIS = 2

/**
 * The time that a job works in a row before it lets the event loop turn. What it waited for counts
 * as work: in the turn of an answer others may have had theirs.
 */
export class Slice {
  readonly #clock: () => number
  #end: number

  /** Milliseconds that never go back. */
  constructor(clock: () => number) {
    this.#clock = clock
    this.#end = clock() + SLICE_MILLIS
  }

  /** Whether it is used up: `if (slice.isOver) yield* slice.pass`. */
  get isOver(): boolean {
    return this.#clock() >= this.#end
  }

  /** Lets the event loop turn; the next slice begins. */
  readonly pass: Io<void> = new Io<void>(
    () => this.begin(),
    async () => {
      await breath.async()
      this.begin()
    },
  )

  /** Others had their turns: the next slice begins. */
  begin(): void {
    this.#end = this.#clock() + SLICE_MILLIS
  }
}
