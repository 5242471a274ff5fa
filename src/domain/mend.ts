import { sameContent } from './fixity.ts'
import type { Content } from './fixity.ts'
import type { FileView, RecordingState } from './recording.ts'

/**
 * What looking at one place showed. `replaced` = another file stands there by now (names in an inbox are used again);
 * `no_place` = there is none to look at.
 */
export type Look = Content | 'missing' | 'replaced' | 'not_asked' | 'no_place'

/** Everything that was looked at where the bytes of a file are not what they were recorded as. */
export interface DamageEvidence {
  readonly kind: FileView['kind']
  readonly recorded: Content
  /** The working copy on this machine. */
  readonly scratch: Look
  /** The object that was written to the store. */
  readonly stored: Look
  /** The best of the copies in other stores. */
  readonly copy: Look
  /** What stands in the inbox. */
  readonly source: Look
}

/** What is damaged, and what the right bytes come from. */
export type DamageVerdict =
  /** Not known yet: this has to be looked at first. The cheapest comes first; nothing is read that is not needed. */
  | { readonly kind: 'look'; readonly at: 'stored' | 'copy' | 'source' }
  /** Everything is what it should be: the trouble lies elsewhere, or has passed. */
  | { readonly kind: 'none' }
  /** Only the working copy is bad: it is let go of and fetched again. */
  | { readonly kind: 'scratch' }
  /** The store's object is bad; the right bytes stand there. */
  | { readonly kind: 'store'; readonly from: 'scratch' | 'copy' | 'source' }
  /** The store's object is bad and was the only one, but what it was made from is there. */
  | { readonly kind: 'make_again' }
  | { readonly kind: 'ask'; readonly reason: 'source_replaced' | 'no_good_bytes' }

/** The states before a recording is kept: its copies have not all been verified, and no fixity check looks after them yet. */
export const mendStates = [
  'accepted',
  'awaiting_claim',
  'claimed',
  'encoding',
  'archiving',
  'protected',
] as const satisfies readonly RecordingState[]

/**
 * Tells a bad working copy, a bad object in a store and a replaced source apart, and says what to do. Total: never throws.
 *
 * Only bytes that were read just now and hash to what was recorded are ever taken as right, and only an object that was read and
 * found wrong (or is lost) is ever replaced.
 */
export function decideDamage(evidence: DamageEvidence): DamageVerdict {
  const { recorded, scratch, stored, copy, source } = evidence
  const isGood = (look: Look) => typeof look === 'object' && sameContent(look, recorded)
  if (stored === 'not_asked') return { kind: 'look', at: 'stored' }
  if (stored === 'no_place' || isGood(stored))
    return typeof scratch === 'object' && !isGood(scratch) ? { kind: 'scratch' } : { kind: 'none' }
  if (isGood(scratch)) return { kind: 'store', from: 'scratch' }
  if (copy === 'not_asked') return { kind: 'look', at: 'copy' }
  if (isGood(copy)) return { kind: 'store', from: 'copy' }
  if (evidence.kind !== 'original') return { kind: 'make_again' }
  if (source === 'not_asked') return { kind: 'look', at: 'source' }
  if (isGood(source)) return { kind: 'store', from: 'source' }
  return {
    kind: 'ask',
    reason: source === 'replaced' || typeof source === 'object' ? 'source_replaced' : 'no_good_bytes',
  }
}
