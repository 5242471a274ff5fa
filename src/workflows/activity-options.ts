import { proxyActivities } from '@temporalio/workflow'
import type { ActivityOptions } from '@temporalio/workflow'
import type { Activities } from '../activities/index.ts'
import { taskQueues } from './names.ts'
import { timeouts } from './timeouts.ts'

/*
 * Every timeout, retry and queue of the product, on one screen.
 *
 * Three kinds of work: rows (Postgres only: tried until it is back), bytes (hours long, beating; a few tries, then the
 * recording is parked where a person sees it), and encodes (the same, on their own queue with their own slots).
 * A code that cannot pass by itself (see `domain/errors.ts`) is never retried: the activity interceptor says so.
 */

/** Rows in Postgres. A database that is away for a day is waited for. */
export const records = proxyActivities<Activities>({
  startToCloseTimeout: timeouts.rows,
  retry: { initialInterval: '200 milliseconds', backoffCoefficient: 2, maximumInterval: '15 seconds' },
})

const ofBytes: ActivityOptions = {
  startToCloseTimeout: '24 hours',
  heartbeatTimeout: timeouts.beat,
  retry: { initialInterval: '1 second', backoffCoefficient: 3, maximumInterval: '1 minute', maximumAttempts: 4 },
}

/** Bytes between stores. */
export const transfers = proxyActivities<Activities>(ofBytes)

/** Bytes that kept recordings owe, perhaps a million of them at once: whatever else waits in the queue goes first. */
export const owedTransfers = proxyActivities<Activities>({ ...ofBytes, priority: { priorityKey: 5 } })

/** Media work. */
export const encodes = proxyActivities<Activities>({
  taskQueue: taskQueues.encode,
  startToCloseTimeout: '48 hours',
  heartbeatTimeout: timeouts.beat,
  retry: { initialInterval: '2 seconds', backoffCoefficient: 3, maximumInterval: '1 minute', maximumAttempts: 3 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
})

/** Mail: tried for minutes, then parked; nothing else waits for it. */
export const mails = proxyActivities<Activities>({
  startToCloseTimeout: '2 minutes',
  retry: { initialInterval: '1 second', backoffCoefficient: 3, maximumInterval: '1 minute', maximumAttempts: 5 },
})

/** Looking at an inbox: for ever, as long as somebody wants it looked at. */
export const looks = proxyActivities<Activities>({
  startToCloseTimeout: '3 minutes',
  heartbeatTimeout: timeouts.lookBeat,
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '20 seconds' },
})
