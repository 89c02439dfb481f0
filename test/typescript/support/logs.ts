// Logs for tests: written by the writer, read by the reader.

import { runSync } from '../../../lib/typescript/base/flow.ts'
import { LogReader } from '../../../lib/typescript/journal/log-reader.ts'
import type { LogReaderOptions } from '../../../lib/typescript/journal/log-reader.ts'
import { LogWriter } from '../../../lib/typescript/journal/log-writer.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'

export interface LogContent {
  readonly records: readonly { type: number; count: number; seqno: number; payload: string }[]
  readonly reader: LogReader
}

/** Reads a whole journal; throws what the reader throws. */
export function readLog(
  vfs: Vfs,
  path: string,
  options: Partial<LogReaderOptions> & { readonly fileNumber: number },
): LogContent {
  const file = vfs.open(path, 'read').sync()
  try {
    const reader = new LogReader(file, { kind: 'journal', mode: 'tail', ...options })
    runSync(reader.open())
    const records = []
    while (reader.headerError === undefined && runSync(reader.next())) {
      const { type, count, seqno } = reader
      records.push({ type, count, seqno, payload: Buffer.from(reader.payload).toString('latin1') })
    }
    return { records, reader }
  } finally {
    file.close()
  }
}

export function createLog(vfs: Vfs, path: string, fileNumber: number): LogWriter {
  return runSync(LogWriter.create(vfs, path, 'journal', fileNumber))
}

/** Payloads of the data records. */
export function payloadsOf({ records }: LogContent): string[] {
  return records.filter(({ type }) => type === 1).map(({ payload }) => payload)
}
