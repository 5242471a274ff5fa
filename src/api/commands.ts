import { hasAudit } from '../db/audit.ts'
import { findFacts, recordingNowMs } from '../db/facts.ts'
import { isFixityAsked, isStepParked } from '../db/fixity-standing.ts'
import { requirePeople } from '../db/people.ts'
import { decideCommand } from '../domain/commands.ts'
import type { CommandRequest } from '../domain/commands.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { requireRole } from './auth.ts'
import type { ApiDeps } from './env.ts'
import { notFound } from './requests.ts'

/**
 * Gives a person's command to a recording: refused early where its facts already say no, then decided for good by the
 * recording's own life. Repeating it with the same `requestId` counts once.
 * @throws not_found, the command's own codes, pipeline_unavailable
 */
export async function giveCommand(
  deps: Pick<ApiDeps, 'db' | 'pipeline'>,
  recordingId: string,
  request: CommandRequest,
): Promise<void> {
  await refuseEarly(deps, recordingId, request)
  if (await isCheckAgain(deps, recordingId, request)) {
    const { accountId } = request.actor
    await deps.pipeline.checkCopies(accountId, recordingId)
    if (!(await deps.db.asAccount(accountId, (tx) => isStepParked(tx, recordingId)))) return
  }
  try {
    await deps.pipeline.command(recordingId, request, () => refuseEarly(deps, recordingId, request))
  } catch (error) {
    // No answer came. Postgres may know one by now: carried out after all, or somebody else was faster.
    if (!hasCode(error, 'pipeline_unavailable')) throw error
    if (await wasCarriedOut(deps, recordingId, request)) return
    await refuseEarly(deps, recordingId, request)
    throw error
  }
}

/** What the recording's facts say already. A command whose answer was lost is not refused because of its own effect. */
async function refuseEarly(deps: Pick<ApiDeps, 'db'>, recordingId: string, request: CommandRequest): Promise<void> {
  const { command, actor } = request
  const verdict = await deps.db.asAccount(actor.accountId, async (tx) => {
    const facts = await findFacts(tx, recordingId)
    if (facts !== null) {
      // A foreign key would accept another account's person.
      if (command.kind === 'assign') await requirePeople(tx, [command.ownerId])
      return decideCommand(facts, command, actor, await recordingNowMs(tx, recordingId))
    }
    // A deposit in quarantine has no recording yet, but its problem is resolved the same way and under the same id.
    const deposit = await tx.selectFrom('deposits').select('id').where('id', '=', recordingId).executeTakeFirst()
    if (deposit === undefined || command.kind !== 'resolve') throw notFound('No recording')
    requireRole(actor, 'operator', 'manager')
    return { ok: true } as const
  })
  if (!verdict.ok && !(await wasCarriedOut(deps, recordingId, request)))
    throw new ReelkeepError(verdict.code, verdict.message)
}

/** Copies that disagree are no stage of the life: another check is what answers them. */
async function isCheckAgain(
  deps: Pick<ApiDeps, 'db'>,
  recordingId: string,
  { command, actor }: CommandRequest,
): Promise<boolean> {
  if (command.kind !== 'resolve' || command.option !== 'retry') return false
  return deps.db.asAccount(actor.accountId, (tx) => isFixityAsked(tx, recordingId))
}

function wasCarriedOut(deps: Pick<ApiDeps, 'db'>, recordingId: string, request: CommandRequest): Promise<boolean> {
  return deps.db.asAccount(request.actor.accountId, (tx) =>
    hasAudit(tx, { recordingId, action: `command.${request.command.kind}`, requestId: request.requestId }),
  )
}
