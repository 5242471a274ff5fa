import { followWorkflowClock } from '../db/clock.ts'
import { applyCommand } from '../db/commands.ts'
import type { AppliedCommand } from '../db/commands.ts'
import { getPolicy } from '../db/accounts.ts'
import { findFacts } from '../db/facts.ts'
import { openProblem, resolveProblem } from '../db/problems.ts'
import { writeWaiting } from '../db/recordings.ts'
import type { CommandRequest } from '../domain/commands.ts'
import type { Policy } from '../domain/policy.ts'
import type { Problem, RecordingFacts, Stage, Waiting } from '../domain/recording.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { ActivityDeps } from './deps.ts'

/** Which recording, and what its workflow's clock says (ahead of the wall clock only under fast-forward). */
export interface RecordingRef {
  readonly accountId: string
  readonly recordingId: string
  readonly atMs: number
}

/** What is written down about a recording between the stages. */
export function createRecordActivities({ db }: Pick<ActivityDeps, 'db'>) {
  const asSystem = { actor: 'system' }
  return {
    /** The facts as the database has them, and the policy in force. */
    async loadFacts(ref: RecordingRef): Promise<{ facts: RecordingFacts | null; policy: Policy }> {
      const loaded = await db.asAccount(ref.accountId, async (tx) => {
        await followWorkflowClock(tx, ref.recordingId, ref.atMs)
        return { facts: await findFacts(tx, ref.recordingId), policy: await getPolicy(tx) }
      })
      await failpoint('facts.after-load')
      return loaded
    },

    /** Carries out a person's command, once, or says why not. */
    async applyCommand(ref: RecordingRef, request: CommandRequest): Promise<AppliedCommand> {
      const applied = await applyCommand(db, ref.recordingId, request)
      await failpoint('command.after-commit')
      return applied
    },

    /** Writes down what the recording waits for: lists show it without asking Temporal. */
    async writeWaiting(ref: RecordingRef, waiting: Waiting): Promise<void> {
      await db.asAccount(ref.accountId, async (tx) => {
        await followWorkflowClock(tx, ref.recordingId, ref.atMs)
        await writeWaiting(tx, ref.recordingId, waiting)
      })
      await failpoint('waiting.after-write')
    },

    /** The stage is parked: it needs attention. */
    async park(ref: RecordingRef, problem: Omit<Problem, 'sinceMs'>): Promise<void> {
      await db.asAccount(ref.accountId, (tx) => openProblem(tx, ref.recordingId, problem), asSystem)
      await failpoint('park.after-write')
    },

    /** The stage goes on. */
    async unpark(ref: RecordingRef, stage: Stage, resolution: string): Promise<void> {
      await db.asAccount(ref.accountId, (tx) => resolveProblem(tx, ref.recordingId, stage, resolution), asSystem)
      await failpoint('unpark.after-write')
    },
  }
}
