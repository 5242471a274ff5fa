import { ActivityFailure, ApplicationFailure, isCancellation, TimeoutFailure } from '@temporalio/workflow'
import { errorKinds, isErrorCode } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'

/** Why an activity failed, in the product's words. */
export interface StageFailure {
  readonly code: ErrorCode
  readonly message: string
  /** True where trying again later may help without anybody doing anything. */
  readonly transient: boolean
}

/** Reads an activity's failure; a cancellation is not one and is thrown on. */
export function readFailure(error: unknown): StageFailure {
  const cause = error instanceof ActivityFailure ? error.cause : error
  if (isCancellation(error)) return { code: 'cancelled', message: 'A person stopped this step. Retry it, or go on without it.', transient: false }
  if (cause instanceof ApplicationFailure && isErrorCode(cause.type))
    return { code: cause.type, message: cause.message, transient: errorKinds[cause.type] === 'unavailable' }
  if (cause instanceof TimeoutFailure)
    return { code: 'pipeline_unavailable', message: 'The worker that did this went silent. Another one tries it again.', transient: true }
  const text = cause instanceof Error ? cause.message : String(cause)
  return { code: 'internal', message: `Something unexpected went wrong: ${text}`, transient: true }
}

/** A refusal as an update's failure: the API turns its type back into the code. */
export function refuse(code: ErrorCode, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type: code, message, nonRetryable: true })
}
