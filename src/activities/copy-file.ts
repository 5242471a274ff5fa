import type { FileToCopy } from '../db/files.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { sameContent } from '../domain/fixity.ts'
import { copyBetween, readBack } from '../storage/copy.ts'
import type { ObjectInfo } from '../storage/store.ts'
import type { Beat } from './beat.ts'
import type { PlacedStore } from './deps.ts'
import { altered, deleteIfSame } from './mend-copy.ts'

/**
 * Makes one copy of a file from another. A key that holds other bytes there is a copy that failed its check: it is removed and
 * made again, once the source was read from beginning to end and is good: bad bytes never go for the sake of worse ones.
 * `beforeReplace` is the last chance to refuse (by throwing). A second run finds the same bytes there and succeeds.
 * @throws copy_mismatch where the source is not what it should be, store_alters_bytes where another run replaces it, store_*, object_missing
 */
export async function copyFile(
  from: PlacedStore,
  to: PlacedStore,
  file: FileToCopy,
  { signal, beat }: Beat,
  beforeReplace?: () => Promise<void>,
): Promise<void> {
  const options = { signal, onProgress: (bytes: number) => beat({ file: file.name, bytes }) }
  const isRightIn = async ({ store }: PlacedStore) => sameContent(await readBack(store, file.key, options), file)
  const send = () =>
    copyBetween(from.store, to.store, file.key, file.key, {
      ...options,
      sizeBytes: file.sizeBytes,
      sha256: file.sha256,
      contentType: file.contentType,
    })
  try {
    await send()
  } catch (error) {
    if (!hasCode(error, 'object_exists') || to.id === from.id) throw error
    const seen = await to.store.stat(file.key)
    if (seen !== null && isPlain(seen) && (await isRightIn(to))) return
    if (!(await isRightIn(from)))
      throw new ReelkeepError(
        'copy_mismatch',
        `${file.key} in store ${from.name} is not what was stored there, so the copy in ${to.name} was not replaced by it. Check that store, then retry.`,
        { cause: error },
      )
    await beforeReplace?.()
    if (!(await deleteIfSame(to.store, file.key, seen))) throw altered(to, file, 'was replaced by another run')
    await send()
  }
}

const isPlain = ({ special }: ObjectInfo) => special === null || special === 'hard_link'
