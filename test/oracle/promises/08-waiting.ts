import type { ProblemRow, RecordingRow } from '../database.ts'
import { nowOf } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { restingStates } from '../words.ts'

const nothingByItself = 'nothing happens by itself'

/** 8: every waiting thing says what it waits for, since when, and what happens by itself at what time. */
export function judgeWaiting(snapshot: Snapshot): Finding[] {
  if (!snapshot.subject.settled) return []
  const { rows } = snapshot
  return [
    ...rows.recordings
      .filter(({ state }) => state !== 'purged')
      .flatMap((recording) => judgeRecording(snapshot, recording)),
    ...rows.problems
      .filter((problem) => problem.resolved_at === null)
      .flatMap((problem) => judgeProblem(snapshot, problem)),
    ...judgeDeposits(snapshot),
  ]
}

function judgeRecording(snapshot: Snapshot, recording: RecordingRow): Finding[] {
  const { id, waiting_for, next_step, next_at, state, state_since } = recording
  const found: string[] = []
  if (isBlank(waiting_for)) found.push('it does not say what it waits for')
  if (isBlank(next_step)) found.push('it does not say what happens next')
  if (state_since === null) found.push('it does not say since when')
  if (next_at === null && owesInstant(snapshot, recording))
    found.push('it does not say when something happens by itself')
  if (next_at !== null && isOverdue(snapshot, recording, next_at))
    found.push('what was to happen by itself did not happen')
  const evidence = { state, waiting_for, next_step, next_at, state_since, ownNowMs: nowOf(recording, snapshot.rows) }
  return found.map((what) => ({ promise: 8, recordingId: id, what, evidence }))
}

/** Where it rests, time alone moves it on, unless a hold or a person is what it waits for. */
function owesInstant({ find }: Snapshot, { id, state, next_step }: RecordingRow): boolean {
  const isHeld = find.holdsOf(id).some(({ released_at }) => released_at === null)
  const isParked = find.openProblemsOf(id).length > 0 && next_step === nothingByItself
  return restingStates.has(state) && !isHeld && !isParked
}

/** Late, and not because it is being done at this moment. */
function isOverdue({ rows, graceMs, workflows }: Snapshot, recording: RecordingRow, dueMs: number): boolean {
  return dueMs + graceMs < nowOf(recording, rows) && workflows?.busy.has(recording.id) !== true
}

function judgeProblem(snapshot: Snapshot, problem: ProblemRow): Finding[] {
  const { rows, graceMs, workflows, find } = snapshot
  const recording = find.recording.get(problem.recording_id)
  const found: string[] = []
  if (isBlank(problem.message)) found.push('its problem does not say what is wrong')
  if (problem.options.length === 0) found.push('its problem offers nothing a person could do')
  const nowMs = recording === undefined ? rows.nowMs : nowOf(recording, rows)
  const isLate = problem.next_retry_at !== null && problem.next_retry_at + graceMs < nowMs
  if (isLate && workflows?.busy.has(problem.recording_id) !== true)
    found.push('its problem was not tried again when it said')
  return found.map((what) => ({ promise: 8, recordingId: problem.recording_id, what, evidence: { problem, nowMs } }))
}

function judgeDeposits({ rows, find }: Snapshot): Finding[] {
  const findings: Finding[] = []
  for (const deposit of rows.deposits) {
    const owesReason = ['stalled', 'quarantined', 'refused', 'vanished'].includes(deposit.state)
    if (owesReason && (isBlank(deposit.reason) || isBlank(deposit.reason_code)))
      findings.push({
        promise: 8,
        recordingId: deposit.id,
        what: `it is ${deposit.state} and does not say why`,
        evidence: { deposit },
      })
    if (deposit.state !== 'accepted' && deposit.state !== 'duplicate') continue
    const recording = find.recording.get(deposit.recording_id ?? deposit.id)
    const wasSkipped = rows.problems.some(
      (problem) =>
        problem.recording_id === recording?.id && problem.stage === 'replicate' && problem.resolution === 'skip',
    )
    if (recording?.state === 'retained' && isBlank(deposit.reason) && !wasSkipped)
      findings.push({
        promise: 8,
        recordingId: recording.id,
        what: 'it is kept, its source stays in the inbox, and nothing says why',
        evidence: { deposit },
      })
  }
  return findings
}

function isBlank(text: string | null): boolean {
  return text === null || text.trim() === ''
}
