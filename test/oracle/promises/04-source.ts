import type { DepositRow, RecordingRow } from '../database.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'

/**
 * 4: the source leaves the inbox only after the configured number of copies was read back and matched. That those copies
 * still stand and are whole is said by promises 5 and 3.
 */
export function judgeSources(snapshot: Snapshot): Finding[] {
  const { rows, find } = snapshot
  return rows.deposits.flatMap((deposit) => {
    const isReleased = deposit.state === 'released'
    if (!isReleased && !isTakenAway(snapshot, deposit)) return []
    const recordingId = deposit.recording_id ?? deposit.id
    const recording = find.recording.get(recordingId)
    // A deletion of the whole recording takes the source with it.
    if (recording?.state === 'purging' || recording?.state === 'purged') return []
    const lacking = recording === undefined ? ['the recording itself'] : listLacking(snapshot, recording)
    const early = recording !== undefined && isReleased && wasEarly(snapshot, recording, deposit)
    if (lacking.length === 0 && !early) return []
    const what =
      early && lacking.length === 0
        ? 'its source left the inbox before its copies were verified'
        : 'its source left the inbox without the verified copies its policy asks for'
    return [
      {
        promise: 4 as const,
        recordingId,
        what,
        evidence: { deposit: deposit.id, path: deposit.path, state: deposit.state, lacking },
      },
    ]
  })
}

/** An accepted file that its recorder put there and did not replace, and that is gone. */
function isTakenAway({ subject, find }: Snapshot, deposit: DepositRow): boolean {
  if (deposit.state !== 'accepted' && deposit.state !== 'duplicate') return false
  const { place, objects } = find.placeOf(deposit.inbox_id)
  if (objects.has(deposit.path)) return false
  return subject.dropped.some(
    (drop) => drop.inbox === place.name && drop.path === deposit.path && drop.sha256 === deposit.sha256,
  )
}

/** Files with too few verified copies, or at too few sites; where a site is, the place knows better than the row. */
function listLacking({ rows, find }: Snapshot, recording: RecordingRow): unknown[] {
  const owed = rows.accounts.find(({ id }) => id === recording.account_id)?.policy.copies ?? { count: 2, sites: 2 }
  const files = find.filesOf(recording.id)
  const lacking: unknown[] = files.some(({ kind }) => kind === 'manifest') ? [] : ['manifest']
  for (const file of files) {
    // Once read back: a copy that failed a later check was good when the source went.
    const places = find
      .copiesOfFile(file.id)
      .filter((copy) => copy.verified_at !== null)
      .map((copy) => find.placeOf(copy.store_id).place)
    const sites = new Set(places.map(({ site }) => site))
    if (new Set(places).size >= owed.count && sites.size >= owed.sites) continue
    lacking.push({ file: file.name, verifiedIn: places.map(({ name, site }) => `${name} (${site})`), owed })
  }
  return lacking
}

function wasEarly({ find }: Snapshot, recording: RecordingRow, deposit: DepositRow): boolean {
  const protectedAtMs = find.auditOf(recording.id).find(({ action }) => action === 'recording.protected')?.at
  return protectedAtMs === undefined || (deposit.settled_at ?? 0) < protectedAtMs
}
