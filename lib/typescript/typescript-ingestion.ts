/** Ingestions of the TypeScript engine. */

import type { IngestionEngine } from '../engine.ts'
import { run, runSync } from './base/flow.ts'
import { keepAlive } from './base/keep-alive.ts'
import type { OpenIngestion } from './db/ingestions.ts'

export class TypescriptIngestion implements IngestionEngine {
  readonly #ingestion: OpenIngestion

  constructor(ingestion: OpenIngestion) {
    this.#ingestion = ingestion
  }

  write(rows: Uint8Array): void {
    this.#ingestion.write(rows)
  }

  async finish(): Promise<number> {
    return keepAlive(run(this.#ingestion.finish()))
  }

  finishSync(): number {
    return runSync(this.#ingestion.finish())
  }

  abort(): void {
    this.#ingestion.abort()
  }
}
