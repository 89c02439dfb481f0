/** Those who wait for one thing, to be told together. */

import type { ShaleError } from '../../errors.ts'

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: ShaleError) => void
}

export class Waiters {
  #waiting: Waiter[] = []

  async wait(): Promise<void> {
    return new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  resolve(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  reject(error: ShaleError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}
