/** What has to be done when the environment ends, by sync calls: the loop turns no more. */

const calls = new Set<() => void>()
let isWatched = false

/** Returns the function that takes it back. */
export function atExit(call: () => void): () => void {
  if (!isWatched) process.on('exit', runAll)
  isWatched = true
  calls.add(call)
  return () => calls.delete(call)
}

function runAll(): void {
  for (const call of calls) {
    try {
      call()
    } catch {
      // Nobody is left to tell.
    }
  }
}
