/** The small public types that every module shares. */

/** A key: 1 to 65,535 bytes. A string stands for its UTF-8 bytes; a lone surrogate is refused. */
export type KeyInput = Uint8Array | string
/** A value: 0 to 2^30 bytes. A string stands for its UTF-8 bytes. */
export type ValueInput = Uint8Array | string

export type EngineName = 'native' | 'typescript'

/**
 * What a successful write or persist means.
 *
 * - `'buffered'`: in process memory until the next flush point (10 ms or 256 KiB);
 * - `'os'`: survives the death of the process, also by `kill -9`;
 * - `'sync'`: also survives power loss.
 */
export type Durability = 'buffered' | 'os' | 'sync'

export type Compression = 'none' | 'lz4' | 'zstd'

/** One value for all levels, or one per level; the last entry repeats for deeper levels. */
export type PerLevel<T> = T | readonly T[]
