import { CancellationScope, patched, workflowInfo } from '@temporalio/workflow'
import { planClaimSteps } from '../domain/claim.ts'
import type { NoticeKind } from '../domain/notice.ts'
import type { RecordingFacts } from '../domain/recording.ts'
import { encodes, mails, records, transfers } from './activity-options.ts'
import { beginOwed, endOwed, sayAgain } from './owed.ts'
import { readFailure, refuse } from './failures.ts'
import { attempt, goOnIfFull, park } from './attempt.ts'
import { beginLife, goOnInNewRun, markBeginning, refOf, refresh, restUntil, sayWaiting } from './life.ts'
import type { Life } from './life.ts'
import type { OwedNotice, RecordingInput } from './messages.ts'

/**
 * One recording's life, from a complete deposit to a signed proof of deletion. The state in Postgres says which stage
 * is next, so a life goes on from wherever it stands: after a crash, a parking place, a continue-as-new.
 */
export async function recordingWorkflow(input: RecordingInput): Promise<void> {
  const life = beginLife(input)
  // The run before ended while these were on their way, or parked: they are this run's now.
  for (const notice of input.owedNotices ?? []) mail(life, notice, true)
  if (input.accepted !== true && !(await ingest(life))) return
  for (;;) {
    const facts = await refresh(life)
    if (facts === null || facts.state === 'purged') return
    if (facts.state !== 'retained') await endOwed(life)
    await stages[facts.state](life, facts)
    life.ongoing = null
  }
}

const stages: Readonly<
  Record<Exclude<RecordingFacts['state'], 'purged'>, (life: Life, facts: RecordingFacts) => Promise<void>>
> = {
  accepted: async (life) => records.openClaim(refOf(life)),
  awaiting_claim: awaitClaim,
  claimed: encode,
  encoding: encode,
  archiving: archive,
  protected: beginRetention,
  retained: retain,
  disposition_requested: awaitApproval,
  approved: awaitUndo,
  trashed: awaitUndo,
  purging: purge,
}

/** Takes the deposit in. True when it became a recording; what else became of it stands on the deposit. */
async function ingest(life: Life): Promise<boolean> {
  markBeginning(life)
  for (let attempts = 1; ; attempts += 1) {
    const end = await attempt(life, 'ingest', ['retry', 'give_up'], () => transfers.takeIn(refOf(life)))
    if (end.how !== 'done') return records.refuseDeposit(refOf(life)).then(() => false)
    const taken = end.value
    if (taken.kind !== 'quarantined') return taken.kind === 'accepted'
    const { code, message } = taken
    const decision = await park(life, {
      stage: 'ingest',
      attempts,
      options: ['retry', 'replace', 'give_up'],
      code,
      message,
      retryInMs: null,
    })
    await records.unpark(refOf(life), 'ingest', decision)
    if (decision === 'replace')
      await attempt(life, 'ingest', ['retry', 'skip'], () => records.reviseDeposit(refOf(life)))
    if (decision === 'give_up') return records.refuseDeposit(refOf(life)).then(() => false)
    await goOnIfFull(life, null)
  }
}

const claimSaying = {
  claim_wanted: 'the manager is told',
  claim_reminder: 'the manager is reminded',
  claim_escalation: 'administrators are told',
} as const

/** Waits for an owner: notice, reminders, escalation, and at last a request to delete that people still decide on. */
async function awaitClaim(life: Life, facts: RecordingFacts): Promise<void> {
  const { expireAfterMs } = life.policy.claim
  const wait = life.ongoing?.kind === 'claim' ? life.ongoing : putUpForClaiming(life, facts)
  const left = () => life.facts?.state !== 'awaiting_claim'
  const restFor = async (afterMs: number, saying: string) => {
    await sayWaiting(life, 'an owner: somebody has to claim or assign it', saying, wait.sinceMs + afterMs)
    return restUntil(life, wait.sinceMs + afterMs, left)
  }
  for (const [at, { kind, afterMs }] of wait.ahead.entries()) {
    if (afterMs > 0 && (await restFor(afterMs, claimSaying[kind]))) return
    tell(life, kind, `claim-${life.claimRound}-after-${afterMs}`)
    life.ongoing = { ...wait, ahead: wait.ahead.slice(at + 1) }
  }
  if (await restFor(expireAfterMs, 'its deletion is requested')) return
  await records.requestByPolicy(refOf(life), 'Nobody claimed it')
}

function putUpForClaiming(life: Life, facts: RecordingFacts) {
  life.claimRound += 1
  const ahead = planClaimSteps(life.policy.claim, facts.managerId !== null)
  const wait = { kind: 'claim' as const, sinceMs: Date.now(), ahead }
  life.ongoing = wait
  return wait
}

