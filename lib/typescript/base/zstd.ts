/**
 * zstd frames: by Node.js itself where its zlib has them, else by the WebAssembly build in the
 * optional package @bokuweb/zstd-wasm.
 *
 * The package's own functions are asynchronous at first, and trust the length that a frame states.
 * So its module is started here through the hook that such modules have for that, and called with
 * bounds. Nothing is loaded before it is needed.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import * as zlib from 'node:zlib'
import { ShaleError } from '../../errors.ts'
import { promisify } from 'node:util'
import { directory } from '../../location.cjs'
import { Io } from './flow.ts'

export interface Zstd {
  /** Writes a frame to output[at..limit); returns its length, or -1 if it does not fit. */
  compress(input: Uint8Array, output: Uint8Array, at: number, limit: number): number
  /** Writes exactly `length` bytes to `output` at `at`; false if the input is not that. */
  decompress(input: Uint8Array, output: Uint8Array, at: number, length: number): boolean
  /**
   * The same to output[0..limit), and for a whole output. Node.js does it beside the event loop;
   * WebAssembly has no such calls, and takes 4 to 10 ms to compress a MiB.
   */
  compressLarge(input: Uint8Array, output: Uint8Array, limit: number): Io<number>
  decompressLarge(input: Uint8Array, output: Uint8Array): Io<boolean>
}

const LEVEL = 3

let loaded: Zstd | undefined
let isLoaded = false

/** Undefined where there is neither. */
export function loadZstd(): Zstd | undefined {
  if (!isLoaded) {
    isLoaded = true
    loaded = fromNode() ?? fromPackage()
  }
  return loaded
}

// --- Node.js -------------------------------------------------------------------------------------

type Call<R> = (input: Uint8Array, options: object) => R
type Callback = (error: Error | null, bytes: Uint8Array) => void
type AsyncCall = (input: Uint8Array, options: object, callback: Callback) => void

interface ZstdCalls {
  readonly zstdCompress: AsyncCall
  readonly zstdDecompress: AsyncCall
  readonly zstdCompressSync: Call<Uint8Array>
  readonly zstdDecompressSync: Call<Uint8Array>
  readonly constants: Readonly<Record<string, number>>
}

/** Since Node.js 22.15. */
function fromNode(): Zstd | undefined {
  const calls = zlib as unknown as ZstdCalls
  return typeof calls.zstdCompressSync === 'function' ? new NodeZstd(calls) : undefined
}

class NodeZstd implements Zstd {
  readonly #compress: Call<Uint8Array>
  readonly #decompress: Call<Uint8Array>
  readonly #compressAsync: Call<Promise<Uint8Array>>
  readonly #decompressAsync: Call<Promise<Uint8Array>>
  readonly #params: object

  constructor(calls: ZstdCalls) {
    this.#compress = calls.zstdCompressSync
    this.#decompress = calls.zstdDecompressSync
    this.#compressAsync = promisify(calls.zstdCompress)
    this.#decompressAsync = promisify(calls.zstdDecompress)
    this.#params = { [calls.constants['ZSTD_c_compressionLevel']!]: LEVEL }
  }

  /** Without the size of the input, frames of the async call do not state it. */
  #options(input: Uint8Array): object {
    return { params: this.#params, pledgedSrcSize: input.length }
  }

  compress(input: Uint8Array, output: Uint8Array, at: number, limit: number): number {
    return put(this.#compress(input, this.#options(input)), output, at, limit)
  }

  decompress(input: Uint8Array, output: Uint8Array, at: number, length: number): boolean {
    try {
      const bytes = this.#decompress(input, { maxOutputLength: Math.max(length, 1) })
      return put(bytes, output, at, at + length) === length
    } catch {
      return false
    }
  }

  compressLarge(input: Uint8Array, output: Uint8Array, limit: number): Io<number> {
    return new Io(
      () => this.compress(input, output, 0, limit),
      async () => put(await this.#compressAsync(input, this.#options(input)), output, 0, limit),
    )
  }

  decompressLarge(input: Uint8Array, output: Uint8Array): Io<boolean> {
    const { length } = output
    return new Io(
      () => this.decompress(input, output, 0, length),
      async () => {
        try {
          const bytes = await this.#decompressAsync(input, { maxOutputLength: length })
          return put(bytes, output, 0, length) === length
        } catch {
          return false
        }
      },
    )
  }
}

/** Copies all bytes to output[at..limit); how many, or -1 if they do not fit. */
function put(bytes: Uint8Array, output: Uint8Array, at: number, limit: number): number {
  if (bytes.length > limit - at) return -1
  output.set(bytes, at)
  return bytes.length
}

// --- WebAssembly ---------------------------------------------------------------------------------

/** What the package's module has: functions with a leading underscore, over numbers. */
type WasmCalls = Readonly<Record<string, (...args: number[]) => number>>
interface WasmModule {
  /** Grows, and then is another array. */
  readonly HEAPU8: Uint8Array
  instantiateWasm?: (imports: unknown, receive: (instance: unknown) => unknown) => unknown
  init(bytes: Uint8Array): void
}

interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: unknown) => object
}

