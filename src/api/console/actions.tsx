import type { Child } from 'hono/jsx'
import type { CommandKind } from '../../domain/commands.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { RecordingDetail } from '../../domain/recording.ts'
import { msPer } from '../../domain/units.ts'
import { CommandForm, OwnerChoice, ReasonField } from './command-form.tsx'
import type { Person } from './command-form.tsx'
import { DispositionBox, Holds } from './disposition.tsx'
import { Field, PostForm } from './elements.tsx'
import { recordingUrl } from './links.ts'
import { offered, soonestExtension, verdicts } from './verdicts.ts'
import type { Offered } from './verdicts.ts'
import { commandLabels } from '../../domain/wording.ts'

/** Whose buttons are shown, for which recording, at which time of the recording's own clock. */
export interface ActionsView {
  readonly actor: Actor
  readonly recording: RecordingDetail
  readonly people: readonly Person[]
  readonly fastForward: boolean
  readonly nowMs: number
}

/** Everything this person may do to this recording now, and what not, with the reason. */
export function Actions({ view }: { view: ActionsView }) {
  const { recording, actor, nowMs } = view
  const all = verdicts(recording.facts, actor, nowMs)
  const allowed = offered.filter((kind) => all.get(kind)?.ok === true && !inDispositionBox.has(kind))
  const refused = offered.flatMap((kind) => {
    const verdict = all.get(kind)
    return verdict === undefined || verdict.ok ? [] : [{ kind, why: verdict.message }]
  })
  return (
    <>
      <DispositionBox view={view} all={all} />
      <Holds view={view} />
      <section class="box" aria-labelledby="actions-title">
        <h2 id="actions-title">Actions</h2>
        {allowed.length === 0 ? <p class="muted">There is nothing for you to do here now.</p> : null}
        <div class="commands">
          {allowed.map((kind) => (
            <CommandForm
              id={recording.id}
              kind={kind}
              fields={fields[kind]?.(view)}
              {...(looks[kind] === undefined ? {} : { look: looks[kind] })}
            />
          ))}
        </div>
        {refused.length === 0 ? null : (
          <details class="refused">
            <summary>Not possible now, and why</summary>
            <ul>
              {refused.map(({ kind, why }) => (
                <li>
                  <button disabled title={why}>
                    {commandLabels[kind]}
                  </button>
                  <span>{why}</span>
                </li>
              ))}
            </ul>
          </details>
        )}
        <FastForward view={view} />
      </section>
    </>
  )
}

const looks: Readonly<Partial<Record<Offered, 'danger' | 'quiet'>>> = {
  requestDeletion: 'danger',
  cancelEncode: 'quiet',
  notMine: 'quiet',
  replan: 'quiet',
}

const inDispositionBox: ReadonlySet<CommandKind> = new Set(['approveDeletion', 'rejectDeletion', 'undo'])

const fields: Readonly<Partial<Record<Offered, (view: ActionsView) => Child>>> = {
  claim: ({ recording }) => <Field name="title" label="Title" value={recording.title} maxLength={300} />,
  assign: ({ recording, people }) => (
    <>
      <Field name="title" label="Title" value={recording.title} maxLength={300} />
      <OwnerChoice people={people} selected={recording.facts.ownerId} />
    </>
  ),
  extend: ({ recording, nowMs }) => (
    <>
      <Field
        name="until"
        label="Keep until"
        type="date"
        required
        value={dateOf(soonestExtension(recording.facts, nowMs) + msPer.year)}
      />
      <ReasonField />
    </>
  ),
  hold: () => <ReasonField />,
  requestDeletion: () => <ReasonField />,
  rejectDeletion: () => <ReasonField />,
}

function dateOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10)
}

const jumps = [
  { days: 7, text: '+1 week' },
  { days: 30, text: '+30 days' },
  { days: 365, text: '+1 year' },
  { days: 730, text: '+2 years' },
] as const

/** Who may let a recording's time pass, in systems where that is possible at all. */
export function mayFastForward(actor: Actor): boolean {
  return actor.roles.includes('admin') && actor.scopes.includes('admin')
}

function FastForward({ view }: { view: ActionsView }) {
  if (!view.fastForward || view.recording.state === 'purged' || !mayFastForward(view.actor)) return null
  return (
    <fieldset class="fast-forward">
      <legend>Let time pass for this recording (demo systems only)</legend>
      <div class="commands">
        {jumps.map((jump) => (
          <PostForm action={`${recordingUrl(view.recording.id)}/fast-forward`} label={`Let time pass: ${jump.text}`}>
            <input type="hidden" name="days" value={jump.days} />
            <button class="quiet">{jump.text}</button>
          </PostForm>
        ))}
      </div>
    </fieldset>
  )
}
