import { areCopiesVerified } from '../db/facts.ts'
import { findReleasable, markReleased, noteSourceLeft } from '../db/taken-in.ts'
import { sidecarSuffixes } from '../domain/inbox-names.ts'
import { sameFile } from '../domain/ingest.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { isSafeKey } from '../storage/store.ts'
import type { ActivityDeps } from './deps.ts'
import { listedFile } from './look.ts'
import type { RecordingRef } from './records.ts'

/** See `createIngestActivities`. A source that is another file by now stays, with a note on its deposit. */
export async function releaseSource(
  { db, stores }: Pick<ActivityDeps, 'db' | 'stores'>,
  { accountId, recordingId }: Pick<RecordingRef, 'accountId' | 'recordingId'>,
): Promise<{ released: number }> {
  const deposits = await db.asAccount(accountId, async (tx) =>
    (await areCopiesVerified(tx, recordingId)) ? findReleasable(tx, recordingId) : [],
  )
  const isReleasable = async (id: string) =>
    (await db.asAccount(accountId, (tx) => findReleasable(tx, recordingId))).some((deposit) => deposit.id === id)
  let released = 0
  for (const deposit of deposits) {
    const { store, name } = await stores.open(accountId, deposit.inboxId)
    const found = await store.stat(deposit.path)
    if (found !== null && !sameFile(listedFile(found), deposit)) {
      const note = `The file in ${name} is not the one that was taken in any more; it was left there.`
      await db.asAccount(accountId, (tx) => noteSourceLeft(tx, deposit.id, note))
      continue
    }
    // The recording first: should this end halfway, what is left over is a hash beside nothing.
    await failpoint('release.before-delete')
    // Asked at the last moment: a deletion that was requested meanwhile makes this source what somebody wants to keep.
    if (!(await isReleasable(deposit.id))) continue
    if (found !== null) await store.delete(deposit.path)
    await failpoint('release.after-delete')
    const sidecars = sidecarSuffixes.map((suffix) => deposit.path + suffix).filter(isSafeKey)
    for (const sidecar of sidecars) await store.delete(sidecar)
    await failpoint('release.after-sidecars')
    await db.asAccount(accountId, (tx) => markReleased(tx, deposit.id))
    await failpoint('release.after-row')
    released += 1
  }
  return { released }
}
