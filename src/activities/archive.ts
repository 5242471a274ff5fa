import { listFilesToCopy, recordStored } from '../db/files.ts'
import { manifestKey } from '../domain/archive.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'
import { composeManifest, manifestBytes } from './manifest.ts'
import { mendCopy } from './mend-copy.ts'
import type { RecordingRef } from './records.ts'
import { clearShelf } from './shelf.ts'

/** Sealing the package in the primary store. */
export function createArchiveActivities({ db, stores }: Pick<ActivityDeps, 'db' | 'stores'>) {
  return {
    /**
     * Writes the manifest beside the files, last: a package that has one is whole. Every file it names must stand in
     * the primary store with the right size, or is made again; reading them back is the next stage's work, by another activity.
     */
    async sealPackage(ref: RecordingRef): Promise<void> {
      await withHeartbeat(async (beat) => {
        const { signal } = beat
        const primary = await stores.primary(ref.accountId)
        // Parts of an encode that a person decided to go on without.
        await clearShelf({ db }, ref, primary, { signal })
        const files = await db.asAccount(ref.accountId, (tx) => listFilesToCopy(tx, ref.recordingId))
        const known = files.find((file) => file.kind === 'manifest')
        for (const file of files.filter((one) => one.kind !== 'manifest')) {
          const found = await primary.store.stat(file.key)
          if (found?.sizeBytes !== file.sizeBytes) await mendCopy({ db, stores }, { ref, place: primary, file }, beat)
        }
        await failpoint('archive.before-manifest')
        const manifest = await db.asAccount(ref.accountId, (tx) => composeManifest(tx, ref))
        const { sizeBytes, sha256, source } = manifestBytes(manifest)
        const key = manifestKey(ref.accountId, ref.recordingId)
        if (known === undefined) {
          // A manifest without a row was left by a run that died in between; what people described may have changed since.
          const left = await primary.store.stat(key)
          if (left !== null) await primary.store.delete(key)
          await primary.store.put(key, source, {
            sizeBytes,
            sha256,
            contentType: 'application/json',
            signal,
          })
        }
        await failpoint('archive.after-manifest')
        await db.asAccount(
          ref.accountId,
          async (tx) => {
            if (known === undefined)
              await recordStored(tx, ref.recordingId, primary.id, {
                name: 'manifest.json',
                kind: 'manifest',
                key,
                contentType: 'application/json',
                sizeBytes,
                sha256,
              })
            await failpoint('archive.before-commit')
          },
          { actor: 'system' },
        )
        await failpoint('archive.after-commit')
      })
    },
  }
}
