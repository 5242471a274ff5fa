import { sql } from 'kysely'
import { ReelkeepError } from '../domain/errors.ts'
import type { AccountTx } from './connect.ts'

/** True where this system was created with fast-forward: demos and tests, never production. */
export async function isFastForward(tx: AccountTx): Promise<boolean> {
  return (await tx.selectFrom('system').select('fast_forward').executeTakeFirst())?.fast_forward ?? false
}

/** Allows one recording's clock to go this much further ahead. The database refuses where fast-forward is off. @throws fast_forward_refused */
export async function allowFastForward(tx: AccountTx, recordingId: string, durationMs: number): Promise<void> {
  if (!(await isFastForward(tx)))
    throw new ReelkeepError(
      'fast_forward_refused',
      'This system was created without fast-forward: here time passes by itself. Start a demo stack to see years pass.',
    )
  await tx
    .updateTable('recordings')
    .set({ clock_limit_ms: sql<number>`clock_offset_ms + ${Math.ceil(durationMs)}` })
    .where('id', '=', recordingId)
    .execute()
}

/** The recording's clock has arrived where it was allowed to go. A second call changes nothing. */
export async function arriveFastForward(tx: AccountTx, recordingId: string): Promise<void> {
  await tx
    .updateTable('recordings')
    .set({ clock_offset_ms: sql<number>`clock_limit_ms` })
    .where('id', '=', recordingId)
    .execute()
}

/**
 * Moves the recording's clock to where its workflow says it is, never back and never past what was allowed: on a real
 * clock (limit 0) this does nothing, whatever a workflow claims.
 */
export async function followWorkflowClock(tx: AccountTx, recordingId: string, workflowNowMs: number): Promise<void> {
  await tx
    .updateTable('recordings')
    .set({
      clock_offset_ms: sql<number>`greatest(clock_offset_ms, least(clock_limit_ms, ${workflowNowMs} - floor(extract(epoch from now()) * 1000)))::bigint`,
    })
    .where('id', '=', recordingId)
    .where(sql<boolean>`clock_limit_ms > clock_offset_ms`)
    .execute()
}
