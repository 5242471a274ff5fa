import { sql } from 'kysely'
import type { ReadManifest } from '../domain/manifest.ts'
import { manifestKey } from '../domain/archive.ts'
import { rebuiltHoldReason } from '../domain/rebuild.ts'
import type { RecordingState } from '../domain/recording.ts'
import { writeAudit } from './audit.ts'
import { writePlan } from './commands.ts'
import { brokeUnique } from './connect.ts'
import type { AccountTx, Database } from './connect.ts'
import { databaseNowMs, lockFacts } from './facts.ts'
import { listFilesToCopy, recordCheck, recordCopy, recordStored } from './files.ts'
import type { StoredFile } from './files.ts'
import { beginRebuiltRound } from './life-rounds.ts'
import { ensureOwner, ensureRebuiltRecorder, rebuildActor } from './rebuilt-account.ts'
import type { RebuiltAccount } from './rebuilt-account.ts'
import { findSameBytes } from './taken-in.ts'

/** A package whose files were looked at in its store. */
export interface CheckedPackage {
  readonly manifest: ReadManifest
  readonly manifestSha256: string
  readonly manifestBytes: number
  /** True where every file was read back and matched; false where only sizes were compared. */
  readonly verified: boolean
}

/** A recording of the database, as a package is compared with it: the manifest says everything of the rest. */
export interface SealedRecording {
  readonly id: string
  readonly state: RecordingState
  readonly manifestSha256: string | null
}

const account = sql<string>`current_setting('app.account')::uuid`
const onceOnly = ['deposits_pkey', 'recordings_pkey', 'same_bytes_once']
/** The lawful way from a new recording to a kept one. */
const edgesToRetained = ['claimed', 'encoding', 'archiving', 'protected'] as const

/** A page of recordings that still have bytes somewhere, by id. */
export async function listSealed(tx: AccountTx, afterId: string | null, limit: number): Promise<SealedRecording[]> {
  let query = sealedQuery(tx).where('r.state', '<>', 'purged').orderBy('r.id').limit(limit)
  if (afterId !== null) query = query.where('r.id', '>', afterId)
  return query.execute()
}

/** One recording, whatever its state, or null. */
export async function findSealed(tx: AccountTx, recordingId: string): Promise<SealedRecording | null> {
  return (await sealedQuery(tx).where('r.id', '=', recordingId).executeTakeFirst()) ?? null
}

function sealedQuery(tx: AccountTx) {
  return tx
    .selectFrom('recordings as r')
    .leftJoin('files as f', (join) => join.onRef('f.recording_id', '=', 'r.id').on('f.kind', '=', 'manifest'))
    .select(['r.id', 'r.state', 'f.sha256 as manifestSha256'])
}

/**
 * Makes a recording of a package, all or nothing: it takes the lawful way to `retained` and stands under a hold from its
 * first moment on. Answers why not, where the database has it, or another one with the same bytes, already.
 */
export async function insertRebuilt(
  db: Database,
  into: RebuiltAccount,
  found: CheckedPackage,
): Promise<'inserted' | 'known' | { readonly sameBytesAs: string }> {
  const { recordingId, original } = found.manifest
  const work = async (tx: AccountTx) => {
    if ((await findSealed(tx, recordingId)) !== null) return 'known' as const
    const same = await findSameBytes(tx, original.sha256)
    if (same !== null) return { sameBytesAs: same.id }
    await insertRows(tx, into, found)
    await holdRebuilt(tx, into, found)
    await beginRebuiltRound(tx)
    return 'inserted' as const
  }
  const attempt = () => db.asAccount(into.accountId, work, { actor: rebuildActor, detail: { rebuiltFrom: into.label } })
  return attempt().catch((error: unknown) => {
    // Another run, or another folder with the same bytes, was quicker: the second look sees it.
    if (!onceOnly.some((constraint) => brokeUnique(error, constraint))) throw error
    return attempt()
  })
}

async function insertRows(tx: AccountTx, into: RebuiltAccount, found: CheckedPackage): Promise<void> {
  const { manifest } = found
  const { recordingId, original, recorder, owner } = manifest
  const recorderId = await ensureRebuiltRecorder(tx, into.inboxId, recorder)
  const ownerId = owner === null ? null : await ensureOwner(tx, { name: owner, email: owner, roles: ['user'] })
  await insertDeposit(tx, into, recorderId, manifest)
  await tx
    .insertInto('recordings')
    .values({
      id: recordingId,
      account_id: account,
      recorder_id: recorderId,
      deposit_id: recordingId,
      title: manifest.title,
      description: manifest.description,
      tags: [...manifest.tags],
      owner_id: ownerId,
      sha256: original.sha256,
      size_bytes: original.sizeBytes,
      media: JSON.stringify(manifest.media),
      created_at: new Date(manifest.acceptedAtMs),
      // Beyond every version that the lost database gave to somebody: an old ETag must not match.
      version: await databaseNowMs(tx),
    })
    .execute()
  for (const file of storedFiles(found)) await recordStored(tx, recordingId, into.storeId, file)
  await markChecked(tx, into, found)
  for (const state of edgesToRetained)
    await tx.updateTable('recordings').set({ state }).where('id', '=', recordingId).execute()
  await planAnew(tx, manifest)
  await tx.updateTable('recordings').set({ state: 'retained' }).where('id', '=', recordingId).execute()
}

