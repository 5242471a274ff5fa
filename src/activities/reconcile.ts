import { listAccountIds } from '../db/accounts.ts'
import { moveRound, nextRoundPage } from '../db/life-rounds.ts'
import { msPer } from '../domain/units.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'

type ReconcileDeps = Pick<ActivityDeps, 'db' | 'startRecording'>

/** A round through an account's recordings begins this long after the last one ended. */
const roundEveryMs = msPer.hour
/** Recordings of one turn, over all accounts: each costs Temporal one question. */
const livesPerTurn = 1000

/** The safety net: whatever should be alive and is not, is started again. */
export function createReconcileActivities(deps: ReconcileDeps) {
  return {
    /**
     * Begins the life of every deposit and recording that may not have one: a worker can die between the row and the
     * start, Temporal's state or the database can be lost and rebuilt. Starting a life that runs changes nothing.
     * Recordings take turns: a bounded number of them at a time, each about once an hour.
     */
    async startMissingLives(): Promise<number> {
      return withHeartbeat(async (beat) => {
        let started = 0
        let left = livesPerTurn
        for (const accountId of await listAccountIds(deps.db)) {
          started += await startDeposits(deps, accountId, beat)
          left -= await goRound(deps, accountId, left, beat)
        }
        return started + livesPerTurn - left
      })
    },
  }
}

async function startDeposits({ db, startRecording }: ReconcileDeps, accountId: string, { signal, beat }: Beat) {
  const rows = await db.asAccount(accountId, (tx) =>
    tx.selectFrom('deposits').select('id').where('state', '=', 'complete').orderBy('complete_at').limit(1000).execute(),
  )
  for (const { id } of rows) {
    signal.throwIfAborted()
    await failpoint('reconcile.before-start')
    await startRecording({ accountId, recordingId: id })
  }
  beat({ accountId, started: rows.length })
  return rows.length
}

/** Goes on with the account's round through its recordings. Returns how many it came past. */
async function goRound(
  { db, startRecording }: ReconcileDeps,
  accountId: string,
  limit: number,
  { signal, beat }: Beat,
): Promise<number> {
  if (limit === 0) return 0
  const page = await db.asAccount(accountId, (tx) => nextRoundPage(tx, roundEveryMs, limit))
  if (page === null) return 0
  for (const recordingId of page.ids) {
    signal.throwIfAborted()
    await startRecording({ accountId, recordingId, accepted: true }, { wake: page.wake })
    beat({ accountId, recordingId })
  }
  const last = page.ids.length < limit ? null : (page.ids.at(-1) ?? null)
  await db.asAccount(accountId, (tx) => moveRound(tx, page, last))
  return page.ids.length
}
