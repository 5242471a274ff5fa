import type { Logger } from 'pino'
import type { Database } from '../db/connect.ts'
import type { Certificate, CertificatePayload } from '../domain/certificate.ts'
import type { Encoder } from '../media/encoder.ts'
import type { Notifier } from '../notify/notifier.ts'
import type { Store } from '../storage/store.ts'
import type { RecordingInput } from '../workflows/messages.ts'

/** A store with the name and site that configuration gave it. */
export interface PlacedStore {
  readonly id: string
  readonly name: string
  readonly site: string
  readonly store: Store
}

/** The stores of every account, opened once and kept open. */
export interface StoreBook {
  /** @throws not_found, store_misconfigured */
  open(accountId: string, storeId: string): Promise<PlacedStore>
  /** @throws store_misconfigured where the account has no primary store */
  primary(accountId: string): Promise<PlacedStore>
  backups(accountId: string): Promise<readonly PlacedStore[]>
  close(): Promise<void>
}

/** Everything activities touch the world with. Chosen in `worker.ts`; tests choose their own. */
export interface ActivityDeps {
  readonly db: Database
  readonly stores: StoreBook
  readonly encoder: Encoder
  readonly notifier: Notifier
  readonly scratchDir: string
  /** Where links in mail lead, without a trailing slash. */
  readonly baseUrl: string
  readonly log: Logger
  /** Begins (or finds) the life of a complete deposit or of a recording; `wake` makes one that runs look at its rows again. */
  readonly startRecording: (input: RecordingInput, options?: { wake: boolean }) => Promise<void>
  /** Aborts when this worker is told to stop: work that only waits ends at once, and another worker goes on with it. */
  readonly stopping: AbortSignal
  readonly sign: (payload: CertificatePayload) => Certificate
}
