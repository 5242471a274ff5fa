import type { ErrorCode } from './errors.ts'
import { hasRole } from './permissions.ts'
import type { Actor } from './permissions.ts'
import type { ProblemOption, RecordingFacts } from './recording.ts'

/** What people can tell a recording to do. Each kind is one Temporal update of the same name. */
export type Command =
  | { readonly kind: 'claim'; readonly title?: string }
  | { readonly kind: 'assign'; readonly ownerId: string; readonly title?: string }
  | { readonly kind: 'notMine' }
  | { readonly kind: 'hold'; readonly reason: string }
  | { readonly kind: 'release'; readonly holdId: string }
  | { readonly kind: 'extend'; readonly untilMs: number; readonly reason: string }
  | { readonly kind: 'requestDeletion'; readonly reason: string }
  | { readonly kind: 'approveDeletion'; readonly planHash: string }
  | { readonly kind: 'rejectDeletion'; readonly reason: string }
  | { readonly kind: 'undo' }
  | { readonly kind: 'replan' }
  | { readonly kind: 'cancelEncode' }
  | { readonly kind: 'resolve'; readonly option: ProblemOption }
/** The name of a command. */
export type CommandKind = Command['kind']

/** Every command's name, for registering handlers and routes. */
export const commandKinds = [
  'claim',
  'assign',
  'notMine',
  'hold',
  'release',
  'extend',
  'requestDeletion',
  'approveDeletion',
  'rejectDeletion',
  'undo',
  'replan',
  'cancelEncode',
  'resolve',
] as const satisfies readonly CommandKind[]

/** A decision: yes, or no with a code and a sentence that says what to do instead. */
export type Verdict = { readonly ok: true } | { readonly ok: false; readonly code: ErrorCode; readonly message: string }

const yes: Verdict = { ok: true }
function no(code: ErrorCode, message: string): Verdict {
  return { ok: false, code, message }
}

/** A person's command with who gave it. `requestId` makes a repeated delivery count once. */
export interface CommandRequest {
  readonly command: Command
  readonly actor: Actor
  readonly requestId: string
}

/**
 * May this person do this to this recording now? The same function answers the API (early), the workflow's update
 * validator, and the transaction that records it (final). Total: never throws.
 * @param nowMs the recording's own clock
 */
export function decideCommand(facts: RecordingFacts, command: Command, actor: Actor, nowMs: number): Verdict {
  if (!actor.scopes.includes('write'))
    return no('forbidden', `This key may only read; ${command.kind} needs a key with the scope "write".`)
  return deciders[command.kind](facts, command, actor, nowMs)
}

type Decider = (facts: RecordingFacts, command: Command, actor: Actor, nowMs: number) => Verdict

const isOwner = (facts: RecordingFacts, actor: Actor) => facts.ownerId === actor.personId
const managesRecorder = (facts: RecordingFacts, actor: Actor) =>
  facts.managerId === actor.personId || hasRole(actor, 'admin')

