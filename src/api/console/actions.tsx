import type { Child } from 'hono/jsx'
import { decideCommand } from '../../domain/commands.ts'
import type { Command, CommandKind, Verdict } from '../../domain/commands.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { Disposition, RecordingDetail, RecordingFacts } from '../../domain/recording.ts'
import { msPer } from '../../domain/units.ts'
import { Choice, Field, Hash, PostForm, When } from './elements.tsx'
import { commandUrl, recordingUrl } from './links.ts'
import { commandLabels, dispositionLabels, optionLabels } from './wording.ts'

/** Somebody who can own recordings. */
export interface Person {
  readonly id: string
  readonly name: string
}

/** Whose buttons are shown, for which recording, at which time of the recording's own clock. */
export interface ActionsView {
  readonly actor: Actor
  readonly recording: RecordingDetail
  readonly people: readonly Person[]
  readonly fastForward: boolean
  readonly nowMs: number
}

const offered = ['claim', 'assign', 'notMine', 'extend', 'hold', 'requestDeletion', 'approveDeletion', 'rejectDeletion', 'undo', 'replan'] as const
type Offered = (typeof offered)[number]

/** The verdict on every command a person could give now: the same decision that is taken again when it is given. */
export function verdicts(facts: RecordingFacts, actor: Actor, nowMs: number): ReadonlyMap<Offered, Verdict> {
  return new Map(offered.map((kind) => [kind, decideCommand(facts, exampleOf(kind, facts, nowMs), actor, nowMs)]))
}

function exampleOf(kind: Offered, facts: RecordingFacts, nowMs: number): Command {
  switch (kind) {
    case 'assign':
      return { kind, ownerId: facts.ownerId ?? '' }
    case 'extend':
      return { kind, untilMs: soonestExtension(facts, nowMs), reason: '' }
    case 'approveDeletion':
      return { kind, planHash: facts.disposition?.planHash ?? '' }
    case 'hold':
    case 'requestDeletion':
    case 'rejectDeletion':
      return { kind, reason: '' }
    case 'claim':
    case 'notMine':
    case 'undo':
    case 'replan':
      return { kind }
  }
}

function soonestExtension(facts: RecordingFacts, nowMs: number): number {
  return Math.max(nowMs, facts.retainUntilMs ?? 0) + msPer.day
}

