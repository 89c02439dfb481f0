/** A queue whose first element leaves at no cost, however many there are. */

/** Places of elements that have left, before the rest moves up. */
const GAP_MAX = 1024

export class Fifo<T> {
  #items: (T | undefined)[] = []
  #first = 0

  get length(): number {
    return this.#items.length - this.#first
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    const item = this.#items[this.#first]
    if (this.length === 0) return undefined
    // What has left must not live as long as its place.
    this.#items[this.#first++] = undefined
    if (this.#first > GAP_MAX && 2 * this.#first > this.#items.length) this.#moveUp()
    return item
  }

  /** All at once. */
  takeAll(): T[] {
    this.#moveUp()
    return this.#items.splice(0) as T[]
  }

  #moveUp(): void {
    this.#items.splice(0, this.#first)
    this.#first = 0
  }
}
