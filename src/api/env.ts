import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { Database } from '../db/connect.ts'
import type { Actor } from '../domain/permissions.ts'
import type { ObjectInfo, Store } from '../storage/store.ts'
import type { ApiMetrics } from './metrics.ts'
import type { Pipeline } from './pipeline.ts'

/** A copy of one file that can be read now. */
export interface OpenCopy {
  readonly store: Store
  readonly key: string
  readonly info: ObjectInfo
}

/** Where the API finds bytes: it reads copies and never writes one. */
export interface StoreBook {
  /**
   * The best copy that answers: verified before unverified, primary before backup before inbox; `null` where none is left.
   * @throws store_unavailable and its neighbours where copies exist and none could be asked
   */
  openCopy(accountId: string, recordingId: string, fileId: string): Promise<OpenCopy | null>
  close(): Promise<void>
}

/** A public key that certificates are checked with. */
export interface SigningKey {
  readonly keyId: string
  readonly publicKeyPem: string
}

/** Everything the API touches the world with. Chosen in `server.ts`; tests choose their own. */
export interface ApiDeps {
  readonly db: Database
  readonly pipeline: Pipeline
  readonly stores: StoreBook
  readonly config: Pick<Config, 'api' | 'temporal'>
  readonly log: Logger
  readonly metrics: ApiMetrics
  readonly signingKeys: readonly SigningKey[]
}

/** What a request carries through the handlers. */
export interface AppEnv {
  Variables: {
    requestId: string
    /** Set by `authenticate`. */
    actor: Actor
    /** What is kept for a repeated Idempotency-Key where the answer itself holds a secret. */
    storedAnswer?: unknown
  }
}
