import { sql } from 'kysely'
import type { AccountTx } from './connect.ts'
import { lockState } from './facts.ts'

/** One file of a finished part of an encode: a slice of one rung, or the sound. */
export interface StoredSlice {
  readonly rung: string
  readonly key: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** Which part of which encode. */
export interface SliceName {
  readonly recordingId: string
  readonly planHash: string
  readonly slice: number
}

/** The files of one part, as the first run that finished it left them. */
export async function listSlice(tx: AccountTx, name: SliceName): Promise<StoredSlice[]> {
  const rows = await tx
    .selectFrom('encode_slices')
    .selectAll()
    .where('recording_id', '=', name.recordingId)
    .where('plan_hash', '=', name.planHash)
    .where('slice', '=', name.slice)
    .execute()
  return rows.map((row) => ({ rung: row.rung, key: row.key, sizeBytes: Number(row.size_bytes), sha256: row.sha256 }))
}

/**
 * Writes down a part, all its files or none: keyframes of one run's rungs fit together, those of two runs need not. `false`
 * where another run was first or the encode is over.
 */
export async function insertSlice(tx: AccountTx, name: SliceName, files: readonly StoredSlice[]): Promise<boolean> {
  const state = await lockState(tx, name.recordingId)
  const made = await tx
    .selectFrom('files')
    .select('id')
    .where('recording_id', '=', name.recordingId)
    .where('kind', 'not in', ['original', 'manifest'])
    .limit(1)
    .execute()
  if (state !== 'encoding' || made.length > 0 || (await listSlice(tx, name)).length > 0) return false
  await tx
    .insertInto('encode_slices')
    .values(
      files.map((file) => ({
        account_id: sql<string>`current_setting('app.account')::uuid`,
        recording_id: name.recordingId,
        plan_hash: name.planHash,
        slice: name.slice,
        rung: file.rung,
        key: file.key,
        size_bytes: file.sizeBytes,
        sha256: file.sha256,
      })),
    )
    .execute()
  return true
}

/** Forgets a part whose bytes are not there any more. What another run put in its place meanwhile stays. */
export async function forgetSlice(tx: AccountTx, name: SliceName, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return
  await tx
    .deleteFrom('encode_slices')
    .where('recording_id', '=', name.recordingId)
    .where('plan_hash', '=', name.planHash)
    .where('slice', '=', name.slice)
    .where('key', 'in', [...keys])
    .execute()
}

/** True where parts of this recording's encode are written down. */
export async function hasSlices(tx: AccountTx, recordingId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('encode_slices')
    .select('slice')
    .where('recording_id', '=', recordingId)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** Forgets all parts of a recording's encodes. */
export async function forgetAllSlices(tx: AccountTx, recordingId: string): Promise<void> {
  await tx.deleteFrom('encode_slices').where('recording_id', '=', recordingId).execute()
}
