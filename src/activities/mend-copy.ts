import type { AccountTx } from '../db/connect.ts'
import { recordCheck } from '../db/files.ts'
import type { FileToCopy } from '../db/files.ts'
import * as mends from '../db/mend.ts'
import { findReleasable } from '../db/taken-in.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { sameContent } from '../domain/fixity.ts'
import { sameFile } from '../domain/ingest.ts'
import { decideDamage } from '../domain/mend.ts'
import type { DamageEvidence, DamageVerdict, Look } from '../domain/mend.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { readBack } from '../storage/copy.ts'
import type { ByteSource, ObjectInfo, Store } from '../storage/store.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { listedFile } from './look.ts'
import { composeManifest, manifestBytes } from './manifest.ts'
import type { RecordingRef } from './records.ts'

/** What mending needs of the world. */
export type MendDeps = Pick<ActivityDeps, 'db' | 'stores'>
type Ref = Pick<RecordingRef, 'accountId' | 'recordingId'>

/** A file of a recording that is not kept yet, and the store whose copy of it is in doubt. */
export interface DoubtedCopy {
  readonly ref: Ref
  readonly place: PlacedStore
  readonly file: FileToCopy
}

/** Bytes that were read just now and are what was recorded, and where they stand, in words. */
export interface RightBytes {
  readonly from: string
  readonly source: ByteSource
}

/** Others may be replacing the very same object: as often as this it is looked at again. */
const looksAtMost = 3

/**
 * Reads a copy that was found bad once more, and where it is bad still, makes it again: from another copy or from the source in the inbox,
 * whichever hashes to what was recorded. `sound` = it reads back right by now. What was made again counts only when another run
 * has read it back. A second run finds it sound.
 * @throws rendition_corrupt where the encoder has to make it again, copy_mismatch where there are no right bytes, object_missing
 *   where the object is lost and nobody is replacing it, store_alters_bytes, store_*
 */
export async function mendCopy(deps: MendDeps, doubted: DoubtedCopy, beat: Beat): Promise<'sound' | 'mended'> {
  const { place, file } = doubted
  for (let looks = 0; looks < looksAtMost; looks += 1) {
    const seen = await lookAtObject(deps, doubted, beat)
    const right = await findRight(deps, doubted, seen.look, beat)
    if (right === null) return 'sound'
    if (await replaceObject(deps, doubted, { seen: seen.info, right }, beat)) return 'mended'
  }
  throw altered(place, file, 'is being replaced by several workers at once')
}

/** What is said of a store that returned other bytes than it was given. It is tried again by itself. */
export function altered({ name }: PlacedStore, { key }: Pick<FileToCopy, 'key'>, what: string): ReelkeepError {
  return new ReelkeepError(
    'store_alters_bytes',
    `${key} in store ${name} ${what}. It is checked again by itself; if this goes on, check the disk and memory of store ${name}.`,
  )
}

/**
 * An object as it is now, and what it reads back as. `info` null = there is none, and it is lost or being replaced.
 * @throws object_missing where nothing of the recording stands in that store: its disk may not be mounted
 */
export async function lookAtObject(
  { db }: Pick<MendDeps, 'db'>,
  { ref, place, file }: DoubtedCopy,
  { signal, beat }: Beat,
): Promise<{ readonly info: ObjectInfo | null; readonly look: Look }> {
  const info = await place.store.stat(file.key)
  const onProgress = (bytes: number) => beat({ store: place.name, file: file.name, bytes })
  const look = info === null ? 'missing' : await readLook(place.store, file.key, { signal, onProgress })
  if (look !== 'missing') return { info, look }
  const copy = copyOf(ref, place, file)
  const [isOwed, neighbours] = await db.asAccount(ref.accountId, async (tx) => [
    await mends.isMendOwed(tx, copy),
    await mends.listNeighbours(tx, copy),
  ])
  if (isOwed || (await standsAny(place.store, neighbours))) return { info: null, look }
  throw new ReelkeepError(
    'object_missing',
    `${file.key} is missing from store ${place.name}. Check that its disk is mounted; this step is tried again.`,
  )
}

