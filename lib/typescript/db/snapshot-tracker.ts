/** The read seqnos that open snapshots hold, so that flush and compaction keep what they see. */

export class SnapshotTracker {
  /** How many hold each. */
  readonly #open = new Map<number, number>()

  open(seqno: number): void {
    this.#open.set(seqno, (this.#open.get(seqno) ?? 0) + 1)
  }

  close(seqno: number): void {
    const holders = this.#open.get(seqno) ?? 0
    if (holders > 1) this.#open.set(seqno, holders - 1)
    else this.#open.delete(seqno)
  }

  /** How many are open. */
  get count(): number {
    let count = 0
    for (const holders of this.#open.values()) count += holders
    return count
  }

  /** Ascending. */
  seqnos(): number[] {
    return [...this.#open.keys()].toSorted((a, b) => a - b)
  }
}