const deciders: Readonly<Record<CommandKind, Decider>> = {
  claim(facts, _command, actor) {
    if (facts.ownerId !== null && facts.state !== 'awaiting_claim')
      return isOwner(facts, actor)
        ? no('already_claimed', 'You own this recording already; nothing to do.')
        : no(
            'already_claimed',
            `${facts.ownerName ?? 'Another person'} was faster: this recording has an owner. Ask them, or an administrator, to hand it over.`,
          )
    if (facts.state !== 'awaiting_claim') return no('not_claimable', notNow(facts, 'be claimed'))
    if (!hasRole(actor, 'user', 'manager', 'admin'))
      return no('forbidden', 'Only people with the role user, manager or admin may claim recordings.')
    if (facts.assignment === 'manager' && !managesRecorder(facts, actor))
      return no(
        'forbidden',
        'This recorder has a manager: only they or an administrator may claim or assign its recordings.',
      )
    return yes
  },
  assign(facts, _command, actor) {
    if (!['awaiting_claim', 'claimed', 'retained'].includes(facts.state))
      return no('wrong_state', notNow(facts, 'be assigned'))
    return managesRecorder(facts, actor)
      ? yes
      : no('forbidden', "Only the recorder's manager or an administrator may assign its recordings.")
  },
  notMine(facts, _command, actor) {
    if (facts.state === 'awaiting_claim' && facts.managerId === actor.personId) return yes
    if (!isOwner(facts, actor)) return no('forbidden', 'Only its owner can say that a recording is not theirs.')
    return facts.state === 'claimed'
      ? yes
      : no('wrong_state', `${notNow(facts, 'be given back')} Ask an administrator to assign it to somebody else.`)
  },
  hold(facts, _command, actor) {
    if (!hasRole(actor, 'operator', 'manager'))
      return no('forbidden', 'Holds need the role operator, manager or admin.')
    if (facts.state === 'purging' || facts.state === 'purged')
      return no('wrong_state', 'It is too late for a hold: the approved deletion has begun.')
    return yes
  },
  release(facts, command, actor) {
    if (!hasRole(actor, 'operator')) return no('forbidden', 'Releasing a hold needs the role operator or admin.')
    const standing = command.kind === 'release' && facts.holds.some((hold) => hold.id === command.holdId)
    return standing ? yes : no('not_found', 'No such hold stands on this recording; it may have been released already.')
  },
  extend(facts, command, actor, nowMs) {
    if (!isOwner(facts, actor) && !hasRole(actor, 'operator', 'manager'))
      return no('forbidden', 'Only the owner, a manager or an operator may extend retention.')
    if (facts.state !== 'retained') return no('wrong_state', notNow(facts, 'be extended'))
    if (command.kind !== 'extend' || !Number.isSafeInteger(command.untilMs))
      return no('invalid_request', 'Give the new date.')
    if (command.untilMs > nowMs + maxExtensionMs)
      return no('invalid_request', 'Retention can be extended by at most 100 years at a time.')
    return command.untilMs > Math.max(nowMs, facts.retainUntilMs ?? 0)
      ? yes
      : no('invalid_request', 'An extension must end later than the retention that is already planned.')
  },
  requestDeletion(facts, _command, actor, nowMs) {
    if (facts.holds.length > 0) return no('on_hold', 'A legal hold stands on this recording; release it first.')
    if (!isOwner(facts, actor) && !managesRecorder(facts, actor) && !hasRole(actor, 'operator'))
      return no('forbidden', "Only the owner, the recorder's manager or an operator may request deletion.")
    if (facts.state === 'awaiting_claim') return yes
    if (facts.state !== 'retained') return no('wrong_state', notNow(facts, 'be deleted'))
    return nowMs >= (facts.retainUntilMs ?? 0)
      ? yes
      : no(
          'retention_not_ended',
          `Retention ends on ${new Date(facts.retainUntilMs ?? 0).toISOString().slice(0, 10)}; until then nothing may delete this recording.`,
        )
  },
  approveDeletion(facts, command, actor) {
    const request = facts.disposition
    if (facts.state !== 'disposition_requested' || request === null)
      return no('wrong_state', notNow(facts, 'be approved for deletion'))
    if (!hasRole(actor, 'operator', 'manager'))
      return no('forbidden', 'Approving a deletion needs the role manager, operator or admin.')
    if (request.requestedBy === actor.personId)
      return no('self_approval', 'You requested this deletion; another person has to approve it.')
    if (request.approvedBy.includes(actor.personId))
      return no('already_approved', 'You approved this deletion already; it counts once.')
    if (facts.holds.length > 0) return no('on_hold', 'A legal hold stands on this recording; release it first.')
    if (
      command.kind !== 'approveDeletion' ||
      command.planHash !== request.planHash ||
      facts.planHash !== request.planHash
    )
      return no('plan_changed', 'The plan changed since it was shown to you: read it again, then approve.')
    return yes
  },
  rejectDeletion(facts, _command, actor) {
    if (facts.state !== 'disposition_requested') return no('wrong_state', notNow(facts, 'have its deletion rejected'))
    return hasRole(actor, 'operator', 'manager') || isOwner(facts, actor)
      ? yes
      : no('forbidden', 'Rejecting a deletion needs its owner, a manager or an operator.')
  },
  undo(facts, _command, actor, nowMs) {
    if (facts.state !== 'trashed' && facts.state !== 'approved')
      return no('wrong_state', notNow(facts, 'be brought back'))
    if (!isOwner(facts, actor) && !hasRole(actor, 'operator', 'manager'))
      return no('forbidden', 'Only the owner, a manager or an operator may undo a deletion.')
    const until = facts.disposition?.undoUntilMs ?? null
    return until !== null && nowMs >= until
      ? no('undo_window_over', 'The undo window is over; the copies are being purged.')
      : yes
  },
  replan(facts, _command, actor) {
    if (!hasRole(actor, 'operator')) return no('forbidden', 'Planning anew needs the role operator or admin.')
    return facts.state === 'retained' ? yes : no('wrong_state', notNow(facts, 'be planned anew'))
  },
  cancelEncode(facts, _command, actor) {
    if (!isOwner(facts, actor) && !hasRole(actor, 'operator', 'manager'))
      return no('forbidden', 'Only the owner, a manager or an operator may stop an encode.')
    return facts.state === 'encoding' ? yes : no('wrong_state', notNow(facts, 'have its encode stopped'))
  },
  resolve(_facts, _command, actor) {
    return hasRole(actor, 'operator', 'manager')
      ? yes
      : no('forbidden', 'Resolving a problem needs the role manager, operator or admin.')
  },
}

const maxExtensionMs = 100 * 365 * 86_400_000

function notNow(facts: RecordingFacts, what: string): string {
  return `A recording that is ${facts.state.replaceAll('_', ' ')} cannot ${what}.`
}

/** How a legal hold and time decide whether the copies may go: the last question before bytes are removed. */
export function decidePurge(facts: RecordingFacts, approverIsStillAllowed: boolean, nowMs: number): Verdict {
  const request = facts.disposition
  if (request === null || facts.state !== 'trashed') return no('wrong_state', notNow(facts, 'be purged'))
  if (facts.holds.length > 0)
    return no('on_hold', 'A legal hold was placed after the approval; the deletion is cancelled.')
  if (facts.planHash !== request.planHash)
    return no('plan_changed', 'The plan changed after the approval; the deletion is cancelled.')
  if (!approverIsStillAllowed)
    return no('forbidden', 'The approver is no longer allowed to approve; the deletion is cancelled.')
  if (facts.retainUntilMs !== null && nowMs < facts.retainUntilMs)
    return no('retention_not_ended', 'Retention has not ended; the deletion is cancelled.')
  if (request.undoUntilMs === null || nowMs < request.undoUntilMs)
    return no('retention_not_ended', 'The undo window is still open; the deletion is cancelled.')
  return yes
}
