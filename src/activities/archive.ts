import { listFilesToCopy, lockUnsealed, recordStored } from '../db/files.ts'
import { manifestKey } from '../domain/archive.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { composeManifest, manifestBytes } from './manifest.ts'
import { altered, mendCopy } from './mend-copy.ts'
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
        if (known === undefined) await seal({ db }, ref, primary, { signal })
        await failpoint('archive.after-commit')
      })
    },
  }
}

/**
 * Writes the manifest and records it. Another run may be doing the same, or one that was believed dead: an object is removed only while
 * no manifest is recorded, and recorded only where it stands, with every other run waiting.
 */
async function seal(
  { db }: Pick<ActivityDeps, 'db'>,
  ref: RecordingRef,
  primary: PlacedStore,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const { store } = primary
  const key = manifestKey(ref.accountId, ref.recordingId)
  const manifest = await db.asAccount(ref.accountId, (tx) => composeManifest(tx, ref))
  const { source, ...content } = manifestBytes(manifest)
  const file = { ...content, name: 'manifest.json', kind: 'manifest', key, contentType: 'application/json' } as const
  const isUnsealed = await db.asAccount(ref.accountId, async (tx) => {
    if (!(await lockUnsealed(tx, ref.recordingId))) return false
    // Left by a run that died in between; what people described may have changed since.
    if ((await store.stat(key)) !== null) await store.delete(key)
    return true
  })
  if (!isUnsealed) return
  await store.put(key, source, { ...content, contentType: file.contentType, signal })
  await failpoint('archive.after-manifest')
  await db.asAccount(
    ref.accountId,
    async (tx) => {
      if (!(await lockUnsealed(tx, ref.recordingId))) return
      // What it reads back as is the next stage's to find out.
      if ((await store.stat(key))?.sizeBytes !== content.sizeBytes)
        throw altered(primary, file, 'was removed or replaced by another run before it was recorded')
      await recordStored(tx, ref.recordingId, primary.id, file)
      await failpoint('archive.before-commit')
    },
    { actor: 'system' },
  )
}
