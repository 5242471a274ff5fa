import type { MultipartUpload } from '@aws-sdk/client-s3'
import { ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { measureSource } from './bytes.ts'
import { settleExisting, taken } from './existing.ts'
import { s3Failure } from './s3-errors.ts'
import { until } from './s3-place.ts'
import type { S3Place } from './s3-place.ts'
import { partBuffers, singlePutBytes, uploadInParts } from './s3-upload.ts'
import type { MultipartCalls, S3Part } from './s3-upload.ts'
import type { ByteSource, PutOptions, PutResult, Store } from './store.ts'

/**
 * As `Store.put`. `store` says what stands at the key already; that the bucket is missing, the put itself tells.
 * @throws object_exists, copy_mismatch, changed_while_read, store_*
 */
export async function putObject(
  place: S3Place,
  store: Pick<Store, 'label' | 'stat' | 'read' | 'blocks'>,
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

async function putWhole(place: S3Place, key: string, source: ByteSource, options: PutOptions): Promise<PutResult> {
  const measured = measureSource(source, key, options, { borrow: true })
  const buffer = partBuffers.take()
  let filled = 0
  for await (const block of measured.chunks) filled += block.copy(buffer, filled)
  await place.client.putObject(
    {
      ...objectHeaders(place, key, options),
      ...(place.options.checksums === 'required' ? {} : { ChecksumSHA256: base64Of(measured.result().sha256) }),
      Body: buffer.subarray(0, filled),
      ContentLength: options.sizeBytes,
      IfNoneMatch: '*',
    },
    until(options.signal),
  )
  partBuffers.give(buffer)
  await failpoint('s3.after-put')
  options.onProgress?.(options.sizeBytes)
  return measured.result()
}

/** A hash as S3's headers write it. */
function base64Of(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}

function objectHeaders(place: S3Place, key: string, options: PutOptions) {
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

function multipartCalls(place: S3Place, key: string, options: PutOptions): MultipartCalls {
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

async function listParts(place: S3Place, where: { Bucket: string; Key: string; UploadId: string }): Promise<S3Part[]> {
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

async function* listUploads(place: S3Place, prefix: string): AsyncGenerator<MultipartUpload> {
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

/** As `Store.sweepUnfinished`. */
export async function sweepUploads(place: S3Place, olderThanMs: number): Promise<number> {
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
