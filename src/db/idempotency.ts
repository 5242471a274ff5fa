import { sql } from 'kysely'
import type { AccountTx } from './connect.ts'

/** What is known of an Idempotency-Key: nothing yet, another request's, still running, or its stored answer. */
export type IdempotencyClaim =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'reused' }
  | { readonly kind: 'running' }
  | { readonly kind: 'answered'; readonly status: number; readonly body: unknown }

/** Longer than any request runs: what has no answer by then belonged to a process that died, and may be done again. */
const abandonedAfterMinutes = 15
const keptForDays = 7

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
    .where('key', '=', request.key)
    .where((where) =>
      where.or([
        where('created_at', '<', sql<Date>`now() - ${keptForDays} * interval '1 day'`),
        where.and([
          where('status', 'is', null),
          where('created_at', '<', sql<Date>`now() - ${abandonedAfterMinutes} * interval '1 minute'`),
        ]),
      ]),
    )
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
