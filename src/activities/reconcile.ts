import { listAccountIds } from '../db/accounts.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'

/** The safety net: whatever should be alive and is not, is started again. */
export function createReconcileActivities({ db, startRecording }: Pick<ActivityDeps, 'db' | 'startRecording'>) {
  return {
    /**
     * Begins the life of every deposit and recording that may not have one: a worker can die between the row and the
     * start. Starting a life that runs changes nothing.
     */
    async startMissingLives(): Promise<number> {
      return withHeartbeat(async ({ signal, beat }) => {
        let started = 0
        for (const accountId of await listAccountIds(db)) {
          const rows = await db.asAccount(accountId, (tx) =>
            tx
              .selectFrom('deposits')
              .select('id')
              .where('state', '=', 'complete')
              .orderBy('complete_at')
              .limit(1000)
              .execute(),
          )
          for (const { id } of rows) {
            signal.throwIfAborted()
            await failpoint('reconcile.before-start')
            await startRecording({ accountId, recordingId: id })
            started += 1
          }
          beat({ accountId, started })
        }
        return started
      })
    },
  }
}
