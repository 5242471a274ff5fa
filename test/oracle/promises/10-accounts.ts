import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { identifiersIn, ownerOfKey } from '../words.ts'

/** 10: account A cannot see, infer or affect account B. */
export function judgeAccounts(snapshot: Snapshot): Finding[] {
  return [...judgeParents(snapshot), ...judgeKeys(snapshot), ...judgeMentions(snapshot)]
}

/** Every row belongs to the account of everything it points to. */
function judgeParents({ rows, find }: Snapshot): Finding[] {
  const findings: Finding[] = []
  const recorder = new Map(rows.recorders.map((row) => [row.id, row]))
  const disposition = new Map(rows.dispositions.map((row) => [row.id, row]))
  const check = (
    table: string,
    row: { readonly account_id: string; readonly recording_id?: string | null; readonly id?: string },
    parents: Readonly<Record<string, { readonly account_id: string } | undefined>>,
  ) => {
    for (const [name, parent] of Object.entries(parents))
      if (parent !== undefined && parent.account_id !== row.account_id)
        findings.push({
          promise: 10,
          recordingId: row.recording_id ?? row.id ?? null,
          what: `a row of ${table} belongs to another account than its ${name}`,
          evidence: { row, parent },
        })
  }
  const person = (id: string | null) => (id === null ? undefined : find.person.get(id))
  const subjectOf = (id: string) => find.recording.get(id) ?? find.deposit.get(id)
  for (const row of rows.recorders)
    check('recorders', row, {
      inbox: find.store.get(row.inbox_id),
      manager: person(row.manager_id),
      'default owner': person(row.default_owner_id),
    })
  for (const row of rows.deposits)
    check('deposits', row, {
      inbox: find.store.get(row.inbox_id),
      recorder: recorder.get(row.recorder_id ?? ''),
      recording: find.recording.get(row.recording_id ?? ''),
    })
  for (const row of rows.recordings)
    check('recordings', row, {
      deposit: find.deposit.get(row.deposit_id),
      recorder: recorder.get(row.recorder_id),
      owner: person(row.owner_id),
    })
  for (const row of rows.files) check('files', row, { recording: find.recording.get(row.recording_id) })
  for (const row of rows.copies)
    check('copies', row, {
      recording: find.recording.get(row.recording_id),
      file: find.file.get(row.file_id),
      store: find.store.get(row.store_id),
    })
  for (const row of rows.holds)
    check('holds', row, {
      recording: find.recording.get(row.recording_id),
      'placing person': person(row.placed_by),
      'releasing person': person(row.released_by),
    })
  for (const row of rows.dispositions)
    check('dispositions', row, { recording: find.recording.get(row.recording_id), requester: person(row.requested_by) })
  for (const row of rows.approvals)
    check(
      'approvals',
      { ...row, recording_id: disposition.get(row.disposition_id)?.recording_id ?? null },
      {
        disposition: disposition.get(row.disposition_id),
        approver: person(row.person_id),
      },
    )
  for (const row of rows.problems) check('problems', row, { recording: subjectOf(row.recording_id) })
  for (const row of rows.notices) check('notices', row, { recording: subjectOf(row.recording_id) })
  for (const row of rows.audit) check('audit_events', row, { recording: subjectOf(row.recording_id ?? '') })
  return findings
}

/** Every object stands below the account and the recording it belongs to. */
function judgeKeys({ rows, places, find }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const file of rows.files) {
    const recording = find.recording.get(file.recording_id)
    if (recording === undefined || file.key.startsWith(`${recording.account_id}/${recording.id}/`)) continue
    findings.push({
      promise: 10,
      recordingId: recording.id,
      what: `its file ${file.name} has a key outside its own prefix`,
      evidence: { file },
    })
  }
  for (const { place, objects } of places) {
    if (place.role === 'inbox') continue
    for (const key of objects.keys()) {
      const owner = ownerOfKey(key)
      const recording = find.recording.get(owner?.recordingId ?? '')
      if (owner === null || recording === undefined || recording.account_id === owner.accountId) continue
      const evidence = { key, place: place.name, accountId: recording.account_id }
      findings.push({
        promise: 10,
        recordingId: recording.id,
        what: 'an object of it stands below another account',
        evidence,
      })
    }
  }
  return findings
}

/** No trail and no mail of one account speaks of another's recording, or goes to another's people. */
function judgeMentions({ rows, find }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const row of rows.audit)
    for (const id of identifiersIn(row.detail_text)) {
      const named = find.recording.get(id) ?? find.deposit.get(id)
      if (named !== undefined && named.account_id !== row.account_id)
        findings.push({
          promise: 10,
          recordingId: named.id,
          what: 'the audit trail of another account speaks of it',
          evidence: { row },
        })
    }
  const emails = new Set(rows.people.map(({ account_id, email }) => `${account_id} ${email}`))
  for (const notice of rows.notices)
    if (
      !emails.has(`${notice.account_id} ${notice.recipient}`) &&
      rows.people.some(({ email }) => email === notice.recipient)
    )
      findings.push({
        promise: 10,
        recordingId: notice.recording_id,
        what: 'a person of another account was told of it',
        evidence: { notice },
      })
  return findings
}
