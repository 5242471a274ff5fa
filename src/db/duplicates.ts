import { sql } from 'kysely'
import { planReturn } from '../domain/duplicate.ts'
import { writeAudit } from './audit.ts'
import { msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'
import { liveStates } from './deposits.ts'
import { beingTakenIn, sameBytesQuery } from './taken-in.ts'

const now = sql<Date>`now()`

/** What came of linking a deposit: nobody else has its bytes; or to which recording, and whether this very run did it. */
export type Linked = { readonly recordingId: string; readonly changed: boolean } | null

/**
 * Links a deposit to the recording that has its bytes. Under that recording's lock: a purge that ends at this moment has
 * either ended before, and then there is nothing to link to, or finds this deposit among those that it returns.
 */
export async function linkDuplicate(tx: AccountTx, id: string, sha256: string): Promise<Linked> {
  const first = await sameBytesQuery(tx, sha256).forShare().executeTakeFirst()
  if (first === undefined || first.id === id) return null
  const linked = await tx
    .updateTable('deposits')
    .set({ state: 'duplicate', sha256, recording_id: first.id, settled_at: now, reason_code: null })
    .set({ reason: `The same bytes as recording ${first.id}.` })
    .where('id', '=', id)
    .where('state', 'in', beingTakenIn)
    .returning('path')
    .executeTakeFirst()
  // Whoever decides on the deletion of the recording sees that somebody uploaded it again.
  if (linked !== undefined)
    await writeAudit(tx, first.id, 'system', 'duplicate.linked', { deposit: id, path: linked.path })
  return { recordingId: first.id, changed: linked !== undefined }
}

/**
 * The recording is purged: duplicates of it that still lie in their inboxes are deposits of their own again, under new ids,
 * because the lives that began under the old ones are over. They rest and are taken in as anything that arrives. Must run in
 * the transaction that purges it, under its lock. A second run finds none.
 */
export async function returnDuplicates(tx: AccountTx, recordingId: string): Promise<void> {
  const ofRecording = () =>
    tx.selectFrom('deposits').where('recording_id', '=', recordingId).where('state', '=', 'duplicate')
  const inboxIds = (await ofRecording().select('inbox_id').distinct().execute()).map((row) => row.inbox_id)
  if (inboxIds.length === 0) return
  // No scanner decides meanwhile: what it sees arriving at one of these paths stands there before, or waits.
  await tx.selectFrom('stores').select('id').where('id', 'in', inboxIds).orderBy('id').forNoKeyUpdate().execute()
  const waiting = await ofRecording().select(['id', 'inbox_id', 'path', 'first_seen_at']).execute()
  const live = await tx
    .selectFrom('deposits')
    .select(['inbox_id', 'path'])
    .where('inbox_id', 'in', inboxIds)
    .where('state', 'in', liveStates)
    .where(
      'path',
      'in',
      waiting.map((row) => row.path),
    )
    .execute()
  const { again, replaced } = planReturn(
    waiting.map((row) => ({
      id: row.id,
      inboxId: row.inbox_id,
      path: row.path,
      firstSeenAtMs: msOf(row.first_seen_at),
    })),
    live.map((row) => ({ inboxId: row.inbox_id, path: row.path })),
  )
  await arriveAgain(tx, again, recordingId)
  await noteReplaced(tx, replaced)
  await writeAudit(tx, recordingId, 'system', 'duplicates.returned', {
    deposits: again.length,
    replaced: replaced.length,
  })
}

async function arriveAgain(tx: AccountTx, ids: readonly string[], recordingId: string): Promise<void> {
  if (ids.length === 0) return
  await tx
    .updateTable('deposits')
    .set({ id: sql<string>`gen_random_uuid()`, state: 'arriving', recording_id: null, sha256: null })
    .set({ changed_at: now, looks: 1, end_signal: null, complete_at: null, settled_at: null, reason_code: null })
    .set({ reason: `The same bytes as recording ${recordingId}, which was deleted. It is taken in anew.` })
    .where('id', 'in', ids)
    .execute()
}

async function noteReplaced(tx: AccountTx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await tx
    .updateTable('deposits')
    .set({ state: 'vanished', reason_code: 'vanished', settled_at: now })
    .set({ reason: 'Another file took its place in the inbox before it was taken in.' })
    .where('id', 'in', ids)
    .execute()
}
