/** The highest of numbers from 0 on that change one by one, in small steps, and who has it. */

export class Highest<T> {
  readonly #numbers = new Map<T, number>()
  /** By number; none is empty. */
  readonly #holders = new Map<number, Set<T>>()
  #value = 0

  /** 0 if there is none. */
  get value(): number {
    return this.#value
  }

  get holder(): T | undefined {
    const [first] = this.#holders.get(this.#value) ?? []
    return first
  }

  set(holder: T, number: number): void {
    const before = this.#numbers.get(holder)
    if (before === number) return
    if (before !== undefined) this.#remove(holder, before)
    this.#numbers.set(holder, number)
    const holders = this.#holders.get(number)
    if (holders === undefined) this.#holders.set(number, new Set([holder]))
    else holders.add(holder)
    this.#value = Math.max(this.#value, number)
    while (this.#value > 0 && !this.#holders.has(this.#value)) this.#value--
  }

  #remove(holder: T, number: number): void {
    const holders = this.#holders.get(number)!
    holders.delete(holder)
    if (holders.size === 0) this.#holders.delete(number)
  }
}
