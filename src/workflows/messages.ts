import { defineQuery, defineUpdate } from '@temporalio/workflow'
import type { CommandKind, CommandRequest } from '../domain/commands.ts'
import type { NoticeKind } from '../domain/notice.ts'
import type { RecordingFacts, Waiting } from '../domain/recording.ts'

/** What starts a recording's life: a deposit that is complete. The recording carries the deposit's id. */
export interface RecordingInput {
  readonly accountId: string
  readonly recordingId: string
  /** What goes on when the life continues in a new run (see `Life`). */
  readonly accepted?: boolean
  readonly appliedRequests?: readonly string[]
  readonly askAgainAtMs?: number
  readonly claimRound?: number
  /** Notices that could not be mailed yet. */
  readonly owedNotices?: readonly OwedNotice[]
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

/** The answer to a command that was carried out. */
export interface CommandResult {
  readonly facts: RecordingFacts | null
}

/** The update that carries a command: one per kind, so that the Temporal UI shows what was asked. */
export function commandUpdate(kind: CommandKind) {
  return defineUpdate<CommandResult, [CommandRequest]>(kind)
}

/** Where a life stands, for people who look at the workflow itself. */
export const statusQuery = defineQuery<{ facts: RecordingFacts | null; waiting: Waiting }>('status')
