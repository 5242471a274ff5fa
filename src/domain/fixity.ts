import type { RecordingState } from './recording.ts'
import { msPer } from './units.ts'

/** Every copy is read again this long after it was last found good. */
export const fixityEveryMs = 90 * msPer.day
/** What was not found good is looked at again by the next daily pass: a little less than a day, so that none is missed. */
export const fixityAgainMs = 20 * msPer.hour

/** The states in which a recording's copies are checked and mended: it is kept, or nobody has approved its deletion yet. */
export const fixityStates = ['retained', 'disposition_requested'] as const satisfies readonly RecordingState[]

/**
 * How many recordings of one account a daily pass checks at most: the others are the first of the next pass, and no account
 * keeps the others waiting. Every 90 days, that is 1.8 million recordings.
 */
export const fixityPassLimit = 20_000

/** What bytes are: two contents are the same when both size and SHA-256 are. */
export interface Content {
  readonly sizeBytes: number
  readonly sha256: string
}

/** What reading one copy back showed. */
export type Reading =
  | { readonly how: 'read'; readonly content: Content }
  /** No plain file stands there; the store itself answers. */
  | { readonly how: 'missing' }
  /** The store could not be asked: this says nothing about the copy. */
  | { readonly how: 'could_not_run'; readonly reason: string }

/** One store's part in a file: what its copy reads back as, and what the manifest beside it says the file is. */
export interface StoreWitness {
  readonly storeId: string
  readonly reading: Reading
  /** `null` = no manifest there could be read, or it does not name the file. */
  readonly manifestSays: Content | null
}

/** Everything that is known of one file. */
export interface FileEvidence {
  /** What the database says the file is; an original is described in two rows, which must say the same. */
  readonly database: readonly Content[]
  readonly stores: readonly StoreWitness[]
}

/** Why a person has to decide. */
export type AskReason =
  /** The stores agree with each other and not with the database (or the database not with itself). */
  | 'database_disagrees'
  /** No content has more witnesses than every other. */
  | 'no_majority'
  /** It is clear what the file should be, and no copy is. */
  | 'no_good_copy'

/** What becomes of one file's copies. Ids are those of stores. */
export type FixityVerdict =
  | { readonly kind: 'ok' }
  | { readonly kind: 'mend'; readonly bad: readonly string[]; readonly good: readonly string[] }
  | { readonly kind: 'ask'; readonly reason: AskReason; readonly believed: Content | null }
  | { readonly kind: 'could_not_run' }

/** True where two contents are the same. */
export function sameContent(a: Content, b: Content): boolean {
  return a.sha256 === b.sha256 && a.sizeBytes === b.sizeBytes
}

/**
 * Decides what a file is and which copies are bad. Total: never throws.
 *
 * What fails together has one vote: the database is one place, each store with its copy and its manifest another. A
 * content is believed when at least two places vouch for it (damage does not agree by chance) and more than for any other,
 * even if every store that could not be asked spoke against it. Only what the database says as well is ever written over
 * something else; where the database stands alone, it may be the damaged one, and a person decides.
 */
export function decideFixity({ database, stores }: FileEvidence): FixityVerdict {
  const unasked = stores.filter((store) => store.reading.how === 'could_not_run')
  const readable = stores.filter((store) => store.reading.how === 'read')
  const believed = findBelieved(database, stores, unasked.length)
  if (believed === null) {
    // The stores that could not be asked may settle it.
    if (unasked.length > 0) return { kind: 'could_not_run' }
    return { kind: 'ask', reason: readable.length === 0 ? 'no_good_copy' : 'no_majority', believed: null }
  }
  if (!database.every((said) => sameContent(said, believed)))
    return { kind: 'ask', reason: 'database_disagrees', believed }
  const good = readable.filter((store) => isCopyOf(store, believed)).map((store) => store.storeId)
  const bad = stores
    .filter((store) => store.reading.how !== 'could_not_run' && !isCopyOf(store, believed))
    .map((store) => store.storeId)
  if (bad.length === 0) return { kind: unasked.length === 0 ? 'ok' : 'could_not_run' }
  if (good.length > 0) return { kind: 'mend', bad, good }
  return unasked.length > 0 ? { kind: 'could_not_run' } : { kind: 'ask', reason: 'no_good_copy', believed }
}

