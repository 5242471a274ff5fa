import { sql } from 'kysely'
import type { Content } from '../domain/fixity.ts'
import { mendStates } from '../domain/mend.ts'
import { writeAudit } from './audit.ts'
import type { AccountTx } from './connect.ts'
import { isGoing, lockState } from './facts.ts'

/** One copy: which file of which recording, in which store. */
export interface CopyPlace {
  readonly recordingId: string
  readonly fileId: string
  readonly storeId: string
}

/** True before the recording is kept: afterwards the fixity check alone replaces copies. */
export async function mayMend(tx: AccountTx, { recordingId }: CopyPlace): Promise<boolean> {
  const row = await tx
    .selectFrom('recordings')
    .select('id')
    .where('id', '=', recordingId)
    .where('state', 'in', [...mendStates])
    .executeTakeFirst()
  return row !== undefined
}

/** Keeps every other mending of this copy, and every check of it, waiting until the transaction ends. */
export async function lockCopy(tx: AccountTx, { fileId, storeId }: CopyPlace): Promise<void> {
  await tx
    .selectFrom('copies')
    .select('id')
    .where('file_id', '=', fileId)
    .where('store_id', '=', storeId)
    .forUpdate()
    .executeTakeFirstOrThrow()
}

/** True where a copy was found bad and is owed again: then its object may be missing because somebody is replacing it. */
export async function isMendOwed(tx: AccountTx, { fileId, storeId }: CopyPlace): Promise<boolean> {
  const row = await tx
    .selectFrom('copies')
    .select('state')
    .where('file_id', '=', fileId)
    .where('store_id', '=', storeId)
    .executeTakeFirst()
  return row?.state === 'failed'
}

/** Other files of the recording that stand in the same store by the rows, those that were read back first. */
export async function listNeighbours(
  tx: AccountTx,
  { recordingId, fileId, storeId }: CopyPlace,
): Promise<readonly { readonly key: string; readonly sizeBytes: number }[]> {
  const rows = await tx
    .selectFrom('copies as c')
    .innerJoin('files as f', 'f.id', 'c.file_id')
    .select(['f.key', 'f.size_bytes'])
    .where('c.recording_id', '=', recordingId)
    .where('c.store_id', '=', storeId)
    .where('c.file_id', '!=', fileId)
    .where('c.state', 'in', ['verified', 'stored'])
    .orderBy(sql`c.state = 'verified'`, 'desc')
    .orderBy('f.name')
    .limit(3)
    .execute()
  return rows.map((row) => ({ key: row.key, sizeBytes: Number(row.size_bytes) }))
}

/**
 * The copy was made again; it counts once it is read back. Where another run read it back meanwhile, it stays verified. False where the
 * recording is being purged: it must go again.
 */
export async function recordMended(
  tx: AccountTx,
  { recordingId, fileId, storeId }: CopyPlace,
  detail: Readonly<Record<string, string | number>>,
): Promise<boolean> {
  if (isGoing(await lockState(tx, recordingId))) return false
  await tx
    .updateTable('copies')
    .set({ state: 'stored', stored_at: sql<Date>`now()`, mend_from: null })
    .where('file_id', '=', fileId)
    .where('store_id', '=', storeId)
    .where('state', '=', 'failed')
    .execute()
  await writeAudit(tx, recordingId, 'system', 'copy.mended', detail)
  return true
}

/** The other stores that should have this file, those whose copy was verified first. */
export async function listOtherCopies(tx: AccountTx, { fileId, storeId }: CopyPlace): Promise<string[]> {
  const rows = await tx
    .selectFrom('copies')
    .select('store_id')
    .where('file_id', '=', fileId)
    .where('store_id', '!=', storeId)
    .where('state', 'in', ['verified', 'stored'])
    .orderBy(sql`state = 'verified'`, 'desc')
    .orderBy('store_id')
    .execute()
  return rows.map((row) => row.store_id)
}

/**
 * The manifest is to say what the rows say now. False where another run was first, or a copy of the manifest was verified meanwhile: then
 * that one counts.
 */
export async function resealManifest(
  tx: AccountTx,
  recordingId: string,
  known: { readonly id: string; readonly sha256: string },
  next: Content,
): Promise<boolean> {
  const result = await tx
    .updateTable('files')
    .set({ size_bytes: next.sizeBytes, sha256: next.sha256 })
    .where('id', '=', known.id)
    .where('kind', '=', 'manifest')
    .where('sha256', '=', known.sha256)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb.selectFrom('copies').select('id').whereRef('file_id', '=', 'files.id').where('state', '=', 'verified'),
        ),
      ),
    )
    .executeTakeFirst()
  if (result.numUpdatedRows === 0n) return false
  await writeAudit(tx, recordingId, 'system', 'manifest.resealed', { sha256: next.sha256, instead: known.sha256 })
  return true
}

/**
 * True while nothing names the object an earlier run of the take-in left: locked with its deposit until the transaction ends, so that
 * no run accepts it meanwhile.
 */
export async function isUnnamedOriginal(tx: AccountTx, depositId: string): Promise<boolean> {
  const deposit = await tx
    .selectFrom('deposits')
    .select('id')
    .where('id', '=', depositId)
    .where('state', 'in', ['complete', 'quarantined'])
    .forUpdate()
    .executeTakeFirst()
  if (deposit === undefined) return false
  const recording = await tx.selectFrom('recordings').select('id').where('id', '=', depositId).executeTakeFirst()
  return recording === undefined
}
