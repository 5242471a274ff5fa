import { addAbortSignal } from 'node:stream'
import type { Readable, Transform } from 'node:stream'
import { ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'
import type { SmallText } from '../domain/xml.ts'

/** How far a package is followed, whatever it says about itself. */
export interface PackageLimits {
  readonly maxEntries: number
  /** All entries together, unpacked. */
  readonly maxUnpackedBytes: number
  /** Unpacked bytes for each packed one, beyond `ratioFreeBytes`. */
  readonly maxRatio: number
  readonly ratioFreeBytes: number
  /** How much of one small text is looked at, and of all of them. */
  readonly maxTextBytes: number
  readonly maxTextsBytes: number
}

/** Limits that let a day of raw calls through and stop what only unpacks to one. */
export const defaultPackageLimits: PackageLimits = {
  maxEntries: 10_000,
  maxUnpackedBytes: bytesPer.tib,
  maxRatio: 200,
  ratioFreeBytes: 10 * bytesPer.mib,
  maxTextBytes: bytesPer.mib,
  maxTextsBytes: 16 * bytesPer.mib,
}

/** Options of one reading of a package. */
export interface PackageOptions {
  readonly signal?: AbortSignal | undefined
  readonly limits?: PackageLimits
}

/** Says what is wrong with an archive: `problem` completes "The package cannot be used: ...". */
export function refusal(code: ErrorCode, problem: string, cause?: unknown): ReelkeepError {
  const message = `The package cannot be used: ${problem}. Pack it again and upload it; the source is kept.`
  return new ReelkeepError(code, message, { cause })
}

/** True where this many packed bytes may not become this many unpacked ones. */
export function unpacksTooFar(packedBytes: number, unpackedBytes: number, limits: PackageLimits): boolean {
  return unpackedBytes > limits.ratioFreeBytes + packedBytes * limits.maxRatio
}

/** The error of work that was told to stop; anything else stays what it is. */
export function orCancelled(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted !== true) return error
  return new ReelkeepError('cancelled', 'Reading the package was cancelled.', { cause: error })
}

/** True for what zlib says about packed bytes that are not what they should be. */
export function isDamage(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')
}

/**
 * Unpacks a stream, chunk by chunk, and ends both streams with itself. Not a pipeline: bytes behind the packed ones end the
 * unpacking early, and a pipeline takes that for an abort.
 */
export async function* unpack(
  open: () => Readable,
  unpacker: Transform,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const packed = open()
  packed.on('error', (error) => unpacker.destroy(error))
  if (signal !== undefined) addAbortSignal(signal, unpacker)
  try {
    for await (const chunk of packed.pipe(unpacker) as AsyncIterable<Buffer>) yield chunk
  } finally {
    packed.destroy()
    unpacker.destroy()
  }
}

/** The beginning of one small text, as it streams by. */
export interface TextKeeper {
  readonly add: (chunk: Buffer) => void
  readonly end: () => SmallText
}

/** Keeps the beginnings of small texts while they stream by, within one budget for a whole package. */
export function createTextKeeper(limits: PackageLimits) {
  let keptBytes = 0
  return (): TextKeeper => {
    const chunks: Buffer[] = []
    let ownBytes = 0
    let cut = false
    return {
      add: (chunk) => {
        const room = Math.max(0, Math.min(limits.maxTextBytes - ownBytes, limits.maxTextsBytes - keptBytes))
        // A copy: the chunk may be a window of a buffer that is many times its size.
        if (room > 0) chunks.push(Buffer.from(chunk.subarray(0, room)))
        const taken = Math.min(room, chunk.length)
        ownBytes += taken
        keptBytes += taken
        cut ||= chunk.length > room
      },
      end: () => ({ text: Buffer.concat(chunks).toString('utf8'), cut }),
    }
  }
}
