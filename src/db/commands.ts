import { createHash } from 'node:crypto'
import { sql } from 'kysely'
import { decideCommand } from '../domain/commands.ts'
import type { Command, CommandKind, CommandRequest, Verdict } from '../domain/commands.ts'
import { planRetention, planText } from '../domain/plan.ts'
import type { RetentionPlan } from '../domain/plan.ts'
import type { RecordingFacts } from '../domain/recording.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { getPolicy } from './accounts.ts'
import { writeAudit } from './audit.ts'
import { brokeUnique } from './connect.ts'
import type { AccountTx, Database } from './connect.ts'
import { findFacts, lockFacts, recordingNowMs } from './facts.ts'

/** What came of a command: the verdict and the facts as they are now. */
export interface AppliedCommand {
  readonly verdict: Verdict
  readonly facts: RecordingFacts | null
}

/**
 * Carries out what a person decided, or refuses it: the same `decideCommand` that answered earlier is asked again
 * here, on rows that are locked until the change is written. Delivered again, the same request answers from its
 * audit row and changes nothing.
 */
export async function applyCommand(
  db: Database,
  recordingId: string,
  request: CommandRequest,
): Promise<AppliedCommand> {
  const { command, actor, requestId } = request
  const work = async (tx: AccountTx): Promise<AppliedCommand> => {
    const facts = await lockFacts(tx, recordingId)
    if (facts === null)
      return {
        verdict: {
          ok: false,
          code: 'not_found',
          message: `There is no recording ${recordingId}; if it is a deposit, it was not accepted yet.`,
        },
        facts: null,
      }
    await failpoint('command.after-lock')
    if (await wasApplied(tx, recordingId, request)) return { verdict: { ok: true }, facts }
    const nowMs = await recordingNowMs(tx, recordingId)
    const verdict = (await findStranger(tx, command)) ?? decideCommand(facts, command, actor, nowMs)
    if (!verdict.ok) return { verdict, facts }
    await appliers[command.kind](tx, facts, request, nowMs)
    await noteCommand(tx, facts, request)
    await raiseVersion(tx, recordingId)
    await failpoint('command.before-commit')
    return { verdict, facts: await findFacts(tx, recordingId) }
  }
  try {
    return await db.asAccount(actor.accountId, work, { actor: actor.name, detail: { requestId } })
  } catch (error) {
    if (!brokeUnique(error, 'one_open_disposition')) throw error
    return { verdict: { ok: false, code: 'wrong_state', message: 'A deletion is requested already.' }, facts: null }
  }
}

/** An owner must be a person of this account: a foreign key alone does not know accounts. */
async function findStranger(tx: AccountTx, command: Command): Promise<Verdict | null> {
  if (command.kind !== 'assign') return null
  const person = await tx.selectFrom('people').select('id').where('id', '=', command.ownerId).executeTakeFirst()
  return person === undefined
    ? { ok: false, code: 'not_found', message: `There is no person ${command.ownerId} in this account.` }
    : null
}

/** Somebody else's request under the same id is another request: nobody is told yes for what another person did. */
async function wasApplied(
  tx: AccountTx,
  recordingId: string,
  { requestId, actor }: Pick<CommandRequest, 'requestId' | 'actor'>,
): Promise<boolean> {
  const row = await tx
    .selectFrom('audit_events')
    .select('seq')
    .where('recording_id', '=', recordingId)
    .where(sql<boolean>`detail->>'requestId' = ${requestId}`)
    .where(sql<boolean>`detail->>'personId' = ${actor.personId}`)
    .where('action', 'like', 'command.%')
    .executeTakeFirst()
  return row !== undefined
}

async function noteCommand(tx: AccountTx, facts: RecordingFacts, request: CommandRequest): Promise<void> {
  const { kind, ...detail } = request.command
  await writeAudit(tx, facts.id, request.actor.name, `command.${kind}`, {
    ...detail,
    requestId: request.requestId,
    personId: request.actor.personId,
  })
}

/** Holds and approvals have rows of their own: the recording's version tells those who know the facts that theirs are old. */
async function raiseVersion(tx: AccountTx, recordingId: string): Promise<void> {
  await sql`update recordings set version = version where id = ${recordingId}`.execute(tx)
}

type Applier = (tx: AccountTx, facts: RecordingFacts, request: CommandRequest, nowMs: number) => Promise<void>

