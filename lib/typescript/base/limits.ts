/** The limits of docs/format.md, section 1. */

export const KEY_BYTES_MAX = 65_535
export const VALUE_BYTES_MAX = 1_073_741_824
/** Of one commit with values uncompressed, and of the payload of one log record. */
export const BATCH_BYTES_MAX = 1_090_519_040
export const BLOCK_STORED_BYTES_MAX = 33_554_432
export const BLOCK_RAW_BYTES_MAX = 67_108_864
/** Stored and raw bytes of a block that holds one large entry. */
export const LARGE_BLOCK_BYTES_MAX = 1_073_872_896
/** Levels are numbered 0 to 6. */
export const LEVEL_COUNT = 7
/** Elements of an option that is given per level. */
export const LEVEL_LIST_MAX = 8
export const FILE_NUMBER_MAX: number = Number.MAX_SAFE_INTEGER
/** Bytes of a keyspace name in UTF-8. */
export const NAME_BYTES_MAX = 255

/** What a file needs to be read; section 10. */
export const FORMAT_MAJOR = 1
export const FORMAT_MINOR = 0
/** Feature bits that this version knows. */
export const KNOWN_FEATURES = 0
