import type { Child } from 'hono/jsx'
import { describeBytes, describeDuration } from '../../domain/units.ts'
import { hasRole } from '../../domain/permissions.ts'
import type { RecordingDetail } from '../../domain/recording.ts'
import { Actions } from './actions.tsx'
import type { ActionsView } from './actions.tsx'
import { Copies, Files } from './copies.tsx'
import { Field, Hash, Next, Polled, PostForm, ProblemFacts, When } from './elements.tsx'
import { Page } from './layout.tsx'
import { certificateUrl, recordingUrl } from './links.ts'
import { nameOfContent } from './seen.ts'
import { ProblemButtons } from './problem.tsx'
import { Player } from './player.tsx'
import { Badges, Progress } from './recordings.tsx'
import { Plan, Timeline } from './timeline.tsx'
import { describeLength } from '../../domain/wording.ts'

/** The parts of the page that refresh by themselves, each on its own so that nobody's typing or watching is interrupted. */
export const recordingParts = ['player', 'status', 'actions', 'keeping', 'history'] as const
/** One of them. */
export type RecordingPart = (typeof recordingParts)[number]

/** One recording, for one person. */
export interface RecordingView extends ActionsView {
  /** What each part shows, as short names: equal names = nothing changed. */
  readonly seen: Readonly<Record<RecordingPart, string>>
  readonly done?: string | undefined
}

/** One recording: watch it, see what happens next and why, decide. */
export function RecordingPage({ view }: { view: RecordingView }) {
  const { recording } = view
  return (
    <Page shell={{ title: recording.title, actor: view.actor, path: '/recordings', done: view.done }}>
      <h1>{recording.title}</h1>
      <div class="columns">
        <div>
          <Part view={view} part="player" />
          <div aria-live="polite">
            <Part view={view} part="status" />
          </div>
        </div>
        <div>
          <Part view={view} part="actions" />
        </div>
        <div>
          <Part view={view} part="keeping" />
          <About view={view} />
        </div>
        <div>
          <Part view={view} part="history" />
        </div>
      </div>
    </Page>
  )
}

/** One refreshing part: the page contains it, and the polling request gets it alone. */
export function Part({ view, part }: { view: RecordingView; part: RecordingPart }) {
  const settled = view.recording.state === 'purged'
  const everySeconds = part === 'status' || part === 'actions' ? 3 : 6
  return (
    <Polled
      id={part}
      url={recordingUrl(view.recording.id)}
      seen={view.seen[part]}
      everySeconds={everySeconds}
      settled={settled}
    >
      {contents[part]({ view })}
    </Polled>
  )
}

const contents: Readonly<Record<RecordingPart, (props: { view: RecordingView }) => Child>> = {
  status: Status,
  player: ({ view }) => (
    <div class="player">
      <Player recording={view.recording} />
    </div>
  ),
  actions: Actions,
  keeping: ({ view }) => (
    <>
      <Plan recording={view.recording} nowMs={view.nowMs} />
      <Copies copies={view.recording.copies} />
    </>
  ),
  history: ({ view }) => (
    <>
      <Files recording={view.recording} />
      <Timeline events={view.recording.timeline} />
    </>
  ),
}

function Status({ view }: { view: RecordingView }) {
  const { recording, nowMs } = view
  return (
    <>
      <section class="box now" aria-labelledby="now-title">
        <h2 id="now-title">What happens next</h2>
        <Badges recording={recording} />
        <Progress recording={recording} />
        <Next waiting={recording} nowMs={nowMs} />
        <p class="muted">
          In this state since <When atMs={recording.stateSinceMs} nowMs={nowMs - recording.clockOffsetMs} />
        </p>
        {recording.clockOffsetMs === 0 ? null : (
          <p class="clock">
            This recording's clock is {describeDuration(recording.clockOffsetMs)} ahead: for it, it is{' '}
            <When atMs={nowMs} />.
          </p>
        )}
        {recording.certificate === null || recording.certificate === undefined ? null : (
          <p>
            <a class="button" href={certificateUrl(recording.id)}>
              Deletion certificate
            </a>
          </p>
        )}
      </section>
      {recording.problem === null ? null : (
        <section class="box tone-bad" aria-labelledby="problem-title">
          <h2 id="problem-title">Needs attention</h2>
          <ProblemFacts problem={recording.problem} nowMs={nowMs} />
          <ProblemButtons recording={recording} actor={view.actor} nowMs={nowMs} back={recordingUrl(recording.id)} />
        </section>
      )}
    </>
  )
}

function About({ view }: { view: RecordingView }) {
  const { recording } = view
  return (
    <section class="box" aria-labelledby="about-title">
      <h2 id="about-title">About</h2>
      {recording.description === '' ? null : <p class="description">{recording.description}</p>}
      <dl class="facts">
        <Fact name="Recorder" value={recording.recorderName} />
        <Fact name="Owner" value={recording.ownerName ?? 'nobody yet'} />
        {recording.tags.length === 0 ? null : <Fact name="Tags" value={recording.tags.join(', ')} />}
        <Fact
          name="Length"
          value={recording.durationMs === null ? 'not known' : describeLength(recording.durationMs)}
        />
        <Fact name="Size" value={describeBytes(recording.sizeBytes)} />
        <Fact name="Arrived as" value={recording.depositPath} />
        <div>
          <dt>Id</dt>
          <dd>
            <Hash value={recording.id} />
          </dd>
        </div>
        <div>
          <dt>SHA-256</dt>
          <dd>
            <Hash value={recording.sha256} />
          </dd>
        </div>
      </dl>
      {mayDescribe(view) ? <DescribeForm view={view} /> : null}
    </section>
  )
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}

/** Who may change title, description and tags: the owner, the recorder's manager, operators; while it exists. */
export function mayDescribe({ recording, actor }: Pick<RecordingView, 'recording' | 'actor'>): boolean {
  const { facts } = recording
  const involved = facts.ownerId === actor.personId || facts.managerId === actor.personId || hasRole(actor, 'operator')
  return involved && actor.scopes.includes('write') && recording.state !== 'purging' && recording.state !== 'purged'
}

/**
 * What a description form was filled with. The recording's version will not do here: it counts every step of the
 * encode, too, and would refuse people who type while their recording is worked on.
 */
export function describedAs(recording: Pick<RecordingDetail, 'title' | 'description' | 'tags'>): string {
  return nameOfContent([recording.title, recording.description, recording.tags])
}

function DescribeForm({ view }: { view: RecordingView }) {
  const { recording } = view
  return (
    <details class="command-fold">
      <summary>Edit title, description and tags…</summary>
      <PostForm action={`${recordingUrl(recording.id)}/describe`} label="Edit">
        <input type="hidden" name="was" value={describedAs(recording)} />
        <Field name="title" label="Title" value={recording.title} required maxLength={300} />
        <label class="field">
          <span>Description</span>
          <textarea name="description" rows={4} maxlength={10_000}>
            {recording.description}
          </textarea>
        </label>
        <Field name="tags" label="Tags" value={recording.tags.join(', ')} hint="separated by commas" maxLength={1000} />
        <button>Save</button>
      </PostForm>
    </details>
  )
}
