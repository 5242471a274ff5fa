import { hashBlocks, hashStream } from './bytes.ts'
import type { ByteSource, PutResult, Store, TransferOptions } from './store.ts'

/**
 * Size and SHA-256 of an object as the store returns its bytes now: the only proof of a copy (an ETag proves nothing).
 * @throws object_missing, object_cold, store_*
 */
export async function readBack(
  store: Pick<Store, 'read' | 'blocks'>,
  key: string,
  options: TransferOptions = {},
): Promise<PutResult> {
  if (store.blocks !== undefined) return hashBlocks(await store.blocks(key, options.signal), options)
  return hashStream(await store.read(key, undefined, options.signal), options)
}

/**
 * Copies one object into another store (or another key), whole or not at all, checking the bytes while they pass.
 * A second run finds the same bytes there and succeeds; after an interruption it continues where the target can.
 * It does not read the target back: verification is another step, on purpose, with {@link readBack}.
 * @throws object_missing, object_exists, copy_mismatch, changed_while_read, store_*
 */
export async function copyBetween(
  from: Pick<Store, 'read' | 'blocks'>,
  to: Pick<Store, 'put'>,
  fromKey: string,
  toKey: string,
  options: TransferOptions & { readonly sizeBytes: number; readonly sha256: string; readonly contentType?: string },
): Promise<PutResult> {
  const { blocks } = from
  const source: ByteSource = {
    ...(blocks && { blocks: (signal) => blocks(fromKey, signal) }),
    open: (fromByte: number, signal?: AbortSignal) =>
      // An empty object has no byte 0 that a range could start at.
      from.read(fromKey, fromByte === 0 ? undefined : { start: fromByte }, signal),
  }
  return to.put(toKey, source, options)
}
