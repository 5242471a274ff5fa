import { sql } from 'kysely'
import type { DepositState } from '../domain/deposit.ts'
import type { AccountTx } from './connect.ts'

/** An original that is about to be put, or may have been. */
export interface AnnouncedPut {
  readonly storeId: string
  readonly key: string
  readonly depositId: string
}

/** One that was announced long ago, and what is known of it now. */
export interface LeftPut extends AnnouncedPut {
  /** When it was announced: one that is announced again is not this one any more. */
  readonly mark: string
  /** `null` = no deposit has this id any more. */
  readonly depositState: DepositState | null
  readonly hasRecording: boolean
  readonly isNamed: boolean
}

/**
 * Says that an original may stand in a store from now on, though no row names it. A further attempt says it anew. False where
 * its deposit is not being taken in any more: then it must not be put.
 */
export async function announcePut(tx: AccountTx, put: AnnouncedPut): Promise<boolean> {
  const { numAffectedRows } = await sql`
    insert into announced_puts (account_id, store_id, key, deposit_id)
    select account_id, ${put.storeId}::uuid, ${put.key}, id from deposits
    where id = ${put.depositId}::uuid and state in ('complete', 'quarantined')
    on conflict (store_id, key) do update set announced_at = now()`.execute(tx)
  return (numAffectedRows ?? 0n) > 0n
}

/** A row names it now. Must run in the transaction that writes that row. */
export async function strikeOffPut(tx: AccountTx, storeId: string, key: string): Promise<void> {
  await tx.deleteFrom('announced_puts').where('store_id', '=', storeId).where('key', '=', key).execute()
}

/** What was announced longer ago than this, by the database's clock, in the order of keys. */
export async function listLeftPuts(
  tx: AccountTx,
  storeId: string,
  page: { readonly olderThanMs: number; readonly afterKey: string; readonly limit: number },
): Promise<LeftPut[]> {
  const rows = await tx
    .selectFrom('announced_puts as a')
    .leftJoin('deposits as d', 'd.id', 'a.deposit_id')
    .leftJoin('recordings as r', 'r.id', 'a.deposit_id')
    .select(['a.store_id', 'a.key', 'a.deposit_id', 'd.state as deposit_state', 'r.id as recording'])
    .select(sql<string>`a.announced_at::text`.as('mark'))
    .select(
      sql<boolean>`exists (select 1 from files f where f.recording_id = a.deposit_id and f.key = a.key)`.as('named'),
    )
    .where('a.store_id', '=', storeId)
    .where('a.key', '>', page.afterKey)
    .where(sql<boolean>`a.announced_at < now() - ${page.olderThanMs} * interval '1 millisecond'`)
    .orderBy('a.key')
    .limit(page.limit)
    .execute()
  return rows.map((row) => ({
    storeId: row.store_id,
    key: row.key,
    depositId: row.deposit_id,
    mark: row.mark,
    depositState: row.deposit_state,
    hasRecording: row.recording !== null,
    isNamed: row.named,
  }))
}

/** It is settled. One that was announced again meanwhile stays. */
export async function forgetPut(tx: AccountTx, { storeId, key, mark }: LeftPut): Promise<void> {
  await tx
    .deleteFrom('announced_puts')
    .where('store_id', '=', storeId)
    .where('key', '=', key)
    .where(sql<boolean>`announced_at = ${mark}::timestamptz`)
    .execute()
}
