import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { keepBuffers } from './buffers.ts'
import { measureSource } from './bytes.ts'
import type { MeasuredSource } from './bytes.ts'
import type { ByteSource, PutOptions, PutResult } from './store.ts'

/** One part as the far end confirmed it. */
export interface S3Part {
  readonly number: number
  readonly sizeBytes: number
  readonly etag: string
  /** Base64 as S3 writes it; absent where the store keeps none. */
  readonly crc32?: string | undefined
}

/** The six calls that a resumable upload of one key needs. */
export interface MultipartCalls {
  /** True where parts are joined by their CRC32, so each must name its own. */
  readonly wantsCrc32: boolean
  /** The newest unfinished upload of this key, or `null`. */
  find(): Promise<string | null>
  create(): Promise<string>
  parts(uploadId: string): Promise<readonly S3Part[]>
  send(uploadId: string, number: number, bytes: Buffer): Promise<S3Part>
  /** Publishes, unless something is at the key already. */
  complete(uploadId: string, parts: readonly S3Part[]): Promise<void>
  abort(uploadId: string): Promise<void>
}

/** Objects below this are sent in one request. */
export const singlePutBytes = 16 * bytesPer.mib

/** What is sent is held here: a part, or a whole object. After a failed request its connection may still be sending it, so it is not given back. */
export const partBuffers = keepBuffers(singlePutBytes, 8)

const mostParts = 9000
const mostPartsInFlight = 8
const mostBytesInFlight = 256 * bytesPer.mib

/** Part size in bytes: depends on nothing but the object's size, so that a second run cuts at the same places. */
export function partSizeFor(sizeBytes: number): number {
  return Math.max(singlePutBytes, Math.ceil(sizeBytes / mostParts))
}

/**
 * Uploads in parts, continuing an upload of the same key that was interrupted. Nothing is remembered here: what the
 * store has is asked from the store, and a part is only kept when its checksum equals that of the bytes read now.
 * Bytes that prove to be wrong (size or hash) end the upload; any other failure leaves it to be continued.
 * @throws changed_while_read, copy_mismatch, and whatever the calls throw
 */
export async function uploadInParts(
  calls: MultipartCalls,
  key: string,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult> {
  const found = await calls.find()
  if (found !== null) {
    const result = await uploadTo(calls, found, await calls.parts(found), key, source, options)
    if (result !== null) return result
  }
  const created = await calls.create()
  await failpoint('s3.after-create')
  const result = await uploadTo(calls, created, [], key, source, options)
  if (result !== null) return result
  throw new ReelkeepError('store_unavailable', `The upload of ${key} was taken over by another. It is retried.`)
}

/** `null` when the upload turns out to be of other bytes; it is left to whoever began it, or to the sweep. */
async function uploadTo(
  calls: MultipartCalls,
  uploadId: string,
  held: readonly S3Part[],
  key: string,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult | null> {
  const present = new Map(held.map((part) => [part.number, part]))
  const measured = measureSource(source, key, options, { borrow: true })
  const parts = await sendParts(calls, uploadId, present, measured, options).catch(async (error: unknown) => {
    // The source is not what was promised: nothing of this upload is of use to anybody.
    if (isSourceFault(error)) await calls.abort(uploadId)
    throw error
  })
  if (parts === null) return null
  options.signal?.throwIfAborted()
  await calls.complete(uploadId, parts)
  await failpoint('s3.after-complete')
  return measured.result()
}

/** Sends what is missing, several parts at a time; `null` as soon as a part that is there proves to be of other bytes. */
async function sendParts(
  calls: MultipartCalls,
  uploadId: string,
  present: ReadonlyMap<number, S3Part>,
  measured: MeasuredSource,
  options: PutOptions,
): Promise<S3Part[] | null> {
  const partBytes = partSizeFor(options.sizeBytes)
  const slots = Math.min(mostPartsInFlight, Math.max(2, Math.floor(mostBytesInFlight / partBytes)))
  const flying = new Set<Promise<void>>()
  const sent: S3Part[] = []
  let doneBytes = 0
  let number = 0
  const failed: { error: unknown }[] = []
  const foreign: number[] = []
  const sendPart = async (partNumber: number, bytes: Buffer) => {
    const part = await calls.send(uploadId, partNumber, bytes)
    await failpoint('s3.after-part')
    return part
  }
  const sendOne = async (partNumber: number, bytes: Buffer) => {
    const held = present.get(partNumber)
    if (held === undefined) sent.push(await sendPart(partNumber, bytes))
    else if (!holds(held, bytes)) foreign.push(partNumber)
    // Some servers keep a part's CRC but do not list it.
    else sent.push(calls.wantsCrc32 ? { ...held, crc32: crc32Of(bytes) } : held)
    if (bytes.length === singlePutBytes) partBuffers.give(bytes)
    options.onProgress?.((doneBytes += bytes.length))
  }
  try {
    for await (const bytes of inPieces(measured.chunks, partBytes)) {
      number += 1
      const flight: Promise<void> = sendOne(number, bytes)
        .catch((error: unknown) => void failed.push({ error }))
        .finally(() => flying.delete(flight))
      flying.add(flight)
      if (flying.size >= slots) await Promise.race(flying)
      if (failed[0] !== undefined) throw failed[0].error
      if (foreign.length > 0) return null
    }
  } finally {
    await Promise.all(flying)
  }
  if (failed[0] !== undefined) throw failed[0].error
  return foreign.length > 0 ? null : sent.sort((a, b) => a.number - b.number)
}

/**
 * True where the store's own checksum of the part is that of these bytes. A matching size proves nothing, and an ETag
 * only something when it is the MD5 (under KMS encryption it is not; there the store lists the CRC).
 */
function holds(part: S3Part, bytes: Buffer): boolean {
  if (part.sizeBytes !== bytes.length) return false
  if (part.crc32 !== undefined) return crc32Of(bytes) === part.crc32
  return createHash('md5').update(bytes).digest('hex') === part.etag.replaceAll('"', '')
}

function crc32Of(bytes: Buffer): string {
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32(bytes))
  return crc.toString('base64')
}

/** Cuts what comes in blocks into pieces of exactly this many bytes (the last may be shorter), each in memory of its own. */
async function* inPieces(blocks: AsyncIterable<Buffer>, pieceBytes: number): AsyncGenerator<Buffer> {
  const take = () => (pieceBytes === partBuffers.sizeBytes ? partBuffers.take() : Buffer.allocUnsafeSlow(pieceBytes))
  let piece = take()
  let filled = 0
  for await (const block of blocks) {
    for (let taken = 0; taken < block.length;) {
      const copied = block.copy(piece, filled, taken)
      taken += copied
      filled += copied
      if (filled < pieceBytes) continue
      yield piece
      piece = take()
      filled = 0
    }
  }
  if (filled > 0) yield piece.subarray(0, filled)
}

function isSourceFault(error: unknown): boolean {
  return hasCode(error, 'changed_while_read') || hasCode(error, 'copy_mismatch')
}
