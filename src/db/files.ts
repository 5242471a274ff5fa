import { sql } from 'kysely'
import type { FileView } from '../domain/recording.ts'
import type { AccountTx } from './connect.ts'
import { lockState } from './facts.ts'

/** A file that was just put into a store. */
export interface StoredFile {
  readonly name: string
  readonly kind: FileView['kind']
  readonly key: string
  readonly contentType: string
  readonly sizeBytes: number
  readonly sha256: string
  readonly widthPx?: number | null
  readonly heightPx?: number | null
  readonly durationMs?: number | null
}

/** A file as transfers need it. */
export interface FileToCopy {
  readonly id: string
  readonly name: string
  readonly kind: FileView['kind']
  readonly key: string
  readonly contentType: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** True while a package has to be sealed and no manifest of it is recorded. Until the transaction ends, none will be. */
export async function lockUnsealed(tx: AccountTx, recordingId: string): Promise<boolean> {
  if ((await lockState(tx, recordingId)) !== 'archiving') return false
  const manifest = await tx
    .selectFrom('files')
    .select('id')
    .where('recording_id', '=', recordingId)
    .where('kind', '=', 'manifest')
    .executeTakeFirst()
  return manifest === undefined
}

/** Writes down a file and its copy in one store. Running again changes nothing. */
export async function recordStored(
  tx: AccountTx,
  recordingId: string,
  storeId: string,
  file: StoredFile,
): Promise<void> {
  const account = sql<string>`current_setting('app.account')::uuid`
  await tx
    .insertInto('files')
    .values({
      account_id: account,
      recording_id: recordingId,
      kind: file.kind,
      name: file.name,
      key: file.key,
      content_type: file.contentType,
      size_bytes: file.sizeBytes,
      sha256: file.sha256,
      width_px: file.widthPx ?? null,
      height_px: file.heightPx ?? null,
      duration_ms: file.durationMs ?? null,
    })
    .onConflict((conflict) => conflict.columns(['recording_id', 'name']).doNothing())
    .execute()
  const row = await tx
    .selectFrom('files')
    .select('id')
    .where('recording_id', '=', recordingId)
    .where('name', '=', file.name)
    .executeTakeFirstOrThrow()
  await recordCopy(tx, recordingId, row.id, storeId)
}

/** Writes down that a file stands in a store, not verified yet. A verified copy stays verified. */
export async function recordCopy(tx: AccountTx, recordingId: string, fileId: string, storeId: string): Promise<void> {
  await tx
    .insertInto('copies')
    .values({
      account_id: sql<string>`current_setting('app.account')::uuid`,
      recording_id: recordingId,
      file_id: fileId,
      store_id: storeId,
      state: 'stored',
    })
    .onConflict((conflict) =>
      conflict
        .columns(['file_id', 'store_id'])
        .doUpdateSet({ state: 'stored', mend_from: null })
        .where('copies.state', '=', 'failed'),
    )
    .execute()
}

/** The files of a recording, the manifest last: an incomplete package must never look sealed. */
export async function listFilesToCopy(tx: AccountTx, recordingId: string): Promise<FileToCopy[]> {
  const rows = await tx
    .selectFrom('files')
    .selectAll()
    .where('recording_id', '=', recordingId)
    .orderBy(sql`kind = 'manifest'`)
    .orderBy('name')
    .execute()
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    kind: row.kind,
    key: row.key,
    contentType: row.content_type,
    sizeBytes: Number(row.size_bytes),
    sha256: row.sha256,
  }))
}

/** Ids of the files that are not verified in this store yet. */
export async function listUnverified(tx: AccountTx, recordingId: string, storeId: string): Promise<FileToCopy[]> {
  const done = await tx
    .selectFrom('copies')
    .select('file_id')
    .where('recording_id', '=', recordingId)
    .where('store_id', '=', storeId)
    .where('state', '=', 'verified')
    .execute()
  const verified = new Set(done.map((row) => row.file_id))
  return (await listFilesToCopy(tx, recordingId)).filter((file) => !verified.has(file.id))
}

/** What reading a copy back showed. Purged copies are left as they are. */
export async function recordCheck(tx: AccountTx, fileId: string, storeId: string, matched: boolean): Promise<void> {
  await tx
    .updateTable('copies')
    .set(matched ? { state: 'verified', verified_at: sql<Date>`now()`, mend_from: null } : { state: 'failed' })
    .where('file_id', '=', fileId)
    .where('store_id', '=', storeId)
    .where('state', '!=', 'purged')
    .execute()
}
