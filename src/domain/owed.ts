import type { RecordingState } from './recording.ts'

/** One copy's row, as far as it says whether the copy is owed. */
export interface CopyStanding {
  readonly fileId: string
  readonly storeId: string
  readonly state: 'stored' | 'verified' | 'failed' | 'purged'
  readonly wasVerified: boolean
  /** What the last fixity check found; `null` = none has read it. */
  readonly lastResult: 'ok' | 'failed' | 'could_not_run' | null
}

/** A place that keeps files, and since when the account has it. */
export interface KeepingStore {
  readonly id: string
  readonly role: 'primary' | 'backup'
  readonly sinceMs: number
}

/** Everything that says what a recording owes. */
export interface OwedFacts {
  readonly state: RecordingState
  /** The manifest is among its files: what is not sealed is still being made. */
  readonly isSealed: boolean
  /** In the order in which copies are made: the manifest last. */
  readonly fileIds: readonly string[]
  /** Every primary and backup store of the account. */
  readonly stores: readonly KeepingStore[]
  readonly copies: readonly CopyStanding[]
  /** As many verified copies, at as many sites, as the policy asks for. */
  readonly copiesVerified: boolean
  /** When each source that lies in an inbox because of it was settled; without those that became other files. */
  readonly sourcesSettledAtMs: readonly number[]
  /** When a person last let owed copies be. */
  readonly copiesSkippedAtMs: number | null
  /** When a person last let a source stay in its inbox. */
  readonly sourceSkippedAtMs: number | null
}

/** A copy that is to be made, and the stores whose verified copy it may be made from, the primary first. */
export interface OwedCopy {
  readonly fileId: string
  readonly from: readonly string[]
}

/** What one store owes: copies to make, and copies that stand there and were never read back. */
export interface StoreDebt {
  readonly storeId: string
  readonly make: readonly OwedCopy[]
  readonly read: readonly string[]
}

/** What a recording owes. */
export interface OwedPlan {
  readonly stores: readonly StoreDebt[]
  /** A source is to leave its inbox: nothing keeps it there. */
  readonly source: boolean
}

/** The states in which what is owed is made good: a recording on its way out gets no copies any more. */
export const owedStates = ['retained'] as const satisfies readonly RecordingState[]

/**
 * What a kept recording owes: every file of its package in every store of the account. Total: never throws.
 *
 * A copy is owed where there is none, or one that is not verified and that no fixity check has judged: what a check has judged is the
 * check's to mend, it hears more witnesses before anything is written over. A copy is only ever made from one that is verified.
 * Stores that only have to be read come first: what is verified there may be what the others are made from.
 */
export function planOwed(facts: OwedFacts): OwedPlan {
  if (!owedStates.some((state) => state === facts.state) || !facts.isSealed) return { stores: [], source: false }
  const stores = [...facts.stores].sort(primaryFirst)
  const copies = new Map(facts.copies.map((copy) => [`${copy.fileId} ${copy.storeId}`, copy]))
  const debts = stores
    .filter((store) => isAfter(store.sinceMs, facts.copiesSkippedAtMs))
    .map((store) => debtOf(store, stores, facts.fileIds, copies))
    .filter(({ make, read }) => make.length + read.length > 0)
  const toRead = debts.filter(({ make }) => make.length === 0)
  return {
    stores: [...toRead, ...debts.filter((debt) => !toRead.includes(debt))],
    source:
      facts.copiesVerified &&
      facts.sourcesSettledAtMs.some((settledAtMs) => isAfter(settledAtMs, facts.sourceSkippedAtMs)),
  }
}

function debtOf(
  store: KeepingStore,
  stores: readonly KeepingStore[],
  fileIds: readonly string[],
  copies: ReadonlyMap<string, CopyStanding>,
): StoreDebt {
  const make: OwedCopy[] = []
  const read: string[] = []
  for (const fileId of fileIds) {
    const copy = copies.get(`${fileId} ${store.id}`)
    if (copy !== undefined && !isOwed(copy)) continue
    if (copy?.state === 'stored') read.push(fileId)
    else
      make.push({
        fileId,
        from: stores.map(({ id }) => id).filter((id) => isGood(copies.get(`${fileId} ${id}`))),
      })
  }
  return { storeId: store.id, make, read }
}

/** True for a copy that does not count and that no check has judged: `failed` = announced, or read back as other bytes. */
function isOwed({ state, wasVerified, lastResult }: CopyStanding): boolean {
  const isJudged = lastResult !== null && (wasVerified || lastResult !== 'could_not_run')
  return (state === 'stored' || state === 'failed') && !isJudged
}

function isGood(copy: CopyStanding | undefined): boolean {
  return copy?.state === 'verified' && copy.lastResult !== 'failed'
}

function isAfter(atMs: number, skippedAtMs: number | null): boolean {
  return skippedAtMs === null || atMs > skippedAtMs
}

function primaryFirst(a: KeepingStore, b: KeepingStore): number {
  return Number(b.role === 'primary') - Number(a.role === 'primary') || a.sinceMs - b.sinceMs
}
