import { listFilesToCopy } from '../db/files.ts'
import type { FileToCopy } from '../db/files.ts'
import { planEncode } from '../domain/encode.ts'
import type { EncodePlan, Rendition } from '../domain/encode.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { sameContent } from '../domain/fixity.ts'
import type { ObjectInfo } from '../storage/store.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { inEncodeFolder } from './encode-folder.ts'
import { fetchOriginal } from './fetch-original.ts'
import { makeRenditions } from './make-renditions.ts'
import { altered, lookAtObject, replaceObject } from './mend-copy.ts'
import type { RecordingRef } from './records.ts'
import { fileSource, hashFile } from './scratch-files.ts'
import { clearShelf } from './shelf.ts'

type RemakeDeps = Pick<ActivityDeps, 'db' | 'stores' | 'encoder' | 'scratchDir' | 'log'>

interface BadRendition {
  readonly file: FileToCopy
  readonly seen: ObjectInfo | null
}

/**
 * Encodes a recording again and puts the renditions that went bad in the primary store back, each only where it came out as the very
 * bytes that were recorded: the manifest and other copies may name them already. Returns how many; a second run finds none.
 * @throws rendition_corrupt where it comes out otherwise, and what an encode throws
 */
export async function remakeOnScratch(deps: RemakeDeps, ref: RecordingRef, beat: Beat): Promise<number> {
  const primary = await deps.stores.primary(ref.accountId)
  const bad = await findBad(deps, ref, primary, beat)
  if (bad.length > 0)
    await inEncodeFolder(deps, ref, async (work, attempt) => {
      const original = await fetchOriginal(deps, ref, primary, work, beat)
      const plan = (await findPlan(deps, ref)) ?? planEncode(original.media)
      const onProgress = (fraction: number) => beat.beat({ percent: Math.floor(fraction * 100) })
      const made = await makeRenditions(deps, { ref, primary, attempt, original, plan, work, onProgress }, beat)
      for (const one of bad) await putBack(deps, ref, primary, one, made, beat)
    })
  await clearShelf(deps, ref, primary, beat)
  return bad.length
}

/** What was decided when it was first encoded: a later version of the ladder would come out otherwise. */
async function findPlan({ db }: RemakeDeps, { accountId, recordingId }: RecordingRef): Promise<EncodePlan | null> {
  const row = await db.asAccount(accountId, (tx) =>
    tx.selectFrom('recordings').select('encode_plan').where('id', '=', recordingId).executeTakeFirstOrThrow(),
  )
  return row.encode_plan
}

async function findBad(deps: RemakeDeps, ref: RecordingRef, place: PlacedStore, beat: Beat): Promise<BadRendition[]> {
  const files = await deps.db.asAccount(ref.accountId, (tx) => listFilesToCopy(tx, ref.recordingId))
  const bad: BadRendition[] = []
  for (const file of files.filter(({ kind }) => kind !== 'original' && kind !== 'manifest')) {
    const { info, look } = await lookAtObject(deps, { ref, place, file }, beat)
    if (typeof look !== 'object' || !sameContent(look, file)) bad.push({ file, seen: info })
  }
  return bad
}

async function putBack(
  deps: RemakeDeps,
  ref: RecordingRef,
  place: PlacedStore,
  { file, seen }: BadRendition,
  made: readonly Rendition[],
  beat: Beat,
): Promise<void> {
  const path = made.find(({ name }) => name === file.name)?.path
  if (path === undefined || !sameContent(await hashFile(path, beat), file))
    throw new ReelkeepError(
      'rendition_corrupt',
      `${file.key} in store ${place.name} is not what was made, and encoding it again gave other bytes. ` +
        'Put it back from a copy of that store, or let a worker with the ffmpeg that made it try again.',
    )
  const right = { from: 'a new encode', source: fileSource(path) }
  if (!(await replaceObject(deps, { ref, place, file }, { seen, right }, beat)))
    throw altered(place, file, 'is being replaced by another worker')
}
