import type { ErrorCode } from './errors.ts'
import type { EncodePlan, MediaFacts } from './encode.ts'
import type { RetentionPlan } from './plan.ts'

/** The states of a recording's life, in order. `migrations/` holds the allowed edges between them. */
export const recordingStates = [
  'accepted',
  'awaiting_claim',
  'claimed',
  'encoding',
  'archiving',
  'protected',
  'retained',
  'disposition_requested',
  'approved',
  'trashed',
  'purging',
  'purged',
] as const
/** Where a recording is in its life. */
export type RecordingState = (typeof recordingStates)[number]

/** The allowed edges of a recording's life. The database holds the same table and a test compares the two. */
export const recordingEdges: Readonly<Record<RecordingState, readonly RecordingState[]>> = {
  accepted: ['awaiting_claim', 'claimed'],
  awaiting_claim: ['claimed', 'disposition_requested'],
  claimed: ['awaiting_claim', 'encoding'],
  encoding: ['archiving'],
  archiving: ['protected'],
  protected: ['retained'],
  retained: ['disposition_requested'],
  disposition_requested: ['retained', 'awaiting_claim', 'approved'],
  approved: ['retained', 'awaiting_claim', 'trashed'],
  trashed: ['retained', 'awaiting_claim', 'purging'],
  purging: ['purged'],
  purged: [],
}

/** A stage of the life: the word that names the file in every folder. */
export type Stage = 'ingest' | 'claim' | 'encode' | 'archive' | 'replicate' | 'retain' | 'delete'

/** What a person can do about a parked stage. */
export type ProblemOption = 'retry' | 'skip' | 'replace' | 'give_up'

/** Why a recording (or the deposit it would become) needs attention. */
export interface Problem {
  readonly stage: Stage
  readonly code: ErrorCode
  readonly message: string
  readonly attempts: number
  readonly sinceMs: number
  readonly nextRetryAtMs: number | null
  readonly options: readonly ProblemOption[]
}

/** What a recording waits for: the answer to "what happens next, when, and why?". */
export interface Waiting {
  readonly waitingFor: string
  readonly nextStep: string
  readonly nextAtMs: number | null
}

/** How new recordings of a recorder find their owner. */
export type Assignment = 'manager' | 'claim' | 'automatic'

/** The open request to delete a recording. */
export interface Disposition {
  readonly id: string
  /** `null` = the policy asked. */
  readonly requestedBy: string | null
  readonly requestedAtMs: number
  readonly reason: string
  readonly planHash: string
  readonly state: 'requested' | 'approved' | 'rejected' | 'undone' | 'cancelled' | 'purging' | 'done'
  readonly approvedBy: readonly string[]
  readonly undoUntilMs: number | null
}

/** A standing legal hold. */
export interface Hold {
  readonly id: string
  readonly reason: string
  readonly placedBy: string
  readonly placedAtMs: number
}

/**
 * Everything decisions about one recording need: read from the database in one transaction, small enough to travel
 * through Temporal. The workflow carries the last one it saw; the database's own is what counts.
 */
export interface RecordingFacts {
  readonly id: string
  readonly accountId: string
  readonly recorderId: string
  readonly state: RecordingState
  readonly assignment: Assignment
  readonly managerId: string | null
  readonly defaultOwnerId: string | null
  readonly ownerId: string | null
  /** Absent in facts that were read before names travelled with them. */
  readonly ownerName?: string | null
  readonly acceptedAtMs: number
  readonly durationMs: number | null
  readonly sizeBytes: number
  readonly plan: RetentionPlan | null
  readonly planHash: string | null
  readonly retainUntilMs: number | null
  readonly holds: readonly Hold[]
  readonly disposition: Disposition | null
  /** True once every file of the recording stands verified in as many sites as the policy asks for. */
  readonly copiesVerified: boolean
  readonly clockOffsetMs: number
  readonly version: number
}

/** One recording as lists show it. */
export interface RecordingSummary extends Waiting {
  readonly id: string
  readonly title: string
  readonly state: RecordingState
  readonly stateSinceMs: number
  readonly recorderName: string
  readonly ownerName: string | null
  readonly sizeBytes: number
  readonly durationMs: number | null
  readonly progressPercent: number | null
  readonly onHold: boolean
  readonly problem: Problem | null
  readonly retainUntilMs: number | null
  readonly hasPoster: boolean
  readonly createdAtMs: number
  readonly clockOffsetMs: number
  readonly version: number
}

/** One copy of one file in one store. */
export interface CopyView {
  readonly fileId: string
  readonly fileName: string
  readonly kind: string
  readonly storeName: string
  readonly site: string
  readonly role: 'inbox' | 'primary' | 'backup'
  readonly key: string
  readonly sizeBytes: number
  readonly sha256: string
  readonly state: 'stored' | 'verified' | 'failed' | 'purged'
  readonly verifiedAtMs: number | null
  readonly purgedAtMs: number | null
  /** The last fixity check: when, what it showed, since when that is so, and what was seen where it is not `ok`. */
  readonly checkedAtMs: number | null
  readonly checkResult: 'ok' | 'failed' | 'could_not_run' | null
  readonly checkSinceMs: number | null
  readonly checkNote: string | null
  /** A good copy is known, and this one is being made again from it. */
  readonly mending: boolean
}

/** One line of a recording's timeline: an audit row. */
export interface TimelineEvent {
  readonly seq: number
  readonly atMs: number
  /** The recording's own clock, where it was moved. */
  readonly clockAtMs: number | null
  readonly actor: string
  readonly action: string
  readonly detail: Readonly<Record<string, unknown>>
}

/** A file that can be played or shown. */
export interface FileView {
  readonly id: string
  readonly name: string
  readonly kind: 'original' | 'video' | 'hls' | 'poster' | 'sprite' | 'audio' | 'manifest'
  readonly contentType: string
  readonly sizeBytes: number
  readonly sha256: string
  readonly widthPx: number | null
  readonly heightPx: number | null
  readonly durationMs: number | null
}

/** One recording, whole. */
export interface RecordingDetail extends RecordingSummary {
  readonly description: string
  readonly tags: readonly string[]
  readonly depositPath: string
  readonly sha256: string
  readonly media: MediaFacts
  readonly encodePlan: EncodePlan | null
  readonly facts: RecordingFacts
  readonly files: readonly FileView[]
  readonly copies: readonly CopyView[]
  readonly timeline: readonly TimelineEvent[]
  /** Present once it was purged. */
  readonly certificate: unknown
}
