import { ActivityFailure, ApplicationFailure, isCancellation, TimeoutFailure } from '@temporalio/workflow'
import { errorKinds, isErrorCode } from '../domain/errors.ts'
import type { ErrorCode, ErrorKind } from '../domain/errors.ts'

/** Why an activity failed, in the product's words. */
export interface StageFailure {
  readonly code: ErrorCode
  readonly message: string
  /** First wait before it is tried again by itself; `null` = only a person can help. */
  readonly retryAfterMs: number | null
}

const soonMs = 60_000
const afterAMendMs = 15 * 60_000

/** What passes by itself is tried soon; what an operator mends outside is tried now and then; bad bytes stay bad. */
const retryAfterMs: Readonly<Record<ErrorKind, number | null>> = {
  unavailable: soonMs,
  misconfigured: afterAMendMs,
  not_found: afterAMendMs,
  conflict: afterAMendMs,
  forbidden: null,
  rejected: null,
  corrupt: null,
}

/** Reads an activity's failure; a cancellation is not one and is thrown on. */
export function readFailure(error: unknown): StageFailure {
  const cause = error instanceof ActivityFailure ? error.cause : error
  if (isCancellation(error))
    return {
      code: 'cancelled',
      message: 'A person stopped this step. Retry it, or go on without it.',
      retryAfterMs: null,
    }
  if (cause instanceof ApplicationFailure && isErrorCode(cause.type))
    return { code: cause.type, message: cause.message, retryAfterMs: retryAfterMs[errorKinds[cause.type]] }
  if (cause instanceof TimeoutFailure)
    return {
      code: 'pipeline_unavailable',
      message: 'The worker that did this went silent. Another one tries it again.',
      retryAfterMs: soonMs,
    }
  const text = cause instanceof Error ? cause.message : String(cause)
  return { code: 'internal', message: `Something unexpected went wrong: ${text}`, retryAfterMs: soonMs }
}

/** A refusal as an update's failure: the API turns its type back into the code. */
export function refuse(code: ErrorCode, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type: code, message, nonRetryable: true })
}
