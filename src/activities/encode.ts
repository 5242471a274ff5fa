import type { AccountTx } from '../db/connect.ts'
import { lockState } from '../db/facts.ts'
import { recordStored } from '../db/files.ts'
import type { StoredFile } from '../db/files.ts'
import { renditionKey } from '../domain/archive.ts'
import { planEncode } from '../domain/encode.ts'
import type { EncodePlan, Rendition } from '../domain/encode.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { inEncodeFolder } from './encode-folder.ts'
import { fetchOriginal } from './fetch-original.ts'
import { makeRenditions } from './make-renditions.ts'
import type { RecordingRef } from './records.ts'
import { remakeOnScratch } from './remake.ts'
import { hashFile, putWorkingCopy } from './scratch-files.ts'
import { clearShelf } from './shelf.ts'

type EncodeDeps = Pick<ActivityDeps, 'db' | 'stores' | 'encoder' | 'scratchDir' | 'log'>

/** Making what people play. */
export function createEncodeActivities(deps: EncodeDeps) {
  const { db } = deps
  return {
    /** The probe decides what is made; the decision is written down and the stage begins. Later runs decide the same. */
    async beginEncode(ref: RecordingRef): Promise<EncodePlan> {
      const decided = await db.asAccount(
        ref.accountId,
        async (tx) => {
          const row = await tx
            .selectFrom('recordings')
            .select(['state', 'media'])
            .where('id', '=', ref.recordingId)
            .forUpdate()
            .executeTakeFirstOrThrow()
          const plan = planEncode(row.media)
          await tx
            .updateTable('recordings')
            .set({
              encode_plan: JSON.stringify(plan),
              ...(row.state === 'claimed' ? { state: 'encoding', progress_percent: 0 } : {}),
            })
            .where('id', '=', ref.recordingId)
            .execute()
          await failpoint('encode.begin-before-commit')
          return plan
        },
        { actor: 'system' },
      )
      await failpoint('encode.begin-after-commit')
      return decided
    },

    /**
     * Makes every rendition on local scratch, checks it, and puts it into the primary store. All of it in one activity:
     * scratch belongs to one machine. Parts of a long picture are kept in the primary store as they are finished, and a run
     * that begins goes on from those. A run beside it makes renditions under keys of its own; the first that finishes counts,
     * a later one finds it done.
     */
    encodeRecording: (ref: RecordingRef, plan: EncodePlan): Promise<number> =>
      withHeartbeat((beat) => encodeOnScratch(deps, ref, plan, beat)),

    /**
     * Encodes again where renditions went bad in the primary store before there was another copy. A second run finds nothing
     * to do.
     */
    remakeRenditions: (ref: RecordingRef): Promise<number> => withHeartbeat((beat) => remakeOnScratch(deps, ref, beat)),

    /** The renditions are there (or a person decided to go on without): on to the archive. */
    async endEncode(ref: RecordingRef): Promise<void> {
      await db.asAccount(
        ref.accountId,
        async (tx) => {
          await tx
            .updateTable('recordings')
            .set({ state: 'archiving', progress_percent: null })
            .where('id', '=', ref.recordingId)
            .where('state', '=', 'encoding')
            .execute()
          await failpoint('encode.end-before-commit')
        },
        { actor: 'system' },
      )
      await failpoint('encode.end-after-commit')
    },
  }
}

async function encodeOnScratch(deps: EncodeDeps, ref: RecordingRef, plan: EncodePlan, beat: Beat): Promise<number> {
  // Done, but the answer was lost: an hour of encoding is not done again.
  const done = await deps.db.asAccount(ref.accountId, (tx) => listRenditionKeys(tx, ref.recordingId))
  if (done.length > 0) {
    await clearShelf(deps, ref, await deps.stores.primary(ref.accountId), beat)
    return done.length
  }
  return inEncodeFolder(deps, ref, async (work, attempt) => {
    const primary = await deps.stores.primary(ref.accountId)
    const original = await fetchOriginal(deps, ref, primary, work, beat)
    const onProgress = progressWriter(deps, ref, beat)
    const renditions = await makeRenditions(deps, { ref, primary, attempt, original, plan, work, onProgress }, beat)
    await failpoint('encode.after-make')
    const stored: StoredFile[] = []
    for (const rendition of renditions) stored.push(await storeRendition(deps, ref, primary, attempt, rendition, beat))
    await failpoint('encode.before-publish')
    await publishRenditions(deps, ref, primary, stored)
    await failpoint('encode.after-publish')
    await clearShelf(deps, ref, primary, beat)
    return stored.length
  })
}

async function storeRendition(
  deps: EncodeDeps,
  ref: RecordingRef,
  primary: PlacedStore,
  attempt: string,
  rendition: Rendition,
  beat: Beat,
): Promise<StoredFile> {
  const key = renditionKey(ref.accountId, ref.recordingId, attempt, rendition.name)
  const { sha256, sizeBytes } = await hashFile(rendition.path, beat)
  await failpoint('encode.before-put', rendition.path)
  const copy = { name: rendition.name, path: rendition.path, recorded: { sizeBytes, sha256 } }
  await putWorkingCopy(deps, ref, primary, { key, contentType: rendition.contentType, copy }, beat)
  await failpoint('encode.after-put')
  return { ...rendition, key, sizeBytes, sha256 }
}

/**
 * All renditions of one attempt begin to count in one transaction. Where another attempt was first, its files count; where a
 * person went on without, the package is being sealed, or is, and none does.
 */
async function publishRenditions(
  deps: EncodeDeps,
  ref: RecordingRef,
  primary: PlacedStore,
  stored: readonly StoredFile[],
): Promise<void> {
  const counting = await deps.db.asAccount(ref.accountId, async (tx) => {
    const state = await lockState(tx, ref.recordingId)
    const first = await listRenditionKeys(tx, ref.recordingId)
    if (first.length > 0 || state !== 'encoding') return new Set(first)
    for (const file of stored) await recordStored(tx, ref.recordingId, primary.id, file)
    await failpoint('encode.publish-before-commit')
    return new Set(stored.map((file) => file.key))
  })
  for (const file of stored) if (!counting.has(file.key)) await primary.store.delete(file.key)
}

async function listRenditionKeys(tx: AccountTx, recordingId: string): Promise<readonly string[]> {
  const rows = await tx
    .selectFrom('files')
    .select('key')
    .where('recording_id', '=', recordingId)
    .where('kind', 'not in', ['original', 'manifest'])
    .execute()
  return rows.map((row) => row.key)
}

/** Percent for people: to the heartbeat at once, to the database at most once a second. */
function progressWriter(deps: EncodeDeps, ref: RecordingRef, beat: Beat): (fraction: number) => void {
  let writtenAtMs = 0
  let shown = -1
  return (fraction) => {
    const percent = Math.min(100, Math.floor(fraction * 100))
    beat.beat({ percent })
    if (percent === shown || Date.now() - writtenAtMs < 1000) return
    shown = percent
    writtenAtMs = Date.now()
    // Progress is for the eye: a write that fails is made up for by the next one.
    deps.db
      .asAccount(ref.accountId, (tx) =>
        tx.updateTable('recordings').set({ progress_percent: percent }).where('id', '=', ref.recordingId).execute(),
      )
      .catch(() => undefined)
  }
}
