import { manifestKey } from '../domain/archive.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { packageOf } from '../domain/manifest.ts'
import type { ManifestPlace } from '../domain/manifest.ts'
import { readBack } from './copy.ts'
import type { Store } from './store.ts'

/** One recording's folder, as a walk through its store found it. */
export interface FoundPackage extends ManifestPlace {
  readonly hasManifest: boolean
  readonly hasOriginal: boolean
  readonly files: number
}

/** What stands in a store: folders of recordings in the order of their ids, and what belongs to none. */
export interface StoreContent {
  readonly packages: readonly FoundPackage[]
  readonly strangers: { readonly count: number; readonly examples: readonly string[] }
}

const mostExamples = 10

/** Walks through a store (or one account's part of it) and reads nothing but names. @throws store_* */
export async function findPackages(
  store: Pick<Store, 'list'>,
  options: { accountId: string | null; signal?: AbortSignal; onFound?: (count: number) => void },
): Promise<StoreContent> {
  const packages = new Map<string, { -readonly [K in keyof FoundPackage]: FoundPackage[K] }>()
  const strangers = { count: 0, examples: [] as string[] }
  for await (const { key } of store.list(options.accountId ?? '', options.signal)) {
    const place = packageOf(key)
    if (place === null) {
      strangers.count += 1
      if (strangers.examples.length < mostExamples) strangers.examples.push(key)
      continue
    }
    const id = `${place.accountId}/${place.recordingId}`
    const found = packages.get(id) ?? { ...place, hasManifest: false, hasOriginal: false, files: 0 }
    const name = key.slice(id.length + 1)
    found.files += 1
    if (key === manifestKey(place.accountId, place.recordingId)) found.hasManifest = true
    if (name.startsWith('original.')) found.hasOriginal = true
    packages.set(id, found)
    options.onFound?.(packages.size)
  }
  const inOrder = [...packages.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => found)
  return { packages: inOrder, strangers }
}

/** A small object, whole; null where it is larger than it may be: then it is not read on. @throws object_*, store_* */
export async function readSmall(
  store: Pick<Store, 'read'>,
  key: string,
  most: number,
  signal?: AbortSignal,
): Promise<Buffer | null> {
  const stream = await store.read(key, undefined, signal)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length
    // Leaving the loop ends the stream.
    if (size > most) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** What a file must be. */
export interface ExpectedFile {
  readonly key: string
  readonly sizeBytes: number
  readonly sha256: string
}

/**
 * Why a file in a store is not what it must be, or null: its size, and (unless `sizeOnly`) its bytes, read back.
 * @throws store_unavailable and the like, where the store itself does not answer
 */
export async function findFault(
  store: Pick<Store, 'stat' | 'read'>,
  file: ExpectedFile,
  options: { sizeOnly: boolean; signal?: AbortSignal },
): Promise<string | null> {
  try {
    const found = await store.stat(file.key)
    if (found === null) return `${file.key} is missing`
    if (found.special !== null && found.special !== 'hard_link')
      return `${file.key} is a ${found.special}, not a plain file`
    if (found.sizeBytes !== file.sizeBytes) return `${file.key} has ${found.sizeBytes} bytes, not ${file.sizeBytes}`
    if (options.sizeOnly) return null
    const seen = await readBack(store, file.key, options.signal === undefined ? {} : { signal: options.signal })
    const matched = seen.sha256 === file.sha256 && seen.sizeBytes === file.sizeBytes
    return matched ? null : `${file.key} reads back as other bytes than were sealed`
  } catch (error) {
    if (!(error instanceof ReelkeepError) || error.kind === 'unavailable' || error.code === 'store_misconfigured')
      throw error
    return `${file.key} cannot be read: ${error.message}`
  }
}
