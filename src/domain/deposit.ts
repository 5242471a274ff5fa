import type { ErrorCode } from './errors.ts'

/** The states of a deposit: anything that was ever seen in an inbox. */
export const depositStates = [
  'arriving',
  'stalled',
  'orphan',
  'complete',
  'accepted',
  'duplicate',
  'quarantined',
  'refused',
  'vanished',
  'released',
] as const
/** What became of something seen in an inbox. `released` = its source left the inbox after the copies were verified. */
export type DepositState = (typeof depositStates)[number]

/** What told us that an upload is over. */
export type EndSignal = 'sidecar' | 'rename' | 'quiet'

/** One deposit as lists show it. */
export interface DepositView {
  readonly id: string
  readonly inboxName: string
  readonly recorderName: string | null
  readonly path: string
  readonly sizeBytes: number
  readonly state: DepositState
  readonly endSignal: EndSignal | null
  readonly firstSeenAtMs: number
  readonly changedAtMs: number
  readonly reasonCode: ErrorCode | null
  readonly reason: string | null
  readonly nextStep: string
  /** The recording it became, or the one it duplicates. */
  readonly recordingId: string | null
}
