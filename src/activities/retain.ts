import { requestDisposition, writePlan } from '../db/commands.ts'
import { lockFacts, recordingNowMs } from '../db/facts.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'

/** Keeping: the plan, and the policy's own request to delete once it has run out. */
export function createRetainActivities({ db }: Pick<ActivityDeps, 'db'>) {
  return {
    /** Plans the recording's retention; from here on it is kept. A later run leaves the plan that stands. */
    async beginRetention(ref: RecordingRef): Promise<void> {
      await db.asAccount(
        ref.accountId,
        async (tx) => {
          const facts = await lockFacts(tx, ref.recordingId)
          if (facts?.state !== 'protected') return
          await writePlan(tx, ref.recordingId, null)
          await tx.updateTable('recordings').set({ state: 'retained' }).where('id', '=', ref.recordingId).execute()
          await failpoint('retain.before-commit')
        },
        { actor: 'system' },
      )
      await failpoint('retain.after-commit')
    },

    /**
     * The policy asks for deletion: because retention ended (by the database's clock, whatever a timer thinks), or
     * because nobody claimed the recording. Held, changed or already requested: nothing happens.
     */
    async requestByPolicy(ref: RecordingRef, reason: string): Promise<void> {
      await db.asAccount(
        ref.accountId,
        async (tx) => {
          const facts = await lockFacts(tx, ref.recordingId)
          if (facts === null || facts.holds.length > 0 || facts.disposition !== null) return
          const nowMs = await recordingNowMs(tx, ref.recordingId)
          const ended = facts.state === 'retained' && facts.retainUntilMs !== null && nowMs >= facts.retainUntilMs
          if (!ended && facts.state !== 'awaiting_claim') return
          await requestDisposition(tx, facts, { requestedBy: null, reason, nowMs })
          await failpoint('request.before-commit')
        },
        { actor: 'policy', detail: { reason } },
      )
      await failpoint('request.after-commit')
    },
  }
}
