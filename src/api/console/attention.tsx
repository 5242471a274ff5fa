import type { DepositView } from '../../domain/deposit.ts'
import { hasRole } from '../../domain/permissions.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { RecordingDetail } from '../../domain/recording.ts'
import { ProblemButtons } from './problem.tsx'
import { DepositRow } from './deposits.tsx'
import { Polled, PostForm, ProblemFacts } from './elements.tsx'
import { Page } from './layout.tsx'
import { commandUrl, recordingUrl } from './links.ts'
import { Badges } from './recordings.tsx'
import { optionLabels } from '../../domain/wording.ts'

/** Everything where a person must decide. */
export interface AttentionView {
  readonly actor: Actor
  readonly recordings: readonly RecordingDetail[]
  readonly deposits: readonly DepositView[]
  /** True where more stand open than are shown. */
  readonly more: boolean
  readonly seen: string
  readonly nowMs: number
  readonly done?: string | undefined
}

/** Open problems with reason, attempts and what happens by itself; and deposits that were not taken in. */
export function AttentionPage({ view }: { view: AttentionView }) {
  return (
    <Page shell={{ title: 'Needs attention', actor: view.actor, path: '/attention', done: view.done }}>
      <h1>Needs attention</h1>
      <div aria-live="polite">
        <AttentionList view={view} />
      </div>
    </Page>
  )
}

/** The part of the page that stays up to date. */
export function AttentionList({ view }: { view: AttentionView }) {
  return (
    <Polled id="attention" url="/attention" seen={view.seen}>
      {view.recordings.length === 0 && view.deposits.length === 0 ? (
        <p class="empty">Nothing needs you. What goes wrong and cannot heal by itself appears here, with its reason.</p>
      ) : null}
      {view.recordings.map((recording) => (
        <ProblemBox recording={recording} view={view} />
      ))}
      {view.more ? <p class="muted">There are more; they appear as soon as these are decided.</p> : null}
      {view.deposits.length === 0 ? null : (
        <section aria-labelledby="not-taken-in">
          <h2 id="not-taken-in">Not taken in</h2>
          <ul class="rows">
            {view.deposits.map((deposit) => (
              <DepositRow deposit={deposit} nowMs={view.nowMs}>
                <RetryDeposit deposit={deposit} actor={view.actor} />
              </DepositRow>
            ))}
          </ul>
        </section>
      )}
    </Polled>
  )
}

/** A deposit in quarantine has no recording yet; its problem is resolved under the same id, the same way. */
function RetryDeposit({ deposit, actor }: { deposit: DepositView; actor: Actor }) {
  if (!hasRole(actor, 'operator', 'manager') || !actor.scopes.includes('write')) return null
  return (
    <PostForm action={commandUrl(deposit.id)} label={`${optionLabels.retry}: ${deposit.path}`}>
      <input type="hidden" name="kind" value="resolve" />
      <input type="hidden" name="option" value="retry" />
      <input type="hidden" name="back" value="/attention" />
      <button>{optionLabels.retry}</button>
    </PostForm>
  )
}

function ProblemBox({ recording, view }: { recording: RecordingDetail; view: AttentionView }) {
  if (recording.problem === null) return null
  const titleId = `problem-${recording.id}`
  return (
    <section class="box tone-bad" aria-labelledby={titleId}>
      <h2 id={titleId}>
        <a href={recordingUrl(recording.id)}>{recording.title}</a>
      </h2>
      <Badges recording={recording} />
      <ProblemFacts problem={recording.problem} nowMs={view.nowMs} />
      <ProblemButtons recording={recording} actor={view.actor} nowMs={view.nowMs} back="/attention" />
    </section>
  )
}
