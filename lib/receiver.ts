/** Methods that were taken off their object. */

import { ShaleError } from './errors.ts'

/** For a method called on something that is not what it belongs to. */
export function wrongReceiver(type: string, member: string): ShaleError {
  return new ShaleError('INVALID_ARGUMENT', `${type}.${member} was called on something else`)
}

/** A rejected promise: an async form never throws synchronously. */
export async function rejected(error: unknown): Promise<never> {
  throw error
}
