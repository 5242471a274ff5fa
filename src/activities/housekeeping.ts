import { listAccountIds } from '../db/accounts.ts'
import { writeAudit } from '../db/audit.ts'
import type { AccountTx } from '../db/connect.ts'
import { lockForFixity } from '../db/fixity.ts'
import { recordingPrefix } from '../domain/archive.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { isStrayPart, isStrayRendition } from '../domain/housekeeping.ts'
import { msPer } from '../domain/units.ts'
import { withHeartbeat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { settleLeftPuts } from './left-puts.ts'
import type { RecordingRef } from './records.ts'

/** Longer than any step may run: what is older belongs to nobody any more. */
const abandonedAfterMs = 2 * msPer.day

/** What one sweep of all stores came to. */
export interface SweepResult {
  readonly stores: number
  /** Left-overs of interrupted writes that were removed. */
  readonly removed: number
  /** Stores that could not be swept; they are tried again a day later. */
  readonly failed: number
}

/** Clearing away what interrupted work left in stores. */
export function createHousekeepingActivities({ db, stores, log }: Pick<ActivityDeps, 'db' | 'stores' | 'log'>) {
  return {
    /**
     * Removes what interrupted writes left in every primary and backup store of every account, once it is two days old:
     * unfinished objects, and originals whose take-in ended before any row named them. One store that does not answer does
     * not keep the others waiting.
     */
    async sweepStores(): Promise<SweepResult> {
      return withHeartbeat(async ({ signal, beat }) => {
        const result = { stores: 0, removed: 0, failed: 0 }
        for (const accountId of await listAccountIds(db)) {
          for (const storeId of await db.asAccount(accountId, listKeepingStores)) {
            signal.throwIfAborted()
            try {
              const placed = await stores.open(accountId, storeId)
              const { name } = placed
              let removed = await placed.store.sweepUnfinished(abandonedAfterMs)
              removed += await settleLeftPuts({ db, log }, accountId, placed, abandonedAfterMs, { signal, beat })
              result.stores += 1
              result.removed += removed
              if (removed > 0) log.info({ accountId, store: name, removed }, 'interrupted writes swept')
            } catch (error) {
              if (!(error instanceof ReelkeepError)) throw error
              result.failed += 1
              log.warn({ err: error, accountId, storeId }, 'store not swept')
            }
            beat(result)
          }
        }
        return result
      })
    },

    /**
     * Removes renditions of attempts that do not count, and parts of encodes that are over, from below a kept recording: in
     * every store that holds copies of it, where they and the recording's state are more than two days old. What a row names
     * is never touched, and anything else that no row names is left there and written to the log: a listing alone does not
     * say whose it is.
     */
    async removeStrays(ref: Pick<RecordingRef, 'accountId' | 'recordingId'>): Promise<number> {
      return withHeartbeat(async ({ signal, beat }) => {
        const storeIds = await db.asAccount(ref.accountId, (tx) => listStoresOf(tx, ref.recordingId))
        let removed = 0
        for (const storeId of storeIds) {
          const placed = await stores.open(ref.accountId, storeId)
          const strays = await listStrays(placed, ref, signal)
          if (strays.length === 0) continue
          const known = await db.asAccount(ref.accountId, (tx) => listNamedKeys(tx, ref.recordingId))
          if (known === null) return removed
          const unnamed = strays.filter((key) => !known.has(key))
          const going = unnamed.filter((key) => isStrayRendition(ref, key, known) || isStrayPart(ref, key, known))
          for (const key of going) {
            await placed.store.delete(key)
            beat({ store: placed.name, key })
          }
          removed += going.length
          const left = unnamed.length - going.length
          if (left > 0) log.warn({ ...ref, store: placed.name, objects: left }, 'objects that no row names were left')
          if (going.length > 0)
            await db.asAccount(ref.accountId, (tx) =>
              writeAudit(tx, ref.recordingId, 'system', 'strays.removed', {
                store: placed.name,
                objects: going.length,
              }),
            )
        }
        return removed
      })
    },
  }
}

async function listKeepingStores(tx: AccountTx): Promise<string[]> {
  const rows = await tx
    .selectFrom('stores')
    .select('id')
    .where('role', 'in', ['primary', 'backup'])
    .orderBy('name')
    .execute()
  return rows.map((row) => row.id)
}

async function listStoresOf(tx: AccountTx, recordingId: string): Promise<string[]> {
  const rows = await tx
    .selectFrom('copies')
    .select('store_id')
    .distinct()
    .where('recording_id', '=', recordingId)
    .where('state', '!=', 'purged')
    .execute()
  return rows.map((row) => row.store_id)
}

async function listStrays(
  { store }: PlacedStore,
  ref: Pick<RecordingRef, 'accountId' | 'recordingId'>,
  signal: AbortSignal,
) {
  const old: string[] = []
  for await (const { key, modifiedAtMs } of store.list(recordingPrefix(ref.accountId, ref.recordingId), signal))
    if (Date.now() - modifiedAtMs > abandonedAfterMs) old.push(key)
  return old
}

/** Keys that rows name, read under the recording's lock; null where it is not kept in peace: anything may be under way. */
async function listNamedKeys(tx: AccountTx, recordingId: string): Promise<ReadonlySet<string> | null> {
  if (!(await lockForFixity(tx, recordingId)).open) return null
  const recording = await tx
    .selectFrom('recordings')
    .select('state_since')
    .where('id', '=', recordingId)
    .where('state', '=', 'retained')
    .executeTakeFirst()
  const problem = await tx
    .selectFrom('problems')
    .select('id')
    .where('recording_id', '=', recordingId)
    .where('resolved_at', 'is', null)
    .executeTakeFirst()
  const settled = recording !== undefined && Date.now() - recording.state_since.getTime() > abandonedAfterMs
  if (!settled || problem !== undefined) return null
  const rows = await tx.selectFrom('files').select('key').where('recording_id', '=', recordingId).execute()
  const parts = await tx.selectFrom('encode_slices').select('key').where('recording_id', '=', recordingId).execute()
  return new Set([...rows, ...parts].map((row) => row.key))
}
