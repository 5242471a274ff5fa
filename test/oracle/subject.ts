/** A place that keeps files, as whoever set the system up knows it: the oracle opens it by a door of its own. */
export type OraclePlace = {
  /** The name of the store's row. */
  readonly name: string
  readonly role: 'inbox' | 'primary' | 'backup'
  /** Where the place really stands, whatever the row says. */
  readonly site: string
} & (
  | { readonly kind: 'directory'; readonly path: string }
  | {
      readonly kind: 's3'
      readonly endpoint: string
      readonly bucket: string
      readonly prefix: string
      readonly accessKeyId: string
      readonly secretAccessKey: string
    }
)

/** What the system answered to a person: a promise made aloud. */
export interface Told {
  readonly recordingId: string
  /** The command's kind: claim, hold, approveDeletion, undo, ... */
  readonly kind: string
  readonly personId: string
  readonly accepted: boolean
  readonly beganAtMs: number
  readonly endedAtMs: number
  /** `requestId`, where it was given: the same request delivered again is no second command. */
  readonly detail?: Readonly<Record<string, unknown>>
}

/** What a recorder really did in an inbox. */
export interface Dropped {
  /** The inbox's place name. */
  readonly inbox: string
  readonly path: string
  readonly sha256: string
  readonly sizeBytes: number
  readonly kind: 'whole' | 'broken' | 'interrupted'
  readonly finishedAtMs: number
}

/** A system to be judged, and what is known of it from outside. */
export interface Subject {
  /** Postgres as a role that row-level security does not bind. */
  readonly databaseUrl: string
  readonly temporal: { readonly address: string; readonly namespace: string } | null
  readonly places: readonly OraclePlace[]
  readonly dropped: readonly Dropped[]
  readonly told: readonly Told[]
  /** True when faults are over and everything had time to come to rest: then unfinished things count too. */
  readonly settled: boolean
  /** How late something may be before it counts as overdue. */
  readonly graceMs?: number
  /** The certificates' public key (PEM), when known. */
  readonly publicKeyPem?: string
}

/** Number of a promise of the product. */
export type PromiseNumber = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10

/** One broken promise. */
export interface Violation {
  readonly promise: PromiseNumber
  /** The recording, or the deposit it would have become; `null` where it is neither's. */
  readonly recordingId: string | null
  /** The same fault is called the same at every look: what differs between looks is in the evidence. */
  readonly what: string
  readonly evidence: Readonly<Record<string, unknown>>
}

/** A violation as one look sees it. */
export interface Finding extends Violation {
  /** Seen beyond doubt: a second look that does not see it any more does not take it back. */
  readonly certain?: true
}
