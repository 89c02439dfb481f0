/** What Maintenance works with, and whom it tells. */

import type { ShaleError } from '../../errors.ts'
import type { Io } from '../base/flow.ts'
import type { Vfs } from '../vfs/vfs.ts'
import type { Events } from './event-queue.ts'
import type { WriteControl } from './write-control.ts'

export interface MaintenanceParts {
  readonly vfs: Vfs
  /** Undefined: writers are not slowed. */
  readonly control: WriteControl | undefined
  readonly maxCompactions: number
  /** Whether it flushes and compacts by itself. */
  readonly isAutomatic: boolean
  /** Something may be evicted. */
  readonly afterFlush: Io<void>
  /** A sync failed. */
  readonly onFatal: (cause: ShaleError) => void
  /** Degraded by this; undefined: healed. */
  readonly onState: (problem: ShaleError | undefined) => void
  /** A keyspace is not compacted, because its strategy was not given; undefined: none is so. */
  readonly onLacking: (problem: ShaleError | undefined) => void
  /** Undefined: nobody can listen. */
  readonly events: Events | undefined
}
