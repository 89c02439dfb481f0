// The garbage collector, when a test wants it.

import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects what nobody holds and lets finalizers have their turn. */
export async function collectGarbage(): Promise<void> {
  const collect = collector()
  for (let i = 0; i < 2; i++) {
    collect()
    // oxlint-disable-next-line no-await-in-loop
    await setImmediate()
  }
}

function collector(): () => void {
  const { Bun } = globalThis as { readonly Bun?: { gc(isSync: boolean): void } }
  if (Bun !== undefined) return () => Bun.gc(true)
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}
