import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { Context } from '@temporalio/activity'
import { writeAudit } from '../db/audit.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import type { Content } from '../domain/fixity.ts'
import { decideDamage } from '../domain/mend.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { explainFullScratch } from '../media/scratch.ts'
import { readBlocks } from '../storage/blocks.ts'
import { hashBlocks } from '../storage/bytes.ts'
import type { ByteSource } from '../storage/store.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import type { RecordingRef } from './records.ts'

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
    const message = 'The scratch disk is full. Free space in SCRATCH_DIR; the encode is tried again by itself.'
    throw explainFullScratch(error, message)
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

/** A working copy: its name for people, where it is, and what it hashed to when it was made. */
export interface WorkingCopy {
  readonly name: string
  readonly path: string
  readonly recorded: Content
}

/**
 * Hashes a working copy again and refuses to go on with one that went bad: this machine's disk or memory changed it, and whatever
 * was found out from it says nothing. Each time is written down; the next try makes a new one.
 * @throws scratch_corrupt
 */
export async function requireIntact(
  { db }: Pick<ActivityDeps, 'db'>,
  ref: Pick<RecordingRef, 'accountId' | 'recordingId'>,
  { name, path, recorded }: WorkingCopy,
  beat: Beat,
): Promise<void> {
  const scratch = await hashFile(path, beat)
  const places = { stored: 'no_place', copy: 'no_place', source: 'no_place' } as const
  if (decideDamage({ kind: 'original', recorded, scratch, ...places }).kind !== 'scratch') return
  throw await scratchCorrupt({ db }, ref, name)
}

/** What is said of a working copy that is not what it was made from; written into the timeline, so that it can be counted. */
export async function scratchCorrupt(
  { db }: Pick<ActivityDeps, 'db'>,
  { accountId, recordingId }: Pick<RecordingRef, 'accountId' | 'recordingId'>,
  name: string,
): Promise<ReelkeepError> {
  const { attempt } = Context.current().info
  await db.asAccount(accountId, (tx) =>
    writeAudit(tx, recordingId, 'system', 'scratch.corrupt', { file: name, attempt }),
  )
  return new ReelkeepError(
    'scratch_corrupt',
    `The working copy of ${name} in SCRATCH_DIR changed while it was used. It is fetched again by itself; if this goes on, ` +
      "check that machine's disk and memory.",
  )
}

/**
 * Puts a working copy into a store. One that does not hash to what it was made as is a bad working copy, and nothing was stored.
 * @throws scratch_corrupt, object_exists, store_*
 */
export async function putWorkingCopy(
  deps: Pick<ActivityDeps, 'db'>,
  ref: Pick<RecordingRef, 'accountId' | 'recordingId'>,
  { store }: PlacedStore,
  { key, contentType, copy }: { readonly key: string; readonly contentType?: string; readonly copy: WorkingCopy },
  { signal }: Beat,
): Promise<void> {
  const { sizeBytes, sha256 } = copy.recorded
  const options = { sizeBytes, sha256, signal, ...(contentType === undefined ? {} : { contentType }) }
  try {
    await store.put(key, fileSource(copy.path), options)
  } catch (error) {
    if (!hasCode(error, 'copy_mismatch') && !hasCode(error, 'changed_while_read')) throw error
    throw await scratchCorrupt(deps, ref, copy.name)
  }
}

/**
 * Believes what comes of reading a working copy only while that is what it was made as: damaged bytes fail for no fault of the
 * recording's, or would show their damage for ever. @throws scratch_corrupt, and what the work throws
 */
export async function whileIntact<T>(
  deps: Pick<ActivityDeps, 'db'>,
  ref: Pick<RecordingRef, 'accountId' | 'recordingId'>,
  copy: WorkingCopy,
  beat: Beat,
  work: () => Promise<T>,
): Promise<T> {
  try {
    const done = await work()
    await requireIntact(deps, ref, copy, beat)
    return done
  } catch (error) {
    const isVerdict = error instanceof ReelkeepError && (error.kind === 'rejected' || error.kind === 'corrupt')
    if (isVerdict) await requireIntact(deps, ref, copy, beat)
    throw error
  }
}
