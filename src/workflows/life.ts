import {
  allHandlersFinished,
  condition,
  continueAsNew,
  patched,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import { commandKinds, decideCommand } from '../domain/commands.ts'
import type { CommandRequest } from '../domain/commands.ts'
import { hasRole } from '../domain/permissions.ts'
import { defaultPolicy } from '../domain/policy.ts'
import type { Policy } from '../domain/policy.ts'
import type { ProblemOption, RecordingFacts, Stage, Waiting } from '../domain/recording.ts'
import { records } from './activity-options.ts'
import { refuse } from './failures.ts'
import { commandUpdate, lookAgainSignal, statusQuery } from './messages.ts'
import type { CommandResult, OngoingWait, OwedNotice, RecordingInput, TriedStep } from './messages.ts'
import { attributeKeys } from './search-attributes.ts'

const rememberedRequests = 200
const noticeGraceMs = 45_000

/** A step that waits for a person, or for its next automatic retry. */
export interface Parked {
  readonly stage: Stage
  readonly options: readonly ProblemOption[]
  decision: ProblemOption | null
}

/** What a kept recording owes, while it is made good. */
export interface OwedWork {
  /** True when it is to end: the recording is on its way out, or goes on in a new run. */
  isOver: boolean
  /** Stops the transfer under way. */
  stop: () => void
  done: Promise<void>
}

/**
 * One recording's life between the stages: what is known of it, what it waits for, and how people reach it. Postgres
 * is the truth; what is held here is the last look at it.
 */
export interface Life {
  readonly input: RecordingInput
  facts: RecordingFacts | null
  policy: Policy
  /** Not before this does the policy ask again for a deletion that people rejected. */
  askAgainAtMs: number
  /** True from the wish to delete it until what waited for that decision is settled. */
  wasLeaving: boolean
  /** How often it was put up for claiming. */
  claimRound: number
  /** How far the wait of this stage is, where people are told something more than once. */
  ongoing: OngoingWait | null
  /** The step that failed as the run before this one ended: the next try is this run's. */
  tried: TriedStep | null
  /** True while nothing is under way: then what is held here is as fresh as the database's. */
  resting: boolean
  /** Set while an encode runs: stops it. */
  stopEncode: (() => void) | null
  /** Set while what it owes is made good, beside its retention. */
  owed: OwedWork | null
  /** At which count of `looksAgain` it was last asked what it owes; `null` = not since it is kept. */
  owedLook: number | null
  /** Notices on their way: nothing waits for them but, for a while, the end of a run. */
  readonly owedNotices: Set<OwedNotice>
  /** How often it was told that its rows were changed behind its back. */
  looksAgain: number
  readonly parked: Set<Parked>
  readonly applied: string[]
  waiting: Waiting
}

/** Begins a life, or goes on with it in a new run: every handler stands before anything is awaited. */
export function beginLife(input: RecordingInput): Life {
  const life: Life = {
    input,
    facts: null,
    policy: defaultPolicy,
    askAgainAtMs: input.askAgainAtMs ?? 0,
    wasLeaving: input.wasLeaving ?? false,
    claimRound: input.claimRound ?? 0,
    ongoing: input.ongoing ?? null,
    tried: input.tried ?? null,
    resting: false,
    stopEncode: null,
    owed: null,
    owedLook: null,
    owedNotices: new Set(),
    looksAgain: 0,
    parked: new Set(),
    applied: [...(input.appliedRequests ?? [])],
    waiting: { waitingFor: 'a worker', nextStep: 'the file is taken in', nextAtMs: null },
  }
  setHandler(statusQuery, () => ({ facts: life.facts, waiting: life.waiting }))
  setHandler(lookAgainSignal, async () => {
    // A look that fails is no failure of the life: the next stage looks again.
    await refresh(life).catch(() => null)
    life.looksAgain += 1
  })
  for (const kind of commandKinds)
    setHandler(commandUpdate(kind), (request) => obey(life, request), {
      validator: (request) => validate(life, request),
    })
  return life
}

/** Which recording, and what this workflow's clock says. */
export function refOf(life: Life) {
  return { accountId: life.input.accountId, recordingId: life.input.recordingId, atMs: Date.now() }
}

/** Lets operators find a life while it is still being taken in. */
export function markBeginning(life: Life): void {
  upsertSearchAttributes([
    { key: attributeKeys.stage, value: 'ingest' },
    { key: attributeKeys.account, value: life.input.accountId },
    { key: attributeKeys.startedAt, value: new Date() },
  ])
}

/** Looks at the database again. */
export async function refresh(life: Life): Promise<RecordingFacts | null> {
  const { facts: loaded, policy } = await records.loadFacts(refOf(life))
  const facts = newest(life.facts, loaded)
  life.facts = facts
  life.policy = policy
  upsertSearchAttributes([
    { key: attributeKeys.stage, value: facts?.state ?? 'ingest' },
    { key: attributeKeys.account, value: life.input.accountId },
    ...(facts === null
      ? []
      : [
          { key: attributeKeys.recorder, value: facts.recorderId },
          { key: attributeKeys.bytes, value: facts.sizeBytes },
          { key: attributeKeys.onHold, value: facts.holds.length > 0 },
          { key: attributeKeys.deleteAt, value: facts.retainUntilMs === null ? null : new Date(facts.retainUntilMs) },
        ]),
  ])
  return facts
}

/**
 * A command that was carried out while the database was being read has left newer facts here than what was read. Taking the
 * older ones would wait for ever for what has happened already: every change of a recording raises its version.
 */
function newest(known: RecordingFacts | null, loaded: RecordingFacts | null): RecordingFacts | null {
  const isOlder = known !== null && loaded !== null && loaded.version < known.version
  return isOlder && patched('facts-never-go-back') ? known : loaded
}

function validate(life: Life, request: CommandRequest): void {
  if (life.applied.includes(request.requestId)) return
  const { command, actor } = request
  if (command.kind === 'resolve') {
    if (!actor.scopes.includes('write') || !hasRole(actor, 'operator', 'manager'))
      throw refuse('forbidden', 'Resolving a problem needs the role manager, operator or admin.')
    if (![...life.parked].some((parked) => parked.options.includes(command.option)))
      throw refuse('wrong_state', `Nothing here can be resolved by "${command.option}" now.`)
    return
  }
  // While a stage is under way the last look may be old: then the transaction that applies the command decides alone.
  if (life.facts === null || !life.resting) return
  const verdict = decideCommand(life.facts, command, actor, Date.now())
  if (!verdict.ok) throw refuse(verdict.code, verdict.message)
}

async function obey(life: Life, request: CommandRequest): Promise<CommandResult> {
  if (life.applied.includes(request.requestId)) return { facts: life.facts }
  const { command } = request
  if (command.kind === 'resolve') {
    for (const parked of life.parked) if (parked.options.includes(command.option)) parked.decision = command.option
    remember(life, request.requestId)
    return { facts: life.facts }
  }
  const { verdict, facts } = await records.applyCommand(refOf(life), request)
  if (facts !== null && facts.version >= (life.facts?.version ?? 0)) life.facts = facts
  if (!verdict.ok) throw refuse(verdict.code, verdict.message)
  if (command.kind === 'cancelEncode') life.stopEncode?.()
  remember(life, request.requestId)
  return { facts: life.facts }
}

function remember(life: Life, requestId: string): void {
  life.applied.push(requestId)
  life.applied.splice(0, life.applied.length - rememberedRequests)
}

/** Says what the recording waits for, where people and operators look. */
export async function sayWaiting(
  life: Life,
  waitingFor: string,
  nextStep: string,
  nextAtMs: number | null = null,
): Promise<void> {
  life.waiting = { waitingFor, nextStep, nextAtMs }
  const when = nextAtMs === null ? '' : ` at ${new Date(nextAtMs).toISOString()}`
  setCurrentDetails(`**Waits for** ${waitingFor}\n\n**Then** ${nextStep}${when}`)
  await records.writeWaiting(refOf(life), life.waiting)
}

/**
 * Rests until this instant (`null`: for ever), or until `over` holds. True when `over` held. Where this run has heard about as
 * much as one may hear, the rest goes on in a new run: whatever has to be known there stands in the life.
 */
export async function restUntil(life: Life, atMs: number | null, over: () => boolean): Promise<boolean> {
  const wakes = () => over() || isFull()
  life.resting = true
  try {
    let heard = true
    if (atMs === null) await condition(wakes)
    else heard = await condition(wakes, Math.max(1, atMs - Date.now()))
    // What is made good beside this rest has to end first, which is the stage's to see to.
    if (heard && isFull() && !over() && life.owed === null) await goOnInNewRun(life, over)
    return heard
  } finally {
    life.resting = false
  }
}

/** True where this run should end soon: Temporal hears 2,000 commands in one run, and then none; it says so some time before. */
export function isFull(): boolean {
  return workflowInfo().continueAsNewSuggested && patched('rests-go-on-in-a-new-run')
}

/**
 * Goes on in a new run: the history of a life that waits for years stays small. Never inside a handler. Returns only where, before
 * everything was settled, it was `over` what this run rests for.
 */
export async function goOnInNewRun(life: Life, over: () => boolean = () => false): Promise<void> {
  // Nothing is under way meanwhile, either: what is refused is refused at once, and not heard.
  life.resting = true
  await condition(allHandlersFinished)
  await condition(() => over() || life.owedNotices.size === 0, noticeGraceMs)
  await condition(allHandlersFinished)
  if (over()) return
  await continueAsNew({
    ...life.input,
    appliedRequests: life.applied,
    askAgainAtMs: life.askAgainAtMs,
    claimRound: life.claimRound,
    wasLeaving: life.wasLeaving,
    ongoing: life.ongoing,
    tried: life.tried,
    owedNotices: [...life.owedNotices],
    accepted: life.facts !== null,
  } satisfies RecordingInput)
}
