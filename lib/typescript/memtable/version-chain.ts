/**
 * The versions of one key: a list from the newest to the oldest.
 *
 * An entry that hides another has, besides the link to the next older one, a *jump* far back: over
 * as many versions as the two jumps behind it together where those are equal, else over one. So a
 * version is found in about 2 log n steps, however often a key was written, at no cost for keys
 * that have one version.
 */

import type { Arena } from './arena.ts'

/** Links a new version above the newest one, which is its `older`. */
export function linkNewest(arena: Arena, entry: number, older: number): void {
  const middle = jumpOf(arena, older)
  const far = jumpOf(arena, middle)
  const near = arena.depth(older) - arena.depth(middle)
  const equal = near > 0 && near === arena.depth(middle) - arena.depth(far)
  arena.setJump(entry, equal ? far : older, arena.depth(older) + 1)
}

/** The oldest version jumps to itself. */
function jumpOf(arena: Arena, entry: number): number {
  return arena.hasJump(entry) ? arena.jump(entry) : entry
}

/** The newest version with a seqno below `limit`, from `newest` on; 0 if there is none. */
export function versionBelow(arena: Arena, newest: number, limit: number): number {
  if (arena.seqno(newest) < limit) return newest
  return arena.older(lastNotBelow(arena, newest, limit))
}

/** The oldest version whose seqno is at least `limit`; that of `newest` must be. */
export function lastNotBelow(arena: Arena, newest: number, limit: number): number {
  let entry = newest
  for (;;) {
    const jump = jumpOf(arena, entry)
    if (jump !== entry && arena.seqno(jump) >= limit) {
      entry = jump
      continue
    }
    const older = arena.older(entry)
    if (older === 0 || arena.seqno(older) < limit) return entry
    entry = older
  }
}
