import { applyLook, listComplete, readInbox } from '../db/deposits.ts'
import { decideLook, isUnderWay } from '../domain/ingest.ts'
import type { ListedFile, LookMemory } from '../domain/ingest.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { unfinishedDirectory } from '../storage/keys.ts'
import { isSafeKey } from '../storage/store.ts'
import type { ObjectInfo } from '../storage/store.ts'
import type { ActivityDeps } from './deps.ts'

/** What looking at an inbox needs. */
export type LookDeps = Pick<ActivityDeps, 'db' | 'stores' | 'startRecording'>

/** One look's surroundings: which inbox, the clock, and what the look before it remembered. */
export interface LookRequest {
  readonly accountId: string
  readonly inboxId: string
  readonly memory: LookMemory
  readonly now: () => number
  readonly signal?: AbortSignal
}

/** What one look came to. */
export interface Look {
  /** Deposits that became complete. */
  readonly completed: readonly string[]
  /** What the next look should know. */
  readonly memory: LookMemory
  /** Somebody is uploading, or did a moment ago. */
  readonly underWay: boolean
}

/**
 * One look: the listing, what is known, the decision, what changed. Deposits that became complete have their lives begun
 * before it returns. An inbox that cannot be listed to its end decides nothing. @throws store_*, database_unavailable
 */
export async function lookOnce(
  { db, stores, startRecording }: LookDeps,
  { accountId, inboxId, memory, now, signal }: LookRequest,
): Promise<Look> {
  const { store } = await stores.open(accountId, inboxId)
  const nowMs = now()
  const files: ListedFile[] = []
  for await (const info of store.list('', signal)) files.push(listedFile(info))
  const endedMs = now()
  await failpoint('look.after-list')
  const look = await db.asAccount(accountId, async (tx) => {
    const before = await readInbox(tx, inboxId, nowMs)
    const decided = decideLook({ files, ...before, remote: store.remote, nowMs, memory })
    const { memory: next } = decided
    const underWay = isUnderWay(before.known, decided)
    if (decided.decisions.length === 0) return { memory: next, completed: [], underWay }
    const known = new Set(before.known.filter(({ state }) => state === 'complete').map(({ id }) => id))
    await applyLook(tx, inboxId, decided.decisions, endedMs)
    const completed = (await listComplete(tx, inboxId)).filter((id) => !known.has(id))
    await failpoint('look.before-commit')
    return { memory: next, completed, underWay }
  })
  await failpoint('look.after-commit')
  for (const recordingId of look.completed) await startRecording({ accountId, recordingId })
  await failpoint('look.after-start')
  return look
}

/** An object of a store as looks compare it; the same rounding everywhere, or a file would seem to change by itself. */
export function listedFile(info: ObjectInfo): ListedFile {
  return {
    path: info.key,
    sizeBytes: info.sizeBytes,
    mtimeMs: Math.floor(info.modifiedAtMs),
    fileId: info.fileId,
    special: info.special,
    usable: isSafeKey(info.key) && !info.key.startsWith(`${unfinishedDirectory}/`),
  }
}
