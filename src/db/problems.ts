import { sql } from 'kysely'
import type { Problem, Stage } from '../domain/recording.ts'
import type { AccountTx } from './connect.ts'
import { writeAudit } from './audit.ts'

/** Writes down that a stage is parked. While it stays parked, the one open row is brought up to date. */
export async function openProblem(
  tx: AccountTx,
  recordingId: string,
  problem: Omit<Problem, 'sinceMs'>,
): Promise<void> {
  const row = {
    account_id: sql<string>`current_setting('app.account')::uuid`,
    recording_id: recordingId,
    stage: problem.stage,
    code: problem.code,
    message: problem.message,
    attempts: problem.attempts,
    next_retry_at: problem.nextRetryAtMs === null ? null : new Date(problem.nextRetryAtMs),
    options: [...problem.options],
  }
  const { account_id: _account, recording_id: _recording, stage: _stage, ...change } = row
  await tx
    .insertInto('problems')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['recording_id', 'stage']).where('resolved_at', 'is', null).doUpdateSet(change),
    )
    .execute()
  await writeAudit(tx, recordingId, 'system', 'problem.parked', {
    stage: problem.stage,
    code: problem.code,
    message: problem.message,
    attempts: problem.attempts,
  })
}

/** The stage goes on. Without an open problem this does nothing. */
export async function resolveProblem(
  tx: AccountTx,
  recordingId: string,
  stage: Stage,
  resolution: string,
): Promise<void> {
  const resolved = await tx
    .updateTable('problems')
    .set({ resolved_at: sql<Date>`now()`, resolution })
    .where('recording_id', '=', recordingId)
    .where('stage', '=', stage)
    .where('resolved_at', 'is', null)
    .executeTakeFirst()
  if (resolved.numUpdatedRows > 0n)
    await writeAudit(tx, recordingId, 'system', 'problem.resolved', { stage, resolution })
}
