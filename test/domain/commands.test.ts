import { expect, test } from 'vitest'
import { commandKinds, decideCommand, decidePurge } from '../../src/domain/commands.ts'
import type { Command } from '../../src/domain/commands.ts'
import type { Actor, Role } from '../../src/domain/permissions.ts'
import type { Disposition, RecordingFacts } from '../../src/domain/recording.ts'
import { recordingStates } from '../../src/domain/recording.ts'

const now = Date.UTC(2030, 0, 1)
const person = (personId: string, ...roles: Role[]): Actor => ({
  accountId: 'a',
  personId,
  name: personId,
  roles,
  scopes: ['read', 'write'],
})
const hold = { id: 'h', reason: 'court', placedBy: 'ada', placedAtMs: now }
const request: Disposition = {
  id: 'd',
  requestedBy: 'ada',
  requestedAtMs: now,
  reason: 'old',
  planHash: 'p',
  state: 'requested',
  approvedBy: [],
  undoUntilMs: null,
}
const facts = (change: Partial<RecordingFacts> = {}): RecordingFacts => ({
  id: 'r',
  accountId: 'a',
  recorderId: 'c',
  state: 'retained',
  assignment: 'claim',
  managerId: null,
  defaultOwnerId: null,
  ownerId: 'olga',
  acceptedAtMs: 0,
  durationMs: 1000,
  sizeBytes: 1,
  plan: null,
  planHash: 'p',
  retainUntilMs: now - 1,
  holds: [],
  disposition: null,
  copiesVerified: true,
  clockOffsetMs: 0,
  version: 1,
  ...change,
})

const waiting = { state: 'awaiting_claim', ownerId: null, planHash: null, retainUntilMs: null } as const
const asked = { state: 'disposition_requested', disposition: request } as const
const trashed = { state: 'trashed', disposition: { ...request, state: 'approved', undoUntilMs: now + 1 } } as const

const table: [string, Partial<RecordingFacts>, Command, Actor, string][] = [
  ['anybody with the role claims', waiting, { kind: 'claim' }, person('u', 'user'), 'ok'],
  ['a viewer does not', waiting, { kind: 'claim' }, person('u', 'viewer'), 'forbidden'],
  ['the second one is told', { state: 'claimed' }, { kind: 'claim' }, person('u', 'user'), 'already_claimed'],
  [
    'a manager claims alone',
    { ...waiting, assignment: 'manager', managerId: 'm' },
    { kind: 'claim' },
    person('u', 'user'),
    'forbidden',
  ],
  [
    'that manager may',
    { ...waiting, assignment: 'manager', managerId: 'm' },
    { kind: 'claim' },
    person('m', 'user'),
    'ok',
  ],
  [
    'an admin may too',
    { ...waiting, assignment: 'manager', managerId: 'm' },
    { kind: 'claim' },
    person('x', 'admin'),
    'ok',
  ],
  ['assigning is for managers', waiting, { kind: 'assign', ownerId: 'u' }, person('u', 'user'), 'forbidden'],
  ['a read key changes nothing', waiting, { kind: 'claim' }, { ...person('u', 'user'), scopes: ['read'] }, 'forbidden'],
  ['not mine is for the owner', { state: 'claimed' }, { kind: 'notMine' }, person('u', 'user'), 'forbidden'],
  ['not mine before the encode', { state: 'claimed' }, { kind: 'notMine' }, person('olga', 'user'), 'ok'],
  ['not mine when it is kept', {}, { kind: 'notMine' }, person('olga', 'user'), 'wrong_state'],
  ['a hold at any time', {}, { kind: 'hold', reason: 'x' }, person('o', 'operator'), 'ok'],
  ['a hold on trash', trashed, { kind: 'hold', reason: 'x' }, person('o', 'operator'), 'ok'],
  [
    'a hold once the purge began',
    { state: 'purging' },
    { kind: 'hold', reason: 'x' },
    person('o', 'operator'),
    'wrong_state',
  ],
  ['a hold by a user', {}, { kind: 'hold', reason: 'x' }, person('olga', 'user'), 'forbidden'],
  ['releasing what stands', { holds: [hold] }, { kind: 'release', holdId: 'h' }, person('o', 'operator'), 'ok'],
  ['releasing nothing', {}, { kind: 'release', holdId: 'h' }, person('o', 'operator'), 'not_found'],
  [
    'deletion before retention ends',
    { retainUntilMs: now + 1 },
    { kind: 'requestDeletion', reason: 'x' },
    person('olga', 'user'),
    'retention_not_ended',
  ],
  [
    'deletion by an admin before retention ends',
    { retainUntilMs: now + 1 },
    { kind: 'requestDeletion', reason: 'x' },
    person('x', 'admin'),
    'retention_not_ended',
  ],
  ['deletion afterwards', {}, { kind: 'requestDeletion', reason: 'x' }, person('olga', 'user'), 'ok'],
  [
    'deletion under a hold',
    { holds: [hold] },
    { kind: 'requestDeletion', reason: 'x' },
    person('olga', 'user'),
    'on_hold',
  ],
  [
    'deletion instead of a claim',
    { ...waiting, managerId: 'm' },
    { kind: 'requestDeletion', reason: 'x' },
    person('m', 'manager'),
    'ok',
  ],
  [
    'deletion instead of a claim by anyone',
    waiting,
    { kind: 'requestDeletion', reason: 'x' },
    person('u', 'user'),
    'forbidden',
  ],
  ['approval by another', asked, { kind: 'approveDeletion', planHash: 'p' }, person('ben', 'manager'), 'ok'],
  [
    'approval by the requester',
    asked,
    { kind: 'approveDeletion', planHash: 'p' },
    person('ada', 'admin'),
    'self_approval',
  ],
  [
    'approval of another plan',
    asked,
    { kind: 'approveDeletion', planHash: 'q' },
    person('ben', 'manager'),
    'plan_changed',
  ],
  [
    'approval after the plan changed',
    { ...asked, planHash: 'q' },
    { kind: 'approveDeletion', planHash: 'p' },
    person('ben', 'manager'),
    'plan_changed',
  ],
  [
    'approval twice',
    { ...asked, disposition: { ...request, approvedBy: ['ben'] } },
    { kind: 'approveDeletion', planHash: 'p' },
    person('ben', 'manager'),
    'already_approved',
  ],
  ['approval by a user', asked, { kind: 'approveDeletion', planHash: 'p' }, person('u', 'user'), 'forbidden'],
  ['approval of nothing', {}, { kind: 'approveDeletion', planHash: 'p' }, person('ben', 'manager'), 'wrong_state'],
  ['undo in the window', trashed, { kind: 'undo' }, person('olga', 'user'), 'ok'],
  [
    'undo too late',
    { ...trashed, disposition: { ...request, undoUntilMs: now } },
    { kind: 'undo' },
    person('olga', 'user'),
    'undo_window_over',
  ],
  [
    'extension',
    { retainUntilMs: now + 5 },
    { kind: 'extend', untilMs: now + 10, reason: 'x' },
    person('olga', 'user'),
    'ok',
  ],
  [
    'extension backwards',
    { retainUntilMs: now + 5 },
    { kind: 'extend', untilMs: now + 4, reason: 'x' },
    person('olga', 'user'),
    'invalid_request',
  ],
  [
    'extension by a million years',
    {},
    { kind: 'extend', untilMs: now + 3.2e16, reason: 'x' },
    person('olga', 'user'),
    'invalid_request',
  ],
  [
    'extension to no number',
    {},
    { kind: 'extend', untilMs: Number.NaN, reason: 'x' },
    person('olga', 'user'),
    'invalid_request',
  ],
]

