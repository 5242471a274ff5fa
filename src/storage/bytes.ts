import { createHash } from 'node:crypto'
import { addAbortSignal, Readable } from 'node:stream'
import { ReelkeepError } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'
import type { ByteSource, PutOptions, PutResult, TransferOptions } from './store.ts'

/** How much is read at a time, in bytes: hashing in 1 MiB steps is 1.5 times as fast as in Node's default 64 KiB. */
export const chunkBytes = bytesPer.mib

/** The running size and SHA-256 of bytes that pass by. */
export interface Measure {
  add(chunk: Buffer): void
  /** Bytes so far; unlike the result it costs nothing to ask. */
  readonly sizeBytes: number
  /** May be asked at any time and more than once; adding can go on afterwards. */
  result(): PutResult
}

/** Starts counting and hashing at zero. */
export function startMeasure(): Measure {
  const hash = createHash('sha256')
  let sizeBytes = 0
  return {
    add(chunk) {
      hash.update(chunk)
      sizeBytes += chunk.length
    },
    get sizeBytes() {
      return sizeBytes
    },
    result: () => ({ sizeBytes, sha256: hash.copy().digest('hex') }),
  }
}

/**
 * Reads a stream to its end and returns the size and SHA-256 of what came.
 * @throws the signal's reason when it was aborted, else whatever the stream failed with
 */
export async function hashStream(stream: Readable, options: TransferOptions = {}): Promise<PutResult> {
  return hashBlocks(abortable(stream, options.signal), options)
}

/** Size and SHA-256 of bytes that come in blocks, each of which is used up before the next one is asked for. */
export async function hashBlocks(blocks: AsyncIterable<Buffer>, options: TransferOptions = {}): Promise<PutResult> {
  const measure = startMeasure()
  for await (const block of blocks) {
    measure.add(block)
    options.onProgress?.(measure.sizeBytes)
  }
  return measure.result()
}

/** A source under measurement: the chunks, and what they added up to. */
export interface MeasuredSource {
  /** Ends only when size and hash were as promised; throws instead of yielding one byte too many. */
  readonly chunks: AsyncIterable<Buffer>
  /** Bytes yielded so far; unlike the result it costs nothing to ask. */
  readonly sizeBytes: number
  /** Size and hash of what has been yielded so far. */
  result(): PutResult
}

/**
 * Opens a source from its first byte and holds it to what the caller promised, so that every store refuses a file
 * that changed under it in the same words and before anything is published. `borrow` takes blocks that are valid only
 * until the next one, where the source has them.
 * @throws changed_while_read for another size, copy_mismatch for another hash, store_unavailable when the source breaks off
 */
export function measureSource(
  source: ByteSource,
  key: string,
  options: PutOptions,
  { borrow = false } = {},
): MeasuredSource {
  const measure = startMeasure()
  async function* chunks(): AsyncGenerator<Buffer> {
    for await (const chunk of openSource(source, { key, signal: options.signal, borrow })) {
      if (chunk.length === 0) continue
      measure.add(chunk)
      if (measure.sizeBytes > options.sizeBytes) throw wrongSize(key, options.sizeBytes, 'longer')
      yield chunk
    }
    const { sizeBytes, sha256 } = measure.result()
    if (sizeBytes < options.sizeBytes) throw wrongSize(key, options.sizeBytes, `only ${sizeBytes} bytes`)
    if (options.sha256 !== undefined && sha256 !== options.sha256) {
      throw new ReelkeepError(
        'copy_mismatch',
        `The bytes read for ${key} hash to ${sha256}, not to the expected ${options.sha256}; nothing was stored. ` +
          'Check the source copy, then retry.',
        { details: { key, expectedSha256: options.sha256, actualSha256: sha256 } },
      )
    }
  }
  return {
    chunks: chunks(),
    get sizeBytes() {
      return measure.sizeBytes
    },
    result: () => measure.result(),
  }
}

/** How a stream of a store's is watched, and how its failures are said. */
export interface StreamGuard {
  /** Longest wait for the next bytes, in milliseconds: a half-open connection would otherwise hold a worker for ever. */
  readonly idleMs: number
  readonly signal?: AbortSignal | undefined
  readonly explain: (error: unknown) => Error
  readonly stalled: () => Error
}

/** Passes a stream's chunks on with the product's errors instead of a vendor's, and ends it when nothing came for too long. */
export async function* guardBlocks(inner: Readable, guard: StreamGuard): AsyncGenerator<Buffer> {
  // A slow consumer is no stall: only what is waited for here can be late.
  let waiting = true
  const timer = setTimeout(() => (waiting ? inner.destroy(guard.stalled()) : timer.refresh()), guard.idleMs)
  try {
    for await (const chunk of abortable(inner, guard.signal)) {
      waiting = false
      yield chunk
      waiting = true
      timer.refresh()
    }
  } catch (error) {
    guard.signal?.throwIfAborted()
    throw error instanceof ReelkeepError ? error : guard.explain(error)
  } finally {
    clearTimeout(timer)
    inner.destroy()
  }
}

/** As {@link guardBlocks}, for those who want a stream. */
export function guardStream(inner: Readable, guard: StreamGuard): Readable {
  const outer = Readable.from(guardBlocks(inner, guard), { objectMode: false, highWaterMark: chunkBytes })
  outer.once('close', () => inner.destroy())
  return outer
}

async function* openSource(
  source: ByteSource,
  { key, signal, borrow }: { key: string; signal: AbortSignal | undefined; borrow: boolean },
): AsyncGenerator<Buffer> {
  try {
    if (borrow && source.blocks !== undefined) yield* await source.blocks(signal)
    else yield* abortable(await source.open(0, signal), signal)
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ReelkeepError) throw error
    throw new ReelkeepError('store_unavailable', `Reading the source of ${key} broke off; nothing was stored. Retry.`, {
      cause: error,
    })
  }
}

async function* abortable(stream: Readable, signal?: AbortSignal): AsyncGenerator<Buffer> {
  signal?.throwIfAborted()
  if (signal !== undefined) addAbortSignal(signal, stream)
  try {
    for await (const chunk of stream as AsyncIterable<Buffer | string>) {
      signal?.throwIfAborted()
      yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    }
  } catch (error) {
    // The caller's own reason, so that a cancelled activity ends as cancelled and not as failed.
    signal?.throwIfAborted()
    throw error
  }
}

function wrongSize(key: string, expectedBytes: number, found: string): ReelkeepError {
  return new ReelkeepError(
    'changed_while_read',
    `The source of ${key} was announced with ${expectedBytes} bytes but is ${found}; nothing was stored. ` +
      'It is being written: wait until it rests, then retry.',
    { details: { key, expectedBytes } },
  )
}
