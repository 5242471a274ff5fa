import type { Logger } from 'pino'
import { forgetPut, listLeftPuts } from '../db/announced-puts.ts'
import type { Database } from '../db/connect.ts'
import { manifestKey, recordingPrefix } from '../domain/archive.ts'
import { decideLeftPut } from '../domain/housekeeping.ts'
import type { Store } from '../storage/store.ts'
import type { Beat } from './beat.ts'
import type { PlacedStore } from './deps.ts'

const pageSize = 500

/**
 * Settles originals that were announced for this store longer ago than any step may run and that no row names: a take-in put
 * them and died, and its deposit went another way. Returns how many were removed.
 *
 * Why no byte goes that is needed: only keys that this product announced are ever touched. One goes only where its deposit is
 * over for good (`decideLeftPut`); nothing leads back from there, `acceptDeposit` asks for a deposit that is being taken in,
 * under its lock, and so no row can come to name the key after this was seen, however late a run comes back. A deposit that
 * may still be taken in keeps its original, at any age. And a package that has its manifest is never touched: that is a
 * recording, even where the database (restored to an earlier day, say) does not know it.
 */
export async function settleLeftPuts(
  { db, log }: { readonly db: Database; readonly log: Logger },
  accountId: string,
  { id: storeId, name, store }: PlacedStore,
  olderThanMs: number,
  { signal, beat }: Beat,
): Promise<number> {
  let removed = 0
  let afterKey = ''
  for (;;) {
    const page = { olderThanMs, afterKey, limit: pageSize }
    const left = await db.asAccount(accountId, (tx) => listLeftPuts(tx, storeId, page))
    for (const put of left) {
      signal.throwIfAborted()
      beat({ store: name, key: put.key })
      const fate = decideLeftPut(put)
      if (fate === 'keep') continue
      if (fate === 'remove') {
        if (!(await removeUnnamedOriginal(store, accountId, put.depositId, put.key))) {
          log.warn(
            { accountId, store: name, key: put.key },
            'an original that no row names was left: it is part of a package',
          )
          continue
        }
        removed += 1
      }
      await db.asAccount(accountId, (tx) => forgetPut(tx, put))
    }
    afterKey = left.at(-1)?.key ?? ''
    if (left.length < pageSize) return removed
  }
}

/**
 * Removes the original of a deposit that is over. False, and nothing is touched, where a manifest stands beside it or the key
 * is not this deposit's: then it belongs to more than the caller knows. A second run finds it gone.
 */
export async function removeUnnamedOriginal(
  store: Pick<Store, 'stat' | 'delete'>,
  accountId: string,
  depositId: string,
  key: string,
): Promise<boolean> {
  if (!key.startsWith(`${recordingPrefix(accountId, depositId)}/`)) return false
  if ((await store.stat(manifestKey(accountId, depositId))) !== null) return false
  await store.delete(key)
  return true
}