/** Makes what people play. Stopped or failing, it is parked; a person may go on with the original alone. */
async function encode(life: Life): Promise<void> {
  await sayWaiting(life, 'the encoder', 'renditions are made, then archived')
  const plan = await records.beginEncode(refOf(life))
  await refresh(life)
  await attempt(life, 'encode', ['retry', 'skip'], () =>
    CancellationScope.cancellable(async () => {
      const scope = CancellationScope.current()
      life.stopEncode = () => scope.cancel()
      try {
        await encodes.encodeRecording(refOf(life), plan)
      } finally {
        life.stopEncode = null
      }
    }),
  )
  await records.endEncode(refOf(life))
}

/** Seals the package, copies it to every backup, and reads every copy back: only then is it protected. */
async function archive(life: Life): Promise<void> {
  await sayWaiting(life, 'the primary store', 'the package is sealed with its manifest')
  await attempt(life, 'archive', ['retry'], () => makingAgain(life, () => transfers.sealPackage(refOf(life))))
  await sayWaiting(life, 'the backup stores', 'copies are made and read back')
  await attempt(life, 'replicate', ['retry'], () => makingAgain(life, () => replicate(life)))
}

async function replicate(life: Life): Promise<void> {
  const { primaryId, backupIds } = await records.listCopyStores(refOf(life))
  await Promise.all([
    transfers.verifyCopies(refOf(life), primaryId),
    ...backupIds.map(async (storeId) => {
      await transfers.copyToStore(refOf(life), storeId)
      await transfers.verifyCopies(refOf(life), storeId)
    }),
  ])
  await records.recordProtected(refOf(life))
}

const remakesAtOnce = 2

/**
 * Renditions that went bad before there was another copy are the encoder's to make again; then the step is done once more. A store
 * that does not keep them even so is tried again later.
 */
async function makingAgain(life: Life, step: () => Promise<void>): Promise<void> {
  for (let remakes = 0; ; remakes += 1) {
    try {
      return await step()
    } catch (error) {
      const { code, message } = readFailure(error)
      if (code !== 'rendition_corrupt' || !patched('renditions-made-again')) throw error
      if (remakes === remakesAtOnce) throw refuse('store_alters_bytes', message)
      const { waitingFor, nextStep, nextAtMs } = life.waiting
      await sayWaiting(life, 'the encoder', 'a rendition that went bad in its store is made again')
      await encodes.remakeRenditions(refOf(life))
      await sayWaiting(life, waitingFor, nextStep, nextAtMs)
    }
  }
}

/** The copies are verified: the source leaves the inbox, the plan begins, and the history starts afresh for the long wait. */
async function beginRetention(life: Life): Promise<void> {
  await sayWaiting(life, 'the inbox', 'the source leaves the inbox')
  await attempt(life, 'replicate', ['retry', 'skip'], () => transfers.releaseSource(refOf(life)))
  await records.beginRetention(refOf(life))
  await refresh(life)
  await goOnInNewRun(life)
}

/** Keeps the recording as long as its plan says; reminds its owner; then the policy asks for deletion. */
async function retain(life: Life, facts: RecordingFacts): Promise<void> {
  if (life.wasLeaving && patched('later-deposits-wait')) return settleLaterDeposits(life)
  if (workflowInfo().continueAsNewSuggested) {
    await endOwed(life)
    await goOnInNewRun(life)
  }
  const { looksAgain } = life
  if (patched('what-is-owed-is-made-good')) await beginOwed(life)
  const { owed } = life
  const say: typeof sayWaiting = (...what) => (life.owed === null ? sayWaiting(...what) : sayAgain(life))
  const changed = () =>
    life.looksAgain !== looksAgain ||
    life.owed !== owed ||
    life.facts?.state !== 'retained' ||
    life.facts.planHash !== facts.planHash ||
    life.facts.holds.length !== facts.holds.length
  if (facts.holds.length > 0) {
    await say(
      life,
      `the release of a legal hold (${facts.holds.map((hold) => hold.reason).join('; ')})`,
      'nothing is deleted while it stands',
    )
    await restUntil(life, null, changed)
    return
  }
  const endsAtMs = Math.max(facts.retainUntilMs ?? Number.MAX_SAFE_INTEGER, life.askAgainAtMs)
  const reminders = (facts.plan?.actions ?? []).filter((action) => action.kind === 'remind' && action.atMs > Date.now())
  for (const reminder of reminders) {
    await say(life, `the end of its retention: ${facts.plan?.reason ?? ''}`, 'its owner is reminded', reminder.atMs)
    if (await restUntil(life, reminder.atMs, changed)) return
    tell(life, 'retention_ending', `${facts.planHash?.slice(0, 12)}-${reminder.atMs}`)
  }
  await say(life, `the end of its retention: ${facts.plan?.reason ?? ''}`, 'its deletion is requested', endsAtMs)
  if (await restUntil(life, endsAtMs, changed)) return
  await refresh(life)
  await records.requestByPolicy(refOf(life), facts.plan?.reason ?? 'Retention ended')
  const now = await refresh(life)
  // The timer is a hint, the database's clock decides: where it says not yet, ask again in a minute.
  if (now?.state === 'retained') await restUntil(life, Date.now() + 60_000, changed)
}

