import type { DispositionRow, HoldRow, RecordingRow } from '../database.ts'
import { planHash, wrongWithSignature } from '../proofs.ts'
import { purgeOf } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { confirmedTo } from '../told.ts'

/**
 * 6: nothing is deleted before its retention ends, under a hold, without the approvals its policy asks for, or outside the
 * plan that was approved; and what was deleted is proven.
 */
export function judgeDeletions(snapshot: Snapshot): Finding[] {
  return snapshot.rows.recordings.flatMap((recording) => {
    const isOut = recording.state === 'purging' || recording.state === 'purged'
    const faults = [
      ...judgePlan(recording),
      ...judgeHolds(snapshot, recording),
      ...(isOut ? judgePermission(snapshot, recording) : []),
      ...(recording.state === 'purged' ? judgeCertificate(snapshot, recording) : []),
    ]
    return faults.map(({ what, ...evidence }) => ({ promise: 6 as const, recordingId: recording.id, what, evidence }))
  })
}

type Fault = { readonly what: string } & Readonly<Record<string, unknown>>

function judgePlan({ plan, plan_hash }: RecordingRow): Fault[] {
  if (plan === null || planHash(plan) === plan_hash) return []
  return [{ what: 'the hash that approvals are bound to is not the hash of its plan', plan, plan_hash }]
}

/** When the purge opened: by the real clock, and by the recording's own, which may have been moved. */
function purgeBegan({ find }: Snapshot, recording: RecordingRow, purge: DispositionRow) {
  const row = find.auditOf(recording.id).find(({ action }) => action === 'recording.purging')
  const atMs = row?.at ?? purge.purge_started_at
  return { atMs, ownMs: row?.clock_at ?? (atMs === null ? null : atMs + recording.clock_offset_ms) }
}

function judgePermission(snapshot: Snapshot, recording: RecordingRow): Fault[] {
  const { rows, find, subject } = snapshot
  const purge = purgeOf(recording, find)
  if (purge === undefined)
    return [{ what: 'it is deleted without any request that was approved', state: recording.state }]
  const faults: Fault[] = []
  const { atMs, ownMs } = purgeBegan(snapshot, recording, purge)
  if (ownMs === null || atMs === null) return [{ what: 'nothing says when its deletion began', purge }]
  const approvals = rows.approvals.filter(({ disposition_id }) => disposition_id === purge.id)
  const counting = approvals.filter((row) => row.person_id !== purge.requested_by && row.plan_hash === purge.plan_hash)
  const owed = rows.accounts.find(({ id }) => id === recording.account_id)?.policy.disposition.approvals ?? 1
  if (new Set(counting.map((row) => row.person_id)).size < owed)
    faults.push({ what: 'it is deleted without the approvals its policy asks for', approvals, purge, owed })
  if (purge.plan_hash !== recording.plan_hash)
    faults.push({ what: 'it is deleted by another plan than the approved one', purge, planHash: recording.plan_hash })
  if (recording.retain_until !== null && recording.retain_until > ownMs)
    faults.push({ what: 'it is deleted before its retention ends', retainUntilMs: recording.retain_until, ownMs })
  if (purge.undo_until === null || purge.undo_until > ownMs)
    faults.push({ what: 'it is deleted within its undo window', undoUntilMs: purge.undo_until, ownMs })
  const calledOff = subject.told.find(
    ({ recordingId, kind, accepted, beganAtMs, endedAtMs }) =>
      recordingId === recording.id &&
      accepted &&
      (kind === 'undo' || kind === 'rejectDeletion') &&
      beganAtMs > purge.requested_at &&
      endedAtMs < atMs,
  )
  if (calledOff !== undefined) faults.push({ what: 'it is deleted by a request that was called off', calledOff, purge })
  return faults
}

/** No hold stood when bytes went; a hold that was confirmed to a person is written down. */
function judgeHolds(snapshot: Snapshot, recording: RecordingRow): Fault[] {
  const { find, subject } = snapshot
  const faults: Fault[] = []
  const holds = find.holdsOf(recording.id)
  const purge = purgeOf(recording, find)
  const purgedAt = find.copiesOf(recording.id).flatMap(({ purged_at }) => (purged_at === null ? [] : [purged_at]))
  const began = purge === undefined ? null : purgeBegan(snapshot, recording, purge).atMs
  const instants = began === null ? purgedAt : [began, ...purgedAt]
  for (const hold of holds)
    if (instants.some((atMs) => stood(hold, atMs))) faults.push({ what: 'it lost bytes under a hold', hold, instants })
  for (const [personId, answers] of confirmedTo(subject, recording.id, 'hold'))
    if (answers.length > holds.filter(({ placed_by }) => placed_by === personId).length)
      faults.push({ what: 'a hold was confirmed that stands nowhere', answers, holds, state: recording.state })
  return faults
}

function stood(hold: HoldRow, atMs: number): boolean {
  return hold.placed_at <= atMs && (hold.released_at === null || hold.released_at > atMs)
}

function judgeCertificate({ find, subject }: Snapshot, recording: RecordingRow): Fault[] {
  const certificate = asObject(recording.certificate)
  if (certificate === null) return [{ what: 'it was deleted without a certificate' }]
  const { payload, signature, keyId, publicKey } = certificate
  const unproven = wrongWithSignature({ payload, signature, keyId, publicKey }, subject.publicKeyPem)
  if (unproven !== null) return [{ what: 'its certificate proves nothing', because: unproven }]
  const said = asObject(payload) ?? {}
  const expected = {
    recordingId: recording.id,
    accountId: recording.account_id,
    sha256: recording.sha256,
    planHash: purgeOf(recording, find)?.plan_hash ?? null,
  }
  const differing = Object.entries(expected).filter(([name, value]) => said[name] !== value)
  const faults: Fault[] = differing.length === 0 ? [] : [{ what: 'its certificate is about something else', differing }]
  const copies = find.copiesOf(recording.id).map((copy) => {
    const file = find.file.get(copy.file_id)
    return [file?.name, find.store.get(copy.store_id)?.name, file?.sha256, file?.size_bytes, copy.purged_at]
  })
  const named = (Array.isArray(said['copies']) ? said['copies'] : []).map((copy) => {
    const { file, store, sha256, sizeBytes, purgedAt } = asObject(copy) ?? {}
    return [file, store, sha256, sizeBytes, typeof purgedAt === 'string' ? Date.parse(purgedAt) : null]
  })
  const missing = unmatched(copies, named)
  const invented = unmatched(named, copies)
  if (missing.length + invented.length > 0)
    faults.push({ what: 'its certificate does not name exactly the copies that went', missing, invented })
  return faults
}

function unmatched(these: readonly unknown[], those: readonly unknown[]): unknown[] {
  const known = new Set(those.map((one) => JSON.stringify(one)))
  return these.filter((one) => !known.has(JSON.stringify(one)))
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
}
