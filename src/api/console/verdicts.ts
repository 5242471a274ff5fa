import { decideCommand } from '../../domain/commands.ts'
import type { Command, Verdict } from '../../domain/commands.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { RecordingFacts } from '../../domain/recording.ts'
import { msPer } from '../../domain/units.ts'

/** The commands a recording's page always answers for: with a button, or with the reason why not. */
export const offered = [
  'claim',
  'assign',
  'notMine',
  'extend',
  'hold',
  'requestDeletion',
  'approveDeletion',
  'rejectDeletion',
  'undo',
  'cancelEncode',
  'replan',
] as const
/** One of them. */
export type Offered = (typeof offered)[number]

/** The verdict on every command a person could give now: the same decision that is taken again when it is given. */
export function verdicts(facts: RecordingFacts, actor: Actor, nowMs: number): ReadonlyMap<Offered, Verdict> {
  return new Map(offered.map((kind) => [kind, decideCommand(facts, examples[kind](facts, nowMs), actor, nowMs)]))
}

type Example = (facts: RecordingFacts, nowMs: number) => Command

/** The plainest command of each kind: whether it would be allowed says whether its button is shown. */
const examples: Readonly<Record<Offered, Example>> = {
  claim: () => ({ kind: 'claim' }),
  assign: (facts) => ({ kind: 'assign', ownerId: facts.ownerId ?? '' }),
  notMine: () => ({ kind: 'notMine' }),
  extend: (facts, nowMs) => ({ kind: 'extend', untilMs: soonestExtension(facts, nowMs), reason: '' }),
  hold: () => ({ kind: 'hold', reason: '' }),
  requestDeletion: () => ({ kind: 'requestDeletion', reason: '' }),
  approveDeletion: (facts) => ({ kind: 'approveDeletion', planHash: facts.disposition?.planHash ?? '' }),
  rejectDeletion: () => ({ kind: 'rejectDeletion', reason: '' }),
  undo: () => ({ kind: 'undo' }),
  cancelEncode: () => ({ kind: 'cancelEncode' }),
  replan: () => ({ kind: 'replan' }),
}

/** The first day an extension may name. */
export function soonestExtension(facts: RecordingFacts, nowMs: number): number {
  return Math.max(nowMs, facts.retainUntilMs ?? 0) + msPer.day
}
