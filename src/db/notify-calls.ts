import { sql } from 'kysely'
import { databaseNowMs } from './facts.ts'
import type { CallingRecorder } from './recorders.ts'
import type { Database } from './connect.ts'

/** A signed call whose signature was right. */
export interface SignedCall {
  readonly id: string
  readonly sentAtMs: number
}

/**
 * Takes a signed call once: the same id again is `replayed`, one whose time differs from the database's clock by more
 * than the window is `stale`. Ids are kept for twice the window: a call may come from a clock that is ahead, and could be
 * sent again until that clock's window is over, too.
 */
export async function takeSignedCall(
  db: Database,
  recorder: Pick<CallingRecorder, 'id' | 'accountId'>,
  call: SignedCall,
  windowMs: number,
): Promise<'taken' | 'replayed' | 'stale'> {
  return db.asAccount(recorder.accountId, async (tx) => {
    if (Math.abs((await databaseNowMs(tx)) - call.sentAtMs) > windowMs) return 'stale'
    await tx
      .deleteFrom('notify_calls')
      .where('seen_at', '<', sql<Date>`now() - ${2 * windowMs} * interval '1 millisecond'`)
      .execute()
    const inserted = await tx
      .insertInto('notify_calls')
      .values({ account_id: recorder.accountId, recorder_id: recorder.id, call_id: call.id })
      .onConflict((conflict) => conflict.doNothing())
      .returning('call_id')
      .executeTakeFirst()
    return inserted === undefined ? 'replayed' : 'taken'
  })
}
