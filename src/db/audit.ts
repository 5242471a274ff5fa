import { sql } from 'kysely'
import type { AccountTx } from './connect.ts'

/** Writes one audit row. `actor` null = the transaction's own. State changes of a recording write theirs by a trigger. */
export async function writeAudit(
  tx: AccountTx,
  recordingId: string | null,
  actor: string | null,
  action: string,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  await tx
    .insertInto('audit_events')
    .values({
      account_id: sql<string>`current_setting('app.account')::uuid`,
      recording_id: recordingId,
      clock_at: sql<Date | null>`(select recording_now(r) from recordings r where r.id = ${recordingId}::uuid and r.clock_limit_ms > 0)`,
      actor: actor ?? sql<string>`coalesce(nullif(current_setting('app.actor', true), ''), 'system')`,
      action,
      detail: JSON.stringify(detail),
    })
    .execute()
}

/**
 * Writes one audit row for what a person changed through the API, in the transaction of the change. The actor is the
 * transaction's own; changes of a recording's state write theirs by a trigger.
 */
export async function insertAudit(
  tx: AccountTx,
  action: string,
  detail: Readonly<Record<string, unknown>>,
  recordingId: string | null = null,
): Promise<void> {
  await writeAudit(tx, recordingId, null, action, detail)
}

/** True where this very request already left its row on a recording. */
export async function hasAudit(
  tx: AccountTx,
  row: { recordingId: string; action: string; requestId: string },
): Promise<boolean> {
  const found = await tx
    .selectFrom('audit_events')
    .select('seq')
    .where('recording_id', '=', row.recordingId)
    .where('action', '=', row.action)
    .where(sql<boolean>`detail->>'requestId' = ${row.requestId}`)
    .executeTakeFirst()
  return found !== undefined
}
