import { expect, test } from 'vitest'
import { planRetention, planText } from '../../src/domain/plan.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import type { RetentionRule } from '../../src/domain/policy.ts'
import { describeBytes, describeDuration, msPer } from '../../src/domain/units.ts'

const facts = { recorderId: 'r', durationMs: 60_000, tags: ['exam'], acceptedAtMs: 0, extendedToMs: null }
const rule = (id: string, keepMs: number, when: RetentionRule['when'] = {}): RetentionRule => ({
  id,
  name: id,
  when,
  keepMs,
})
const policy = (...rules: RetentionRule[]) => ({ ...defaultPolicy, retention: { ...defaultPolicy.retention, rules } })

test.each<[string, RetentionRule[], Partial<typeof facts>, string]>([
  ['the longest matching rule wins', [rule('short', 1), rule('long', 2)], {}, 'long'],
  ['a rule for a tag', [rule('all', 1), rule('exams', 5, { tag: 'exam' })], {}, 'exams'],
  ['a rule for another tag does not match', [rule('all', 1), rule('exams', 5, { tag: 'exam' })], { tags: [] }, 'all'],
  ['a rule for a recorder', [rule('all', 1), rule('hall', 5, { recorderIds: ['r'] })], {}, 'hall'],
  ['a rule for long recordings', [rule('all', 1), rule('films', 5, { minDurationMs: 60_001 })], {}, 'all'],
  ['no rule matches: the longest one keeps it', [rule('a', 1, { tag: 'x' }), rule('b', 2, { tag: 'y' })], {}, 'b'],
  ['no rule at all: kept practically for ever', [], {}, 'none'],
])('%s', (_name, rules, change, expected) => {
  expect(planRetention(policy(...rules), { ...facts, ...change }).ruleId).toBe(expected)
})

test('an extension moves the end, and no rule can shorten it', () => {
  const plan = planRetention(policy(rule('all', 10)), { ...facts, extendedToMs: 99 })
  expect(plan.retainUntilMs).toBe(99)
  expect(plan.reason).toContain('extended')
  expect(planRetention(policy(rule('all', 1000)), { ...facts, extendedToMs: 99 }).retainUntilMs).toBe(1000)
})

test('reminders come before the end, in order, never before the beginning', () => {
  const plan = planRetention(policy(rule('all', 10 * msPer.day)), facts)
  expect(plan.actions.map((action) => action.kind)).toEqual(['remind', 'request_disposition', 'purge_after_approval'])
})

test('equal plans give equal texts, different ones do not', () => {
  const text = (keepMs: number) => planText(planRetention(policy(rule('all', keepMs)), facts))
  expect(text(5)).toBe(text(5))
  expect(text(5)).not.toBe(text(6))
})

test('spans and sizes read well', () => {
  expect(describeDuration(2 * msPer.year)).toBe('2 y')
  expect(describeDuration(90_000)).toBe('1 min 30 s')
  expect(describeDuration(0)).toBe('0 s')
  expect(describeBytes(1536)).toBe('1.5 KiB')
  expect(describeBytes(12)).toBe('12 B')
})
