/** Point reads that missed memory: those of one tick go to the reader threads together. */

import { door } from './addon.ts'

let submitting = false

/** After `getLater` and `scanValueLater`. */
export function submitSoon(): void {
  if (submitting) return
  submitting = true
  queueMicrotask(submit)
}

function submit(): void {
  submitting = false
  door.submitReads()
}
