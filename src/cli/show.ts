import { recordingLabels } from '../domain/wording.ts'
import { describeBytes, describeDuration } from '../domain/units.ts'
import type { RecordingAnswer } from './answers.ts'
import { instant, oneLine, table } from './terminal.ts'
import { describeAction } from './watch.ts'

/** One recording for the terminal: what it is, what happens next and why, then plan, copies and timeline. */
export function describeRecording(recording: RecordingAnswer): string {
  const parts = [
    facts(recording),
    problem(recording),
    plan(recording),
    deletion(recording),
    copies(recording),
    timeline(recording),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

function facts(recording: RecordingAnswer): string {
  const { durationMs, clockOffsetMs } = recording
  const rows = [
    ['id', recording.id],
    ['state', `${recordingLabels[recording.state].text}, since ${instant(recording.stateSinceMs)}`],
    ...(recording.waitingFor === ''
      ? []
      : [
          ['waits for', recording.waitingFor],
          ['next', `${recording.nextStep} (${instant(recording.nextAtMs)})`],
        ]),
    ['recorder', recording.recorderName],
    ['owner', recording.ownerName ?? 'nobody yet'],
    ['deposit', recording.depositPath],
    [
      'original',
      `${describeBytes(Number(recording.sizeBytes))}${durationMs === null ? '' : `, ${describeDuration(durationMs)}`}, SHA-256 ${recording.sha256}`,
    ],
    ...(recording.tags.length === 0 ? [] : [['tags', recording.tags.join(', ')]]),
    ...(clockOffsetMs === 0 ? [] : [['clock', `moved ${describeDuration(clockOffsetMs)} ahead`]]),
    ...recording.holds.map((hold) => ['HELD', `${hold.reason} (since ${instant(hold.placedAtMs)}, hold ${hold.id})`]),
  ]
  return [
    oneLine(recording.title),
    ...rows.map(([name = '', value = '']) => `  ${name.padEnd(10)} ${oneLine(value)}`),
  ].join('\n')
}

function problem({ id, problem }: RecordingAnswer): string {
  if (problem === null) return ''
  const next =
    problem.nextRetryAtMs === null ? 'no automatic retry' : `next automatic retry ${instant(problem.nextRetryAtMs)}`
  return [
    `NEEDS ATTENTION at ${problem.stage} since ${instant(problem.sinceMs)} (${problem.code}, ${problem.attempts} attempts, ${next})`,
    `  ${oneLine(problem.message)}`,
    `  You can: ${problem.options.map((option) => `reelkeep retry ${id} --option ${option}`).join('; ')}`,
  ].join('\n')
}

function plan({ plan: known, planHash }: RecordingAnswer): string {
  if (known === null) return ''
  const rows = known.actions.map((action) => [
    `  ${instant(action.atMs)}`,
    action.kind.replaceAll('_', ' '),
    action.reason,
  ])
  return `Plan: kept until ${instant(known.retainUntilMs)}, because: ${oneLine(known.reason)} (plan ${planHash?.slice(0, 12)})\n${table(['  WHEN', 'WHAT', 'WHY'], rows)}`
}

function deletion({ id, disposition }: RecordingAnswer): string {
  if (disposition === null) return ''
  const who = disposition.requestedBy === null ? 'the policy' : `person ${disposition.requestedBy}`
  const approve =
    disposition.state === 'requested' ? `\n  Approve: reelkeep approve ${id} --plan ${disposition.planHash}` : ''
  const undo = disposition.undoUntilMs === null ? '' : `; can be undone until ${instant(disposition.undoUntilMs)}`
  return `Deletion ${disposition.state}: asked for by ${who} on ${instant(disposition.requestedAtMs)}: ${oneLine(disposition.reason)}; ${disposition.approvedBy.length} approval(s)${undo}${approve}`
}

function copies(recording: RecordingAnswer): string {
  if (recording.copies.length === 0) return ''
  const rows = recording.copies.map((copy) => [
    `  ${copy.fileName}`,
    copy.storeName,
    copy.site,
    describeBytes(Number(copy.sizeBytes)),
    copy.state,
    instant(copy.purgedAtMs ?? copy.verifiedAtMs),
    copy.checkResult === null ? '-' : `${copy.checkResult.replaceAll('_', ' ')} ${instant(copy.checkedAtMs)}`,
    copy.sha256.slice(0, 12),
  ])
  return `Copies:\n${table(['  FILE', 'STORE', 'SITE', 'SIZE', 'STATE', 'AT', 'CHECKED', 'SHA-256'], rows)}`
}

function timeline(recording: RecordingAnswer): string {
  const rows = [...recording.timeline]
    .sort((a, b) => a.seq - b.seq)
    .map((event) => [`  ${instant(event.clockAtMs ?? event.atMs)}`, describeAction(event.action), event.actor])
  return rows.length === 0 ? '' : `Timeline:\n${table(['  WHEN', 'WHAT', 'WHO'], rows)}`
}
