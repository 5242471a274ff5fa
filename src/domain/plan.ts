import type { Policy, RetentionRule } from './policy.ts'
import { describeDuration } from './units.ts'

/** Something that will happen to a recording by itself. */
export interface PlannedAction {
  readonly kind: 'remind' | 'request_disposition' | 'purge_after_approval'
  readonly atMs: number
  /** Which rule says so, and in which words. */
  readonly reason: string
}

/** What will happen to one recording, when, and because of which rule. */
export interface RetentionPlan {
  readonly policyVersion: number
  readonly ruleId: string
  readonly retainUntilMs: number
  readonly reason: string
  readonly actions: readonly PlannedAction[]
  /** Set when a person extended it: then no rule may shorten it. */
  readonly extendedToMs: number | null
}

/** What retention depends on. */
export interface PlanFacts {
  readonly recorderId: string
  readonly durationMs: number | null
  readonly tags: readonly string[]
  readonly acceptedAtMs: number
  readonly extendedToMs: number | null
}

function matches(rule: RetentionRule, facts: PlanFacts): boolean {
  const { recorderIds, tag, minDurationMs } = rule.when
  return (
    (recorderIds === undefined || recorderIds.includes(facts.recorderId)) &&
    (tag === undefined || facts.tags.includes(tag)) &&
    (minDurationMs === undefined || (facts.durationMs ?? 0) >= minDurationMs)
  )
}

/**
 * Rules x facts -> dated actions with reasons. Total: where no rule matches, the longest rule of the policy applies,
 * because an unmatched recording must never be the one that goes first.
 */
export function planRetention(policy: Policy, facts: PlanFacts): RetentionPlan {
  const byLength = [...policy.retention.rules].sort((a, b) => b.keepMs - a.keepMs)
  const rule = byLength.find((candidate) => matches(candidate, facts)) ?? byLength[0]
  const keepMs = rule?.keepMs ?? Number.MAX_SAFE_INTEGER / 4
  const byRuleMs = facts.acceptedAtMs + keepMs
  const retainUntilMs = Math.max(byRuleMs, facts.extendedToMs ?? 0)
  const why =
    rule === undefined ? 'No rule says how long' : `${rule.name} (rule ${rule.id}, ${describeDuration(keepMs)})`
  const reason = retainUntilMs > byRuleMs ? `${why}; extended by a person` : why
  return {
    policyVersion: policy.version,
    ruleId: rule?.id ?? 'none',
    retainUntilMs,
    reason,
    extendedToMs: facts.extendedToMs,
    actions: [
      ...policy.retention.remindBeforeMs
        .map((beforeMs) => ({
          kind: 'remind' as const,
          atMs: retainUntilMs - beforeMs,
          reason: `${describeDuration(beforeMs)} before retention ends`,
        }))
        .filter((action) => action.atMs > facts.acceptedAtMs)
        .sort((a, b) => a.atMs - b.atMs),
      { kind: 'request_disposition', atMs: retainUntilMs, reason },
      {
        kind: 'purge_after_approval',
        atMs: retainUntilMs + policy.disposition.undoMs,
        reason: `${policy.disposition.approvals} approval(s), then ${describeDuration(policy.disposition.undoMs)} to undo`,
      },
    ],
  }
}

/** The text a plan's hash is taken over: what an approver saw. Key order is fixed, so equal plans give equal texts. */
export function planText(plan: RetentionPlan): string {
  return JSON.stringify([
    plan.policyVersion,
    plan.ruleId,
    plan.retainUntilMs,
    plan.reason,
    plan.extendedToMs,
    plan.actions.map((action) => [action.kind, action.atMs, action.reason]),
  ])
}
