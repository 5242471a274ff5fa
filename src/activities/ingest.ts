import { setTimeout as pause } from 'node:timers/promises'
import { listComplete } from '../db/deposits.ts'
import { noMemory } from '../domain/ingest.ts'
import type { LookMemory } from '../domain/ingest.ts'
import { msPer } from '../domain/units.ts'
import type { InboxScanInput } from '../workflows/messages.ts'
import { withHeartbeat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'
import { lookOnce } from './look.ts'
import type { RecordingRef } from './records.ts'
import { releaseSource } from './release-source.ts'
import { takeIn } from './take-in.ts'
import type { TakeInResult } from './take-in.ts'

/** Looks at remote stores cost round trips, so they are rarer while nobody uploads. */
const lookEveryMs = { busy: msPer.second, idle: { local: msPer.second, remote: 2 * msPer.second } } as const

/** What one turn of looking came to. */
export interface WatchResult {
  readonly looks: number
  /** Deposits that became complete. */
  readonly completed: number
}

/** The first stage: what arrives in inboxes, from its first byte to a recording, and until its source may go. */
export function createIngestActivities(deps: Omit<ActivityDeps, 'notifier' | 'sign' | 'baseUrl' | 'log'>) {
  const memories = new Map<string, LookMemory>()
  return {
    /**
     * Looks at an inbox again and again until the turn is over, at least once. What was seen stands in the database, so the next
     * turn, or another worker, goes on where this one ended; two at once change nothing twice.
     */
    async watchInbox({ accountId, inboxId, lookForMs }: InboxScanInput): Promise<WatchResult> {
      return withHeartbeat(async ({ signal, beat }) => {
        const beganMs = steadyNowMs()
        const { store } = await deps.stores.open(accountId, inboxId)
        const idleMs = store.remote ? lookEveryMs.idle.remote : lookEveryMs.idle.local
        let [looks, completed] = [0, 0]
        for (const id of await deps.db.asAccount(accountId, (tx) => listComplete(tx, inboxId))) {
          await deps.startRecording({ accountId, recordingId: id })
        }
        for (;;) {
          signal.throwIfAborted()
          const lookAtMs = steadyNowMs()
          const memory = memories.get(inboxId) ?? noMemory
          const look = await lookOnce(deps, { accountId, inboxId, memory, now: steadyNowMs, signal })
          memories.set(inboxId, look.memory)
          looks += 1
          completed += look.completed.length
          beat({ looks, completed })
          const everyMs = look.underWay ? lookEveryMs.busy : idleMs
          const nextMs = Math.max(lookAtMs + everyMs, steadyNowMs() + everyMs / 4)
          if (nextMs - beganMs >= lookForMs || deps.stopping.aborted) return { looks, completed }
          await pauseUnless(AbortSignal.any([signal, deps.stopping]), nextMs - steadyNowMs())
        }
      })
    },

    /** Reads a complete deposit, checks it in every way, and makes it a recording; or says what became of it instead. */
    takeIn: (ref: Pick<RecordingRef, 'accountId' | 'recordingId'>): Promise<TakeInResult> =>
      withHeartbeat((beat) => takeIn(deps, ref, beat)),

    /**
     * Removes the source, and the sources of later deposits of the same bytes, once every copy the policy asks for was
     * verified, and only where the file is still the one that was taken in. A second run finds it done.
     */
    releaseSource: (ref: Pick<RecordingRef, 'accountId' | 'recordingId'>): Promise<{ released: number }> =>
      withHeartbeat(() => releaseSource(deps, ref)),
  }
}

/** Time as this process has measured it since it began: setting the machine's clock does not shorten a quiet period. */
function steadyNowMs(): number {
  return Math.round(performance.timeOrigin + performance.now())
}

async function pauseUnless(signal: AbortSignal, ms: number): Promise<void> {
  await pause(ms, undefined, { signal }).catch(() => undefined)
}
