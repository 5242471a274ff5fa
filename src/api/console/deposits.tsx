import type { Child } from 'hono/jsx'
import type { DepositView } from '../../domain/deposit.ts'
import { depositStates } from '../../domain/deposit.ts'
import type { DepositState } from '../../domain/deposit.ts'
import type { Actor } from '../../domain/permissions.ts'
import { describeBytes } from '../../domain/units.ts'
import { Badge, Polled, When } from './elements.tsx'
import { Page } from './layout.tsx'
import { recordingUrl } from './links.ts'
import { depositLabels } from '../../domain/wording.ts'

/** One page of everything that was ever seen in an inbox. */
export interface DepositsView {
  readonly actor: Actor
  readonly deposits: readonly DepositView[]
  readonly state: DepositState | null
  readonly olderUrl: string | null
  readonly url: string
  readonly seen: string
  readonly nowMs: number
}

/** Everything that was ever seen in an inbox, with its reason and its next step. */
export function DepositsPage({ view }: { view: DepositsView }) {
  return (
    <Page shell={{ title: 'Deposits', actor: view.actor, path: '/deposits' }}>
      <h1>Deposits</h1>
      <p class="muted">Everything that was ever seen in an inbox, and what became of it.</p>
      <form method="get" action="/deposits" class="filter" role="search">
        <label class="field">
          <span>State</span>
          <select name="state">
            <option value="">all</option>
            {depositStates.map((state) => (
              <option value={state} selected={state === view.state}>
                {depositLabels[state].text}
              </option>
            ))}
          </select>
        </label>
        <button>Show</button>
      </form>
      <div aria-live="polite">
        <DepositList view={view} />
      </div>
    </Page>
  )
}

/** The part of the list that stays up to date. */
export function DepositList({ view }: { view: DepositsView }) {
  return (
    <Polled id="deposits" url={view.url} seen={view.seen}>
      {view.deposits.length === 0 ? (
        <p class="empty">
          Nothing to see here yet. Files appear within seconds after a recorder begins to upload them.
        </p>
      ) : (
        <ul class="rows">
          {view.deposits.map((deposit) => (
            <DepositRow deposit={deposit} nowMs={view.nowMs} />
          ))}
        </ul>
      )}
      {view.olderUrl === null ? null : (
        <nav aria-label="Pages" class="pages">
          <a class="button" href={view.olderUrl}>
            Older deposits
          </a>
        </nav>
      )}
    </Polled>
  )
}

/** One deposit: its path, its state, why, what happens next, and what people can do about it. */
export function DepositRow({ deposit, nowMs, children }: { deposit: DepositView; nowMs: number; children?: Child }) {
  return (
    <li class="row">
      <div class="row-text">
        <h2 class="path">{deposit.path}</h2>
        <p class="muted">
          {deposit.inboxName} · {deposit.recorderName ?? 'no recorder'} · {describeBytes(deposit.sizeBytes)} · first
          seen <When atMs={deposit.firstSeenAtMs} nowMs={nowMs} />
        </p>
        <p class="badges">
          <Badge label={depositLabels[deposit.state]} />
        </p>
        {deposit.reason === null ? null : (
          <p class="problem-message">
            {deposit.reason} {deposit.reasonCode === null ? null : <code>{deposit.reasonCode}</code>}
          </p>
        )}
        <p class="next">
          <span class="next-step">{deposit.nextStep}</span>
        </p>
        {deposit.recordingId === null ? null : (
          <p>
            <a href={recordingUrl(deposit.recordingId)}>
              {deposit.state === 'duplicate' ? 'The recording with the same bytes' : 'Its recording'}
            </a>
          </p>
        )}
        {children}
      </div>
    </li>
  )
}