/** One command as a form: a single button, or a fold with the fields it needs (`open` = without the fold). */
export function CommandForm(props: { id: string; kind: CommandKind; back?: string; fields?: Child; danger?: boolean; open?: boolean }) {
  const label = commandLabels[props.kind]
  const form = (
    <PostForm action={commandUrl(props.id)} label={label}>
      <input type="hidden" name="kind" value={props.kind} />
      {props.back === undefined ? null : <input type="hidden" name="back" value={props.back} />}
      {props.fields}
      <button class={props.danger === true ? 'danger' : undefined}>{label}</button>
    </PostForm>
  )
  if (props.fields === undefined || props.open === true) return form
  return (
    <details class="command-fold">
      <summary>{commandLabels[props.kind]}…</summary>
      {form}
    </details>
  )
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
            <CommandForm id={recording.id} kind={kind} fields={fieldsOf(kind, view)} danger={kind === 'requestDeletion'} />
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

const inDispositionBox: ReadonlySet<CommandKind> = new Set(['approveDeletion', 'rejectDeletion', 'undo'])

function fieldsOf(kind: Offered, view: ActionsView): Child | undefined {
  const { recording } = view
  switch (kind) {
    case 'claim':
      return <Field name="title" label="Title" value={recording.title} maxLength={300} />
    case 'assign':
      return (
        <>
          <Field name="title" label="Title" value={recording.title} maxLength={300} />
          <OwnerChoice people={view.people} selected={recording.facts.ownerId} />
        </>
      )
    case 'extend':
      return (
        <>
          <Field
            name="until"
            label="Keep until"
            type="date"
            required
            value={new Date(soonestExtension(recording.facts, view.nowMs) + msPer.year).toISOString().slice(0, 10)}
          />
          <Field name="reason" label="Reason" required />
        </>
      )
    case 'hold':
    case 'requestDeletion':
    case 'rejectDeletion':
      return <Field name="reason" label="Reason" required />
    case 'notMine':
    case 'approveDeletion':
    case 'undo':
    case 'replan':
      return undefined
  }
}

/** Who shall own it. */
export function OwnerChoice({ people, selected }: { people: readonly Person[]; selected: string | null }) {
  return (
    <Choice
      name="ownerId"
      label="Owner"
      options={people.map((person) => ({ value: person.id, text: person.name }))}
      {...(selected === null ? {} : { selected })}
    />
  )
}

function nameOf(people: readonly Person[], id: string): string {
  return people.find((person) => person.id === id)?.name ?? 'somebody who left'
}

function DispositionBox({ view, all }: { view: ActionsView; all: ReadonlyMap<Offered, Verdict> }) {
  const { recording } = view
  const request = recording.facts.disposition
  if (request === null) return null
  const may = (kind: Offered) => all.get(kind)?.ok === true
  const approve = all.get('approveDeletion')
  return (
    <section class="box tone-leaving" aria-labelledby="disposition-title">
      <h2 id="disposition-title">Deletion {dispositionLabels[request.state]}</h2>
      <DispositionFacts request={request} view={view} />
      <div class="commands">
        {may('approveDeletion') ? (
          <PostForm action={commandUrl(recording.id)} label={commandLabels.approveDeletion}>
            <input type="hidden" name="kind" value="approveDeletion" />
            <input type="hidden" name="planHash" value={request.planHash} />
            <button class="danger">{commandLabels.approveDeletion}</button>
          </PostForm>
        ) : null}
        {approve !== undefined && !approve.ok && request.state === 'requested' ? (
          <span class="refused-inline">
            <button disabled title={approve.message}>
              {commandLabels.approveDeletion}
            </button>
            <span>{approve.message}</span>
          </span>
        ) : null}
        {may('rejectDeletion') ? <CommandForm id={recording.id} kind="rejectDeletion" fields={fieldsOf('rejectDeletion', view)} /> : null}
        {may('undo') ? <CommandForm id={recording.id} kind="undo" /> : null}
      </div>
    </section>
  )
}

function DispositionFacts({ request, view }: { request: Disposition; view: ActionsView }) {
  const { people, nowMs } = view
  return (
    <dl class="facts">
      <div>
        <dt>Requested by</dt>
        <dd>
          {request.requestedBy === null ? 'the policy' : nameOf(people, request.requestedBy)}, <When atMs={request.requestedAtMs} />
        </dd>
      </div>
      <div>
        <dt>Reason</dt>
        <dd>{request.reason}</dd>
      </div>
      <div>
        <dt>Approved by</dt>
        <dd>{request.approvedBy.length === 0 ? 'nobody yet' : request.approvedBy.map((id) => nameOf(people, id)).join(', ')}</dd>
      </div>
      <div>
        <dt>For this plan</dt>
        <dd>
          <Hash value={request.planHash} />
        </dd>
      </div>
      {request.undoUntilMs === null ? null : (
        <div>
          <dt>Can be undone until</dt>
          <dd>
            <When atMs={request.undoUntilMs} nowMs={nowMs} />
          </dd>
        </div>
      )}
    </dl>
  )
}

function Holds({ view }: { view: ActionsView }) {
  const { recording, actor, nowMs, people } = view
  if (recording.facts.holds.length === 0) return null
  return (
    <section class="box tone-leaving" aria-labelledby="holds-title">
      <h2 id="holds-title">Legal hold: nothing may be deleted</h2>
      <ul class="plain">
        {recording.facts.holds.map((hold) => (
          <li>
            <p>{hold.reason}</p>
            <p class="muted">
              {nameOf(people, hold.placedBy)}, <When atMs={hold.placedAtMs} />
            </p>
            {decideCommand(recording.facts, { kind: 'release', holdId: hold.id }, actor, nowMs).ok ? (
              <CommandRelease id={recording.id} holdId={hold.id} />
            ) : null}
          </li>
        ))}
      </ul>
    </section>
  )
}

function CommandRelease({ id, holdId }: { id: string; holdId: string }) {
  return (
    <PostForm action={commandUrl(id)} label={commandLabels.release}>
      <input type="hidden" name="kind" value="release" />
      <input type="hidden" name="holdId" value={holdId} />
      <button>{commandLabels.release}</button>
    </PostForm>
  )
}

/** Retry, skip, replace, give up: whatever this problem offers, where this person may decide. */
export function ProblemButtons({ recording, actor, nowMs, back }: { recording: Pick<RecordingDetail, 'id' | 'facts' | 'problem'>; actor: Actor; nowMs: number; back: string }) {
  if (recording.problem === null) return null
  return (
    <div class="commands">
      {recording.problem.options.map((option) => {
        const verdict = decideCommand(recording.facts, { kind: 'resolve', option }, actor, nowMs)
        return (
          <PostForm action={commandUrl(recording.id)} label={optionLabels[option]}>
            <input type="hidden" name="kind" value="resolve" />
            <input type="hidden" name="option" value={option} />
            <input type="hidden" name="back" value={back} />
            <button class={option === 'give_up' ? 'danger' : undefined} disabled={!verdict.ok} title={verdict.ok ? undefined : verdict.message}>
              {optionLabels[option]}
            </button>
          </PostForm>
        )
      })}
    </div>
  )
}

const jumps = [
  { days: 7, text: '+1 week' },
  { days: 30, text: '+30 days' },
  { days: 365, text: '+1 year' },
  { days: 730, text: '+2 years' },
] as const

function FastForward({ view }: { view: ActionsView }) {
  if (!view.fastForward || view.recording.state === 'purged' || !view.actor.scopes.includes('write')) return null
  return (
    <fieldset class="fast-forward">
      <legend>Let time pass for this recording (demo systems only)</legend>
      <div class="commands">
        {jumps.map((jump) => (
          <PostForm action={`${recordingUrl(view.recording.id)}/fast-forward`} label={`Let time pass: ${jump.text}`}>
            <input type="hidden" name="days" value={jump.days} />
            <button>{jump.text}</button>
          </PostForm>
        ))}
      </div>
    </fieldset>
  )
}
