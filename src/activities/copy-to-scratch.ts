import { createHash } from 'node:crypto'
import { mkdir, open, statfs } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import type { DepositToTakeIn } from '../db/taken-in.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { bytesPer, describeBytes } from '../domain/units.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { explainFullScratch } from '../media/scratch.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'

/** A deposit's source, and the folder on this machine that it is copied into. */
export interface SourceToCopy {
  readonly deps: Pick<ActivityDeps, 'scratchDir'>
  readonly deposit: DepositToTakeIn
  readonly inbox: PlacedStore
  readonly work: string
  readonly beat: Beat
}

/** The inbox's bytes on this machine, hashed on the way. @throws changed_while_read, scratch_full, store_* */
export async function copyToScratch(
  { deps, deposit, inbox, work, beat }: SourceToCopy,
  path: string,
): Promise<{ sha256: string; md5: string }> {
  await mkdir(work, { recursive: true })
  const noRoom = `There is no room for ${describeBytes(deposit.sizeBytes)} in ${deps.scratchDir}. Free space there; it is tried again.`
  const disk = await statfs(work)
  if (disk.bavail * disk.bsize < deposit.sizeBytes + 64 * bytesPer.mib) throw new ReelkeepError('scratch_full', noRoom)
  const hashes = { sha256: createHash('sha256'), md5: createHash('md5') }
  const target = await open(path, 'wx')
  try {
    let sizeBytes = 0
    for await (const chunk of chunksOf(await inbox.store.read(deposit.path, undefined, beat.signal))) {
      hashes.sha256.update(chunk)
      hashes.md5.update(chunk)
      for (let at = 0; at < chunk.length;) at += (await target.write(chunk, at)).bytesWritten
      sizeBytes += chunk.length
      beat.beat({ reading: sizeBytes, of: deposit.sizeBytes })
      if (sizeBytes > deposit.sizeBytes) break
    }
    await failpoint('take-in.after-read', path)
    if (sizeBytes !== deposit.sizeBytes) {
      throw new ReelkeepError(
        'changed_while_read',
        `${deposit.path} changed while it was read. It is read again when it rests.`,
      )
    }
  } catch (error) {
    throw explainFullScratch(error, noRoom)
  } finally {
    await target.close()
  }
  return { sha256: hashes.sha256.digest('hex'), md5: hashes.md5.digest('hex') }
}

async function* chunksOf(stream: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
  }
}