/**
 * Removes an object that was seen wrong (`seen`; null = it is gone already) and puts the right bytes in its place. Asked at the last
 * moment, with every other mending of this copy waiting: is it the very object that was read? False where it is not.
 * @throws wrong_state where the recording is kept or leaving, store_alters_bytes, store_*
 */
export async function replaceObject(
  { db }: Pick<MendDeps, 'db'>,
  { ref, place, file }: DoubtedCopy,
  { seen, right }: { readonly seen: ObjectInfo | null; readonly right: RightBytes },
  { signal, beat }: Beat,
): Promise<boolean> {
  const copy = copyOf(ref, place, file)
  const asAccount = <T>(work: (tx: AccountTx) => Promise<T>) => db.asAccount(ref.accountId, work, { actor: 'system' })
  const refused = () =>
    new ReelkeepError('wrong_state', `${file.key} in store ${place.name} is not to be mended any more.`)
  if (!(await asAccount((tx) => mends.mayMend(tx, copy)))) throw refused()
  // Written down before the object goes: whoever comes after a crash knows that it is owed, and not lost.
  const isOwed = await asAccount(async (tx) => {
    await mends.lockCopy(tx, copy)
    const isSame = isSameObject(await place.store.stat(file.key), seen)
    if (isSame) await recordCheck(tx, file.id, place.id, false)
    return isSame
  })
  if (!isOwed) return false
  const isGone = await asAccount(async (tx) => {
    await mends.lockCopy(tx, copy)
    return deleteIfSame(place.store, file.key, seen)
  })
  if (!isGone) return false
  await failpoint('mend.after-delete')
  await place.store
    .put(file.key, right.source, {
      sizeBytes: file.sizeBytes,
      sha256: file.sha256,
      contentType: file.contentType,
      signal,
      onProgress: (bytes) => beat({ store: place.name, file: file.name, bytes }),
    })
    .catch((error: unknown) => {
      if (hasCode(error, 'object_exists')) throw altered(place, file, 'was replaced and holds other bytes again')
      if (hasCode(error, 'copy_mismatch'))
        throw altered(place, file, `could not be replaced: ${right.from} changed under the reading`)
      throw error
    })
  await failpoint('mend.after-put')
  const detail = { store: place.name, file: file.name, from: right.from }
  if (await asAccount((tx) => mends.recordMended(tx, copy, detail))) return true
  // The purge had passed this store already: nothing may come back behind it.
  await place.store.delete(file.key)
  throw refused()
}

/** Removes an object if it is still the one that was seen. True where nothing stands there afterwards. */
export async function deleteIfSame(
  store: Pick<Store, 'stat' | 'delete'>,
  key: string,
  seen: ObjectInfo | null,
): Promise<boolean> {
  const now = await store.stat(key)
  if (now === null) return true
  if (!isSameObject(now, seen)) return false
  await store.delete(key)
  return true
}

function isSameObject(now: ObjectInfo | null, seen: ObjectInfo | null): boolean {
  if (now === null || seen === null) return now === seen
  return sameFile(listedFile(now), listedFile(seen))
}

const copyOf = ({ recordingId }: Ref, place: PlacedStore, file: FileToCopy): mends.CopyPlace => ({
  recordingId,
  fileId: file.id,
  storeId: place.id,
})

/** A store that shows what belongs beside an object is the right one, and there. */
async function standsAny(
  store: Store,
  neighbours: readonly { readonly key: string; readonly sizeBytes: number }[],
): Promise<boolean> {
  for (const { key, sizeBytes } of neighbours) if ((await store.stat(key))?.sizeBytes === sizeBytes) return true
  return false
}

/** What an object reads back as. @throws store_* */
export async function readLook(store: Store, key: string, options: Parameters<typeof readBack>[2]): Promise<Look> {
  try {
    return await readBack(store, key, options)
  } catch (error) {
    if (hasCode(error, 'object_missing')) return 'missing'
    throw error
  }
}

