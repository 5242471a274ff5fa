import { hasRole } from '../../domain/permissions.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { Assignment } from '../../domain/recording.ts'
import { describeDuration } from '../../domain/units.ts'
import type { RecorderView } from '../../db/recorders.ts'
import type { Person } from './command-form.tsx'
import { Choice, Field, PostForm } from './elements.tsx'
import { Page } from './layout.tsx'

/** The recorders of the account, and what a new one can be given. */
export interface RecordersView {
  readonly actor: Actor
  readonly recorders: readonly RecorderView[]
  readonly inboxes: readonly { readonly id: string; readonly name: string }[]
  readonly people: readonly Person[]
  readonly done?: string | undefined
}

const assignmentWords: Readonly<Record<Assignment, string>> = {
  manager: 'its manager gets a mail and decides',
  claim: 'anyone allowed may claim them',
  automatic: 'straight to the default owner',
}

/** Who may set recorders up. */
export function maySetUpRecorders(actor: Actor): boolean {
  return hasRole(actor, 'operator') && actor.scopes.includes('write')
}

/** Every recorder with its directory and where its recordings go; operators set up new ones. */
export function RecordersPage({ view }: { view: RecordersView }) {
  return (
    <Page shell={{ title: 'Recorders', actor: view.actor, path: '/recorders', done: view.done }}>
      <h1>Recorders</h1>
      {view.recorders.length === 0 ? <p class="empty">No recorder is set up yet.</p> : null}
      <ul class="rows">
        {view.recorders.map((recorder) => (
          <RecorderRow recorder={recorder} people={view.people} />
        ))}
      </ul>
      {maySetUpRecorders(view.actor) ? <NewRecorder view={view} /> : null}
    </Page>
  )
}

function RecorderRow({ recorder, people }: { recorder: RecorderView; people: readonly Person[] }) {
  const manager = people.find((person) => person.id === recorder.managerId)
  const owner = people.find((person) => person.id === recorder.defaultOwnerId)
  return (
    <li class="row">
      <div class="row-text">
        <h2>{recorder.name}</h2>
        {recorder.description === '' ? null : <p>{recorder.description}</p>}
        <p>
          Its recordings: {assignmentWords[recorder.assignment]}
          {owner === undefined ? '' : ` (${owner.name})`}.{manager === undefined ? '' : ` Managed by ${manager.name}.`}
        </p>
        <p class="muted">
          {recorder.inboxName}: <code class="path">{recorder.directory}</code>
          {recorder.isDefault ? ' · takes what nobody else is responsible for' : ''}
          {recorder.ip === null ? '' : ` · ${recorder.ip}`}
          {recorder.quietMs === null
            ? ''
            : ` · an upload is over after ${describeDuration(recorder.quietMs)} without change`}
        </p>
      </div>
    </li>
  )
}

function NewRecorder({ view }: { view: RecordersView }) {
  const nobody = { value: '', text: 'nobody' }
  const people = [nobody, ...view.people.map((person) => ({ value: person.id, text: person.name }))]
  if (view.inboxes.length === 0)
    return (
      <p class="muted">
        A recorder needs an inbox to deposit into; an operator adds one as a store with the role inbox.
      </p>
    )
  return (
    <section class="box" aria-labelledby="new-recorder">
      <h2 id="new-recorder">Set up a recorder</h2>
      <PostForm action="/recorders" label="Set up a recorder">
        <Field name="name" label="Name" required maxLength={200} />
        <Field name="description" label="Description" maxLength={1000} />
        <Choice
          name="inboxId"
          label="Inbox"
          options={view.inboxes.map((inbox) => ({ value: inbox.id, text: inbox.name }))}
        />
        <Field
          name="directory"
          label="Directory"
          required
          hint="below the inbox, for example room-101"
          maxLength={500}
        />
        <Choice
          name="assignment"
          label="Its recordings"
          options={(['claim', 'manager', 'automatic'] as const).map((value) => ({
            value,
            text: assignmentWords[value],
          }))}
        />
        <Choice name="managerId" label="Manager" options={people} />
        <Choice name="defaultOwnerId" label="Default owner" options={people} />
        <button>Set up</button>
      </PostForm>
    </section>
  )
}
