import { condition, upsertSearchAttributes } from '@temporalio/workflow'
import type { ProblemOption, Stage } from '../domain/recording.ts'
import { records } from './activity-options.ts'
import { readFailure } from './failures.ts'
import { goOnInNewRun, isFull, refOf, sayWaiting } from './life.ts'
import type { Life, Parked } from './life.ts'
import type { TriedStep } from './messages.ts'
import { attributeKeys } from './search-attributes.ts'

const longestRetryMs = 6 * 3_600_000

/** How a stage ended: done, or a person decided otherwise. */
export type StageEnd<T> =
  { readonly how: 'done'; readonly value: T } | { readonly how: Exclude<ProblemOption, 'retry'> }

/** How a step stands to the life it belongs to. */
export interface AttemptOptions {
  /** The life goes on waiting for what it waits for, whatever becomes of this step (a notice). */
  readonly quiet?: boolean
  /** The life goes on meanwhile: it is not this step's to end its run. */
  readonly beside?: boolean
  /** A run before this one may have left it parked. */
  readonly wasParked?: boolean
}

/**
 * Runs one step of a stage. Where it fails for good, the recording is parked with the reason until a person decides or
 * (for failures that pass) the next automatic retry comes: the life itself never fails.
 */
export async function attempt<T>(
  life: Life,
  stage: Stage,
  options: readonly ProblemOption[],
  work: () => Promise<T>,
  { quiet = false, beside = quiet, wasParked = false }: AttemptOptions = {},
): Promise<StageEnd<T>> {
  for (let attempts = 1 + (beside ? 0 : triesBefore(life, stage)); ; attempts += 1) {
    try {
      const value = await work()
      if (attempts > 1 || wasParked) await unpark(life, stage, 'done')
      return { how: 'done', value }
    } catch (error) {
      const failure = readFailure(error)
      const retryInMs =
        failure.retryAfterMs === null ? null : Math.min(failure.retryAfterMs * 2 ** (attempts - 1), longestRetryMs)
      const decision = await park(life, {
        stage,
        attempts,
        options,
        code: failure.code,
        message: failure.message,
        retryInMs,
        quiet,
      })
      if (decision === 'retry') {
        if (!beside) await goOnIfFull(life, { stage, attempts })
        continue
      }
      await unpark(life, stage, decision)
      return { how: decision }
    }
  }
}

/** How often the run before this one tried the step that it ended with. */
function triesBefore(life: Life, stage: Stage): number {
  const { tried } = life
  if (tried?.stage !== stage) return 0
  life.tried = null
  return tried.attempts
}

/** What is tried again for years goes on in a new run from time to time, with the next try. */
export async function goOnIfFull(life: Life, tried: TriedStep | null): Promise<void> {
  if (!isFull()) return
  life.tried = tried
  await goOnInNewRun(life)
}

interface Parking {
  readonly stage: Stage
  readonly attempts: number
  readonly options: readonly ProblemOption[]
  readonly code: Parameters<typeof records.park>[1]['code']
  readonly message: string
  readonly retryInMs: number | null
  readonly quiet?: boolean
}

/** Parks a stage in needs attention until somebody, or the clock, decides. */
export async function park(
  life: Life,
  { stage, attempts, options, code, message, retryInMs, quiet = false }: Parking,
): Promise<ProblemOption> {
  const parked: Parked = { stage, options, decision: null }
  life.parked.add(parked)
  const nextRetryAtMs = retryInMs === null ? null : Date.now() + retryInMs
  await records.park(refOf(life), { stage, code, message, attempts, nextRetryAtMs, options })
  upsertSearchAttributes([{ key: attributeKeys.problem, value: code }])
  const before = life.waiting
  const then = nextRetryAtMs === null ? 'nothing happens by itself' : 'it is tried again'
  if (!quiet) await sayWaiting(life, `a person, because ${message}`, then, nextRetryAtMs)
  if (retryInMs === null) await condition(() => parked.decision !== null)
  else await condition(() => parked.decision !== null, retryInMs)
  life.parked.delete(parked)
  if (!quiet) await sayWaiting(life, before.waitingFor, before.nextStep, before.nextAtMs)
  return parked.decision ?? 'retry'
}

async function unpark(life: Life, stage: Stage, resolution: string): Promise<void> {
  await records.unpark(refOf(life), stage, resolution)
  upsertSearchAttributes([{ key: attributeKeys.problem, value: null }])
}
