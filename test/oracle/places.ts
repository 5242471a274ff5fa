import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { paginateListObjectsV2, S3 } from '@aws-sdk/client-s3'
import type { OraclePlace } from './subject.ts'

/** One object as a place shows it to everybody. */
export interface Held {
  readonly key: string
  readonly sizeBytes: number
  /** `null` where it was not read: inboxes are only listed. */
  readonly sha256: string | null
}

/** What one place holds. */
export interface PlaceLook {
  readonly place: OraclePlace
  readonly objects: ReadonlyMap<string, Held>
}

/** Hashes by revision of an object, so that a second look reads only what is new. */
export type HashMemory = Map<string, string>

interface Listed {
  readonly key: string
  readonly sizeBytes: number
  /** Changes whenever the object is written again. */
  readonly revision: string
}

interface Door {
  list(): AsyncIterable<Listed>
  /** `null` where the object is gone meanwhile. */
  read(key: string): Promise<Readable | null>
  close(): void
}

/** Lists a place and reads every object in it from beginning to end; what vanishes meanwhile was not there. */
export async function lookAtPlace(place: OraclePlace, memory: HashMemory): Promise<PlaceLook> {
  const door = place.kind === 'directory' ? directoryDoor(place.path) : s3Door(place)
  const objects = new Map<string, Held>()
  try {
    for await (const { key, sizeBytes, revision } of door.list()) {
      if (place.role === 'inbox') {
        objects.set(key, { key, sizeBytes, sha256: null })
        continue
      }
      const name = JSON.stringify([place.name, place.role, key, revision])
      const known = memory.get(name)
      const seen = known === undefined ? await measure(door, key) : { sha256: known, sizeBytes }
      if (seen === null) continue
      memory.set(name, seen.sha256)
      objects.set(key, { key, ...seen })
    }
  } finally {
    door.close()
  }
  return { place, objects }
}

async function measure(door: Door, key: string): Promise<{ sha256: string; sizeBytes: number } | null> {
  const stream = await door.read(key)
  if (stream === null) return null
  const hash = createHash('sha256')
  let sizeBytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk)
    sizeBytes += chunk.length
  }
  return { sha256: hash.digest('hex'), sizeBytes }
}

function directoryDoor(root: string): Door {
  async function* walk(directory: string): AsyncGenerator<Listed> {
    const entries = await readdir(join(root, directory), { withFileTypes: true }).catch(goneAs([]))
    for (const entry of entries) {
      const key = directory === '' ? entry.name : `${directory}/${entry.name}`
      if (entry.isDirectory()) {
        yield* walk(key)
        continue
      }
      const stats = await lstat(join(root, key), { bigint: true }).catch(goneAs(null))
      if (stats === null) continue
      yield {
        key,
        sizeBytes: Number(stats.size),
        revision: `${stats.ino}/${stats.size}/${stats.mtimeNs}/${stats.ctimeNs}`,
      }
    }
  }
  return {
    list: () => walk(''),
    read: async (key) => {
      const stats = await lstat(join(root, key)).catch(goneAs(null))
      // A link or a pipe is no object, and reading a pipe would never end.
      if (stats === null || !stats.isFile()) return null
      const stream = createReadStream(join(root, key), { highWaterMark: 1 << 20 })
      return new Promise((resolve, reject) => {
        stream.once('open', () => resolve(stream))
        stream.once('error', (error) => (isGone(error) ? resolve(null) : reject(error)))
      })
    },
    close: () => undefined,
  }
}

function s3Door(place: Extract<OraclePlace, { kind: 's3' }>): Door {
  const { endpoint, bucket, accessKeyId, secretAccessKey } = place
  const prefix = place.prefix === '' || place.prefix.endsWith('/') ? place.prefix : `${place.prefix}/`
  const client = new S3({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  async function* list(): AsyncGenerator<Listed> {
    const wanted = { Bucket: bucket, Prefix: prefix, EncodingType: 'url' as const }
    for await (const { Contents = [], EncodingType } of paginateListObjectsV2({ client }, wanted))
      for (const { Key = '', Size = 0, ETag = '', LastModified } of Contents) {
        // XML cannot carry every key; servers that do not know the encoding send it plain.
        const key = EncodingType === 'url' ? decodeURIComponent(Key.replaceAll('+', ' ')) : Key
        const revision = `${ETag}/${Size}/${LastModified?.getTime() ?? 0}`
        if (!key.endsWith('/')) yield { key: key.slice(prefix.length), sizeBytes: Size, revision }
      }
  }
  return {
    list,
    read: async (key) => {
      try {
        const { Body } = await client.getObject({ Bucket: bucket, Key: prefix + key })
        return (Body as Readable | undefined) ?? null
      } catch (error) {
        if (error instanceof Error && error.name === 'NoSuchKey') return null
        throw error
      }
    },
    close: () => client.destroy(),
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}

function goneAs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isGone(error)) return value
    throw error
  }
}
