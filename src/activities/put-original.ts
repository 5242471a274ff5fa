import { writeAudit } from '../db/audit.ts'
import { isUnnamedOriginal } from '../db/mend.ts'
import { hasCode } from '../domain/errors.ts'
import { sameContent } from '../domain/fixity.ts'
import { readBack } from '../storage/copy.ts'
import type { Beat } from './beat.ts'
import type { PlacedStore } from './deps.ts'
import { altered, deleteIfSame } from './mend-copy.ts'
import type { MendDeps } from './mend-copy.ts'
import type { RecordingRef } from './records.ts'
import { putWorkingCopy, requireIntact } from './scratch-files.ts'
import type { WorkingCopy } from './scratch-files.ts'

/** An original on its way into the primary store; no row names it there yet. */
export interface OriginalToPut {
  readonly ref: Pick<RecordingRef, 'accountId' | 'recordingId'>
  readonly primary: PlacedStore
  readonly key: string
  readonly contentType: string
  readonly copy: WorkingCopy
}

/**
 * Puts the original into the primary store. Bad bytes that an earlier run left under its key are replaced, once they were read and
 * found wrong, as long as nothing names them. A second run finds the same bytes there and succeeds.
 * @throws scratch_corrupt, store_alters_bytes, store_*
 */
export async function putOriginal(deps: MendDeps, original: OriginalToPut, beat: Beat): Promise<void> {
  const { ref, primary, key, contentType, copy } = original
  const put = () => putWorkingCopy(deps, ref, primary, { key, contentType, copy }, beat)
  try {
    await put()
  } catch (error) {
    if (!hasCode(error, 'object_exists')) throw error
    await requireIntact(deps, ref, copy, beat)
    const seen = await primary.store.stat(key)
    if (seen !== null && sameContent(await readBack(primary.store, key, { signal: beat.signal }), copy.recorded)) return
    const removed = await deps.db.asAccount(
      ref.accountId,
      async (tx) => (await isUnnamedOriginal(tx, ref.recordingId)) && deleteIfSame(primary.store, key, seen),
    )
    if (!removed) throw altered(primary, { key }, 'holds other bytes than were put and is in use')
    const detail = { store: primary.name, file: copy.name, from: 'scratch' }
    await deps.db.asAccount(ref.accountId, (tx) => writeAudit(tx, ref.recordingId, 'system', 'copy.mended', detail))
    await put()
  }
}
