import { CancellationScope, isCancellation } from '@temporalio/workflow'
import type { ProblemOption } from '../domain/recording.ts'
import { owedTransfers, records } from './activity-options.ts'
import { readFailure } from './failures.ts'
import { attempt } from './attempt.ts'
import { refOf, sayWaiting } from './life.ts'
import type { Life, OwedWork } from './life.ts'

/**
 * Asks, once for every time a kept recording is looked at, what it owes: copies that a store lacks, a source that should have left its
 * inbox. What is owed is made good beside the retention, so that no deletion, no reminder and no end of retention waits for it.
 */
export async function beginOwed(life: Life): Promise<void> {
  if (life.owedLook === life.looksAgain) return
  life.owedLook = life.looksAgain
  if (life.owed !== null) {
    // Its rows were changed behind its back: what it is parked with may be over.
    decideParked(life, 'retry')
    return
  }
  const { storeIds, source } = await records.findOwed(refOf(life))
  if (storeIds.length === 0 && !source) return
  const owed: OwedWork = { isOver: false, stop: () => undefined, done: Promise.resolve() }
  life.owed = owed
  owed.done = makeGood(life, owed, storeIds.length > 0)
    // What went wrong is parked; the next look asks again.
    .catch(() => undefined)
    .finally(() => (life.owed = null))
}

/** Ends what is made good, where the recording is on its way out or goes on in a new run: nothing is left under way or parked. */
export async function endOwed(life: Life): Promise<void> {
  life.owedLook = null
  const { owed } = life
  if (owed === null) return
  owed.isOver = true
  owed.stop()
  decideParked(life, 'give_up')
  await owed.done
}

function decideParked(life: Life, decision: ProblemOption): void {
  for (const parked of life.parked) if (parked.stage === 'archive') parked.decision = decision
}

/** Says again what is said already: a decision was made meanwhile, and what the recording waits for is still the same. */
export async function sayAgain(life: Life): Promise<void> {
  for (;;) {
    const { waitingFor, nextStep, nextAtMs } = life.waiting
    const said = sayWaiting(life, waitingFor, nextStep, nextAtMs)
    const { waiting } = life
    await said
    if (life.waiting === waiting) return
  }
}

async function makeGood(life: Life, owed: OwedWork, copies: boolean): Promise<void> {
  if (copies) await sayWaiting(life, 'copies that its stores lack', 'they are made from a verified copy, and read back')
  else await sayWaiting(life, 'the inbox', 'the source leaves the inbox')
  const work = () =>
    CancellationScope.cancellable(async () => {
      if (owed.isOver) return
      const scope = CancellationScope.current()
      owed.stop = () => scope.cancel()
      try {
        await settle(life)
      } catch (error) {
        if (!owed.isOver) throw error
      }
    })
  // A run before this one may have ended while it was parked: its problem is closed, too.
  await attempt(life, 'archive', ['retry', 'skip'], work, { beside: true, wasParked: true })
}

/** One store after the other, and one that is away does not keep the others waiting. The source goes when enough copies stand. */
async function settle(life: Life): Promise<void> {
  const { storeIds } = await records.findOwed(refOf(life))
  const failures: unknown[] = []
  for (const storeId of storeIds)
    try {
      await serve(life, storeId)
    } catch (error) {
      if (isCancellation(error)) throw error
      failures.push(error)
    }
  if ((await records.findOwed(refOf(life))).source) await owedTransfers.releaseSource(refOf(life))
  if (failures.length > 0) throw failures[0]
}

/** A copy that reads back as other bytes is made again at once, and once; a store that does it again is a person's, or the next try's. */
async function serve(life: Life, storeId: string): Promise<void> {
  await owedTransfers.makeOwedCopies(refOf(life), storeId)
  try {
    await owedTransfers.readOwedCopies(refOf(life), storeId)
  } catch (error) {
    if (isCancellation(error) || readFailure(error).code !== 'store_alters_bytes') throw error
    await owedTransfers.makeOwedCopies(refOf(life), storeId)
    await owedTransfers.readOwedCopies(refOf(life), storeId)
  }
}
