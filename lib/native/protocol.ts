/**
 * What lib/native and the addon agree on: the words of the register file, statuses and flags. The
 * same names and numbers as native/binding/protocol.h, where they are explained.
 */

export const PROTOCOL_VERSION = 4

export const META_STATUS = 0
export const META_HANDLE = 1
export const META_OFFSET = 2
export const META_LENGTH = 3
export const META_COUNT = 4
export const META_FLAGS = 5
export const META_BYTE_LIMIT = 6
export const META_OPERATION = 7
export const META_SEQNO = 8
export const META_NUMBER = 10
export const META_NUMBER2 = 12
export const META_RECORDS = 16
export const META_KEYS = 1040
export const META_WORDS = 2064

export const RECORD_MAX = 128
export const RECORD_WORDS = 8
export const RECORD_OPERATION = 0
export const RECORD_STATUS = 1
export const RECORD_OFFSET = 2
export const RECORD_LENGTH = 3
export const RECORD_FLAGS = 4
export const RECORD_NUMBER = 6
export const NOT_IN_SLAB = 0xffffffff
export const OPERATION_QUESTION = 0xffffffff
export const NO_VALUE = 0xffffffff

export const MANY_MAX = 512

export const STATUS_MIN = 0xffffff00
export const STATUS_NOT_FOUND = 0xffffff01
export const STATUS_WOULD_BLOCK = 0xffffff02
export const STATUS_BAD_KEY = 0xffffff80
export const STATUS_BAD_VALUE = 0xffffff81
export const STATUS_BAD_ARGUMENT = 0xffffff82
export const STATUS_BAD_HANDLE = 0xffffff83
export const STATUS_TOO_BIG = 0xffffff84
export const STATUS_PENDING = 0xffffff85
export const STATUS_BUSY = 0xffffff86

export const READ_MAY_BLOCK = 1
export const READ_PINNED = 2
export const READ_SIZE = 4
export const READ_OWN = 8
export const WRITE_KIND_SHIFT = 2
export const SNAPSHOT_ABANDONED = 1
export const SCAN_OUTLIVES_CLOSE = 1
export const FILL_BACK = 1
export const FILL_CONTENT_SHIFT = 1
export const FILL_MAY_BLOCK = 8
export const FILL_END = 1
export const QUESTION_LAST_LEVEL = 1
export const QUESTION_NOW = 2

export const SLAB_BYTES = 65536
export const OWN_BUFFER_MIN = 4096
