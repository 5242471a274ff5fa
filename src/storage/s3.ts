import { Readable } from 'node:stream'
import { ReelkeepError } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'
import { guardBlocks, guardStream } from './bytes.ts'
import type { StreamGuard } from './bytes.ts'
import { proveAccess } from './check.ts'
import { directoryOfPrefix, joinKey, requireSafeKey } from './keys.ts'
import { describeS3Object, headObject } from './s3-object.ts'
import { explainS3Error, s3Failure, wasClockWrong } from './s3-errors.ts'
import { connectS3, until } from './s3-place.ts'
import type { S3Place, S3StoreOptions } from './s3-place.ts'
import { putObject, sweepUploads } from './s3-put.ts'
import type { ObjectInfo, Store } from './store.ts'
import { createTurns } from './turns.ts'

/**
 * A bucket (or a directory in one) as a store. Small objects go in one conditional PUT, others in resumable parts;
 * both are refused by the server where the key is taken.
 *
 * On a bucket with versioning a `delete` only hides the object: its bytes stay as an older version until the bucket's
 * own lifecycle removes them. Do not use such a bucket where a deletion must be proven.
 */
export function openS3Store(options: S3StoreOptions): Store {
  let client = connectS3(options)
  const label = `s3://${[options.bucket, options.prefix].filter(Boolean).join('/')}`
  const place: S3Place = {
    get client() {
      return client
    },
    options,
    label,
    timeoutMs: options.timeoutMs ?? msPer.minute,
    full: (key) => joinKey(options.prefix, key),
  }
  const turns = createTurns(1)
  const guarded = async <T>(key: string, signal: AbortSignal | undefined, job: () => Promise<T>): Promise<T> => {
    requireSafeKey(label, key)
    return explained(place, key, signal, job)
  }
  const store: Store = {
    label,
    remote: true,
    can: { fileIds: true, resume: true },
    list: (prefix, signal) => listObjects(place, directoryOfPrefix(label, prefix), signal),
    stat: (key) => guarded(key, undefined, () => statObject(place, key)),
    read: (key, range, signal) =>
      guarded(key, signal, async () => {
        const body = await openBody(place, key, range, signal)
        return guardStream(body, guardOf(place, key, signal))
      }),
    blocks: (key, signal) =>
      guarded(key, signal, async () =>
        guardBlocks(await openBody(place, key, undefined, signal), guardOf(place, key, signal)),
      ),
    put: (key, source, put) =>
      guarded(key, put.signal, () =>
        turns.take(key, () => putObject(place, { ...store, stat: (at) => headObject(place, at) }, key, source, put)),
      ),
    delete: (key) => guarded(key, undefined, () => deleteObject(place, key)),
    sweepUnfinished: (olderThanMs) => explained(place, '', undefined, () => sweepUploads(place, olderThanMs)),
    check: () => proveAccess(store),
    async close() {
      client.destroy()
      client = connectS3(options)
    },
  }
  return store
}

async function explained<T>(
  place: S3Place,
  key: string,
  signal: AbortSignal | undefined,
  job: () => Promise<T>,
  triesLeft = 2,
): Promise<T> {
  const { config } = place.client
  const signedWithMs = config.systemClockOffset
  try {
    return await job()
  } catch (error) {
    signal?.throwIfAborted()
    if (triesLeft > 0 && wasClockWrong(error, signedWithMs, config.systemClockOffset))
      return explained(place, key, signal, job, triesLeft - 1)
    throw explainS3Error(place.label, key, error)
  }
}

async function* listObjects(place: S3Place, directory: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
  const root = place.options.prefix === '' ? '' : `${place.options.prefix}/`
  const prefix = directory === '' ? root : `${place.full(directory)}/`
  let token: string | undefined
  do {
    // URL encoding: a name with control characters would otherwise make the listing unreadable XML.
    const page = await explained(place, directory, signal, () =>
      place.client.listObjectsV2(
        {
          Bucket: place.options.bucket,
          Prefix: prefix,
          EncodingType: 'url',
          ContinuationToken: token,
        },
        until(signal),
      ),
    )
    for (const item of page.Contents ?? []) {
      const full = page.EncodingType === 'url' ? decodeURIComponent((item.Key ?? '').replaceAll('+', ' ')) : item.Key
      // A key that ends in a slash is some client's directory marker, no object of anybody's.
      if (full === undefined || !full.startsWith(root) || full.endsWith('/')) continue
      yield describeS3Object(full.slice(root.length), item.Size, item)
    }
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined
  } while (token !== undefined)
}

async function statObject(place: S3Place, key: string): Promise<ObjectInfo | null> {
  const found = await headObject(place, key)
  if (found !== null) return found
  // The object is gone, or the whole bucket: the difference is everything.
  await place.client.headBucket({ Bucket: place.options.bucket }).catch((error: unknown) => {
    if (s3Failure(error).status === 403) return
    if (s3Failure(error).status !== 404) throw error
    const message = `${place.label}: the bucket does not exist. Create it or correct the store URL.`
    throw new ReelkeepError('store_misconfigured', message, { cause: error })
  })
  return null
}

async function openBody(
  place: S3Place,
  key: string,
  range: { start: number; end?: number } | undefined,
  signal: AbortSignal | undefined,
): Promise<Readable> {
  const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ''}`
  const where = { Bucket: place.options.bucket, Key: place.full(key), Range }
  const { Body, ContentRange } = await place.client.getObject(where, until(signal))
  if (!(Body instanceof Readable)) throw new ReelkeepError('store_unavailable', `${place.label} sent no body. Retry.`)
  if (range !== undefined && ContentRange?.startsWith(`bytes ${range.start}-`) !== true) {
    Body.destroy()
    const message = `${place.label} ignores range requests: asked for byte ${range.start} of ${key}. Use another server.`
    throw new ReelkeepError('store_misconfigured', message, { details: { key } })
  }
  return Body
}

function guardOf(place: S3Place, key: string, signal: AbortSignal | undefined): StreamGuard {
  const explain = (error: unknown) => explainS3Error(place.label, key, error)
  return {
    idleMs: place.timeoutMs,
    signal,
    explain,
    stalled: () => explain(new Error(`no byte for ${place.timeoutMs} ms`)),
  }
}

async function deleteObject(place: S3Place, key: string): Promise<void> {
  await place.client.deleteObject({ Bucket: place.options.bucket, Key: place.full(key) })
  if ((await statObject(place, key)) === null) return
  const message = `${place.label} says that it deleted ${key}, but it is still there. Check locks and versioning, retry.`
  throw new ReelkeepError('delete_ineffective', message, { details: { key } })
}
