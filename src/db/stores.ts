import { listAccountIds } from './accounts.ts'
import { msOf } from './connect.ts'
import type { AccountTx, Database } from './connect.ts'

/** A store as lists show it. */
export interface StoreView {
  readonly id: string
  readonly name: string
  readonly site: string
  readonly role: 'inbox' | 'primary' | 'backup'
  /** Its URL names secrets and never contains one. */
  readonly url: string
  readonly createdAtMs: number
}

/** Where one copy of a file stands. */
export interface CopyPlace {
  readonly storeId: string
  readonly url: string
  readonly key: string
  readonly sizeBytes: number
}

/** A file that can be sent to a person. */
export interface MediaFile {
  readonly id: string
  readonly name: string
  readonly kind: 'original' | 'video' | 'hls' | 'poster' | 'sprite' | 'audio' | 'manifest'
  readonly contentType: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** Every store of the account, by name. */
export async function listStores(tx: AccountTx): Promise<StoreView[]> {
  const rows = await tx.selectFrom('stores').selectAll().orderBy('name').execute()
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    site: row.site,
    role: row.role,
    url: row.url,
    createdAtMs: msOf(row.created_at),
  }))
}

/**
 * The whole URL of a store of any account, or null where this database has none of this id: for commands of the machine's
 * operator, who can read the database anyway. @throws database_unavailable
 */
export async function findStoreUrl(db: Database, storeId: string): Promise<string | null> {
  for (const accountId of await listAccountIds(db)) {
    const row = await db.asAccount(accountId, (tx) =>
      tx.selectFrom('stores').select('url').where('id', '=', storeId).executeTakeFirst(),
    )
    if (row !== undefined) return row.url
  }
  return null
}

/**
 * A file of a recording that may be shown: null when there is none, and null once the recording is in the trash, because
 * what was approved for deletion is not handed out any more.
 */
export async function findMediaFile(
  tx: AccountTx,
  recordingId: string,
  which: { readonly id: string } | { readonly name: string },
): Promise<MediaFile | null> {
  const row = await tx
    .selectFrom('files as f')
    .innerJoin('recordings as r', 'r.id', 'f.recording_id')
    .select(['f.id', 'f.name', 'f.kind', 'f.content_type', 'f.size_bytes', 'f.sha256'])
    .where('f.recording_id', '=', recordingId)
    .where('r.state', 'not in', ['trashed', 'purging', 'purged'])
    .$call((query) => ('id' in which ? query.where('f.id', '=', which.id) : query.where('f.name', '=', which.name)))
    .executeTakeFirst()
  if (row === undefined) return null
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    contentType: row.content_type,
    sizeBytes: Number(row.size_bytes),
    sha256: row.sha256,
  }
}

const stateOrder = ['verified', 'stored']
const roleOrder = ['primary', 'backup', 'inbox']

/** Where a file's usable copies stand, the best first: verified before unverified, primary before backup before inbox. */
export async function listCopyPlaces(tx: AccountTx, recordingId: string, fileId: string): Promise<CopyPlace[]> {
  const rows = await tx
    .selectFrom('copies as c')
    .innerJoin('files as f', 'f.id', 'c.file_id')
    .innerJoin('stores as s', 's.id', 'c.store_id')
    .innerJoin('recordings as r', 'r.id', 'c.recording_id')
    .innerJoin('deposits as d', 'd.id', 'r.deposit_id')
    .select(['c.state', 's.role', 's.id as store_id', 's.url', 'f.key', 'f.size_bytes', 'd.path'])
    .where('c.recording_id', '=', recordingId)
    .where('c.file_id', '=', fileId)
    .where('c.state', 'in', ['verified', 'stored'])
    .execute()
  return rows
    .sort(
      (a, b) =>
        stateOrder.indexOf(a.state) - stateOrder.indexOf(b.state) ||
        roleOrder.indexOf(a.role) - roleOrder.indexOf(b.role),
    )
    .map((row) => ({
      storeId: row.store_id,
      url: row.url,
      // In an inbox a file has the name its recorder gave it.
      key: row.role === 'inbox' ? row.path : row.key,
      sizeBytes: Number(row.size_bytes),
    }))
}