/** True where this store's copy was read and is this content. */
export function isCopyOf({ reading }: Pick<StoreWitness, 'reading'>, content: Content): boolean {
  return reading.how === 'read' && sameContent(reading.content, content)
}

/** The content that most places vouch for, or null where it could be another one. */
function findBelieved(database: readonly Content[], stores: readonly StoreWitness[], unasked: number): Content | null {
  const statements = [
    ...database.map((content) => ({ place: 'database', content })),
    ...stores.flatMap(({ storeId, reading, manifestSays }) => [
      ...(reading.how === 'read' ? [{ place: storeId, content: reading.content }] : []),
      ...(manifestSays === null ? [] : [{ place: storeId, content: manifestSays }]),
    ]),
  ]
  const places = new Map<string, { content: Content; vouching: Set<string> }>()
  for (const { place, content } of statements) {
    const name = `${content.sha256}/${content.sizeBytes}`
    const known = places.get(name) ?? { content, vouching: new Set<string>() }
    known.vouching.add(place)
    places.set(name, known)
  }
  const [first, second] = [...places.values()].sort((a, b) => b.vouching.size - a.vouching.size)
  if (first === undefined || first.vouching.size < 2) return null
  return first.vouching.size > (second?.vouching.size ?? 0) + unasked ? first.content : null
}

/** How a copy's check ended, and what the copy is from then on. */
export interface CopyJudgement {
  readonly result: 'ok' | 'failed' | 'could_not_run'
  /** `null` = it stays what it was. */
  readonly state: 'verified' | 'failed' | null
}

/**
 * What a file's verdict means for one of its copies. `ok` means: it reads back as the database says. A copy that only the
 * database contradicts keeps its state: everything else vouches for it, and people may go on playing it.
 */
export function judgeCopy(
  store: Pick<StoreWitness, 'reading'>,
  database: readonly Content[],
  verdict: FixityVerdict,
): CopyJudgement {
  if (store.reading.how === 'could_not_run') return { result: 'could_not_run', state: null }
  if (database.every((said) => isCopyOf(store, said)))
    return { result: 'ok', state: verdict.kind === 'ask' ? null : 'verified' }
  const vouchedFor = verdict.kind === 'ask' && verdict.believed !== null && isCopyOf(store, verdict.believed)
  return { result: 'failed', state: vouchedFor ? null : 'failed' }
}

const reasons: Readonly<Record<AskReason, string>> = {
  database_disagrees: 'its copies and manifests agree, and the database says otherwise',
  no_majority: 'database, manifests and copies say different things, and none is in the majority',
  no_good_copy: 'no copy is what it should be',
}

/** One sentence for people: which files, why nothing was mended by itself, and what to do. */
export function describeDisagreement(files: readonly { readonly name: string; readonly reason: AskReason }[]): string {
  const shown = files.slice(0, 3).map(({ name, reason }) => `${name}: ${reasons[reason]}`)
  const more = files.length > shown.length ? ` (and ${files.length - shown.length} more)` : ''
  return (
    `Copies disagree and nothing was written over. ${shown.join('; ')}${more}. ` +
    'Find out which is right, put the right bytes at that key in one store or restore the database, then check again.'
  )
}

/** What a manifest says of each file, by key; empty where the text is no manifest of ours. Total: never throws. */
export function readManifest(text: string): ReadonlyMap<string, Content> {
  const said = new Map<string, Content>()
  try {
    const manifest: unknown = JSON.parse(text)
    for (const file of listOf(manifest)) {
      const { key, sha256, sizeBytes } = file
      if (typeof key === 'string' && typeof sha256 === 'string' && typeof sizeBytes === 'number')
        said.set(key, { sha256, sizeBytes })
    }
  } catch {
    // Damaged beyond reading: it says nothing.
  }
  return said
}

function listOf(manifest: unknown): Partial<Record<'key' | 'sha256' | 'sizeBytes', unknown>>[] {
  if (typeof manifest !== 'object' || manifest === null || !('files' in manifest)) return []
  const { files } = manifest
  return Array.isArray(files) ? files.filter((file) => typeof file === 'object' && file !== null) : []
}
