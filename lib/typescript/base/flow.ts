/**
 * One text for sync and async: work that waits for the system is a generator of its calls.
 *
 * A call (`Io`) has both forms. `const got = yield* file.read(...)` inside a flow waits for it,
 * whoever drives the flow: `runSync` blocks, `run` gives the event loop its turns. So nothing is
 * written twice, and background work runs in slices simply by yielding `breath()` now and then.
 */

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

/** Lets the event loop turn; nothing to a flow that blocks. */
export const breath: Io<void> = new Io<void>(
  () => undefined,
  async () =>
    new Promise((resolve) => {
      setImmediate(resolve)
    }),
)
