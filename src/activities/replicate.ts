import { writeAudit } from '../db/audit.ts'
import { areCopiesVerified } from '../db/facts.ts'
import { listUnverified, recordCheck, recordCopy } from '../db/files.ts'
import type { FileToCopy } from '../db/files.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { sameContent } from '../domain/fixity.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import { copyFile } from './copy-file.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { altered, lookAtObject, mendCopy } from './mend-copy.ts'
import type { DoubtedCopy, MendDeps } from './mend-copy.ts'
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
          await copyRight({ db, stores }, { ref, place: primary, file }, target, beat)
          await failpoint('replicate.after-copy')
          await db.asAccount(ref.accountId, (tx) => recordCopy(tx, ref.recordingId, file.id, storeId))
          await failpoint('replicate.after-copy-row')
        }
        return files.length
      })
    },

    /**
     * Reads every unverified copy in one store back and compares its hash: only then does it count. A bad one is made again from
     * right bytes, and the run ends as one to be tried again: another one reads back what this one wrote.
     */
    async verifyCopies(ref: RecordingRef, storeId: string): Promise<number> {
      return withHeartbeat(async (beat) => {
        const place = await stores.open(ref.accountId, storeId)
        return verifyAll({ db, stores }, ref, place, await unverified(ref, storeId), beat)
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

/** Copies from the primary store, whose own copy is made again first where it turns out to be bad. */
async function copyRight(deps: MendDeps, original: DoubtedCopy, target: PlacedStore, beat: Beat): Promise<void> {
  const { place: primary, file } = original
  try {
    await copyFile(primary, target, file, beat)
  } catch (error) {
    if (!hasCode(error, 'copy_mismatch') && !hasCode(error, 'object_missing')) throw error
    await mendCopy(deps, original, beat)
    await copyFile(primary, target, file, beat).catch((again: unknown) => {
      throw hasCode(again, 'copy_mismatch') ? altered(primary, file, 'was made again and reads as other bytes') : again
    })
  }
}

/** Every bad copy is seen to before the first is reported: a store that went bad has many. */
async function verifyAll(
  deps: MendDeps,
  ref: RecordingRef,
  place: PlacedStore,
  files: readonly FileToCopy[],
  beat: Beat,
): Promise<number> {
  const mended: FileToCopy[] = []
  let toMake: ReelkeepError | null = null
  for (const file of files) {
    try {
      if (!(await verifyOne(deps, { ref, place, file }, beat))) mended.push(file)
    } catch (error) {
      if (!hasCode(error, 'rendition_corrupt')) throw error
      toMake ??= error
    }
  }
  if (toMake !== null) throw toMake
  const [first] = mended
  if (first !== undefined) throw altered(place, first, 'read back as other bytes than were written and was made again')
  return files.length
}

/** True where the copy is what it should be; false where it was made again and has to be read back by another run. */
async function verifyOne(deps: MendDeps, doubted: DoubtedCopy, beat: Beat): Promise<boolean> {
  const { ref, place, file } = doubted
  await failpoint('replicate.before-read-back')
  const { look: seen } = await lookAtObject(deps, doubted, beat)
  await failpoint('replicate.after-read-back')
  const matched = typeof seen === 'object' && sameContent(seen, file)
  await deps.db.asAccount(ref.accountId, async (tx) => {
    await recordCheck(tx, file.id, place.id, matched)
    if (matched) return
    const detail = { store: place.name, file: file.name, seen: typeof seen === 'object' ? seen.sha256 : 'missing' }
    await writeAudit(tx, ref.recordingId, 'system', 'copy.mismatch', detail)
  })
  await failpoint('replicate.after-check-row')
  if (!matched) await mendCopy(deps, doubted, beat)
  return matched
}
