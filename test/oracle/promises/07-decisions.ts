import type { AuditRow, RecordingRow } from '../database.ts'
import { groupBy } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { confirmedTo } from '../told.ts'

/** 7: a claim is granted exactly once; an approval counts once, by someone other than the requester, for the plan shown. */
export function judgeDecisions(snapshot: Snapshot): Finding[] {
  return [
    ...snapshot.rows.recordings.flatMap((recording) => judgeClaims(snapshot, recording)),
    ...judgeApprovals(snapshot),
  ]
}

/**
 * A claim that was granted is the command's row together with the change of state it made, by the same request. Who was
 * told yes without one, was told of a second grant.
 */
function judgeClaims({ find, subject }: Snapshot, recording: RecordingRow): Finding[] {
  const audit = find.auditOf(recording.id)
  const granted = audit.filter(({ action }) => action === 'command.claim')
  const findings: Finding[] = []
  const accuse = (what: string, evidence: Record<string, unknown>) =>
    findings.push({ promise: 7, recordingId: recording.id, what, evidence })
  const moves = audit.filter(({ action }) => action === 'recording.claimed')
  for (const claim of granted) {
    const own = moves.filter((move) => requestOf(move) === requestOf(claim))
    const twins = granted.filter((other) => requestOf(other) === requestOf(claim))
    if (own.length !== 1 || twins.length !== 1)
      accuse('a claim was granted that gave it to nobody anew', { claim, moves })
  }
  for (const [personId, answers] of confirmedTo(subject, recording.id, 'claim')) {
    const own = granted.filter(({ detail }) => detail['personId'] === personId)
    if (answers.length > own.length) accuse('a claim was confirmed that was never granted', { answers, granted })
  }
  const last = audit.filter(({ action }) => ownerChanges.has(action)).at(-1)
  if (last?.action === 'command.claim' && recording.owner_id !== last.detail['personId'])
    accuse('it does not belong to the person whose claim was granted', { claim: last, ownerId: recording.owner_id })
  return findings
}

const ownerChanges: ReadonlySet<string> = new Set(['command.claim', 'command.assign', 'command.notMine'])

function requestOf(row: AuditRow): string {
  return JSON.stringify(row.detail['requestId'] ?? row.seq)
}

function judgeApprovals({ rows, find, subject }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const [dispositionId, approvals] of groupBy(rows.approvals, (row) => row.disposition_id)) {
    const disposition = rows.dispositions.find(({ id }) => id === dispositionId)
    const accuse = (what: string) =>
      findings.push({
        promise: 7,
        recordingId: disposition?.recording_id ?? null,
        what,
        evidence: { disposition, approvals },
      })
    if (approvals.some(({ person_id }) => person_id === disposition?.requested_by))
      accuse('a deletion was approved by the person who requested it')
    if (new Set(approvals.map(({ person_id }) => person_id)).size < approvals.length)
      accuse('an approval by one person counts several times')
    if (approvals.some(({ plan_hash }) => plan_hash !== disposition?.plan_hash))
      accuse('an approval counts for another plan than the one shown')
  }
  for (const told of subject.told) {
    if (told.kind !== 'approveDeletion' || !told.accepted || !find.recording.has(told.recordingId)) continue
    const ids = new Set(find.dispositionsOf(told.recordingId).map(({ id }) => id))
    if (rows.approvals.some((row) => ids.has(row.disposition_id) && row.person_id === told.personId)) continue
    findings.push({
      promise: 7,
      recordingId: told.recordingId,
      what: 'an approval was confirmed that counts nowhere',
      evidence: { told },
    })
  }
  return findings
}
