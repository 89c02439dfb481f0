// The journals of a database: staging, order of syncs, rotation, and when a sealed one may go.

import { describe, expect, test } from 'vitest'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { JournalManager } from '../../../lib/typescript/journal/manager.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { fileName } from '../../../lib/typescript/vfs/file-name.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure } from '../../support/scratch.ts'
import { createLog, payloadsOf, readLog } from '../support/logs.ts'
import { newMachine } from '../support/machine.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const path = (number: number): string => `/db/${fileName('journal', number)}`

function newJournals(vfs: Vfs): JournalManager {
  return new JournalManager(createLog(vfs, path(1), 1))
}

function rotate(vfs: Vfs, journals: JournalManager, to: number, marks: Record<number, number>) {
  const next = createLog(vfs, path(to), to)
  runSync(next.sync())
  journals.setNext(next)
  journals.rotate(new Map(Object.entries(marks).map(([tree, seqno]) => [Number(tree), seqno])))
}

function payloads(vfs: Vfs, number: number): string[] {
  return payloadsOf(readLog(vfs, path(number), { fileNumber: number }))
}

describe('records', () => {
  test('are staged, then handed over in one write', () => {
    const vfs = new FaultVfs(newMachine())
    const journals = newJournals(vfs)
    const writes = vfs.count('write')
    journals.stage(1, 1, bytes('a'))
    journals.stage(1, 2, bytes('b'))
    expect([payloads(vfs, 1), journals.handedOver, journals.stagedBytes]).toEqual([[], 0, 66])
    journals.handOver()
    expect([payloads(vfs, 1), journals.handedOver, journals.stagedBytes]).toEqual([
      ['a', 'b'],
      2,
      0,
    ])
    expect(vfs.count('write')).toBe(writes + 1)
    journals.stage(1, 3, bytes('c'))
    journals.append(1, 4, bytes('d'))
    expect(payloads(vfs, 1)).toEqual(['a', 'b', 'c', 'd'])
    expect(journals.bytesWritten).toBe(journals.activeBytes - 32)
  })

  test('of a group that fails are cut back, and only those', () => {
    const vfs = newMachine()
    const journals = newJournals(vfs)
    journals.stage(1, 1, bytes('kept'))
    const mark = journals.mark()
    journals.stage(1, 2, bytes('no'))
    journals.cutBack(mark)
    journals.handOver()
    expect([payloads(vfs, 1), journals.handedOver]).toEqual([['kept'], 1])
  })

  test('stay staged when the write fails, and may be handed over later', async () => {
    const vfs = new FaultVfs(newMachine())
    const journals = newJournals(vfs)
    journals.stage(1, 1, bytes('a'))
    vfs.setPlan([{ operation: 'write', nth: 0, kind: 'ENOSPC' }])
    expect((await failure(() => journals.handOver())).code).toBe('DISK_FULL')
    expect([journals.stagedBytes > 0, journals.handedOver]).toEqual([true, 0])
    journals.handOver()
    expect(payloads(vfs, 1)).toEqual(['a'])
  })

  test('state what was durable when they were staged', () => {
    const vfs = newMachine()
    const journals = newJournals(vfs)
    journals.append(1, 1, bytes('a'))
    runSync(journals.sync())
    journals.stage(1, 2, bytes('b'))
    journals.handOver()
    journals.witness()
    const { reader, records } = readLog(vfs, path(1), { fileNumber: 1 })
    expect([reader.syncedTo, records.length]).toEqual([65, 2])
  })
})

describe('sealed journals', () => {
  test('are synced before those behind them', async () => {
    const memory = newMachine()
    const vfs = new FaultVfs(memory)
    const journals = newJournals(vfs)
    memory.syncDir('/db').sync()
    journals.append(1, 1, bytes('old'))
    rotate(vfs, journals, 2, { 5: 1 })
    journals.append(1, 2, bytes('new'))
    const order: string[] = []
    memory.onOperation = (operation, at) => {
      if (operation === 'sync') order.push(at)
    }
    vfs.setPlan([{ operation: 'sync', nth: 0, kind: 'EIO' }])
    expect((await failure(async () => run(journals.sync()))).code).toBe('SYNC_FAILED')
    expect((await failure(async () => run(journals.sync()))).code).toBe('SYNC_FAILED')
    // Nothing of the new one may count as durable.
    expect([order, journals.unsyncedBytes]).toEqual([[], 35])
  })

  test('are recorded, then leave in order when every tree has flushed past them', () => {
    const vfs = newMachine()
    const journals = newJournals(vfs)
    journals.append(1, 1, bytes('a'))
    const length = journals.activeBytes
    rotate(vfs, journals, 2, { 5: 1 })
    journals.append(1, 2, bytes('b'))
    rotate(vfs, journals, 3, { 5: 2, 6: 2 })
    expect(journals.unrecorded()).toEqual([])
    const flushed = new Map([
      [5, 0],
      [6, 0],
    ])
    const numbers = (): number[] =>
      journals.evictable((tree) => flushed.get(tree)).map(({ number }) => number)
    flushed.set(5, 2)
    expect(numbers()).toEqual([])
    runSync(journals.sync())
    expect(journals.unrecorded().map(({ number, bytes: end }) => [number, end])).toEqual([
      [1, length],
      [2, length],
    ])
    journals.markRecorded(1)
    expect(journals.unrecorded().map(({ number }) => number)).toEqual([2])
    expect(journals.finalLengths()).toMatchObject([{ number: 2 }, { number: 3, bytes: 32 }])
    expect(numbers()).toEqual([1])
    expect(journals.pinning((tree) => flushed.get(tree))).toEqual([])
    journals.drop(new Set([1]))
    expect([journals.numbers, journals.sealedBytes]).toEqual([[2, 3], length])
    expect(journals.pinning((tree) => flushed.get(tree))).toEqual([5, 6])
    flushed.set(5, 3)
    expect(journals.pinning((tree) => flushed.get(tree))).toEqual([6])
    flushed.delete(6)
    expect(numbers()).toEqual([2])
  })

  test('an active one without records is empty; rotation needs a prepared one', () => {
    const vfs = newMachine()
    const journals = newJournals(vfs)
    expect([journals.activeIsEmpty, journals.hasNext]).toEqual([true, false])
    expect(() => journals.rotate(new Map())).toThrow('nothing to rotate to')
    journals.stage(1, 1, bytes('a'))
    expect(journals.activeIsEmpty).toBe(false)
    expect(journals.numbers).toEqual([1])
    journals.close()
  })
})
