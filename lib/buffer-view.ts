/** Views as real Buffers, made as cheaply as a Uint8Array. */

type BufferViewConstructor = new (memory: ArrayBufferLike, offset: number, length: number) => Buffer

/**
 * `new BufferView(memory, offset, length)` is `Buffer.from(memory, offset, length)` in half the
 * time: Node's own subclass of Uint8Array behind `Buffer`, which has it as its species.
 */
export const BufferView: BufferViewConstructor = findBufferView()

function findBufferView(): BufferViewConstructor {
  const species = (Buffer as unknown as Record<symbol, unknown>)[Symbol.species]
  if (typeof species === 'function' && species.prototype === Buffer.prototype) {
    return species as BufferViewConstructor
  }
  const viaFrom = function (memory: ArrayBuffer, offset: number, length: number): Buffer {
    return Buffer.from(memory, offset, length)
  }
  return viaFrom as unknown as BufferViewConstructor
}
