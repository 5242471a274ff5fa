import { decideCommand } from '../../domain/commands.ts'
import type { Verdict } from '../../domain/commands.ts'
import type { Disposition } from '../../domain/recording.ts'
import type { ActionsView } from './actions.tsx'
import { CommandForm, ReasonField } from './command-form.tsx'
import type { Person } from './command-form.tsx'
import { Hash, PostForm, When } from './elements.tsx'
import { commandUrl } from './links.ts'
import type { Offered } from './verdicts.ts'
import { commandLabels, dispositionLabels } from '../../domain/wording.ts'

function nameOf(people: readonly Person[], id: string): string {
  return people.find((person) => person.id === id)?.name ?? 'somebody who left'
}

/** The open request to delete: who, why, for which plan, who agreed, until when it can be undone. */
export function DispositionBox({ view, all }: { view: ActionsView; all: ReadonlyMap<Offered, Verdict> }) {
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
        {may('rejectDeletion') ? (
          <CommandForm id={recording.id} kind="rejectDeletion" fields={<ReasonField />} />
        ) : null}
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
          {request.requestedBy === null ? 'the policy' : nameOf(people, request.requestedBy)},{' '}
          <When atMs={request.requestedAtMs} />
        </dd>
      </div>
      <div>
        <dt>Reason</dt>
        <dd>{request.reason}</dd>
      </div>
      <div>
        <dt>Approved by</dt>
        <dd>
          {request.approvedBy.length === 0
            ? 'nobody yet'
            : request.approvedBy.map((id) => nameOf(people, id)).join(', ')}
        </dd>
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

/** The holds that stand, each with its reason. */
export function Holds({ view }: { view: ActionsView }) {
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