/** Its deletion was called off: later deposits of the same bytes waited for that, and leave the inbox like any others. */
async function settleLaterDeposits(life: Life): Promise<void> {
  life.wasLeaving = false
  await sayWaiting(life, 'the inbox', 'later deposits of the same bytes leave the inbox')
  await attempt(life, 'replicate', ['retry', 'skip'], () => transfers.releaseSource(refOf(life)))
}

/** Waits for the approvals; asks again as often as the policy says. */
async function awaitApproval(life: Life, facts: RecordingFacts): Promise<void> {
  life.wasLeaving = true
  const { remindEveryMs, approvals } = life.policy.disposition
  const decided = () => life.facts?.state !== 'disposition_requested'
  let asked = life.ongoing?.kind === 'approval' ? life.ongoing : askForApproval(life, facts, 0)
  while (!decided()) {
    const againAtMs = asked.askedAtMs + remindEveryMs
    await sayWaiting(
      life,
      `${approvals} approval(s) of its deletion: ${facts.disposition?.reason ?? ''}`,
      'the approvers are asked again',
      againAtMs,
    )
    await restUntil(life, againAtMs, decided)
    if (!decided()) asked = askForApproval(life, facts, asked.round + 1)
  }
  if (life.facts?.state === 'retained') life.askAgainAtMs = Date.now() + remindEveryMs
}

function askForApproval(life: Life, facts: RecordingFacts, round: number) {
  tell(life, 'approval_wanted', `${facts.disposition?.id ?? ''}-${round}`)
  const asked = { kind: 'approval' as const, round, askedAtMs: Date.now() }
  life.ongoing = asked
  return asked
}

/** The undo window: the copies still stand, nobody can play them. Then everything is asked once more, and the purge opens. */
async function awaitUndo(life: Life, facts: RecordingFacts): Promise<void> {
  life.wasLeaving = true
  const left = () => life.facts?.state !== 'trashed' && life.facts?.state !== 'approved'
  const untilMs = facts.disposition?.undoUntilMs ?? Date.now()
  await sayWaiting(life, 'the end of the undo window', 'every copy is purged', untilMs)
  if (await restUntil(life, untilMs, left)) {
    life.askAgainAtMs = Date.now() + life.policy.disposition.remindEveryMs
    return
  }
  await refresh(life)
  const verdict = await records.beginPurge(refOf(life))
  if (!verdict.ok && verdict.code === 'retention_not_ended') await restUntil(life, Date.now() + 1000, left)
}

/** Removes every copy, then the source if it is still there, then signs what was removed. Nothing can stop it half-way for good. */
async function purge(life: Life): Promise<void> {
  await sayWaiting(life, 'the stores', 'every copy is removed, then the certificate is signed')
  for (let lostIsGone = false; ; lostIsGone = true) {
    const end = await attempt(life, 'delete', ['retry', 'skip'], async () => {
      const storeIds = await records.listPurgeStores(refOf(life))
      await Promise.all(storeIds.map((storeId) => transfers.purgeStore(refOf(life), storeId, { lostIsGone })))
      await transfers.purgeSource(refOf(life))
      await records.certify(refOf(life))
    })
    if (end.how === 'done') return
  }
}

/** Mails without holding anything up: a mail server that is away parks the notice, not the recording. */
function tell(life: Life, kind: NoticeKind, occasion: string): void {
  mail(life, { kind, occasion }, false)
}

function mail(life: Life, notice: OwedNotice, wasParked: boolean): void {
  const { kind, occasion } = notice
  const stage = kind.startsWith('claim') ? 'claim' : 'retain'
  const how = { quiet: true, wasParked }
  life.owedNotices.add(notice)
  attempt(life, stage, ['retry', 'skip'], () => mails.sendNotice(refOf(life), kind, occasion), how)
    .catch(() => undefined)
    .finally(() => life.owedNotices.delete(notice))
}
