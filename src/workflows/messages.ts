import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow'
import type { CommandKind, CommandRequest } from '../domain/commands.ts'
import type { ClaimStep } from '../domain/claim.ts'
import type { NoticeKind } from '../domain/notice.ts'
import type { RecordingFacts, Stage, Waiting } from '../domain/recording.ts'
import { lookAgain } from './names.ts'

/** What starts a recording's life: a deposit that is complete. The recording carries the deposit's id. */
export interface RecordingInput {
  readonly accountId: string
  readonly recordingId: string
  /** What goes on when the life continues in a new run (see `Life`). */
  readonly accepted?: boolean
  readonly appliedRequests?: readonly string[]
  readonly askAgainAtMs?: number
  readonly claimRound?: number
  readonly wasLeaving?: boolean
  readonly ongoing?: OngoingWait | null
  readonly tried?: TriedStep | null
  /** Notices that could not be mailed yet. */
  readonly owedNotices?: readonly OwedNotice[]
}

/** A wait that goes on in a new run where it stood: nobody is told twice, and no time is counted anew. */
export type OngoingWait =
  | { readonly kind: 'claim'; readonly sinceMs: number; readonly ahead: readonly ClaimStep[] }
  | { readonly kind: 'approval'; readonly round: number; readonly askedAtMs: number }

/** A step that failed, and how often it has been tried. */
export interface TriedStep {
  readonly stage: Stage
  readonly attempts: number
}

/** A notice that people are owed. */
export interface OwedNotice {
  readonly kind: NoticeKind
  readonly occasion: string
}

/** What starts a look at one inbox. */
export interface InboxScanInput {
  readonly accountId: string
  readonly inboxId: string
  /** How long this run keeps looking; 0 = one look. */
  readonly lookForMs: number
}

/** Which recording's copies are checked. */
export interface FixityInput {
  readonly accountId: string
  readonly recordingId: string
}

/** What a pass over many recordings has seen so far; numbers but the first are copies and files. */
export interface FixityPassTotals {
  readonly recordings: number
  readonly failed: number
  readonly couldNotRun: number
  readonly asked: number
}

/** What starts a pass of checks. */
export interface FixityPassInput {
  /** Only this account; null = all. */
  readonly accountId: string | null
  /** Everything that is kept, not only what is due. */
  readonly everything: boolean
  /** What goes on when the pass continues in a new run. */
  readonly beganAtMs?: number
  readonly cursor?: {
    readonly accountId: string
    readonly asked: number
    readonly after: { readonly due: string; readonly id: string } | null
  }
  readonly totals?: FixityPassTotals
}

/** The answer to a command that was carried out. */
export interface CommandResult {
  readonly facts: RecordingFacts | null
}

/** The update that carries a command: one per kind, so that the Temporal UI shows what was asked. */
export function commandUpdate(kind: CommandKind) {
  return defineUpdate<CommandResult, [CommandRequest]>(kind)
}

/** The rows were changed behind the life's back (rebuilt from manifests): it looks at them again. */
export const lookAgainSignal = defineSignal(lookAgain)

/** Where a life stands, for people who look at the workflow itself. */
export const statusQuery = defineQuery<{ facts: RecordingFacts | null; waiting: Waiting }>('status')
