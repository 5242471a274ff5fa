import type { Database } from '../db/connect.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { openStore } from '../storage/open.ts'
import type { PlacedStore, StoreBook } from './deps.ts'

/** Opens stores by their row, each once while its address stays the same. */
export function createStoreBook(db: Database, resolveSecret: (name: string) => string): StoreBook {
  const opened = new Map<string, PlacedStore & { url: string }>()
  const place = (row: { id: string; name: string; site: string; url: string }): PlacedStore => {
    const known = opened.get(row.id)
    if (known !== undefined && known.url === row.url) return known
    const placed = { ...row, store: openStore(row.url, resolveSecret) }
    opened.set(row.id, placed)
    return placed
  }
  const list = (accountId: string, role: 'primary' | 'backup') =>
    db.asAccount(accountId, (tx) =>
      tx.selectFrom('stores').selectAll().where('role', '=', role).orderBy('name').execute(),
    )

  return {
    async open(accountId, storeId) {
      const row = await db.asAccount(accountId, (tx) =>
        tx.selectFrom('stores').selectAll().where('id', '=', storeId).executeTakeFirst(),
      )
      if (row === undefined) throw new ReelkeepError('not_found', `There is no store ${storeId}.`)
      return place(row)
    },
    async primary(accountId) {
      const [row] = await list(accountId, 'primary')
      if (row === undefined)
        throw new ReelkeepError('store_misconfigured', 'This account has no primary store. Add one, then retry.')
      return place(row)
    },
    backups: async (accountId) => (await list(accountId, 'backup')).map(place),
    async close() {
      await Promise.all([...opened.values()].map(({ store }) => store.close()))
      opened.clear()
    },
  }
}
