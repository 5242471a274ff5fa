import { sql } from 'kysely'
import { originalKey } from '../domain/archive.ts'
import type { DepositState, EndSignal } from '../domain/deposit.ts'
import { statesMeaning } from '../domain/duplicate.ts'
import type { MediaFacts } from '../domain/encode.ts'
import type { ErrorCode } from '../domain/errors.ts'
import type { FileIdentity } from '../domain/ingest.ts'
import { strikeOffPut } from './announced-puts.ts'
import { msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'
import { recordStored } from './files.ts'

/** A deposit as the one that reads it needs it. */
export interface DepositToTakeIn extends FileIdentity {
  readonly id: string
  readonly inboxId: string
  readonly recorderId: string | null
  readonly path: string
  readonly state: DepositState
  readonly endSignal: EndSignal | null
  readonly reason: string | null
  /** How long it had not changed when it was found complete, by the clock of the looks. */
  readonly restedMs: number
  readonly recordingId: string | null
}

/** The deposit, or null when there is none under this id any more. */
export async function findDepositToTakeIn(tx: AccountTx, id: string): Promise<DepositToTakeIn | null> {
  const row = await tx.selectFrom('deposits').selectAll().where('id', '=', id).executeTakeFirst()
  return row === undefined ? null : rowToTakeIn(row)
}

interface DepositRow {
  id: string
  inbox_id: string
  recorder_id: string | null
  path: string
  size_bytes: string
  mtime_ms: string
  file_id: string
  state: DepositState
  end_signal: EndSignal | null
  reason: string | null
  changed_at: Date
  complete_at: Date | null
  recording_id: string | null
}

function rowToTakeIn(row: DepositRow): DepositToTakeIn {
  return {
    id: row.id,
    inboxId: row.inbox_id,
    recorderId: row.recorder_id,
    path: row.path,
    sizeBytes: Number(row.size_bytes),
    mtimeMs: Number(row.mtime_ms),
    fileId: row.file_id,
    state: row.state,
    endSignal: row.end_signal,
    reason: row.reason,
    restedMs: row.complete_at === null ? 0 : msOf(row.complete_at) - msOf(row.changed_at),
    recordingId: row.recording_id,
  }
}

/** States of a deposit that somebody may be reading: only these become a recording, or something else instead. */
export const beingTakenIn = ['complete', 'quarantined'] as const
const now = sql<Date>`now()`

/**
 * Lets go of a revision that is being written again or has no end yet. The deposit goes on under a new id: the life that
 * began under the old one is over and can never begin again. False when it was not complete any more.
 */
export async function dropRevision(
  tx: AccountTx,
  id: string,
  next: { state: 'arriving' | 'stalled'; code: ErrorCode; reason: string },
): Promise<boolean> {
  const rest = next.state === 'arriving' ? { changed_at: now, looks: 1, end_signal: null } : {}
  const result = await tx
    .updateTable('deposits')
    .set({ id: sql<string>`gen_random_uuid()`, state: next.state, ...rest })
    .set({ reason_code: next.code, reason: next.reason, complete_at: null })
    .where('id', '=', id)
    .where('state', '=', 'complete')
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}

/** The file was gone before it could be read. */
export async function markVanished(tx: AccountTx, id: string): Promise<void> {
  await tx
    .updateTable('deposits')
    .set({ state: 'vanished', reason_code: 'vanished', settled_at: now })
    .set({ reason: 'The file left the inbox before it was taken in.' })
    .where('id', '=', id)
    .where('state', 'in', beingTakenIn)
    .execute()
}

/** Writes down why a deposit cannot become a recording. Its source is not touched. */
export async function quarantineDeposit(
  tx: AccountTx,
  id: string,
  verdict: { code: ErrorCode; message: string },
): Promise<void> {
  await tx
    .updateTable('deposits')
    .set({ state: 'quarantined', reason_code: verdict.code, reason: verdict.message, settled_at: now })
    .set({ attempts: sql<number>`attempts + 1` })
    .where('id', '=', id)
    .where('state', 'in', beingTakenIn)
    .execute()
}

/** Asks for the recording that already has these bytes. */
export function sameBytesQuery(tx: AccountTx, sha256: string) {
  return tx
    .selectFrom('recordings')
    .select('id')
    .where('sha256', '=', sha256)
    .where('state', 'not in', statesMeaning('own'))
}

/** The recording that already has these bytes, or null. */
export async function findSameBytes(tx: AccountTx, sha256: string): Promise<{ id: string } | null> {
  return (await sameBytesQuery(tx, sha256).executeTakeFirst()) ?? null
}

/** What a deposit is when it becomes a recording. */
export interface TakenIn {
  readonly deposit: DepositToTakeIn
  readonly recorderId: string
  readonly sha256: string
  readonly media: MediaFacts
  readonly title: string
  readonly extension: string
  readonly contentType: string
  readonly storeId: string
}

/**
 * Makes a deposit a recording: recording, original and its first copy, all or nothing. `taken` when another deposit with the
 * same bytes was quicker, `over` when this deposit is not being taken in any more: somebody else settled it.
 */
export async function acceptDeposit(
  tx: AccountTx,
  accountId: string,
  taken: TakenIn,
): Promise<'accepted' | 'taken' | 'over'> {
  const { deposit, sha256 } = taken
  const open = await tx
    .selectFrom('deposits')
    .select('id')
    .where('id', '=', deposit.id)
    .where('state', 'in', beingTakenIn)
    .forUpdate()
    .executeTakeFirst()
  if (open === undefined) return 'over'
  await tx
    .insertInto('recordings')
    .values({
      id: deposit.id,
      account_id: accountId,
      recorder_id: taken.recorderId,
      deposit_id: deposit.id,
      title: taken.title,
      sha256,
      size_bytes: deposit.sizeBytes,
      media: JSON.stringify(taken.media),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  if ((await findSameBytes(tx, sha256))?.id !== deposit.id) return 'taken'
  const key = originalKey(accountId, deposit.id, taken.extension)
  await strikeOffPut(tx, taken.storeId, key)
  await recordStored(tx, deposit.id, taken.storeId, {
    name: `original.${taken.extension}`,
    kind: 'original',
    key,
    contentType: taken.contentType,
    sizeBytes: deposit.sizeBytes,
    sha256,
    widthPx: taken.media.video?.widthPx ?? null,
    heightPx: taken.media.video?.heightPx ?? null,
    durationMs: taken.media.durationMs,
  })
  await tx
    .updateTable('deposits')
    .set({ state: 'accepted', sha256, recording_id: deposit.id, settled_at: now, reason_code: null, reason: null })
    .where('id', '=', deposit.id)
    .execute()
  return 'accepted'
}

/**
 * Deposits whose source may leave the inbox with this recording: its own, and later ones of the same bytes. None where the
 * recording may be on its way out: then a new upload of it is what somebody wants to keep.
 */
export async function findReleasable(tx: AccountTx, recordingId: string): Promise<DepositToTakeIn[]> {
  const rows = await tx
    .selectFrom('deposits as d')
    .innerJoin('recordings as r', 'r.id', 'd.recording_id')
    .selectAll('d')
    .where('d.recording_id', '=', recordingId)
    .where('d.state', 'in', ['accepted', 'duplicate'])
    .where('r.state', 'in', statesMeaning('settled'))
    .execute()
  return rows.map(rowToTakeIn)
}

/** The source has left the inbox. */
export async function markReleased(tx: AccountTx, id: string): Promise<void> {
  await tx
    .updateTable('deposits')
    .set({ state: 'released', settled_at: now })
    .where('id', '=', id)
    .where('state', 'in', ['accepted', 'duplicate'])
    .execute()
}

/** Writes down that the source is another file by now and stays where it is; the code says that nobody has to try again. */
export async function noteSourceLeft(tx: AccountTx, id: string, reason: string): Promise<void> {
  await tx.updateTable('deposits').set({ reason, reason_code: 'changed_while_read' }).where('id', '=', id).execute()
}
