// The strategy of trees whose tables stay where they are.

import { FifoCompaction } from '../../lib/index.ts'

/** Nothing is compacted or moved unless it is asked for, not for its tombstones either. */
export const PATIENT: FifoCompaction = new FifoCompaction({ limit: 2 ** 50 })
