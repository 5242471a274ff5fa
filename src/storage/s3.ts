import { S3 } from '@aws-sdk/client-s3'
import type { MultipartUpload, StorageClass } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { ReelkeepError } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { guardStream, measureSource } from './bytes.ts'
import { proveAccess } from './check.ts'
import { settleExisting, taken } from './existing.ts'
import { directoryOfPrefix, joinKey, requireSafeKey } from './keys.ts'
import { describeS3Object } from './s3-object.ts'
import { explainS3Error, s3Failure, wasClockWrong } from './s3-errors.ts'
import { singlePutBytes, uploadInParts } from './s3-upload.ts'
import type { MultipartCalls, S3Part } from './s3-upload.ts'
import type { ByteSource, ObjectInfo, PutOptions, PutResult, Store } from './store.ts'
import { createTurns } from './turns.ts'

/** Where an S3 store is and how it wants to be talked to. */
export interface S3StoreOptions {
  readonly bucket: string
  /** Directory inside the bucket, without slashes at the ends; empty for the whole bucket. */
  readonly prefix: string
  readonly region: string
  /** Base URL of a server that is not AWS; such servers are addressed by path. */
  readonly endpoint?: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** `required` for servers that do not know S3's newer checksum headers. */
  readonly checksums?: 'supported' | 'required'
  readonly encryption?: 'AES256' | 'aws:kms'
  readonly kmsKeyId?: string
  readonly storageClass?: StorageClass
  /** Longest wait for one answer, and for the next bytes of a body. */
  readonly timeoutMs?: number
}

interface Place {
  readonly client: S3
  readonly options: S3StoreOptions
  readonly label: string
  readonly timeoutMs: number
  full(key: string): string
}

/**
 * A bucket (or a directory in one) as a store. Small objects go in one conditional PUT, others in resumable parts;
 * both are refused by the server where the key is taken.
 *
 * On a bucket with versioning a `delete` only hides the object: its bytes stay as an older version until the bucket's
 * own lifecycle removes them. Do not use such a bucket where a deletion must be proven.
 */
export function openS3Store(options: S3StoreOptions): Store {
  let client = connect(options)
  const label = `s3://${[options.bucket, options.prefix].filter(Boolean).join('/')}`
  const place: Place = {
    get client() {
      return client
    },
    options,
    label,
    timeoutMs: options.timeoutMs ?? msPer.minute,
    full: (key) => joinKey(options.prefix, key),
  }
  const inTurn = createTurns()
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
    read: (key, range, signal) => guarded(key, signal, () => readObject(place, key, range, signal)),
    put: (key, source, put) =>
      guarded(key, put.signal, () => inTurn(key, () => putObject(store, place, key, source, put))),
    delete: (key) => guarded(key, undefined, () => deleteObject(place, key)),
    sweepUnfinished: (olderThanMs) => explained(place, '', undefined, () => sweep(place, olderThanMs)),
    check: () => proveAccess(store),
    async close() {
      client.destroy()
      client = connect(options)
    },
  }
  return store
}

function connect(options: S3StoreOptions): S3 {
  const timeoutMs = options.timeoutMs ?? msPer.minute
  const checksums = options.checksums === 'required' ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED'
  return new S3({
    region: options.region,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint, forcePathStyle: true }),
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    maxAttempts: 3,
    followRegionRedirects: false,
    requestHandler: { connectionTimeout: Math.min(timeoutMs, 10_000), socketTimeout: timeoutMs },
  })
}

async function explained<T>(
  place: Place,
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

const until = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal })

