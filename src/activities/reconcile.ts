import { listAccountIds } from '../db/accounts.ts'
import { moveRound, nextRoundPage } from '../db/life-rounds.ts'
import { listOwing } from '../db/owed.ts'
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

/** Recordings of one account and turn that are made to see what they owe: their copies take longer than their questions. */
const owingPerTurn = 100

/** The safety net: whatever should be alive and is not, is started again. */
export function createReconcileActivities(deps: ReconcileDeps) {
  return {
    /**
     * Begins the life of every deposit and recording that may not have one: a worker can die between the row and the
     * start, Temporal's state or the database can be lost and rebuilt. Starting a life that runs changes nothing.
     * Recordings take turns: a bounded number of them at a time, each about once an hour. Those that owe copies, or have a
     * source that should have left its inbox, are told to look at it; the others are only read, all of a turn in one question.
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
  const owing = await db.asAccount(accountId, (tx) => listOwing(tx, page.ids))
  // After a rebuild every life has to begin or to look: that does not wait for copies.
  const ids = page.wake ? page.ids : upToOwing(page.ids, owing)
  for (const recordingId of ids) {
    signal.throwIfAborted()
    await startRecording({ accountId, recordingId, accepted: true }, { wake: page.wake || owing.has(recordingId) })
    beat({ accountId, recordingId })
  }
  const isThrough = ids.length === page.ids.length && page.ids.length < limit
  const last = isThrough ? null : (ids.at(-1) ?? null)
  await db.asAccount(accountId, (tx) => moveRound(tx, page, last))
  return ids.length
}

/** The page as far as the last of those that may be woken in this turn: the next turn goes on behind it. */
function upToOwing(ids: readonly string[], owing: ReadonlySet<string>): readonly string[] {
  const last = ids.filter((id) => owing.has(id)).at(owingPerTurn - 1)
  return last === undefined ? ids : ids.slice(0, ids.indexOf(last) + 1)
}