/** Looks at one place after the other until it is known what is damaged. Null where the copy is not. */
async function findRight(deps: MendDeps, doubted: DoubtedCopy, stored: Look, beat: Beat): Promise<RightBytes | null> {
  const { file } = doubted
  const found: Partial<Record<'copy' | 'source', RightBytes>> = {}
  let evidence: DamageEvidence = {
    kind: file.kind,
    recorded: file,
    scratch: 'no_place',
    stored,
    copy: 'not_asked',
    source: 'not_asked',
  }
  for (;;) {
    const verdict = decideDamage(evidence)
    if (verdict.kind === 'none') return null
    if (verdict.kind === 'look' && verdict.at !== 'stored') {
      const { look, right } = await (verdict.at === 'copy' ? lookAtCopies : lookAtSources)(deps, doubted, beat)
      evidence = { ...evidence, [verdict.at]: look }
      if (right !== null) found[verdict.at] = right
      continue
    }
    const right = verdict.kind === 'store' && verdict.from !== 'scratch' ? found[verdict.from] : undefined
    return right ?? (await makeAgain(deps, doubted, verdict))
  }
}

interface Sighting {
  readonly look: Look
  readonly right: RightBytes | null
}

async function lookAtCopies(
  deps: MendDeps,
  { ref, place, file }: DoubtedCopy,
  { signal, beat }: Beat,
): Promise<Sighting> {
  const others = await deps.db.asAccount(ref.accountId, (tx) => mends.listOtherCopies(tx, copyOf(ref, place, file)))
  let last: Look = 'missing'
  for (const storeId of others) {
    const { store, name } = await deps.stores.open(ref.accountId, storeId)
    const onProgress = (bytes: number) => beat({ store: name, file: file.name, bytes })
    last = await readLook(store, file.key, { signal, onProgress })
    if (typeof last === 'object' && sameContent(last, file))
      return { look: last, right: { from: `store ${name}`, source: objectSource(store, file.key) } }
  }
  return { look: last, right: null }
}

/** The sources that have not left their inboxes: they may only after two copies were verified. A replaced one is another file. */
async function lookAtSources(deps: MendDeps, { ref, file }: DoubtedCopy, { signal, beat }: Beat): Promise<Sighting> {
  let last: Look = 'missing'
  for (const deposit of await deps.db.asAccount(ref.accountId, (tx) => findReleasable(tx, ref.recordingId))) {
    const { store, name } = await deps.stores.open(ref.accountId, deposit.inboxId)
    const info = await store.stat(deposit.path)
    if (info === null) continue
    last = 'replaced'
    if (info.special !== null || !sameFile(listedFile(info), deposit)) continue
    last = await readLook(store, deposit.path, { signal, onProgress: (bytes) => beat({ store: name, bytes }) })
    if (typeof last === 'object' && sameContent(last, file))
      return { look: last, right: { from: `inbox ${name}`, source: objectSource(store, deposit.path) } }
  }
  return { look: last, right: null }
}

function objectSource(store: Pick<Store, 'read'>, key: string): ByteSource {
  return { open: (fromByte, signal) => store.read(key, fromByte === 0 ? undefined : { start: fromByte }, signal) }
}

/** No place has the right bytes: a manifest is written from the rows again; renditions are the encoder's to make. */
async function makeAgain(
  { db }: MendDeps,
  { ref, place, file }: DoubtedCopy,
  verdict: Exclude<DamageVerdict, { kind: 'none' }>,
): Promise<RightBytes> {
  if (verdict.kind === 'make_again' && file.kind !== 'manifest')
    throw new ReelkeepError(
      'rendition_corrupt',
      `${file.key} in store ${place.name} is not what was made, and there is no other copy yet. It is encoded again.`,
    )
  if (verdict.kind === 'make_again') {
    const { source, ...next } = manifestBytes(await db.asAccount(ref.accountId, (tx) => composeManifest(tx, ref)))
    if (sameContent(next, file)) return { from: 'the database', source }
    // Described anew since it was sealed: what it says now is sealed instead, and put by the next try.
    await db.asAccount(ref.accountId, (tx) => mends.resealManifest(tx, ref.recordingId, file, next))
    throw altered(place, file, 'is not what was written there, and the recording was described anew since')
  }
  const why =
    verdict.kind === 'ask' && verdict.reason === 'source_replaced'
      ? 'another file stands in the inbox by now'
      : 'no copy and no source with the right bytes is left'
  throw new ReelkeepError(
    'copy_mismatch',
    `${file.key} in store ${place.name} is not what was written there (SHA-256 ${file.sha256}), and ${why}. ` +
      'Put the right bytes at that key, then retry.',
  )
}
