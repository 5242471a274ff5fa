import type { Logger } from 'pino'
import type { Database } from '../db/connect.ts'
import { listCopyPlaces } from '../db/stores.ts'
import { openStore } from '../storage/open.ts'
import type { ResolveSecret } from '../storage/open.ts'
import type { Store } from '../storage/store.ts'
import type { StoreBook } from './env.ts'

/** Opens stores when their copies are first asked for and keeps them open; a store whose address changed is opened anew. */
export function openStoreBook(options: { db: Database; resolveSecret: ResolveSecret; log: Logger }): StoreBook {
  const opened = new Map<string, { readonly url: string; readonly store: Store }>()

  const open = (storeId: string, url: string): Store => {
    const known = opened.get(storeId)
    if (known?.url === url) return known.store
    const store = openStore(url, options.resolveSecret)
    opened.set(storeId, { url, store })
    if (known !== undefined) closeLater(known.store, options.log)
    return store
  }

  return {
    async openCopy(accountId, recordingId, fileId) {
      const places = await options.db.asAccount(accountId, (tx) => listCopyPlaces(tx, recordingId, fileId))
      const failures: unknown[] = []
      for (const place of places) {
        try {
          const store = open(place.storeId, place.url)
          const info = await store.stat(place.key)
          // Another size is another file: in an inbox, names are used again.
          if (info !== null && info.sizeBytes === place.sizeBytes) return { store, key: place.key, info }
        } catch (error) {
          failures.push(error)
          options.log.warn(
            { err: error, storeId: place.storeId, recordingId },
            'copy not readable, trying the next one',
          )
        }
      }
      if (failures.length > 0) throw failures[0]
      return null
    },
    async close() {
      await Promise.all([...opened.values()].map(({ store }) => store.close()))
      opened.clear()
    },
  }
}

function closeLater(store: Store, log: Logger): void {
  store.close().catch((error: unknown) => log.warn({ err: error, store: store.label }, 'store did not close'))
}
