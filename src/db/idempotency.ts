import { sql } from 'kysely'
import type { AccountTx } from './connect.ts'

/** What is known of an Idempotency-Key: nothing yet, another request's, still running, or its stored answer. */
export type IdempotencyClaim =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'reused' }
  | { readonly kind: 'running' }
  | { readonly kind: 'answered'; readonly status: number; readonly body: unknown }

/** What was not touched for so long belonged to a process that died, and may be done again. */
const abandonedAfterSeconds = 60
const keptForDays = 7

/** How often a running request touches its key. */
export const idempotencyBeatMs = 15_000

/**
 * Takes an Idempotency-Key for one request. Two at once: one is `fresh`, the other `running`. The answers of the last
 * seven days are remembered.
 */
export async function claimIdempotencyKey(
  tx: AccountTx,
  request: { accountId: string; key: string; sha256: string },
): Promise<IdempotencyClaim> {
  await tx
    .deleteFrom('idempotency_keys')
    .where('created_at', '<', sql<Date>`now() - ${keptForDays} * interval '1 day'`)
    .execute()
  await tx
    .deleteFrom('idempotency_keys')
    .where('key', '=', request.key)
    .where('status', 'is', null)
    .where('created_at', '<', sql<Date>`now() - ${abandonedAfterSeconds} * interval '1 second'`)
    .execute()
  const inserted = await tx
    .insertInto('idempotency_keys')
    .values({ account_id: request.accountId, key: request.key, request_sha256: request.sha256 })
    .onConflict((conflict) => conflict.columns(['account_id', 'key']).doNothing())
    .returning('key')
    .executeTakeFirst()
  if (inserted !== undefined) return { kind: 'fresh' }
  const row = await tx.selectFrom('idempotency_keys').selectAll().where('key', '=', request.key).executeTakeFirst()
  if (row === undefined) return { kind: 'running' }
  if (row.request_sha256 !== request.sha256) return { kind: 'reused' }
  return row.status === null ? { kind: 'running' } : { kind: 'answered', status: row.status, body: row.body }
}

/** Says that the request of this key still runs. */
export async function touchIdempotencyKey(tx: AccountTx, key: string): Promise<void> {
  await tx
    .updateTable('idempotency_keys')
    .set({ created_at: sql<Date>`now()` })
    .where('key', '=', key)
    .where('status', 'is', null)
    .execute()
}

/** Keeps the answer of a request for whoever repeats it. */
export async function storeIdempotentAnswer(tx: AccountTx, key: string, status: number, body: unknown): Promise<void> {
  await tx
    .updateTable('idempotency_keys')
    .set({ status, body: JSON.stringify(body) })
    .where('key', '=', key)
    .execute()
}

/** Gives a key back: the request came to nothing and may be repeated. */
export async function releaseIdempotencyKey(tx: AccountTx, key: string): Promise<void> {
  await tx.deleteFrom('idempotency_keys').where('key', '=', key).where('status', 'is', null).execute()
}
