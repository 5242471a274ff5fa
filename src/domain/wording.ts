import type { CommandKind } from './commands.ts'
import type { DepositState } from './deposit.ts'
import type { PlannedAction } from './plan.ts'
import type { Disposition, ProblemOption, RecordingState, Stage, Waiting } from './recording.ts'
import { describeDuration, msPer } from './units.ts'

/** The colour a state is shown in; the stylesheet knows these names. */
export type Tone = 'wait' | 'work' | 'good' | 'leaving' | 'gone' | 'bad'

/** One state as people read it. */
export interface Label {
  readonly text: string
  readonly tone: Tone
}

/** Every state of a recording, in words. */
export const recordingLabels: Readonly<Record<RecordingState, Label>> = {
  accepted: { text: 'Accepted', tone: 'work' },
  awaiting_claim: { text: 'Waits to be claimed', tone: 'wait' },
  claimed: { text: 'Claimed', tone: 'work' },
  encoding: { text: 'Encoding', tone: 'work' },
  archiving: { text: 'Archiving', tone: 'work' },
  protected: { text: 'Protected', tone: 'good' },
  retained: { text: 'Kept', tone: 'good' },
  disposition_requested: { text: 'Deletion requested', tone: 'leaving' },
  approved: { text: 'Deletion approved', tone: 'leaving' },
  trashed: { text: 'In the trash', tone: 'leaving' },
  purging: { text: 'Being deleted', tone: 'leaving' },
  purged: { text: 'Deleted, proven', tone: 'gone' },
}

/** Every state of a deposit, in words. */
export const depositLabels: Readonly<Record<DepositState, Label>> = {
  arriving: { text: 'Arriving', tone: 'work' },
  stalled: { text: 'Stalled', tone: 'wait' },
  orphan: { text: 'No recorder', tone: 'wait' },
  complete: { text: 'Complete', tone: 'work' },
  accepted: { text: 'Accepted', tone: 'good' },
  duplicate: { text: 'Seen before', tone: 'gone' },
  quarantined: { text: 'Quarantined', tone: 'bad' },
  refused: { text: 'Refused', tone: 'bad' },
  vanished: { text: 'Vanished', tone: 'gone' },
  released: { text: 'Taken in, source removed', tone: 'good' },
}

/** What a command's button says. */
export const commandLabels: Readonly<Record<CommandKind, string>> = {
  claim: 'Claim',
  assign: 'Assign',
  notMine: 'Not mine',
  hold: 'Place a hold',
  release: 'Release the hold',
  extend: 'Keep longer',
  requestDeletion: 'Request deletion',
  approveDeletion: 'Approve deletion',
  rejectDeletion: 'Reject deletion',
  undo: 'Undo deletion',
  replan: 'Plan anew',
  cancelEncode: 'Stop the encode',
  resolve: 'Resolve',
}

/** What the page says after a command was carried out. */
export const doneLabels: Readonly<Record<CommandKind | 'describe' | 'fastForward' | 'recorder', string>> = {
  claim: 'Claimed: it is yours now.',
  assign: 'Assigned.',
  notMine: 'Given back.',
  hold: 'The hold stands: nothing can be deleted until it is released.',
  release: 'The hold is released.',
  extend: 'It is kept longer.',
  requestDeletion: 'Deletion is requested. Another person has to approve it.',
  approveDeletion: 'Your approval counts.',
  rejectDeletion: 'The deletion is rejected.',
  undo: 'It is back.',
  replan: 'Planned anew.',
  cancelEncode: 'The encode is being stopped.',
  resolve: 'Your decision is carried out.',
  describe: 'Saved.',
  fastForward: "This recording's time has passed.",
  recorder: 'The recorder is set up.',
}

/** Buttons of a problem, in words. */
export const optionLabels: Readonly<Record<ProblemOption, string>> = {
  retry: 'Try again now',
  skip: 'Skip this step',
  replace: 'Use a replaced file',
  give_up: 'Give up',
}

/** Stages, in words. */
export const stageLabels: Readonly<Record<Stage, string>> = {
  ingest: 'Taking in',
  claim: 'Finding an owner',
  encode: 'Encoding',
  archive: 'Archiving',
  replicate: 'Keeping the copies',
  retain: 'Planning retention',
  delete: 'Deleting',
}

/** What a plan's entry does, in words. */
export const plannedLabels: Readonly<Record<PlannedAction['kind'], string>> = {
  remind: 'The owner is reminded',
  request_disposition: 'Retention ends; deletion is requested',
  purge_after_approval: 'Earliest day the copies can go, once approved',
}

/** Where a request to delete stands, in words. */
export const dispositionLabels: Readonly<Record<Disposition['state'], string>> = {
  requested: 'waits for approval',
  approved: 'approved',
  rejected: 'rejected',
  undone: 'undone',
  cancelled: 'cancelled',
  purging: 'being carried out',
  done: 'done',
}

/** Said between a decision that ended a wait and the moment in which the recording's life says what it waits for next. */
export const waitingAnew: Waiting = {
  waitingFor: 'the decision just made to take effect',
  nextStep: 'what comes next is worked out',
  nextAtMs: null,
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** "21 Nov 2026, 05:10 UTC": the same for every reader, so that two people on the telephone mean the same minute. */
export function describeInstant(atMs: number): string {
  const at = new Date(atMs)
  const time = at.toISOString().slice(11, 16)
  return `${at.getUTCDate()} ${months[at.getUTCMonth()] ?? ''} ${at.getUTCFullYear()}, ${time} UTC`
}

/** "in 3 d 4 h", "12 min ago", "now". Under a minute counts as now, so that polled parts do not change every second. */
export function describeDistance(atMs: number, nowMs: number): string {
  const distanceMs = Math.abs(atMs - nowMs)
  if (distanceMs < msPer.minute) return 'now'
  const duration = describeDuration(Math.floor(distanceMs / msPer.minute) * msPer.minute)
  return atMs > nowMs ? `in ${duration}` : `${duration} ago`
}

/** "1:02:03", "4:05": a media length. */
export function describeLength(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000)
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60]
  const two = (value: number) => String(value).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

const knownActions: ReadonlyMap<string, string> = new Map([
  ['copy.failed', 'Bad copies found'],
  ['copy.mended', 'Copies made again from good ones'],
  ['store.lost', 'A store has lost what it held, a person says'],
  ['copy.verified', 'Copies that a store lacked are there, and verified'],
  ['copy.mismatch', 'A copy reads back as other bytes'],
  ['manifest.resealed', 'The manifest went bad and is written anew'],
  ['scratch.corrupt', 'A working copy went bad: it is fetched again'],
  ['copy.recovered', 'Copies found good again'],
  ['duplicate.linked', 'The same bytes were uploaded again'],
  ['duplicates.returned', 'Later uploads of its bytes are taken in anew'],
  ['fixity.asked', 'Copies disagree: a person decides'],
  ['fixity.requested', 'Check of the copies asked for'],
  ...Object.entries(recordingLabels).map(([state, label]) => [`recording.${state}`, label.text] as const),
  ...Object.entries(commandLabels).map(([kind, text]) => [`command.${kind}`, text] as const),
])

/** `recording.disposition_requested` -> "Deletion requested": an audit row's action or field, in words. */
export function describeAction(action: string): string {
  const known = knownActions.get(action)
  if (known !== undefined) return known
  const words = action
    .replaceAll(/[._]/g, ' ')
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
  return words.charAt(0).toUpperCase() + words.slice(1)
}
