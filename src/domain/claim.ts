import type { NoticeKind } from './notice.ts'
import type { Policy } from './policy.ts'

/** Something people are told while a recording waits to be claimed, counted from the moment it was put up for it. */
export interface ClaimStep {
  readonly kind: Extract<NoticeKind, `claim_${string}`>
  readonly afterMs: number
}

/** What people are told until somebody claims it, in order: the manager, if there is one, then administrators. */
export function planClaimSteps({ remindAfterMs, escalateAfterMs }: Policy['claim'], hasManager: boolean): ClaimStep[] {
  const toManager: ClaimStep[] = [
    { kind: 'claim_wanted', afterMs: 0 },
    ...remindAfterMs.map((afterMs): ClaimStep => ({ kind: 'claim_reminder', afterMs })),
  ]
  return [...(hasManager ? toManager : []), { kind: 'claim_escalation', afterMs: escalateAfterMs }]
}
