import { extname, join } from 'node:path'
import { listFilesToCopy } from '../db/files.ts'
import type { MediaFacts } from '../domain/encode.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import type { Beat } from './beat.ts'
import type { PlacedStore } from './deps.ts'
import { altered, mendCopy } from './mend-copy.ts'
import type { MendDeps } from './mend-copy.ts'
import type { RecordingRef } from './records.ts'
import { downloadTo, scratchCorrupt } from './scratch-files.ts'
import type { WorkingCopy } from './scratch-files.ts'

/**
 * The original on this machine, downloaded and compared. Where it is not what was taken in, the store is read once more: its object is
 * made again from the inbox or a backup if it is bad, and the next try fetches that; otherwise the working copy was.
 * @throws scratch_corrupt, store_alters_bytes, copy_mismatch, object_missing, scratch_full, store_*
 */
export async function fetchOriginal(
  deps: MendDeps,
  ref: RecordingRef,
  primary: PlacedStore,
  work: string,
  beat: Beat,
): Promise<WorkingCopy & { readonly media: MediaFacts }> {
  const { files, media } = await deps.db.asAccount(ref.accountId, async (tx) => ({
    files: await listFilesToCopy(tx, ref.recordingId),
    media: (
      await tx.selectFrom('recordings').select('media').where('id', '=', ref.recordingId).executeTakeFirstOrThrow()
    ).media,
  }))
  const file = files.find(({ kind }) => kind === 'original')
  if (file === undefined) throw new ReelkeepError('internal', `Recording ${ref.recordingId} has no original.`)
  const path = join(work, `source${extname(file.key)}`)
  const measured = await downloadTo(path, () => primary.store.read(file.key, undefined, beat.signal), beat).catch(
    (error: unknown) => {
      if (hasCode(error, 'object_missing')) return null
      throw error
    },
  )
  if (measured === file.sha256) return { name: file.name, path, recorded: file, media }
  const isMended = (await mendCopy(deps, { ref, place: primary, file }, beat)) === 'mended'
  if (isMended || measured === null) throw altered(primary, file, 'was not what was taken in and was made again')
  throw await scratchCorrupt(deps, ref, file.name)
}
