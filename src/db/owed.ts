import { sql } from 'kysely'
import { owedStates } from '../domain/owed.ts'
import type { KeepingStore, OwedFacts } from '../domain/owed.ts'
import { writeAudit } from './audit.ts'
import { msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'
import { areCopiesVerified, isGoing, lockState } from './facts.ts'

const account = sql<string>`current_setting('app.account')::uuid`

/** A copy that does not count and that no check has judged. The same rule as in `planOwed`; a test compares the two. */
const unjudged = sql<boolean>`c.state in ('stored', 'failed')
  and (c.check_result is null or (c.check_result = 'could_not_run' and c.verified_at is null))`

/** What is known of what a recording owes, or null where there is none. */
export async function findOwedFacts(tx: AccountTx, recordingId: string): Promise<OwedFacts | null> {
  const recording = await tx.selectFrom('recordings').select('state').where('id', '=', recordingId).executeTakeFirst()
  if (recording === undefined) return null
  const files = await tx
    .selectFrom('files')
    .select(['id', 'kind'])
    .where('recording_id', '=', recordingId)
    .orderBy(sql`kind = 'manifest'`)
    .orderBy('name')
    .execute()
  const copies = await tx
    .selectFrom('copies')
    .select(['file_id', 'store_id', 'state', 'verified_at', 'check_result'])
    .where('recording_id', '=', recordingId)
    .execute()
  const { copiesSkippedAtMs, sourceSkippedAtMs } = await findSkips(tx, recordingId)
  return {
    state: recording.state,
    isSealed: files.some(({ kind }) => kind === 'manifest'),
    fileIds: files.map(({ id }) => id),
    stores: await listKeepingStores(tx),
    copies: copies.map((copy) => ({
      fileId: copy.file_id,
      storeId: copy.store_id,
      state: copy.state,
      wasVerified: copy.verified_at !== null,
      lastResult: copy.check_result,
    })),
    copiesVerified: await areCopiesVerified(tx, recordingId),
    sourcesSettledAtMs: await listSources(tx, recordingId),
    copiesSkippedAtMs,
    sourceSkippedAtMs,
  }
}

async function listKeepingStores(tx: AccountTx): Promise<KeepingStore[]> {
  const rows = await tx
    .selectFrom('stores')
    .select(['id', 'role', 'created_at'])
    .where('role', 'in', ['primary', 'backup'])
    .execute()
  return rows.flatMap(({ id, role, created_at }) => (role === 'inbox' ? [] : [{ id, role, sinceMs: msOf(created_at) }]))
}

/** A source that was seen to be another file by now says so with a code, and stays. */
async function listSources(tx: AccountTx, recordingId: string): Promise<number[]> {
  const rows = await tx
    .selectFrom('deposits')
    .select('settled_at')
    .where('recording_id', '=', recordingId)
    .where('state', 'in', ['accepted', 'duplicate'])
    .where('reason_code', 'is', null)
    .execute()
  return rows.map(({ settled_at }) => msOf(settled_at) ?? 0)
}

async function findSkips(tx: AccountTx, recordingId: string) {
  const rows = await tx
    .selectFrom('problems')
    .select(['stage', 'resolved_at'])
    .where('recording_id', '=', recordingId)
    .where('resolution', '=', 'skip')
    .where('stage', 'in', ['archive', 'replicate'])
    .execute()
  const last = (stages: readonly string[]) =>
    rows
      .filter(({ stage }) => stages.includes(stage))
      .reduce<number | null>((latest, row) => Math.max(latest ?? 0, msOf(row.resolved_at) ?? 0), null)
  return { copiesSkippedAtMs: last(['archive']), sourceSkippedAtMs: last(['archive', 'replicate']) }
}

/**
 * Which of these recordings owe something that can be made good now, and are not parked with it: one question for all of them.
 * Whoever owes nothing is only read here.
 */
export async function listOwing(tx: AccountTx, recordingIds: readonly string[]): Promise<ReadonlySet<string>> {
  if (recordingIds.length === 0) return new Set()
  const skipped = (sinceMs: ReturnType<typeof sql>, stages: readonly string[]) => sql<boolean>`exists (
    select from problems p where p.recording_id = r.id and p.resolution = 'skip'
      and p.stage in (${sql.join(stages.map((stage) => sql.lit(stage)))}) and p.resolved_at >= ${sinceMs})`
  const { rows } = await sql<{ id: string; copies: boolean }>`
    select id, copies from (
      select r.id,
        exists (
          select from stores s cross join files f left join copies c on c.file_id = f.id and c.store_id = s.id
          where f.recording_id = r.id and s.role in ('primary', 'backup') and (c.id is null or (${unjudged}))
            and not ${skipped(sql`s.created_at`, ['archive'])}) as copies,
        exists (
          select from deposits d where d.recording_id = r.id and d.state in ('accepted', 'duplicate') and d.reason_code is null
            and not ${skipped(sql`d.settled_at`, ['archive', 'replicate'])}) as source
      from recordings r
      where r.id = any(${sql.val([...recordingIds])}::uuid[])
        and r.state in (${sql.join(owedStates.map((state) => sql.lit(state)))})
        and exists (select from files f where f.recording_id = r.id and f.kind = 'manifest')
        and not exists (
          select from problems p where p.recording_id = r.id and p.account_id = ${account} and p.stage = 'archive' and p.resolved_at is null)
    ) as owing where copies or source`.execute(tx)
  const owing = new Set<string>()
  for (const { id, copies } of rows) if (copies || (await areCopiesVerified(tx, id))) owing.add(id)
  return owing
}

/** Which copy of which recording. */
export interface OwedPlace {
  readonly recordingId: string
  readonly fileId: string
  readonly storeId: string
}

/** Locks the recording and says where it is: kept, on its way out, or so far that nothing may come back. */
async function lockWay(tx: AccountTx, recordingId: string): Promise<'kept' | 'leaving' | 'going'> {
  const state = await lockState(tx, recordingId)
  if (isGoing(state)) return 'going'
  return owedStates.some((kept) => kept === state) ? 'kept' : 'leaving'
}

/**
 * Writes down that a copy is about to be made, before any byte of it stands there: a purge must know of the store, whoever dies
 * meanwhile. Until it is made it is `failed`, and counts for nothing. False where the recording is on its way out: then none is made.
 */
export async function announceCopy(tx: AccountTx, { recordingId, fileId, storeId }: OwedPlace): Promise<boolean> {
  if ((await lockWay(tx, recordingId)) !== 'kept') return false
  await tx
    .insertInto('copies')
    .values({ account_id: account, recording_id: recordingId, file_id: fileId, store_id: storeId, state: 'failed' })
    .onConflict((conflict) => conflict.columns(['file_id', 'store_id']).doNothing())
    .execute()
  return true
}

/**
 * The copy stands there; it counts once it is read back. What a check has judged meanwhile is left to the check. `gone` = a
 * purge has passed by: it must go again.
 */
export async function recordMade(tx: AccountTx, { recordingId, fileId, storeId }: OwedPlace): Promise<'made' | 'gone'> {
  if ((await lockWay(tx, recordingId)) === 'going') return 'gone'
  await tx
    .updateTable('copies as c')
    .set({ state: 'stored', stored_at: sql<Date>`now()` })
    .where('file_id', '=', fileId)
    .where('store_id', '=', storeId)
    .where(unjudged)
    .execute()
  return 'made'
}

/**
 * What reading an owed copy back showed: verified, or to be made again. `last` writes the one line of the timeline, with how
 * many copies this store got.
 */
export async function recordReadBack(
  tx: AccountTx,
  { recordingId, fileId, storeId }: OwedPlace,
  matched: boolean,
  last: { readonly store: string; readonly copies: number } | null,
): Promise<void> {
  if ((await lockWay(tx, recordingId)) === 'going') return
  await tx
    .updateTable('copies as c')
    .set(matched ? { state: 'verified', verified_at: sql<Date>`now()` } : { state: 'failed' })
    .where('file_id', '=', fileId)
    .where('store_id', '=', storeId)
    .where('state', '=', 'stored')
    .where(unjudged)
    .execute()
  if (last !== null) await writeAudit(tx, recordingId, 'system', 'copy.verified', { ...last })
}

/** A copy that counts was seen bad: the next pass of checks reads this recording, whenever it was due. */
export async function hastenCheck(tx: AccountTx, recordingId: string): Promise<void> {
  await tx
    .updateTable('recordings')
    .set({ fixity_due_at: sql<Date>`now()` })
    .where('id', '=', recordingId)
    .where('fixity_due_at', '>', sql<Date>`now()`)
    .execute()
}
