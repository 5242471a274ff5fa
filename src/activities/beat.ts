import { Context } from '@temporalio/activity'

const beatEveryMs = 5000

/** What long work gets: a signal that says stop, and a beat that says "still here" (with a small detail for people). */
export interface Beat {
  readonly signal: AbortSignal
  readonly beat: (detail?: unknown) => void
}

/**
 * Runs long work under a heartbeat of time, not of progress: a slow store is not a dead worker. Cancellation reaches
 * the work through `signal`.
 */
export async function withHeartbeat<T>(work: (beat: Beat) => Promise<T>): Promise<T> {
  const context = Context.current()
  let latest: unknown = null
  context.heartbeat(latest)
  const timer = setInterval(() => context.heartbeat(latest), beatEveryMs)
  try {
    return await work({
      signal: context.cancellationSignal,
      beat: (detail) => {
        latest = detail ?? latest
      },
    })
  } finally {
    clearInterval(timer)
  }
}
