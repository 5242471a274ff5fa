import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { measureSource } from './bytes.ts'
import { readBack } from './copy.ts'
import type { ByteSource, PutOptions, PutResult, Store } from './store.ts'

/**
 * Decides a `put` whose key is taken: the same bytes are a success (it is a second run), others are refused.
 * Compares by reading the object back, never by what the far end says about it.
 * @returns `null` when the key is free
 * @throws object_exists, object_cold, store_*
 */
export async function settleExisting(
  store: Pick<Store, 'label' | 'stat' | 'read' | 'blocks'>,
  key: string,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult | null> {
  const found = await store.stat(key)
  if (found === null) return null
  if (found.special !== null && found.special !== 'hard_link') throw taken(store, key, `a ${found.special}`)
  if (found.sizeBytes !== options.sizeBytes) throw taken(store, key, `${found.sizeBytes} bytes`)
  const sha256 = options.sha256 ?? (await hashSource(source, key, options))
  try {
    const held = await readBack(store, key, options.signal === undefined ? {} : { signal: options.signal })
    if (held.sizeBytes === options.sizeBytes && held.sha256 === sha256) return held
    throw taken(store, key, `SHA-256 ${held.sha256}`)
  } catch (error) {
    if (hasCode(error, 'object_missing')) return null
    throw error
  }
}

/** The refusal to overwrite: names what stands at the key. */
export function taken(store: Pick<Store, 'label'>, key: string, held: string): ReelkeepError {
  return new ReelkeepError(
    'object_exists',
    `${store.label} already has other content at ${key} (${held}); it was left alone. Store under another key.`,
    { details: { key } },
  )
}

async function hashSource(source: ByteSource, key: string, options: PutOptions): Promise<string> {
  const measured = measureSource(source, key, options)
  for await (const _ of measured.chunks);
  return measured.result().sha256
}
