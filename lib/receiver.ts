/** Handles in wrong hands: methods taken off their object, objects sent elsewhere. */

import * as workers from 'node:worker_threads'
import { ShaleError } from './errors.ts'

/** For a method called on something that is not what it belongs to. */
export function wrongReceiver(type: string, member: string): ShaleError {
  return new ShaleError('INVALID_ARGUMENT', `${type}.${member} was called on something else`)
}

/** A rejected promise: an async form never throws synchronously. */
export async function rejected(error: unknown): Promise<never> {
  throw error
}

const { markAsUncloneable } = workers as { markAsUncloneable?: (handle: object) => void }

/** structuredClone and postMessage refuse it with DataCloneError, instead of giving `{}`. */
export const uncloneable: (handle: object) => void =
  markAsUncloneable ??
  ((handle) => {
    // Before Node 22.10: an object is refused when one of its own properties cannot be cloned.
    const { constructor } = handle
    handle.constructor = constructor
  })
