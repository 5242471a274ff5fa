import { rm } from 'node:fs/promises'
import { forgetAllSlices, forgetSlice, hasSlices, insertSlice, listSlice } from '../db/slices.ts'
import type { SliceName, StoredSlice } from '../db/slices.ts'
import { partKey, partsPrefix } from '../domain/archive.ts'
import { hasCode, isTransient } from '../domain/errors.ts'
import type { EncodePart, PartShelf } from '../media/encoder.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import type { RecordingRef } from './records.ts'
import { downloadTo, hashFile, putWorkingCopy } from './scratch-files.ts'

type ShelfDeps = Pick<ActivityDeps, 'db' | 'log'>

/** Whose parts, in which store, made by which attempt. */
export interface ShelfPlace {
  readonly ref: RecordingRef
  readonly primary: PlacedStore
  readonly attempt: string
  readonly beat: Beat
}

/**
 * The primary store as the place where parts of an encode outlive their worker. A part counts once its rows are written, and is
 * used only when it reads back as what they say. Every attempt writes under a name of its own, so that two never mix.
 */
export function createShelf(deps: ShelfDeps, place: ShelfPlace): PartShelf {
  const { ref, primary, beat } = place
  const nameOf = ({ planHash, number }: EncodePart): SliceName => ({
    recordingId: ref.recordingId,
    planHash,
    slice: number,
  })
  return {
    async fetch(part) {
      const stored = await deps.db.asAccount(ref.accountId, (tx) => listSlice(tx, nameOf(part)))
      if (stored.length === 0) return false
      for (const { rung, path } of part.files) {
        if (
          await fetchOne(
            place,
            stored.find((one) => one.rung === rung),
            path,
          )
        )
          continue
        const keys = stored.map(({ key }) => key)
        await deps.db.asAccount(ref.accountId, (tx) => forgetSlice(tx, nameOf(part), keys))
        for (const key of keys) await primary.store.delete(key)
        for (const file of part.files) await rm(file.path, { force: true })
        return false
      }
      return true
    },
    async keep(part) {
      try {
        await keepPart(deps, place, nameOf(part), part)
      } catch (error) {
        // What is only kept for the case that this worker is lost is no reason to lose its work; but bad bytes are work lost.
        if (beat.signal.aborted || !isTransient(error) || hasCode(error, 'scratch_corrupt')) throw error
        deps.log.warn(
          { recordingId: ref.recordingId, part: part.number, err: error },
          'a part of an encode was not kept',
        )
      }
    },
  }
}

async function keepPart(deps: ShelfDeps, place: ShelfPlace, name: SliceName, part: EncodePart): Promise<void> {
  const { ref, primary, attempt, beat } = place
  const directory = `${part.planHash.slice(0, 16)}/${attempt}`
  const stored: StoredSlice[] = []
  for (const { rung, path } of part.files) {
    const key = partKey(ref.accountId, ref.recordingId, `${directory}/${part.number}-${rung}`)
    const { sha256, sizeBytes } = await hashFile(path, beat)
    const copy = { name: `part ${part.number} of the encode`, path, recorded: { sizeBytes, sha256 } }
    await putWorkingCopy(deps, ref, primary, { key, copy }, beat)
    stored.push({ rung, key, sizeBytes, sha256 })
  }
  const counts = await deps.db.asAccount(ref.accountId, (tx) => insertSlice(tx, name, stored))
  if (!counts) await removeUncounted(deps, place, name, stored)
}

/** `false` where it is missing or other bytes than were written. */
async function fetchOne(
  { primary, beat }: ShelfPlace,
  stored: StoredSlice | undefined,
  path: string,
): Promise<boolean> {
  if (stored === undefined) return false
  try {
    return (
      (await downloadTo(path, () => primary.store.read(stored.key, undefined, beat.signal), beat)) === stored.sha256
    )
  } catch (error) {
    if (hasCode(error, 'object_missing')) return false
    throw error
  }
}

/** What this attempt put and nobody counts; the same keys where an answer was lost and this very attempt was the first. */
async function removeUncounted(
  deps: ShelfDeps,
  { ref, primary }: ShelfPlace,
  name: SliceName,
  stored: readonly StoredSlice[],
) {
  const counting = await deps.db.asAccount(ref.accountId, (tx) => listSlice(tx, name))
  for (const { key } of stored) if (!counting.some((one) => one.key === key)) await primary.store.delete(key)
}

/** Removes the parts of encodes that are over: every object, whoever left it, and then the rows. A second run finds nothing. */
export async function clearShelf(
  deps: Pick<ActivityDeps, 'db'>,
  ref: RecordingRef,
  primary: PlacedStore,
  beat: Pick<Beat, 'signal'>,
) {
  if (!(await deps.db.asAccount(ref.accountId, (tx) => hasSlices(tx, ref.recordingId)))) return
  for await (const { key } of primary.store.list(partsPrefix(ref.accountId, ref.recordingId), beat.signal))
    await primary.store.delete(key)
  await deps.db.asAccount(ref.accountId, (tx) => forgetAllSlices(tx, ref.recordingId))
}
