import { expect, test } from 'vitest'
import { planClaimSteps } from '../../src/domain/claim.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'

const claim = { ...defaultPolicy.claim, remindAfterMs: [3, 7], escalateAfterMs: 14 }

test('a manager is told and reminded before administrators are told', () => {
  expect(planClaimSteps(claim, true)).toEqual([
    { kind: 'claim_wanted', afterMs: 0 },
    { kind: 'claim_reminder', afterMs: 3 },
    { kind: 'claim_reminder', afterMs: 7 },
    { kind: 'claim_escalation', afterMs: 14 },
  ])
})

test('where there is no manager, only administrators are told', () => {
  expect(planClaimSteps(claim, false)).toEqual([{ kind: 'claim_escalation', afterMs: 14 }])
})