async function* listObjects(place: Place, directory: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
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

async function statObject(place: Place, key: string): Promise<ObjectInfo | null> {
  const where = { Bucket: place.options.bucket, Key: place.full(key) }
  try {
    const head = await place.client.headObject(where)
    return describeS3Object(key, head.ContentLength, head)
  } catch (error) {
    if (s3Failure(error).status !== 404) throw error
  }
  // A HEAD has no body to say whether the object or the whole bucket is gone, and the difference is everything.
  await place.client.headBucket({ Bucket: place.options.bucket }).catch((error: unknown) => {
    if (s3Failure(error).status === 403) return
    if (s3Failure(error).status !== 404) throw error
    const message = `${place.label}: the bucket does not exist. Create it or correct the store URL.`
    throw new ReelkeepError('store_misconfigured', message, { cause: error })
  })
  return null
}

async function readObject(
  place: Place,
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
  const explain = (error: unknown) => explainS3Error(place.label, key, error)
  const stalled = () => explain(new Error(`no byte for ${place.timeoutMs} ms`))
  return guardStream(Body, { idleMs: place.timeoutMs, signal, explain, stalled })
}

async function putObject(
  store: Store,
  place: Place,
  key: string,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult> {
  options.signal?.throwIfAborted()
  const settled = await settleExisting(store, key, source, options)
  if (settled !== null) return settled
  try {
    return await (options.sizeBytes < singlePutBytes
      ? putWhole(place, key, source, options)
      : uploadInParts(multipartCalls(place, key, options), key, source, options))
  } catch (error) {
    options.signal?.throwIfAborted()
    if (error instanceof ReelkeepError) throw error
    // Somebody was faster, or the answer to our own success got lost: what stands there decides.
    const raced = await settleExisting(store, key, source, options)
    if (raced !== null) return raced
    if (s3Failure(error).status !== 412) throw error
    throw taken(store, key, 'something that came and went')
  }
}

async function putWhole(place: Place, key: string, source: ByteSource, options: PutOptions): Promise<PutResult> {
  const measured = measureSource(source, key, options)
  const chunks: Buffer[] = []
  for await (const chunk of measured.chunks) chunks.push(chunk)
  await place.client.putObject(
    {
      ...objectHeaders(place, key, options),
      Body: Buffer.concat(chunks),
      ContentLength: options.sizeBytes,
      IfNoneMatch: '*',
    },
    until(options.signal),
  )
  await failpoint('s3.after-put')
  options.onProgress?.(options.sizeBytes)
  return measured.result()
}

function objectHeaders(place: Place, key: string, options: PutOptions) {
  const { bucket, encryption, kmsKeyId, storageClass } = place.options
  return {
    Bucket: bucket,
    Key: place.full(key),
    ...(options.contentType === undefined ? {} : { ContentType: options.contentType }),
    ...(encryption === undefined ? {} : { ServerSideEncryption: encryption }),
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    ...(storageClass === undefined ? {} : { StorageClass: storageClass }),
  }
}

function multipartCalls(place: Place, key: string, options: PutOptions): MultipartCalls {
  const where = { Bucket: place.options.bucket, Key: place.full(key) }
  const { client } = place
  return {
    wantsCrc32: place.options.checksums !== 'required',
    async find() {
      const found: MultipartUpload[] = []
      for await (const upload of listUploads(place, where.Key)) if (upload.Key === where.Key) found.push(upload)
      found.sort((a, b) => (b.Initiated?.getTime() ?? 0) - (a.Initiated?.getTime() ?? 0))
      return found[0]?.UploadId ?? null
    },
    async create() {
      const checksum = place.options.checksums === 'required' ? {} : { ChecksumAlgorithm: 'CRC32' as const }
      const headers = { ...objectHeaders(place, key, options), ...checksum }
      const { UploadId } = await client.createMultipartUpload(headers, until(options.signal))
      if (UploadId === undefined) throw new ReelkeepError('store_unavailable', `${place.label} began no upload. Retry.`)
      return UploadId
    },
    parts: (UploadId) => listParts(place, { ...where, UploadId }),
    async send(UploadId, number, Body) {
      const part = { ...where, UploadId, PartNumber: number, Body, ContentLength: Body.length }
      const answer = await client.uploadPart(part, until(options.signal))
      return { number, sizeBytes: Body.length, etag: answer.ETag ?? '', crc32: answer.ChecksumCRC32 }
    },
    async complete(UploadId, parts) {
      const Parts = parts.map((part) => ({ PartNumber: part.number, ETag: part.etag, ChecksumCRC32: part.crc32 }))
      const command = { ...where, UploadId, IfNoneMatch: '*', MultipartUpload: { Parts } }
      await client.completeMultipartUpload(command).catch(async (error: unknown) => {
        // Refused: either somebody else's object stands there or the parts do not fit. They will never be of use.
        const { status } = s3Failure(error)
        if (status !== null && status >= 400 && status < 500 && status !== 409) await this.abort(UploadId)
        throw error
      })
    },
    async abort(UploadId) {
      // What stays is the sweep's work; it must not hide why the upload ended.
      await client.abortMultipartUpload({ ...where, UploadId }).catch(() => {})
    },
  }
}

async function listParts(place: Place, where: { Bucket: string; Key: string; UploadId: string }): Promise<S3Part[]> {
  const parts: S3Part[] = []
  let marker: string | undefined
  do {
    const page = await place.client.listParts({ ...where, PartNumberMarker: marker })
    for (const { PartNumber, Size, ETag, ChecksumCRC32 } of page.Parts ?? []) {
      if (PartNumber === undefined || Size === undefined || ETag === undefined) continue
      parts.push({ number: PartNumber, sizeBytes: Size, etag: ETag, crc32: ChecksumCRC32 })
    }
    marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined
  } while (marker !== undefined)
  return parts
}

async function* listUploads(place: Place, prefix: string): AsyncGenerator<MultipartUpload> {
  let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {}
  for (let more = true; more;) {
    const where = { Bucket: place.options.bucket, Prefix: prefix, ...markers }
    const page = await place.client.listMultipartUploads(where).catch((error: unknown) => {
      // rclone's server says so where a bucket has no upload at all.
      if (s3Failure(error).name === 'NoSuchUpload') return null
      throw error
    })
    if (page === null) return
    yield* page.Uploads ?? []
    markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
    more = page.IsTruncated === true
  }
}

async function deleteObject(place: Place, key: string): Promise<void> {
  await place.client.deleteObject({ Bucket: place.options.bucket, Key: place.full(key) })
  if ((await statObject(place, key)) === null) return
  const message = `${place.label} says that it deleted ${key}, but it is still there. Check locks and versioning, retry.`
  throw new ReelkeepError('delete_ineffective', message, { details: { key } })
}

async function sweep(place: Place, olderThanMs: number): Promise<number> {
  let count = 0
  const root = place.options.prefix === '' ? '' : `${place.options.prefix}/`
  for await (const { Key, UploadId, Initiated } of listUploads(place, root)) {
    if (Initiated === undefined || Date.now() - Initiated.getTime() < olderThanMs) continue
    const where = { Bucket: place.options.bucket, Key, UploadId }
    await place.client.abortMultipartUpload(where).catch((error: unknown) => {
      if (s3Failure(error).status !== 404) throw error
    })
    count += 1
  }
  return count
}
