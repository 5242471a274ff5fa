import type { FileRow } from '../database.ts'
import type { Held, PlaceLook } from '../places.ts'
import { groupBy } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { isUnfinishedPut, ownerOfKey } from '../words.ts'

/** 3: no partial file is ever visible in any store. */
export function judgeWholeFiles(snapshot: Snapshot): Finding[] {
  const { rows, places } = snapshot
  const named = new Map(rows.files.map((file) => [file.key, file]))
  const findings: Finding[] = judgeOriginals(snapshot)
  for (const look of places) {
    if (look.place.role === 'inbox') continue
    for (const held of look.objects.values()) {
      const file = named.get(held.key)
      const finding = file === undefined ? judgeStray(snapshot, look, held) : judgeBytes(snapshot, look, held, file)
      if (finding !== null) findings.push(finding)
    }
  }
  return findings
}

/** The row of the original must mean the bytes that were taken in, or every comparison with it proves nothing. */
function judgeOriginals({ rows, find }: Snapshot): Finding[] {
  const originals = groupBy(
    rows.files.filter(({ kind }) => kind === 'original'),
    (file) => file.recording_id,
  )
  return rows.recordings.flatMap((recording) => {
    const files = originals.get(recording.id) ?? []
    const same =
      files.length === 1 && files[0]?.sha256 === recording.sha256 && files[0].size_bytes === recording.size_bytes
    if (same) return []
    const evidence = { sha256: recording.sha256, files, deposit: find.deposit.get(recording.deposit_id)?.path }
    return [
      {
        promise: 3,
        recordingId: recording.id,
        what: 'its original is not written down as the bytes taken in',
        evidence,
      },
    ]
  })
}

function judgeBytes(snapshot: Snapshot, { place }: PlaceLook, held: Held, file: FileRow): Finding | null {
  if (held.sha256 === file.sha256 && held.sizeBytes === file.size_bytes) return null
  const { find, subject } = snapshot
  const copy = find.copiesOfFile(file.id).find(({ store_id }) => find.placeOf(store_id).place === place)
  const isShort = held.sizeBytes < file.size_bytes
  // Bytes that a store spoilt and the product found out are what its checks are for.
  const isKnown =
    copy?.state === 'failed' || (copy?.state !== 'verified' && find.openProblemsOf(file.recording_id).length > 0)
  const isUnread = copy?.state !== 'verified' && !isShort && !subject.settled
  if (isKnown || isUnread) return null
  return {
    promise: 3,
    recordingId: file.recording_id,
    what: `${held.key} in ${place.name} ${isShort ? 'is only a part' : 'holds other bytes than its row says'}`,
    evidence: {
      copy: copy?.state ?? 'no row',
      expected: { sizeBytes: file.size_bytes, sha256: file.sha256 },
      found: { sizeBytes: held.sizeBytes, sha256: held.sha256 },
    },
    certain: true,
  }
}

/** Removed after two days by what runs once a day; the rest is for a store that was away. */
const announcedForMs = 4 * 86_400_000

/**
 * What no row names. An original that was announced is known, and goes in days where nobody comes back for it. While a recording is kept, renditions of an attempt that died stay where they are until it is
 * purged: they are whole, and no reader finds them. Everything else must have an owner once the system has settled.
 */
function judgeStray({ subject, rows, find }: Snapshot, { place }: PlaceLook, held: Held): Finding | null {
  const owner = ownerOfKey(held.key)
  if (!subject.settled || isUnfinishedPut(held.key) || owner === null) return null
  const recording = find.recording.get(owner.recordingId)
  const isForeign = recording !== undefined && recording.account_id !== owner.accountId
  const isPurged = recording?.state === 'purged'
  // Other promises name these two.
  if (isForeign || isPurged) return null
  const isAnnounced = rows.announced.some(
    (put) =>
      put.key === held.key &&
      put.account_id === owner.accountId &&
      find.placeOf(put.store_id).place === place &&
      put.announced_at + announcedForMs > rows.nowMs,
  )
  if (isAnnounced) return null
  if (recording !== undefined && place.role === 'primary' && owner.name.startsWith('renditions/')) return null
  return {
    promise: 3,
    recordingId: owner.recordingId,
    what: `${held.key} in ${place.name} belongs to nothing`,
    evidence: {
      sizeBytes: held.sizeBytes,
      sha256: held.sha256,
      deposit: find.deposit.get(owner.recordingId)?.state ?? 'none',
    },
  }
}
