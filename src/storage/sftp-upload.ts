import { createHash, randomBytes } from 'node:crypto'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { measureSource } from './bytes.ts'
import type { MeasuredSource } from './bytes.ts'
import { requestBytes, requestsInFlight } from './sftp-session.ts'
import type { SftpSession } from './sftp-session.ts'
import type { ByteSource, PutOptions, PutResult } from './store.ts'

/** Bytes in front of the point of resumption that are compared with the source. */
const proofBytes = bytesPer.mib
const windowBytes = requestBytes * requestsInFlight

/** Names in use by this process: a second put of the same bytes must not continue what is still being written. */
const inUse = new Set<string>()

/** Bytes that were sent whole and wait for their final name. */
export interface SentPart {
  readonly path: string
  readonly result: PutResult
}

/**
 * Sends a source into the directory of unfinished puts, continuing an earlier attempt for the same key and hash, and
 * hands over what it sent. Until `finish` is through, no other put of this process takes the part for a left-over.
 * Without a known hash an earlier attempt could be of other bytes, so there is nothing to continue.
 * @throws changed_while_read, copy_mismatch, store_*; what was sent stays for the next attempt, unless the bytes are wrong
 */
export async function sendPart<T>(
  session: SftpSession,
  unfinished: string,
  key: string,
  source: ByteSource,
  options: PutOptions,
  finish: (sent: SentPart) => Promise<T>,
): Promise<T> {
  const name = `${attemptName(key, options)}.${randomBytes(8).toString('hex')}.part`
  const path = `${unfinished}/${name}`
  inUse.add(name)
  try {
    const earlierBytes = options.sha256 === undefined ? 0 : await adoptEarlier(session, unfinished, name, options)
    const result =
      (earlierBytes > 0 ? await fill(session, path, key, earlierBytes, source, options) : null) ??
      (await fill(session, path, key, 0, source, options))
    if (result === null) throw new ReelkeepError('store_unavailable', `${path} could not be begun. It is retried.`)
    return await finish({ path, result })
  } catch (error) {
    if (options.sha256 === undefined || hasCode(error, 'changed_while_read') || hasCode(error, 'copy_mismatch')) {
      await session.unlink(path).catch(() => {})
    }
    throw (await explainFull(session, unfinished, key, error)) ?? error
  } finally {
    inUse.delete(name)
  }
}

/** OpenSSH says only "failure" when its disk is full; what is free there tells. `null` where it was something else. */
async function explainFull(
  session: SftpSession,
  directory: string,
  key: string,
  error: unknown,
): Promise<ReelkeepError | null> {
  if (!hasCode(error, 'store_unavailable') || session.isLost()) return null
  const freeBytes = await session.freeBytes(directory)
  if (freeBytes === null || freeBytes > bytesPer.mib) return null
  const message = `The disk behind ${directory} is full: ${key} was not stored. Free space there; it is retried.`
  return new ReelkeepError('store_full', message, { cause: error, details: { freeBytes } })
}

/** True while this process writes to a name in the directory of unfinished puts. */
export function isBeingSent(name: string): boolean {
  return inUse.has(name)
}

function attemptName(key: string, options: PutOptions): string {
  const identity = `${key}\0${options.sha256 ?? ''}\0${options.sizeBytes}`
  return createHash('sha256').update(identity).digest('hex').slice(0, 32)
}

/**
 * Takes over the largest left-over of the same key and bytes by renaming it, which only one of several can do.
 * Returns how far it can be trusted, in bytes: servers may write requests out of order, so the last window may have holes.
 */
async function adoptEarlier(
  session: SftpSession,
  unfinished: string,
  name: string,
  options: PutOptions,
): Promise<number> {
  const stem = name.slice(0, name.indexOf('.') + 1)
  const entries = (await session.list(unfinished)) ?? []
  const largest = entries
    .filter(({ filename, attrs }) => filename.startsWith(stem) && !inUse.has(filename) && attrs.isFile())
    .sort((a, b) => b.attrs.size - a.attrs.size)[0]
  if (largest === undefined || largest.attrs.size > options.sizeBytes) return 0
  const trusted = largest.attrs.size - windowBytes
  if (trusted <= 0) return 0
  try {
    await session.rename(`${unfinished}/${largest.filename}`, `${unfinished}/${name}`)
  } catch (error) {
    if (hasCode(error, 'object_missing')) return 0
    throw error
  }
  return trusted - (trusted % requestBytes)
}

/** Writes the source from this byte on. `null` when what the server holds before it is not what the source has. */
async function fill(
  session: SftpSession,
  path: string,
  key: string,
  fromByte: number,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult | null> {
  const measured = measureSource(source, key, options)
  const handle = await session.open(path, fromByte > 0 ? 'r+' : 'wx')
  try {
    const rest = fromByte > 0 ? await proveBeginning(session, handle, fromByte, measured, options) : Buffer.alloc(0)
    if (rest !== null) {
      await writeRest(session, handle, fromByte, rest, measured, options)
      await session.sync(handle)
      await failpoint('sftp.after-write')
      return measured.result()
    }
  } finally {
    // After a lost connection there is nothing left to close.
    await session.close(handle).catch(() => {})
  }
  await session.unlink(path)
  return null
}

/**
 * Reads the source up to the point of resumption (its hash needs every byte) and compares the end of that with the
 * server's bytes. Returns what was read beyond the point, or `null` on a difference.
 */
async function proveBeginning(
  session: SftpSession,
  handle: Buffer,
  fromByte: number,
  measured: MeasuredSource,
  options: PutOptions,
): Promise<Buffer | null> {
  const proofFrom = Math.max(0, fromByte - proofBytes)
  const held: Buffer[] = []
  let at = 0
  const chunks = measured.chunks[Symbol.asyncIterator]()
  while (at < fromByte) {
    const next = await chunks.next()
    if (next.done === true) return null
    const chunk = next.value
    if (at + chunk.length > proofFrom) held.push(chunk.subarray(Math.max(0, proofFrom - at)))
    at += chunk.length
    options.onProgress?.(Math.min(at, fromByte))
  }
  const mine = Buffer.concat(held)
  const proof = mine.subarray(0, fromByte - proofFrom)
  const theirs = await session.read(handle, proofFrom, proof.length)
  if (theirs.equals(proof)) return mine.subarray(proof.length)
  await chunks.return?.()
  return null
}

async function writeRest(
  session: SftpSession,
  handle: Buffer,
  fromByte: number,
  first: Buffer,
  measured: MeasuredSource,
  options: PutOptions,
): Promise<void> {
  const flying = new Set<Promise<void>>()
  const failed: { error: unknown }[] = []
  let at = fromByte
  let doneBytes = fromByte
  const write = async (bytes: Buffer) => {
    for (let start = 0; start < bytes.length; start += requestBytes) {
      const piece = bytes.subarray(start, start + requestBytes)
      const flight: Promise<void> = session
        .write(handle, at, piece)
        .then(() => options.onProgress?.((doneBytes += piece.length)))
        .catch((error: unknown) => void failed.push({ error }))
        .finally(() => flying.delete(flight))
      flying.add(flight)
      at += piece.length
      if (flying.size >= requestsInFlight) await Promise.race(flying)
      if (failed[0] !== undefined) throw failed[0].error
    }
  }
  try {
    await write(first)
    // Not `for await`: the source may already be half read, and its iterator goes on from there.
    for await (const chunk of measured.chunks) await write(chunk)
  } finally {
    await Promise.all(flying)
  }
  if (failed[0] !== undefined) throw failed[0].error
}
