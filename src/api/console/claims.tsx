import { decideCommand } from '../../domain/commands.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { RecordingDetail } from '../../domain/recording.ts'
import { describeBytes } from '../../domain/units.ts'
import { CommandForm, OwnerChoice, ReasonField } from './command-form.tsx'
import type { Person } from './command-form.tsx'
import { Field, Next, When } from './elements.tsx'
import { Page } from './layout.tsx'
import { recordingUrl } from './links.ts'
import { Player } from './player.tsx'
import { describeLength } from '../../domain/wording.ts'

/** One page of recordings that wait for an owner. */
export interface ClaimsView {
  readonly actor: Actor
  readonly recordings: readonly RecordingDetail[]
  readonly people: readonly Person[]
  readonly olderUrl: string | null
  readonly nowMs: number
  readonly done?: string | undefined
}

/** Everything that waits to be claimed, newest first: watch it, name it, take it, hand it on, or have it deleted instead. */
export function ClaimsPage({ view }: { view: ClaimsView }) {
  return (
    <Page shell={{ title: 'To claim', actor: view.actor, path: '/claims', done: view.done }}>
      <h1>Waiting to be claimed</h1>
      {view.recordings.length === 0 ? (
        <p class="empty">
          Nothing waits to be claimed. A recording appears here when its recorder has nobody it goes to by itself.
        </p>
      ) : null}
      <ol class="cards">
        {view.recordings.map((recording) => (
          <ClaimCard view={view} recording={recording} />
        ))}
      </ol>
      {view.olderUrl === null ? null : (
        <nav aria-label="Pages" class="pages">
          <a class="button" href={view.olderUrl}>
            Older recordings
          </a>
        </nav>
      )}
    </Page>
  )
}

function ClaimCard({ view, recording }: { view: ClaimsView; recording: RecordingDetail }) {
  const nowMs = view.nowMs + recording.clockOffsetMs
  const may = (kind: 'claim' | 'notMine') => decideCommand(recording.facts, { kind }, view.actor, nowMs)
  const claim = may('claim')
  const assign = decideCommand(recording.facts, { kind: 'assign', ownerId: '' }, view.actor, nowMs)
  const remove = decideCommand(recording.facts, { kind: 'requestDeletion', reason: '' }, view.actor, nowMs)
  const title = <Field name="title" label="Title" value={recording.title} maxLength={300} />
  return (
    <li class="card" id={`claim-${recording.id}`}>
      <Player recording={recording} />
      <h2>
        <a href={recordingUrl(recording.id)}>{recording.title}</a>
      </h2>
      <p class="muted">
        {recording.recorderName}
        {recording.durationMs === null ? '' : ` · ${describeLength(recording.durationMs)}`} ·{' '}
        {describeBytes(recording.sizeBytes)} · <When atMs={recording.createdAtMs} />
      </p>
      <p class="muted path">{recording.depositPath}</p>
      <Next waiting={recording} nowMs={nowMs} />
      {claim.ok ? (
        <CommandForm id={recording.id} kind="claim" fields={title} open />
      ) : (
        <p class="why">{claim.message}</p>
      )}
      <div class="commands">
        {assign.ok ? (
          <CommandForm
            id={recording.id}
            kind="assign"
            back="/claims"
            fields={
              <>
                {title}
                <OwnerChoice people={view.people} selected={recording.facts.defaultOwnerId} />
              </>
            }
          />
        ) : null}
        {may('notMine').ok ? <CommandForm id={recording.id} kind="notMine" look="quiet" back="/claims" /> : null}
        {remove.ok ? (
          <CommandForm id={recording.id} kind="requestDeletion" back="/claims" look="danger" fields={<ReasonField />} />
        ) : null}
      </div>
    </li>
  )
}
