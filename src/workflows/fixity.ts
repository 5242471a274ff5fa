import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common'
import { continueAsNew, executeChild, isCancellation, ParentClosePolicy } from '@temporalio/workflow'
import type { FixityFound } from '../activities/index.ts'
import { records, transfers } from './activity-options.ts'
import { readFailure } from './failures.ts'
import type { FixityInput, FixityPassInput, FixityPassTotals } from './messages.ts'
import { fixityWorkflowId } from './names.ts'

/** A page is one run of the pass: its history stays small however much is kept. */
const pageSize = 40
/** Recordings that are read at the same time. */
const atOnce = 4

/**
 * One recording's copies: read again, mended from good ones, and what was mended read again by another step before it counts.
 * It ends by itself whatever it finds; what a person has to decide stands in needs attention, and checking again is the answer.
 */
export async function fixityWorkflow(ref: FixityInput): Promise<FixityFound | null> {
  try {
    const found = await transfers.checkFixity(ref)
    if (found.toMend > 0) return await mend(ref)
    if (found.checked && found.failed + found.couldNotRun + found.asked === 0) await transfers.removeStrays(ref)
    return found
  } catch (error) {
    return note(ref, error)
  }
}

async function mend(ref: FixityInput): Promise<FixityFound> {
  let failure: unknown = null
  try {
    await transfers.mendCopies(ref)
  } catch (error) {
    if (isCancellation(error)) throw error
    failure = error
  }
  const found = await transfers.checkFixity(ref)
  if (failure !== null && found.toMend > 0 && found.asked === 0) await note(ref, failure)
  return found
}

async function note(ref: FixityInput, error: unknown): Promise<null> {
  if (isCancellation(error)) throw error
  const { code, message } = readFailure(error)
  await records.noteFixityFailed(ref, { code, message })
  return null
}

/**
 * One pass over what is due, the longest due first, page by page from the database; a few recordings at a time, each as a
 * workflow of its own, so that one is never checked twice at once. What a pass does not reach is the first of the next.
 */
export async function fixityPassWorkflow(input: FixityPassInput): Promise<FixityPassTotals> {
  const { accountId, everything } = input
  const before = input.totals ?? { recordings: 0, failed: 0, couldNotRun: 0, asked: 0 }
  const page = await records.listFixityDue({
    accountId,
    everything,
    beganAtMs: input.beganAtMs ?? null,
    cursor: input.cursor ?? null,
    limit: pageSize,
  })
  const totals = { ...before }
  const waiting = [...page.recordings]
  const work = async () => {
    for (let ref = waiting.shift(); ref !== undefined; ref = waiting.shift()) add(totals, await checkOne(ref))
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  if (page.cursor === null) return totals
  return continueAsNew<typeof fixityPassWorkflow>({
    accountId,
    everything,
    beganAtMs: page.beganAtMs,
    cursor: page.cursor,
    totals,
  })
}

async function checkOne(ref: FixityInput): Promise<FixityFound | null> {
  try {
    return await executeChild(fixityWorkflow, {
      workflowId: fixityWorkflowId(ref.recordingId),
      args: [ref],
      parentClosePolicy: ParentClosePolicy.ABANDON,
    })
  } catch (error) {
    // Somebody asked for this one a moment ago: its check runs already.
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null
    throw error
  }
}

function add(totals: { -readonly [Name in keyof FixityPassTotals]: number }, found: FixityFound | null): void {
  totals.recordings += 1
  totals.failed += found?.failed ?? 0
  totals.couldNotRun += found?.couldNotRun ?? 0
  totals.asked += found?.asked ?? 0
}
