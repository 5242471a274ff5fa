import type { Actor } from '../../domain/permissions.ts'
import { recordingStates } from '../../domain/recording.ts'
import type { RecordingState, RecordingSummary } from '../../domain/recording.ts'
import { describeBytes } from '../../domain/units.ts'
import { Badge, Next, Polled, When } from './elements.tsx'
import { Page } from './layout.tsx'
import { posterUrl, recordingUrl } from './links.ts'
import { isGone } from './player.tsx'
import { describeLength, recordingLabels } from '../../domain/wording.ts'

/** What the list shows and how it was asked for. */
export interface RecordingsView {
  readonly actor: Actor
  readonly recordings: readonly RecordingSummary[]
  readonly state: RecordingState | null
  readonly text: string
  /** Address of the next, older page, where there is one. */
  readonly olderUrl: string | null
  /** This page's own address, for refreshing it. */
  readonly url: string
  readonly seen: string
  readonly nowMs: number
  readonly done?: string | undefined
}

/** The console's first page: every recording, newest first, with what happens next. */
export function RecordingsPage({ view }: { view: RecordingsView }) {
  return (
    <Page shell={{ title: 'Recordings', actor: view.actor, path: '/', done: view.done }}>
      <h1>Recordings</h1>
      <form method="get" action="/" class="filter" role="search">
        <label class="field">
          <span>Search</span>
          <input
            type="search"
            name="text"
            value={view.text}
            maxlength={200}
            placeholder="words of title, description, tags"
          />
        </label>
        <label class="field">
          <span>State</span>
          <select name="state">
            <option value="">all</option>
            {recordingStates.map((state) => (
              <option value={state} selected={state === view.state}>
                {recordingLabels[state].text}
              </option>
            ))}
          </select>
        </label>
        <button>Show</button>
      </form>
      <div aria-live="polite">
        <RecordingList view={view} />
      </div>
    </Page>
  )
}

/** The part of the list that stays up to date. */
export function RecordingList({ view }: { view: RecordingsView }) {
  const filtered = view.text !== '' || view.state !== null
  return (
    <Polled id="recordings" url={view.url} seen={view.seen}>
      {view.recordings.length === 0 ? (
        <p class="empty">
          {filtered
            ? 'No recording matches. Change the search, or show all states.'
            : "No recordings yet. Drop a file into a recorder's directory: it appears under Deposits at once, and here when it is complete."}
        </p>
      ) : (
        <ol class="rows">
          {view.recordings.map((recording) => (
            <RecordingRow recording={recording} nowMs={view.nowMs + recording.clockOffsetMs} />
          ))}
        </ol>
      )}
      {view.olderUrl === null ? null : (
        <nav aria-label="Pages" class="pages">
          <a class="button" href={view.olderUrl}>
            Older recordings
          </a>
        </nav>
      )}
    </Polled>
  )
}

function RecordingRow({ recording, nowMs }: { recording: RecordingSummary; nowMs: number }) {
  return (
    <li class="row" id={`recording-${recording.id}`}>
      <Thumb recording={recording} />
      <div class="row-text">
        <h2>
          <a href={recordingUrl(recording.id)}>{recording.title}</a>
        </h2>
        <p class="muted">
          {recording.recorderName} · {recording.ownerName ?? 'no owner yet'}
          {recording.durationMs === null ? null : <> · {describeLength(recording.durationMs)}</>} ·{' '}
          {describeBytes(recording.sizeBytes)} · <When atMs={recording.createdAtMs} />
        </p>
        <Badges recording={recording} />
        <Progress recording={recording} />
        {recording.problem === null ? null : <p class="problem-message">{recording.problem.message}</p>}
        <Next waiting={recording} nowMs={nowMs} />
      </div>
    </li>
  )
}

function Thumb({ recording }: { recording: RecordingSummary }) {
  return (
    <div class="thumb">
      {recording.hasPoster && !isGone(recording.state) ? (
        <img src={posterUrl(recording.id)} alt="" loading="lazy" width={160} height={90} />
      ) : null}
    </div>
  )
}

/** State, hold and problem, each as a badge. */
export function Badges({ recording }: { recording: RecordingSummary }) {
  return (
    <p class="badges">
      <Badge label={recordingLabels[recording.state]} />
      {recording.onHold ? <Badge label={{ text: 'Legal hold', tone: 'leaving' }} /> : null}
      {recording.problem === null ? null : <Badge label={{ text: 'Needs attention', tone: 'bad' }} />}
    </p>
  )
}

/** How far the encode is, while there is one. */
export function Progress({ recording }: { recording: RecordingSummary }) {
  if (recording.state !== 'encoding' || recording.progressPercent === null) return null
  const percent = Math.min(100, Math.max(0, recording.progressPercent))
  return (
    <p class="progress">
      <progress value={percent} max={100} aria-label="Encoding" /> <span>{percent} %</span>
    </p>
  )
}
