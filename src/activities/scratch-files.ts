import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { hashBlocks, readBlocks } from '../storage/blocks.ts'
import type { ByteSource } from '../storage/store.ts'
import type { Beat } from './beat.ts'

/** Writes a stream to a file and returns its SHA-256. @throws scratch_full, store_* */
export async function downloadTo(
  path: string,
  read: () => Promise<NodeJS.ReadableStream>,
  beat: Beat,
): Promise<string> {
  const source = await read()
  try {
    await pipeline(source, createWriteStream(path, { flags: 'w' }), { signal: beat.signal })
    await failpoint('encode.after-download', path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT'))
      throw new ReelkeepError(
        'scratch_full',
        'The scratch disk is full. Free space in SCRATCH_DIR; the encode is tried again by itself.',
        { cause: error },
      )
    throw error
  }
  return (await hashFile(path, beat)).sha256
}

/** Size and SHA-256 of a file on scratch. */
export async function hashFile(path: string, beat: Beat) {
  return hashBlocks(readBlocks(await open(path), beat.signal))
}

/** A file on scratch as a store takes it. */
export function fileSource(path: string): ByteSource {
  return {
    open: async (fromByte) => (await open(path)).createReadStream({ start: fromByte, highWaterMark: 1 << 20 }),
    blocks: async (signal) => readBlocks(await open(path), signal),
  }
}
