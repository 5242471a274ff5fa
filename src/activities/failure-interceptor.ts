import type { Context } from '@temporalio/activity'
import { ApplicationFailure } from '@temporalio/common'
import type { ActivityInboundCallsInterceptor } from '@temporalio/worker'
import { ReelkeepError, isTransient } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'

/**
 * Turns the product's errors into Temporal's, once for all activities: the code becomes the failure's type, and what
 * cannot pass by itself is not retried. Messages carry no secrets (see `ReelkeepError`); causes stay on this machine.
 */
export function createFailureInterceptor(context: Context): ActivityInboundCallsInterceptor {
  return {
    async execute(input, next) {
      try {
        await failpoint('activity.before')
        const result: unknown = await next(input)
        await failpoint('activity.after')
        return result
      } catch (error) {
        if (!(error instanceof ReelkeepError)) throw error
        context.log.warn(error.message, {
          code: error.code,
          cause: error.cause instanceof Error ? error.cause.message : undefined,
        })
        throw ApplicationFailure.create({ type: error.code, message: error.message, nonRetryable: !isTransient(error) })
      }
    },
  }
}