const appliers: Readonly<Record<CommandKind, Applier>> = {
  async claim(tx, facts, { command, actor }) {
    await giveTo(tx, facts, actor.personId, titleOf(command))
  },
  async assign(tx, facts, { command }) {
    if (command.kind === 'assign') await giveTo(tx, facts, command.ownerId, titleOf(command))
  },
  async notMine(tx, facts) {
    if (facts.state === 'claimed')
      await tx
        .updateTable('recordings')
        .set({ state: 'awaiting_claim', owner_id: null })
        .where('id', '=', facts.id)
        .execute()
  },
  async hold(tx, facts, { command, actor }) {
    if (command.kind !== 'hold') return
    await tx
      .insertInto('holds')
      .values({
        account_id: facts.accountId,
        recording_id: facts.id,
        reason: command.reason,
        placed_by: actor.personId,
      })
      .execute()
    // A hold stops a deletion that was under way: whoever still wants it asks again after the release.
    if (facts.disposition !== null) await endDisposition(tx, facts, 'cancelled')
  },
  async release(tx, facts, { command, actor }) {
    if (command.kind !== 'release') return
    await tx
      .updateTable('holds')
      .set({ released_at: sql<Date>`now()`, released_by: actor.personId })
      .where('id', '=', command.holdId)
      .where('recording_id', '=', facts.id)
      .execute()
  },
  async extend(tx, facts, { command }) {
    if (command.kind === 'extend') await writePlan(tx, facts.id, command.untilMs)
  },
  async replan(tx, facts) {
    await writePlan(tx, facts.id, facts.plan?.extendedToMs ?? null)
  },
  async requestDeletion(tx, facts, { command, actor }, nowMs) {
    if (command.kind === 'requestDeletion')
      await requestDisposition(tx, facts, { requestedBy: actor.personId, reason: command.reason, nowMs })
  },
  async approveDeletion(tx, facts, { command, actor }) {
    if (command.kind !== 'approveDeletion' || facts.disposition === null) return
    const { id, approvedBy } = facts.disposition
    await tx
      .insertInto('approvals')
      .values({
        disposition_id: id,
        person_id: actor.personId,
        account_id: facts.accountId,
        plan_hash: command.planHash,
      })
      .execute()
    const { disposition } = await getPolicy(tx)
    if (approvedBy.length + 1 < disposition.approvals) return
    await tx
      .updateTable('dispositions')
      .set({
        state: 'approved',
        undo_until: sql<Date>`(select recording_now(r) from recordings r where r.id = ${facts.id}) + ${disposition.undoMs} * interval '1 millisecond'`,
      })
      .where('id', '=', id)
      .execute()
    await tx.updateTable('recordings').set({ state: 'approved' }).where('id', '=', facts.id).execute()
    await tx.updateTable('recordings').set({ state: 'trashed' }).where('id', '=', facts.id).execute()
  },
  rejectDeletion: (tx, facts) => endDisposition(tx, facts, 'rejected'),
  undo: (tx, facts) => endDisposition(tx, facts, 'undone'),
  // The workflow stops the encode, or takes the recording out of its parking place; here the decision is only written down.
  cancelEncode: async () => undefined,
  resolve: async () => undefined,
}

function titleOf(command: Command): string | null {
  return 'title' in command && command.title !== undefined && command.title.trim() !== '' ? command.title.trim() : null
}

async function giveTo(tx: AccountTx, facts: RecordingFacts, ownerId: string, title: string | null): Promise<void> {
  await tx
    .updateTable('recordings')
    .set({
      owner_id: ownerId,
      ...(title === null ? {} : { title }),
      ...(facts.state === 'awaiting_claim' || facts.state === 'accepted' ? { state: 'claimed' as const } : {}),
    })
    .where('id', '=', facts.id)
    .execute()
}

/** Plans a recording's retention by the policy in force and writes it down. The same policy and facts write the same plan. */
export async function writePlan(
  tx: AccountTx,
  recordingId: string,
  extendedToMs: number | null,
): Promise<RetentionPlan> {
  const row = await tx.selectFrom('recordings').selectAll().where('id', '=', recordingId).executeTakeFirstOrThrow()
  const plan = planRetention(await getPolicy(tx), {
    recorderId: row.recorder_id,
    durationMs: row.media.durationMs,
    tags: row.tags,
    acceptedAtMs: row.created_at.getTime(),
    extendedToMs,
  })
  await storePlan(tx, recordingId, plan)
  return plan
}

async function storePlan(tx: AccountTx, recordingId: string, plan: RetentionPlan): Promise<string> {
  const planHash = createHash('sha256').update(planText(plan)).digest('hex')
  await tx
    .updateTable('recordings')
    .set({ plan: JSON.stringify(plan), plan_hash: planHash, retain_until: new Date(plan.retainUntilMs) })
    .where('id', '=', recordingId)
    .execute()
  return planHash
}

/** Opens a request to delete, bound to the plan as it is now. An unclaimed recording has none yet and gets one that ends now. */
export async function requestDisposition(
  tx: AccountTx,
  facts: RecordingFacts,
  request: { requestedBy: string | null; reason: string; nowMs: number },
): Promise<void> {
  const policy = await getPolicy(tx)
  const unclaimed: RetentionPlan = {
    policyVersion: policy.version,
    ruleId: 'unclaimed',
    retainUntilMs: request.nowMs,
    reason: request.reason,
    extendedToMs: null,
    actions: [
      { kind: 'purge_after_approval', atMs: request.nowMs + policy.disposition.undoMs, reason: request.reason },
    ],
  }
  const planHash = facts.state === 'awaiting_claim' ? await storePlan(tx, facts.id, unclaimed) : facts.planHash
  await tx
    .insertInto('dispositions')
    .values({
      account_id: facts.accountId,
      recording_id: facts.id,
      requested_by: request.requestedBy,
      reason: request.reason,
      plan_hash: planHash ?? '',
    })
    .execute()
  await tx.updateTable('recordings').set({ state: 'disposition_requested' }).where('id', '=', facts.id).execute()
}

/** Takes a recording off the way out and back to where it came from: kept, or (without an owner) waiting to be claimed. */
export async function endDisposition(
  tx: AccountTx,
  facts: RecordingFacts,
  how: 'rejected' | 'undone' | 'cancelled',
): Promise<void> {
  if (facts.disposition === null) return
  await tx
    .updateTable('dispositions')
    .set({ state: how, settled_at: sql<Date>`now()` })
    .where('id', '=', facts.disposition.id)
    .execute()
  const unclaimed = facts.plan?.ruleId === 'unclaimed'
  await tx
    .updateTable('recordings')
    .set(
      unclaimed ? { state: 'awaiting_claim', plan: null, plan_hash: null, retain_until: null } : { state: 'retained' },
    )
    .where('id', '=', facts.id)
    .execute()
}
