import { createHash } from 'node:crypto'
import type { CopyToCheck, FileToCheck } from '../db/fixity.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { readManifest } from '../domain/fixity.ts'
import type { Content, Reading } from '../domain/fixity.ts'
import { bytesPer } from '../domain/units.ts'
import { readBack } from '../storage/copy.ts'
import type { Store } from '../storage/store.ts'
import type { Beat } from './beat.ts'
import type { PlacedStore, StoreBook } from './deps.ts'

/** What one store returned: a reading for each copy (by its id), and what the manifest there says of each key. */
export interface StoreReading {
  readonly readings: ReadonlyMap<string, Reading>
  readonly manifest: ReadonlyMap<string, Content>
}

interface Asked {
  readonly copy: CopyToCheck
  readonly file: FileToCheck
}

/** Two failures in a row that are the store's own: it is away, and ten thousand time-outs would say no more. */
const failuresBeforeAway = 2
const longestManifestBytes = 64 * bytesPer.mib

/**
 * Reads every copy of one recording in one store, from beginning to end. A store that cannot be asked has its copies "could not
 * run", never missing; so has one that holds nothing at all: that is a disk that is not mounted, not a loss.
 */
export async function readStore(
  stores: StoreBook,
  accountId: string,
  storeId: string,
  asked: readonly Asked[],
  beat: Beat,
): Promise<StoreReading> {
  const readings = new Map<string, Reading>()
  let manifest: ReadonlyMap<string, Content> = new Map()
  let away = { reason: '', failures: 0 }
  const placed = await stores.open(accountId, storeId).catch(reasonOf)
  for (const { copy, file } of asked) {
    if (typeof placed === 'string' || away.failures >= failuresBeforeAway) {
      readings.set(copy.id, { how: 'could_not_run', reason: typeof placed === 'string' ? placed : away.reason })
      continue
    }
    const { reading, text } = await readCopy(placed, file, beat)
    readings.set(copy.id, reading)
    if (text !== null) manifest = readManifest(text)
    away =
      reading.how === 'could_not_run'
        ? { reason: reading.reason, failures: away.failures + 1 }
        : { reason: '', failures: 0 }
  }
  const allMissing = [...readings.values()].every(({ how }) => how === 'missing')
  if (typeof placed !== 'string' && allMissing && readings.size > 0) {
    const reason = await whyEmpty(placed, beat.signal)
    if (reason !== null) for (const id of readings.keys()) readings.set(id, { how: 'could_not_run', reason })
  }
  return { readings, manifest }
}

async function readCopy(
  { store, name }: PlacedStore,
  file: FileToCheck,
  { signal, beat }: Beat,
): Promise<{ reading: Reading; text: string | null }> {
  const onProgress = (bytes: number) => beat({ store: name, file: file.name, bytes })
  try {
    if (file.kind === 'manifest') return await readText(store, file.key, signal)
    return { reading: { how: 'read', content: await readBack(store, file.key, { signal, onProgress }) }, text: null }
  } catch (error) {
    signal.throwIfAborted()
    if (hasCode(error, 'object_missing') || hasCode(error, 'special_file'))
      return { reading: { how: 'missing' }, text: null }
    return { reading: { how: 'could_not_run', reason: reasonOf(error) }, text: null }
  }
}

/** A manifest is read for its hash and for what it says; one that has grown beyond reason says nothing. */
async function readText(store: Store, key: string, signal: AbortSignal) {
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of (await store.read(key, undefined, signal)) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    sizeBytes += chunk.length
    if (sizeBytes <= longestManifestBytes) kept.push(chunk)
  }
  const reading: Reading = { how: 'read', content: { sizeBytes, sha256: hash.digest('hex') } }
  return { reading, text: sizeBytes > longestManifestBytes ? null : Buffer.concat(kept).toString('utf8') }
}

/** Why a store that lost all of a recording cannot be believed; null where it holds other things, so that the loss is one. */
async function whyEmpty({ store, name }: PlacedStore, signal: AbortSignal): Promise<string | null> {
  try {
    for await (const _any of store.list('', signal)) return null
    return `store ${name} is empty: its disk may not be mounted. If it is new, put any file into it.`
  } catch (error) {
    signal.throwIfAborted()
    return reasonOf(error)
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof ReelkeepError) return `${error.code}: ${error.message}`
  throw error
}
