import { groupBy } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { liveDepositStates } from '../words.ts'

/** 2: a deposit becomes exactly one recording, however often it is seen, and whatever crashes meanwhile. */
export function judgeOnce(snapshot: Snapshot): Finding[] {
  return [...judgeUniqueness(snapshot), ...judgeLinks(snapshot), ...judgeBeginnings(snapshot)]
}

function judgeUniqueness({ rows }: Snapshot): Finding[] {
  const findings: Finding[] = []
  const once = <T>(all: readonly T[], keyOf: (row: T) => string, idOf: (row: T) => string, what: string) => {
    for (const [key, group] of groupBy(all, keyOf))
      if (group.length > 1)
        findings.push({ promise: 2, recordingId: idOf(group[0] as T), what, evidence: { key, rows: group.map(idOf) } })
  }
  const kept = rows.recordings.filter(({ state }) => state !== 'purged')
  const live = rows.deposits.filter(({ state }) => liveDepositStates.has(state))
  once(
    kept,
    (row) => `${row.account_id} ${row.sha256}`,
    (row) => row.id,
    'the same bytes are kept as several recordings',
  )
  once(
    rows.recordings,
    (row) => row.deposit_id,
    (row) => row.id,
    'one deposit became several recordings',
  )
  once(
    live,
    (row) => `${row.inbox_id} ${row.path}`,
    (row) => row.id,
    'several live deposits stand for one path',
  )
  once(
    rows.files,
    (row) => `${row.recording_id} ${row.name}`,
    (row) => row.recording_id,
    'a file is written down several times',
  )
  once(
    rows.files,
    (row) => row.key,
    (row) => row.recording_id,
    'several files claim one key',
  )
  once(
    rows.copies,
    (row) => `${row.file_id} ${row.store_id}`,
    (row) => row.recording_id,
    'a copy is written down several times',
  )
  return findings
}

/** A deposit is linked to the recording that has its bytes, and to nothing else. */
function judgeLinks({ rows, find }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const deposit of rows.deposits) {
    if (deposit.recording_id === null) continue
    const recording = find.recording.get(deposit.recording_id)
    const evidence = { deposit: deposit.id, path: deposit.path, sha256: deposit.sha256, keptSha256: recording?.sha256 }
    if (recording === undefined)
      findings.push({
        promise: 2,
        recordingId: deposit.recording_id,
        what: 'a deposit is linked to no recording',
        evidence,
      })
    else if (recording.sha256 !== deposit.sha256)
      findings.push({
        promise: 2,
        recordingId: recording.id,
        what: 'a deposit is linked to a recording of other bytes',
        evidence,
      })
  }
  return findings
}

/** One beginning in the audit trail, one chain of runs in Temporal. */
function judgeBeginnings({ rows, find, workflows }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const { id } of rows.recordings) {
    const accepted = find.auditOf(id).filter(({ action }) => action === 'recording.accepted')
    if (accepted.length !== 1)
      findings.push({
        promise: 2,
        recordingId: id,
        what: 'the audit trail does not say exactly once that it was accepted',
        evidence: { rows: accepted.map(({ seq }) => seq) },
      })
  }
  for (const [recordingId, runs] of workflows?.lives ?? []) {
    // Every run that was continued has one successor: what is left over are beginnings.
    const beginnings = runs.filter(({ status }) => status !== 'CONTINUED_AS_NEW').length
    if (beginnings > 1)
      findings.push({ promise: 2, recordingId, what: 'its life was begun several times', evidence: { runs } })
  }
  return findings
}
