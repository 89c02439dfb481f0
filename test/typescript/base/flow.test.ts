// Flows: the same work in both forms, with the same answers and the same errors.

import { describe, expect, test } from 'vitest'
import { breath, Io, run, runSync, Slice } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'

/** A call that notes in which form it was made. */
function noted(log: string[], name: string, fail = false): Io<string> {
  const answer = (form: string): string => {
    log.push(`${name} ${form}`)
    if (fail) throw new Error(name)
    return name
  }
  return new Io(
    () => answer('sync'),
    async () => answer('async'),
  )
}

function* work(log: string[]): Flow<string> {
  const first = yield* noted(log, 'a')
  let second: string
  try {
    second = yield* noted(log, 'b', true)
  } catch (error) {
    second = `no ${(error as Error).message}`
  }
  yield* breath
  return `${first}, ${second}`
}

describe('a flow', () => {
  test('driven by runSync makes sync calls and is done when it returns', () => {
    const log: string[] = []
    expect(runSync(work(log))).toBe('a, no b')
    expect(log).toEqual(['a sync', 'b sync'])
  })

  test('driven by run makes async calls', async () => {
    const log: string[] = []
    expect(await run(work(log))).toBe('a, no b')
    expect(log).toEqual(['a async', 'b async'])
  })

  test('ends with what it throws', async () => {
    function* failing(): Flow<void> {
      yield* noted([], 'gone', true)
    }
    expect(() => runSync(failing())).toThrow('gone')
    await expect(run(failing())).rejects.toThrow('gone')
  })

  test('is a call itself, made as often as it is asked for', async () => {
    const log: string[] = []
    const io = Io.flow(() => work(log))
    expect([io.sync(), await io.async()]).toEqual(['a, no b', 'a, no b'])
    expect(log).toEqual(['a sync', 'b sync', 'a async', 'b async'])
  })

  test('lets the event loop turn where it breathes', async () => {
    const log: string[] = []
    setImmediate(() => log.push('turn'))
    await run(
      (function* (): Flow<void> {
        yield* breath
        log.push('flow')
      })(),
    )
    expect(log).toEqual(['turn', 'flow'])
  })
})

describe('several flows that breathe', () => {
  test('go on one in each turn of the event loop, in the order in which they wait', async () => {
    const log: string[] = []
    function* job(name: string): Flow<void> {
      for (let i = 0; i < 3; i++) {
        yield* breath
        log.push(name)
      }
    }
    let isOver = false
    const turn = (): void => {
      log.push('|')
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    await Promise.all(['a', 'b', 'c'].map(async (name) => run(job(name))))
    isOver = true
    const turns = log.join('').split('|')
    expect(turns.filter((names) => names.length > 1)).toEqual([])
    expect(turns.join('')).toBe('abcabcabc')
  })
})

describe('a slice', () => {
  test('is over after its time, and begins anew with a turn of the event loop', async () => {
    let now = 100
    const slice = new Slice(() => now)
    expect(slice.isOver).toBe(false)
    now += 1
    expect(slice.isOver).toBe(false)
    now += 1
    expect(slice.isOver).toBe(true)
    let turned = false
    setImmediate(() => (turned = true))
    await slice.pass.async()
    expect([turned, slice.isOver]).toEqual([true, false])
    now += 2
    slice.pass.sync()
    expect(slice.isOver).toBe(false)
  })
})
