import type { RecordingDetail, TimelineEvent } from '../../domain/recording.ts'
import { describeDuration } from '../../domain/units.ts'
import { Hash, When } from './elements.tsx'
import { describeAction, plannedLabels } from '../../domain/wording.ts'

/** What will happen by itself, when, and because of which rule. */
export function Plan({ recording, nowMs }: { recording: RecordingDetail; nowMs: number }) {
  const { plan, planHash } = recording.facts
  return (
    <section class="box" aria-labelledby="plan-title">
      <h2 id="plan-title">Plan</h2>
      {plan === null ? (
        <p class="empty">There is no plan yet: it is made when every copy was read back and matched.</p>
      ) : (
        <>
          <p>
            Kept until <When atMs={plan.retainUntilMs} nowMs={nowMs} />: {plan.reason}.
          </p>
          <ol class="plan">
            {plan.actions.map((action) => (
              <li class={action.atMs < nowMs ? 'past' : undefined}>
                <When atMs={action.atMs} nowMs={nowMs} />
                <span>
                  {plannedLabels[action.kind]} <span class="muted">{action.reason}</span>
                </span>
              </li>
            ))}
          </ol>
          {planHash === null ? null : (
            <p class="muted">
              Policy version {plan.policyVersion}, plan <Hash value={planHash} />
            </p>
          )}
        </>
      )}
    </section>
  )
}

/** Everything that ever happened to it, oldest first, each line from the chained audit. */
export function Timeline({ events }: { events: readonly TimelineEvent[] }) {
  return (
    <section class="box" aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      <ol class="timeline">
        {events.map((event) => (
          <TimelineRow event={event} />
        ))}
      </ol>
    </section>
  )
}

function TimelineRow({ event }: { event: TimelineEvent }) {
  const aheadMs = event.clockAtMs === null ? 0 : event.clockAtMs - event.atMs
  const details = Object.entries(event.detail).filter(
    ([name, value]) => !hidden.has(name) && value !== null && value !== '',
  )
  return (
    <li>
      <When atMs={event.clockAtMs ?? event.atMs} />
      <div>
        <strong>{describeAction(event.action)}</strong> <span class="muted">{event.actor}</span>
        {aheadMs < 60_000 ? null : <span class="muted"> · clock {describeDuration(aheadMs)} ahead</span>}
        {details.length === 0 ? null : (
          <p class="muted">
            {details.map(([name, value]) => `${describeAction(name)}: ${textOf(name, value)}`).join(' · ')}
          </p>
        )}
      </div>
    </li>
  )
}

/** For machines: a line is readable without them, and the API has them. */
const hidden: ReadonlySet<string> = new Set(['requestId', 'personId', 'ownerId', 'holdId', 'planHash'])

function textOf(name: string, value: unknown): string {
  if (name.endsWith('Ms') && typeof value === 'number') return new Date(value).toISOString().slice(0, 10)
  if (typeof value === 'string') return value
  return JSON.stringify(value) ?? ''
}
