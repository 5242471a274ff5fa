import { setTimeout as pause } from 'node:timers/promises'
import { recordingLabels } from '../domain/wording.ts'
import { ReelkeepError } from '../domain/errors.ts'
import type { RecordingState } from '../domain/recording.ts'
import { recordingStates } from '../domain/recording.ts'
import type { DepositAnswer, RecordingAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { oneLine, progressBar } from './terminal.ts'
import type { Terminal } from './terminal.ts'

const lookEveryMs = 400

/** How long to wait for something, and who wants to end the wait. */
export interface WaitLimits {
  readonly signal?: AbortSignal | undefined
  /** Without any change for this long, the wait ends with an error that says where it stands. */
  readonly stuckAfterMs: number
}

/** Ids of everything that was ever seen under this path: a new deposit is one that is not among them. */
export async function knownDeposits(api: ApiClient, path: string): Promise<ReadonlySet<string>> {
  return new Set((await depositsAt(api, path)).map((deposit) => deposit.id))
}

async function depositsAt(api: ApiClient, path: string): Promise<readonly DepositAnswer[]> {
  const deposits = await api.list<DepositAnswer>('/deposits', {}, 500)
  return deposits.filter((deposit) => deposit.path === path)
}

/**
 * Waits until the file at this path of an inbox was detected and judged, telling each state once. Returns the deposit
 * that became a recording, or was linked to one, or was refused.
 * @throws pipeline_unavailable when nothing changes for too long
 */
export async function watchDeposit(
  api: ApiClient,
  path: string,
  known: ReadonlySet<string>,
  terminal: Terminal,
  limits: WaitLimits,
): Promise<DepositAnswer> {
  const clock = stuckClock(limits, () => `the file ${path}`)
  let told = ''
  for (;;) {
    const deposit = (await depositsAt(api, path)).find((found) => !known.has(found.id))
    if (deposit !== undefined && deposit.state !== told) {
      told = deposit.state
      terminal.say(eventLine(Date.now(), `deposit ${deposit.state}`, deposit.reason ?? ''))
    }
    if (deposit !== undefined && settled(deposit)) return deposit
    terminal.status(`  ${path}: ${deposit === undefined ? 'waiting to be seen' : deposit.nextStep}`)
    clock.changed(`${told}${deposit?.sizeBytes ?? ''}`)
    await pause(lookEveryMs, undefined, { signal: limits.signal })
  }
}

function settled(deposit: DepositAnswer): boolean {
  return deposit.recordingId !== null || ['quarantined', 'refused', 'vanished', 'orphan'].includes(deposit.state)
}

/** Remembers what of a recording's timeline was told already, across several watches. */
export interface Watch {
  readonly recordingId: string
  /** The last line of the timeline that was told. */
  toldSeq: number
}

/**
 * Watches a recording until `reached` says so, telling every line of its timeline once and its progress in place.
 * @throws wrong_state when it needs attention (with the reason), pipeline_unavailable when nothing changes for too long
 */
export async function watchRecording(
  api: ApiClient,
  watch: Watch,
  reached: (recording: RecordingAnswer) => boolean,
  terminal: Terminal,
  limits: WaitLimits,
): Promise<RecordingAnswer> {
  const clock = stuckClock(limits, () => `recording ${watch.recordingId}`)
  for (;;) {
    const recording = await api.get<RecordingAnswer>(`/recordings/${watch.recordingId}`)
    tellTimeline(recording.timeline, watch, terminal)
    if (reached(recording)) {
      terminal.status('')
      return recording
    }
    if (recording.problem !== null && recording.problem.nextRetryAtMs === null) throw needsAttention(recording)
    terminal.status(statusLine(recording))
    clock.changed(`${recording.version} ${recording.progressPercent} ${watch.toldSeq}`)
    await pause(lookEveryMs, undefined, { signal: limits.signal })
  }
}

/** True once the recording came at least this far in its life. */
export function hasReached(recording: { readonly state: RecordingState }, state: RecordingState): boolean {
  return recordingStates.indexOf(recording.state) >= recordingStates.indexOf(state)
}

function needsAttention(recording: RecordingAnswer): ReelkeepError {
  const { stage, message } = recording.problem ?? { stage: '', message: '' }
  const next = `See \`reelkeep show ${recording.id}\`, then \`reelkeep retry ${recording.id}\`.`
  return new ReelkeepError('wrong_state', `"${recording.title}" needs attention at ${stage}: ${message} ${next}`)
}

function tellTimeline(timeline: RecordingAnswer['timeline'], watch: Watch, terminal: Terminal): void {
  for (const event of [...timeline].sort((a, b) => a.seq - b.seq)) {
    if (event.seq <= watch.toldSeq) continue
    watch.toldSeq = event.seq
    terminal.say(eventLine(event.clockAtMs ?? event.atMs, describeAction(event.action), event.actor))
  }
}

/** `recording.encoding` as people read it. */
export function describeAction(action: string): string {
  const [, state = ''] = /^recording\.(.+)$/.exec(action) ?? []
  const known = recordingStates.find((name) => name === state)
  return known === undefined ? action.replaceAll(/[._]/g, ' ') : recordingLabels[known].text
}

function eventLine(atMs: number, what: string, note: string): string {
  const at = new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
  return oneLine(`  ${at}  ${what.padEnd(22)} ${note}`).trimEnd()
}

function statusLine({ progressPercent, state, nextStep }: RecordingAnswer): string {
  const label = recordingLabels[state].text
  return state === 'encoding' && progressPercent !== null
    ? `  ${label} ${progressBar(progressPercent)}`
    : `  ${label}: ${oneLine(nextStep)}`
}

function stuckClock({ stuckAfterMs }: WaitLimits, what: () => string): { changed(mark: string): void } {
  let [lastMark, sinceMs] = ['', Date.now()]
  return {
    changed(mark) {
      if (mark !== lastMark) [lastMark, sinceMs] = [mark, Date.now()]
      else if (Date.now() - sinceMs > stuckAfterMs) {
        const message = `Nothing happened to ${what()} for ${Math.round(stuckAfterMs / 1000)} s. Run \`reelkeep doctor\`; it goes on by itself when what is missing is back.`
        throw new ReelkeepError('pipeline_unavailable', message)
      }
    },
  }
}