/** What is not known of the deposit is marked so: its time is 0, its identity empty, its reason says why. */
async function insertDeposit(tx: AccountTx, into: RebuiltAccount, recorderId: string, manifest: ReadManifest) {
  const { recordingId, original, depositPath } = manifest
  const acceptedAt = new Date(manifest.acceptedAtMs)
  await tx
    .insertInto('deposits')
    .values({
      id: recordingId,
      account_id: account,
      inbox_id: into.inboxId,
      recorder_id: recorderId,
      path: depositPath,
      size_bytes: original.sizeBytes,
      mtime_ms: 0,
      file_id: '',
      first_seen_at: acceptedAt,
      changed_at: acceptedAt,
      state: 'released',
      sha256: original.sha256,
      reason: `Rebuilt from its manifest in ${into.label}: when it was seen, and whether its source left the inbox, is not known.`,
      recording_id: recordingId,
    })
    .execute()
}

/** The rule counts from the day of acceptance; a later day that the manifest says is kept like a person's extension. */
async function planAnew(tx: AccountTx, { recordingId, retainUntilMs }: ReadManifest): Promise<void> {
  const byRule = await writePlan(tx, recordingId, null)
  if (retainUntilMs !== null && retainUntilMs > byRule.retainUntilMs) await writePlan(tx, recordingId, retainUntilMs)
}

async function holdRebuilt(tx: AccountTx, into: RebuiltAccount, { manifest, verified }: CheckedPackage): Promise<void> {
  const { recordingId, files, acceptedAt, retainUntil } = manifest
  const reason = rebuiltHoldReason(await databaseNowMs(tx))
  await tx
    .insertInto('holds')
    .values({ account_id: account, recording_id: recordingId, reason, placed_by: into.holderId })
    .execute()
  await writeAudit(tx, recordingId, null, 'recording.rebuilt', {
    from: into.label,
    files: files.length,
    checked: verified ? 'read back' : 'sizes only',
    acceptedAt,
    retainUntil,
  })
  await writeAudit(tx, recordingId, null, 'hold.placed', { reason })
}

/**
 * Writes down the copies that a further store (or the same one, looked at again) has of a recording that exists. Returns
 * how many were new or newly verified; a second run finds none.
 */
export async function addRebuiltCopies(db: Database, into: RebuiltAccount, found: CheckedPackage): Promise<number> {
  const { recordingId } = found.manifest
  const work = async (tx: AccountTx) => {
    const facts = await lockFacts(tx, recordingId)
    if (facts === null || facts.state === 'purging' || facts.state === 'purged') return 0
    const before = await countCopies(tx, recordingId, into.storeId)
    if (found.verified ? before.verified === before.files : before.standing === before.files) return 0
    for (const file of await listFilesToCopy(tx, recordingId)) await recordCopy(tx, recordingId, file.id, into.storeId)
    await markChecked(tx, into, found)
    const after = await countCopies(tx, recordingId, into.storeId)
    const added = found.verified ? after.verified - before.verified : after.standing - before.standing
    await writeAudit(tx, recordingId, null, 'copies.rebuilt', {
      from: into.label,
      copies: added,
      checked: found.verified ? 'read back' : 'sizes only',
    })
    return added
  }
  return db.asAccount(into.accountId, work, { actor: rebuildActor })
}

async function countCopies(tx: AccountTx, recordingId: string, storeId: string) {
  const { rows } = await sql<{ files: number; standing: number; verified: number }>`
    select count(*)::integer as files, count(*) filter (where c.state in ('stored', 'verified'))::integer as standing,
      count(*) filter (where c.state = 'verified')::integer as verified
    from files f left join copies c on c.file_id = f.id and c.store_id = ${storeId}
    where f.recording_id = ${recordingId}`.execute(tx)
  return rows[0] ?? { files: 0, standing: 0, verified: 0 }
}

async function markChecked(tx: AccountTx, into: RebuiltAccount, { manifest, verified }: CheckedPackage): Promise<void> {
  if (!verified) return
  for (const file of await listFilesToCopy(tx, manifest.recordingId)) await recordCheck(tx, file.id, into.storeId, true)
}

/** The files as they are written down: the manifest knows the measures of the original only. */
function storedFiles({ manifest, manifestSha256, manifestBytes }: CheckedPackage): readonly StoredFile[] {
  const { media, accountId, recordingId } = manifest
  const measures = {
    widthPx: media.video?.widthPx ?? null,
    heightPx: media.video?.heightPx ?? null,
    durationMs: media.durationMs,
  }
  return [
    ...manifest.files.map((file) => (file.kind === 'original' ? { ...file, ...measures } : file)),
    {
      name: 'manifest.json',
      kind: 'manifest',
      key: manifestKey(accountId, recordingId),
      contentType: 'application/json',
      sizeBytes: manifestBytes,
      sha256: manifestSha256,
    },
  ]
}
