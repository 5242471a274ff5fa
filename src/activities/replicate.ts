import { writeAudit } from '../db/audit.ts'
import { areCopiesVerified } from '../db/facts.ts'
import { listUnverified, recordCheck, recordCopy } from '../db/files.ts'
import type { FileToCopy } from '../db/files.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { readBack } from '../storage/copy.ts'
import type { Store } from '../storage/store.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import { copyFile } from './copy-file.ts'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'

/** Making copies at other sites, and reading every copy back before it counts. */
export function createReplicateActivities({ db, stores }: Pick<ActivityDeps, 'db' | 'stores'>) {
  const unverified = (ref: RecordingRef, storeId: string) =>
    db.asAccount(ref.accountId, (tx) => listUnverified(tx, ref.recordingId, storeId))

  return {
    /** Ids of the stores that owe a copy: the primary first, then every backup. */
    async listCopyStores(ref: RecordingRef): Promise<{ primaryId: string; backupIds: readonly string[] }> {
      const primary = await stores.primary(ref.accountId)
      return { primaryId: primary.id, backupIds: (await stores.backups(ref.accountId)).map((backup) => backup.id) }
    },

    /** Copies what one store lacks, the manifest last. Files that are there already are compared, not sent again. */
    async copyToStore(ref: RecordingRef, storeId: string): Promise<number> {
      return withHeartbeat(async (beat) => {
        const primary = await stores.primary(ref.accountId)
        const target = await stores.open(ref.accountId, storeId)
        const files = await unverified(ref, storeId)
        for (const file of files) {
          await failpoint('replicate.before-copy')
          await copyFile(primary, target, file, beat)
          await failpoint('replicate.after-copy')
          await db.asAccount(ref.accountId, (tx) => recordCopy(tx, ref.recordingId, file.id, storeId))
          await failpoint('replicate.after-copy-row')
        }
        return files.length
      })
    },

    /** Reads every unverified copy in one store back and compares its hash: only then does it count. */
    async verifyCopies(ref: RecordingRef, storeId: string): Promise<number> {
      return withHeartbeat(async ({ signal, beat }) => {
        const { store, name } = await stores.open(ref.accountId, storeId)
        const files = await unverified(ref, storeId)
        for (const file of files) await verifyOne({ db, ref, storeId, store, name }, file, { signal, beat })
        return files.length
      })
    },

    /** Enough verified copies at enough sites? Then the recording is protected. */
    async recordProtected(ref: RecordingRef): Promise<void> {
      await db.asAccount(
        ref.accountId,
        async (tx) => {
          if (!(await areCopiesVerified(tx, ref.recordingId)))
            throw new ReelkeepError(
              'copies_not_verified',
              'There are not enough verified copies at enough sites. Add a backup store at another site, then retry.',
            )
          await tx
            .updateTable('recordings')
            .set({ state: 'protected' })
            .where('id', '=', ref.recordingId)
            .where('state', '=', 'archiving')
            .execute()
          await failpoint('replicate.protect-before-commit')
        },
        { actor: 'system' },
      )
      await failpoint('replicate.protect-after-commit')
    },
  }
}

interface CheckedPlace {
  readonly db: ActivityDeps['db']
  readonly ref: RecordingRef
  readonly storeId: string
  readonly store: Store
  readonly name: string
}

async function verifyOne(
  { db, ref, storeId, store, name }: CheckedPlace,
  file: FileToCopy,
  { signal, beat }: Beat,
): Promise<void> {
  await failpoint('replicate.before-read-back')
  const seen = await readBack(store, file.key, { signal, onProgress: (bytes) => beat({ file: file.name, bytes }) })
  await failpoint('replicate.after-read-back')
  const matched = seen.sha256 === file.sha256 && seen.sizeBytes === file.sizeBytes
  await db.asAccount(ref.accountId, async (tx) => {
    await recordCheck(tx, file.id, storeId, matched)
    if (!matched)
      await writeAudit(tx, ref.recordingId, 'system', 'copy.mismatch', {
        store: name,
        file: file.name,
        seen: seen.sha256,
      })
  })
  await failpoint('replicate.after-check-row')
  if (!matched)
    throw new ReelkeepError(
      'copy_mismatch',
      `${file.key} in store ${name} reads back as other bytes than were written. The store is not to be trusted with it: check its disk, then retry.`,
    )
}