test.each(table)('%s', (_name, change, command, actor, expected) => {
  const verdict = decideCommand(facts(change), command, actor, now)
  expect(verdict.ok ? 'ok' : verdict.code).toBe(expected)
})

test('who claims too late hears who was faster, where the facts know a name', () => {
  const late = (ownerName?: string) =>
    decideCommand(
      facts({ state: 'claimed', ownerId: 'o', ...(ownerName === undefined ? {} : { ownerName }) }),
      { kind: 'claim' },
      person('u', 'user'),
      now,
    )
  expect(late('Olga')).toMatchObject({ message: expect.stringMatching(/^Olga was faster/) })
  expect(late()).toMatchObject({ message: expect.stringMatching(/^Another person was faster/) })
})

test('every command has an answer in every state, whoever asks', () => {
  for (const state of recordingStates)
    for (const kind of commandKinds)
      for (const actor of [person('x', 'viewer'), person('x', 'admin')]) {
        const command = {
          kind,
          option: 'retry',
          ownerId: 'u',
          reason: 'r',
          untilMs: now,
          holdId: 'h',
          planHash: 'p',
        } as Command
        const verdict = decideCommand(facts({ state }), command, actor, now)
        if (!verdict.ok) expect(verdict.message.length).toBeGreaterThan(20)
      }
})

const approved = { ...request, state: 'approved', approvedBy: ['ben'], undoUntilMs: now } as const
test.each<[string, Partial<RecordingFacts>, boolean, string]>([
  ['after everything', {}, true, 'ok'],
  ['a hold came later', { holds: [hold] }, true, 'on_hold'],
  ['the plan changed', { planHash: 'q' }, true, 'plan_changed'],
  ['the approver lost the role', {}, false, 'forbidden'],
  ['the undo window is open', { disposition: { ...approved, undoUntilMs: now + 1 } }, true, 'retention_not_ended'],
  ['retention was extended', { retainUntilMs: now + 1 }, true, 'retention_not_ended'],
  ['nobody asked', { disposition: null }, true, 'wrong_state'],
  ['not in the trash', { state: 'retained' }, true, 'wrong_state'],
])('purge: %s', (_name, change, allowed, expected) => {
  const verdict = decidePurge(facts({ state: 'trashed', disposition: approved, ...change }), allowed, now)
  expect(verdict.ok ? 'ok' : verdict.code).toBe(expected)
})
