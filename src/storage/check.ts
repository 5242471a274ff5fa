import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { ReelkeepError } from '../domain/errors.ts'
import { readBack } from './copy.ts'
import type { Store } from './store.ts'

/**
 * Proves that a store can be written, read and deleted from, with an object of a few bytes under a dot name that
 * inbox scans ignore. Leaves nothing behind.
 * @throws store_*, object_corrupt, delete_ineffective
 */
export async function proveAccess(store: Pick<Store, 'label' | 'put' | 'read' | 'delete'>): Promise<void> {
  const key = `.reelkeep-check-${randomUUID()}`
  const bytes = Buffer.from(`${key}\n`)
  const open = async (fromByte: number) => Readable.from([bytes.subarray(fromByte)], { objectMode: false })
  try {
    const put = await store.put(key, { open }, { sizeBytes: bytes.length })
    const held = await readBack(store, key)
    if (held.sha256 !== put.sha256) {
      const message = `${store.label} returned other bytes than were stored a moment before. Do not use it; check it first.`
      throw new ReelkeepError('object_corrupt', message)
    }
  } catch (error) {
    // The first failure is the one to report; what it left is tiny and has a dot name.
    await store.delete(key).catch(() => {})
    throw error
  }
  await store.delete(key)
}
