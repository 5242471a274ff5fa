import type { AuditRow } from '../database.ts'
import { auditHash } from '../proofs.ts'
import { groupBy, stateOf, statesInAudit } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { auditedCommands, edges, restingStates } from '../words.ts'

/** 9: kill any process at any point: nothing is lost, nothing done twice, nothing stands still for ever. */
export function judgeNothingLost(snapshot: Snapshot): Finding[] {
  return [
    ...judgeChains(snapshot),
    ...judgeTrails(snapshot),
    ...judgeAnswers(snapshot),
    ...(snapshot.subject.settled ? [...judgeStandstill(snapshot), ...judgeLives(snapshot)] : []),
  ]
}

const finding = (recordingId: string | null, what: string, evidence: Record<string, unknown>): Finding => ({
  promise: 9,
  recordingId,
  what,
  evidence,
})

/** Computes the chain of every account anew; only the first bad row is named: it breaks every one behind it. */
function judgeChains({ rows }: Snapshot): Finding[] {
  const findings: Finding[] = []
  const chains = groupBy(rows.audit, (row) => row.account_id)
  for (const { id } of rows.accounts) {
    let [seq, hash] = [0, '0'.repeat(64)]
    const chain = chains.get(id) ?? []
    const bad = chain.find((row) => {
      const holds = row.seq === seq + 1 && row.prev_hash === hash && row.hash === auditHash(row)
      ;[seq, hash] = [row.seq, row.hash]
      return !holds
    })
    const head = rows.auditHeads.find((row) => row.account_id === id)
    if (bad !== undefined)
      findings.push(
        finding(bad.recording_id, 'the audit trail was changed, cut or added to', {
          row: bad,
          computed: auditHash(bad),
        }),
      )
    else if (chain.length > 0 && (head?.seq !== seq || head.hash !== hash))
      findings.push(
        finding(null, 'the end of the audit trail is not where its head says', { accountId: id, head, seq, hash }),
      )
  }
  return findings
}

/** Every change of state followed an edge and was written down, and nothing that was accepted is gone. */
function judgeTrails({ rows, find }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const recording of rows.recordings) {
    const trail = statesInAudit(recording.id, find)
    // That it began more than once is another promise's business.
    const states = trail.map((row) => stateOf(row.action) ?? '').filter((state, at) => at === 0 || state !== 'accepted')
    for (const [at, to] of states.entries()) {
      const from = states[at - 1]
      if (from !== undefined && !edges.has(`${from}>${to}`))
        findings.push(finding(recording.id, `it went from ${from} to ${to}`, { states }))
    }
    const last = states.at(-1)
    if (last !== undefined && last !== recording.state)
      findings.push(
        finding(recording.id, 'it is in a state that its audit trail does not know', {
          state: recording.state,
          states,
        }),
      )
  }
  const accepted = rows.audit.filter((row: AuditRow) => row.action === 'recording.accepted')
  for (const { recording_id, seq } of accepted)
    if (!find.recording.has(recording_id ?? ''))
      findings.push(finding(recording_id, 'it was accepted and is gone', { seq }))
  for (const deposit of rows.deposits)
    if (deposit.state === 'accepted' && !find.recording.has(deposit.recording_id ?? deposit.id))
      findings.push(finding(deposit.id, 'its deposit is accepted and it does not exist', { deposit }))
  return findings
}

/** What was confirmed to a person left its row. Claims, holds and approvals are promises of their own. */
function judgeAnswers({ subject, find }: Snapshot): Finding[] {
  return subject.told.flatMap((told) => {
    const isOwn = !['claim', 'hold', 'approveDeletion'].includes(told.kind) && auditedCommands.has(told.kind)
    if (!told.accepted || !isOwn) return []
    const rows = find.auditOf(told.recordingId).filter((row) => row.action === `command.${told.kind}`)
    if (rows.some(({ detail }) => detail['personId'] === told.personId)) return []
    return [finding(told.recordingId, `the command ${told.kind} was confirmed and left no trace`, { told })]
  })
}

/** What moves by itself must have arrived, or somebody must know why not. Mails are sent aside: they hold nothing up. */
function judgeStandstill({ rows, find, workflows }: Snapshot): Finding[] {
  const isParked = (id: string) => find.openProblemsOf(id).some(({ stage }) => !['claim', 'retain'].includes(stage))
  // That its life ended is said by itself.
  const isAlive = (id: string) =>
    workflows === null || workflows.lives.get(id)?.some(({ status }) => status === 'RUNNING') === true
  const isStanding = ({ id, state }: { id: string; state: string }) =>
    !restingStates.has(state) && state !== 'purged' && isAlive(id) && !isParked(id)
  return [...rows.recordings, ...rows.deposits.filter(({ state }) => state === 'complete')]
    .filter(isStanding)
    .map((row) => finding(row.id, `it stands still in ${row.state}, and nobody is asked for help`, { row }))
}

function judgeLives({ rows, workflows }: Snapshot): Finding[] {
  if (workflows === null) return []
  const findings: Finding[] = []
  const runs = (id: string) => workflows.lives.get(id) ?? []
  const lives = (id: string) => runs(id).some(({ status }) => status === 'RUNNING')
  const badly = new Set(workflows.ended.map(({ workflowId }) => workflowId))
  for (const { id, state } of rows.recordings)
    if (state !== 'purged' && !lives(id) && !badly.has(`rec/${id}`))
      findings.push(finding(id, 'its life does not run', { state, runs: runs(id) }))
  for (const deposit of rows.deposits)
    if (deposit.state === 'complete' && !lives(deposit.id) && !badly.has(`rec/${deposit.id}`))
      findings.push(
        finding(deposit.id, 'its deposit is complete and nobody takes it in', { deposit, runs: runs(deposit.id) }),
      )
  for (const [recordingId, tries] of workflows.stuck)
    findings.push(finding(recordingId, 'its life fails at the same place again and again', { tries }))
  for (const run of workflows.ended) {
    const recordingId = run.workflowId.startsWith('rec/') ? run.workflowId.slice('rec/'.length) : null
    findings.push(finding(recordingId, `the workflow ${run.workflowId} ended as ${run.status.toLowerCase()}`, { run }))
  }
  return findings
}
