import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { AccountTx } from '../db/connect.ts'
import { listFilesToCopy } from '../db/files.ts'
import { manifestText } from '../domain/archive.ts'
import type { Manifest } from '../domain/archive.ts'
import type { ByteSource } from '../storage/store.ts'
import type { RecordingRef } from './records.ts'

/** What the manifest of a recording has to say now, from the rows. */
export async function composeManifest(
  tx: AccountTx,
  ref: Pick<RecordingRef, 'accountId' | 'recordingId'>,
): Promise<Manifest> {
  const row = await tx
    .selectFrom('recordings as r')
    .innerJoin('recorders as d', 'd.id', 'r.recorder_id')
    .innerJoin('deposits as p', 'p.id', 'r.deposit_id')
    .leftJoin('people as o', 'o.id', 'r.owner_id')
    .selectAll('r')
    .select(['d.name as recorder', 'o.email as owner', 'p.path'])
    .where('r.id', '=', ref.recordingId)
    .executeTakeFirstOrThrow()
  const files = (await listFilesToCopy(tx, ref.recordingId)).filter((file) => file.kind !== 'manifest')
  return {
    version: 1,
    accountId: ref.accountId,
    recordingId: ref.recordingId,
    recorder: row.recorder,
    owner: row.owner,
    title: row.title,
    description: row.description,
    tags: row.tags,
    depositPath: row.path,
    acceptedAt: row.created_at.toISOString(),
    retainUntil: row.retain_until?.toISOString() ?? null,
    media: row.media,
    files: files.map(({ name, kind, key, contentType, sizeBytes, sha256 }) => ({
      name,
      kind,
      key,
      contentType,
      sizeBytes,
      sha256,
    })),
  }
}

/** A manifest as it is written: its bytes, what they hash to, and where a store takes them from. */
export function manifestBytes(manifest: Manifest): {
  readonly sizeBytes: number
  readonly sha256: string
  readonly source: ByteSource
} {
  const bytes = Buffer.from(manifestText(manifest))
  return {
    sizeBytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    source: { open: async (fromByte) => Readable.from([bytes.subarray(fromByte)]) },
  }
}
