import type { DepositRow } from '../database.ts'
import { groupBy, purgeOf } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Dropped, Finding } from '../subject.ts'

/** 1: an upload that still runs, stalls, breaks off or is empty is never accepted; a complete one is never missed. */
export function judgeUploads(snapshot: Snapshot): Finding[] {
  return [...judgeAccepted(snapshot), ...(snapshot.subject.settled ? judgeMissed(snapshot) : [])]
}

function judgeAccepted({ rows, subject, find }: Snapshot): Finding[] {
  const whole = new Set(subject.dropped.filter(({ kind }) => kind === 'whole').map(({ sha256 }) => sha256))
  const brokenly = groupBy(subject.dropped, ({ sha256 }) => sha256)
  const findings: Finding[] = []
  const accuse = (recordingId: string, sha256: string, what: string, deposit: DepositRow | undefined) => {
    const dropped = brokenly.get(sha256)?.map(({ inbox, path, kind }) => ({ inbox, path, kind })) ?? 'nobody'
    findings.push({ promise: 1, recordingId, what, evidence: { sha256, path: deposit?.path, droppedBy: dropped } })
  }
  for (const recording of rows.recordings) {
    if (whole.has(recording.sha256) && recording.size_bytes > 0) continue
    accuse(
      recording.id,
      recording.sha256,
      'it was accepted, but no whole file of these bytes was ever dropped',
      find.deposit.get(recording.deposit_id),
    )
  }
  for (const deposit of rows.deposits) {
    if (deposit.state !== 'duplicate' || deposit.sha256 === null || whole.has(deposit.sha256)) continue
    accuse(
      deposit.id,
      deposit.sha256,
      'a deposit was linked as known bytes, but no whole file of these bytes was ever dropped',
      deposit,
    )
  }
  return findings
}

function judgeMissed(snapshot: Snapshot): Finding[] {
  const { rows, subject, find } = snapshot
  const places = groupBy(rows.deposits, (deposit) => `${find.store.get(deposit.inbox_id)?.name}/${deposit.path}`)
  const newest = new Map<string, Dropped>()
  for (const drop of subject.dropped) {
    const before = newest.get(placeOf(drop))
    if (before === undefined || before.finishedAtMs <= drop.finishedAtMs) newest.set(placeOf(drop), drop)
  }
  const findings: Finding[] = []
  for (const drop of subject.dropped) {
    if (drop.kind !== 'whole') continue
    const deposits = places.get(placeOf(drop)) ?? []
    const fates = deposits.map((deposit) => fateOf(snapshot, deposit, drop))
    if (fates.includes('kept')) continue
    // Another file under the same name, later: the recorder itself took this one away.
    if (newest.get(placeOf(drop)) !== drop || fates.includes('explained')) continue
    findings.push({
      promise: 1,
      recordingId: deposits.at(-1)?.id ?? null,
      what:
        deposits.length === 0
          ? `the whole file ${placeOf(drop)} was never seen`
          : `the whole file ${placeOf(drop)} became no recording and nothing says why`,
      evidence: { drop, deposits: deposits.map(({ id, state, sha256 }) => ({ id, state, sha256 })) },
    })
  }
  return findings
}

function placeOf(drop: Dropped): string {
  return `${drop.inbox}/${drop.path}`
}

/** What became of a whole file by one of the deposits at its path. */
function fateOf({ find }: Snapshot, deposit: DepositRow, drop: Dropped): 'kept' | 'explained' | 'open' {
  const recording = find.recording.get(deposit.recording_id ?? deposit.id)
  if (recording?.sha256 === drop.sha256) {
    if (recording.state !== 'purged' || deposit.id === recording.deposit_id) return 'kept'
    // Linked to a recording that was on its way out already: then nobody keeps what was uploaded anew.
    const wantedGoneAtMs = purgeOf(recording, find)?.requested_at ?? 0
    return drop.finishedAtMs < wantedGoneAtMs ? 'kept' : 'open'
  }
  const parked = find.openProblemsOf(deposit.id).length > 0
  const judged = ['stalled', 'quarantined', 'refused', 'vanished'].includes(deposit.state) && deposit.reason !== null
  // One that is complete and goes no further is another promise's business.
  const isComplete = deposit.state === 'complete'
  return parked || judged || isComplete || deposit.state === 'orphan' ? 'explained' : 'open'
}
