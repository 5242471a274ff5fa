import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { listFilesToCopy, recordStored } from '../db/files.ts'
import { manifestKey, manifestText } from '../domain/archive.ts'
import type { Manifest } from '../domain/archive.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { ByteSource } from '../storage/store.ts'
import { withHeartbeat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'
import { clearShelf } from './shelf.ts'

/** Sealing the package in the primary store. */
export function createArchiveActivities({ db, stores }: Pick<ActivityDeps, 'db' | 'stores'>) {
  return {
    /**
     * Writes the manifest beside the files, last: a package that has one is whole. Every file it names must stand in
     * the primary store with the right size; reading them back is the next stage's work, by another activity.
     */
    async sealPackage(ref: RecordingRef): Promise<void> {
      await withHeartbeat(async ({ signal }) => {
        const primary = await stores.primary(ref.accountId)
        // Parts of an encode that a person decided to go on without.
        await clearShelf({ db }, ref, primary, { signal })
        const manifest = await db.asAccount(ref.accountId, (tx) => composeManifest(tx, ref))
        for (const file of manifest.files) {
          const found = await primary.store.stat(file.key)
          if (found?.sizeBytes !== file.sizeBytes)
            throw new ReelkeepError(
              'object_missing',
              `${file.key} is ${found === null ? 'missing from' : 'not whole in'} store ${primary.name}. Check the store; the archive step is tried again.`,
            )
        }
        await failpoint('archive.before-manifest')
        const bytes = Buffer.from(manifestText(manifest))
        const sha256 = createHash('sha256').update(bytes).digest('hex')
        const key = manifestKey(ref.accountId, ref.recordingId)
        const source: ByteSource = { open: async (fromByte) => Readable.from([bytes.subarray(fromByte)]) }
        const known = (await db.asAccount(ref.accountId, (tx) => listFilesToCopy(tx, ref.recordingId))).find(
          (file) => file.kind === 'manifest',
        )
        if (known === undefined) {
          // A manifest without a row was left by a run that died in between; what people described may have changed since.
          const left = await primary.store.stat(key)
          if (left !== null) await primary.store.delete(key)
          await primary.store.put(key, source, {
            sizeBytes: bytes.length,
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
                sizeBytes: bytes.length,
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

async function composeManifest(tx: Parameters<typeof listFilesToCopy>[0], ref: RecordingRef): Promise<Manifest> {
  const row = await tx
    .selectFrom('recordings as r')
    .innerJoin('recorders as d', 'd.id', 'r.recorder_id')
    .innerJoin('deposits as p', 'p.id', 'r.deposit_id')
    .leftJoin('people as o', 'o.id', 'r.owner_id')
    .selectAll('r')
    .select(['d.name as recorder', 'o.email as owner', 'p.path'])
    .where('r.id', '=', ref.recordingId)
    .executeTakeFirstOrThrow()
  const files = (await listFilesToCopy(tx, ref.recordingId)).filter((file) => file.kind !== 'manifest')
  return {
    version: 1,
    accountId: ref.accountId,
    recordingId: ref.recordingId,
    recorder: row.recorder,
    owner: row.owner,
    title: row.title,
    description: row.description,
    tags: row.tags,
    depositPath: row.path,
    acceptedAt: row.created_at.toISOString(),
    retainUntil: row.retain_until?.toISOString() ?? null,
    media: row.media,
    files: files.map(({ name, kind, key, contentType, sizeBytes, sha256 }) => ({
      name,
      kind,
      key,
      contentType,
      sizeBytes,
      sha256,
    })),
  }
}