function fromPackage(): Zstd | undefined {
  let wasm: WasmModule & WasmCalls
  try {
    const require = createRequire(join(directory, 'index.js'))
    const home = dirname(require.resolve('@bokuweb/zstd-wasm'))
    const bytes = readFileSync(join(home, 'zstd.wasm'))
    wasm = (require(join(home, 'zstd.js')) as { readonly Module: WasmModule & WasmCalls }).Module
    const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi })
      .WebAssembly
    wasm.instantiateWasm = (imports, receive) => receive(new Instance(new Module(bytes), imports))
    wasm.init(bytes)
  } catch {
    return undefined
  }
  return new WasmZstd(wasm)
}

/** Room in the module's memory that is kept between calls. */
const KEPT_BYTES = 256 * 1024

/** A range of the module's memory. */
class Room {
  readonly #calls: WasmCalls
  #address = 0
  #size = 0

  constructor(calls: WasmCalls) {
    this.#calls = calls
  }

  take(size: number): number {
    if (size > this.#size) {
      this.#resize(Math.max(size, 4096))
      if (this.#address === 0) throw new ShaleError('OUT_OF_MEMORY', 'no memory for a zstd block')
    }
    return this.#address
  }

  trim(): void {
    if (this.#size > KEPT_BYTES) this.#resize(0)
  }

  #resize(size: number): void {
    if (this.#address !== 0) this.#calls['_free']!(this.#address)
    this.#address = size === 0 ? 0 : this.#calls['_malloc']!(size)
    this.#size = this.#address === 0 ? 0 : size
  }
}

class WasmZstd implements Zstd {
  readonly #wasm: WasmModule
  readonly #calls: WasmCalls
  readonly #from: Room
  readonly #to: Room

  constructor(wasm: WasmModule & WasmCalls) {
    this.#wasm = wasm
    this.#calls = wasm
    this.#from = new Room(wasm)
    this.#to = new Room(wasm)
  }

  compress(input: Uint8Array, output: Uint8Array, at: number, limit: number): number {
    return this.#run('_ZSTD_compress', input, output, at, limit - at)
  }

  decompress(input: Uint8Array, output: Uint8Array, at: number, length: number): boolean {
    return this.#run('_ZSTD_decompress', input, output, at, length) === length
  }

  compressLarge(input: Uint8Array, output: Uint8Array, limit: number): Io<number> {
    return Io.now(() => this.compress(input, output, 0, limit))
  }

  decompressLarge(input: Uint8Array, output: Uint8Array): Io<boolean> {
    return Io.now(() => this.decompress(input, output, 0, output.length))
  }

  /** What was written; -1 if it fails, for lack of room as well. */
  #run(name: string, input: Uint8Array, output: Uint8Array, at: number, room: number): number {
    const from = this.#from.take(Math.max(input.length, 1))
    const to = this.#to.take(Math.max(room, 1))
    this.#wasm.HEAPU8.set(input, from)
    // Decompression takes no level, and passes over it.
    const length = this.#calls[name]!(to, room, from, input.length, LEVEL)
    const failed = this.#calls['_ZSTD_isError']!(length) !== 0
    if (!failed) output.set(this.#wasm.HEAPU8.subarray(to, to + length), at)
    this.#from.trim()
    this.#to.trim()
    return failed ? -1 : length
  }
}
