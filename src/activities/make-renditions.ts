import { join } from 'node:path'
import type { EncodePlan, MediaFacts, Rendition } from '../domain/encode.ts'
import { hasCode } from '../domain/errors.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'
import { whileIntact } from './scratch-files.ts'
import type { WorkingCopy } from './scratch-files.ts'
import { clearShelf, createShelf } from './shelf.ts'
import type { ShelfPlace } from './shelf.ts'

/** An encode on scratch: of what, how, below which directory, and for whom. */
export interface EncodeOnScratch extends Omit<ShelfPlace, 'beat'> {
  readonly original: WorkingCopy & { readonly media: MediaFacts }
  readonly plan: EncodePlan
  /** Renditions are made in `out` below it. */
  readonly work: string
  readonly onProgress: (fraction: number) => void
}

/**
 * Makes every rendition from a working copy of the original that is whole before and after. Where it went bad meanwhile, the parts that
 * were kept of it go as well: they hash to what they are, and may be of damaged bytes.
 * @throws scratch_corrupt, and what the encoder throws
 */
export async function makeRenditions(
  deps: Pick<ActivityDeps, 'db' | 'encoder' | 'log'>,
  { original, plan, work, onProgress, ...place }: EncodeOnScratch,
  beat: Beat,
): Promise<readonly Rendition[]> {
  try {
    return await whileIntact(deps, place.ref, original, beat, () =>
      deps.encoder.encode(original.path, original.media, plan, join(work, 'out'), {
        signal: beat.signal,
        onProgress,
        shelf: createShelf(deps, { ...place, beat }),
      }),
    )
  } catch (error) {
    if (hasCode(error, 'scratch_corrupt')) await clearShelf(deps, place.ref, place.primary, beat)
    throw error
  }
}
