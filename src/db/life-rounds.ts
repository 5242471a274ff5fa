import { sql } from 'kysely'
import type { AccountTx } from './connect.ts'

/** The next recordings of a round through an account. */
export interface RoundPage {
  readonly ids: readonly string[]
  /** True where lives that run must look at the database again. */
  readonly wake: boolean
  /** Which round this page belongs to: one that began anew meanwhile is not ended by it. */
  readonly beganAt: Date
}

const account = sql<string>`current_setting('app.account')::uuid`

/** The rows of this account were rebuilt: a round begins now, and wakes what still runs. */
export async function beginRebuiltRound(tx: AccountTx): Promise<void> {
  const fresh = { began_at: sql<Date>`clock_timestamp()`, after_id: null, ended_at: null, wake: true }
  await tx
    .insertInto('life_rounds')
    .values({ account_id: account, ...fresh })
    .onConflict((conflict) => conflict.column('account_id').doUpdateSet(fresh))
    .execute()
}

/**
 * A round begins now, or begins anew where one is under way: something was added that recordings may have to do with. Nobody is
 * woken for it who would not be anyway.
 */
export async function beginRound(tx: AccountTx): Promise<void> {
  await tx
    .insertInto('life_rounds')
    .values({ account_id: account })
    .onConflict((conflict) =>
      conflict.column('account_id').doUpdateSet({
        began_at: sql<Date>`clock_timestamp()`,
        after_id: null,
        ended_at: null,
        wake: sql<boolean>`life_rounds.wake and life_rounds.ended_at is null`,
      }),
    )
    .execute()
}

/**
 * The next page of the round under way, in the order of ids: recordings that are not purged. Null while the last round is
 * younger than `everyMs`; an older one begins anew.
 */
export async function nextRoundPage(tx: AccountTx, everyMs: number, limit: number): Promise<RoundPage | null> {
  const due = sql<boolean>`life_rounds.ended_at < now() - ${everyMs} * interval '1 millisecond'`
  await tx
    .insertInto('life_rounds')
    .values({ account_id: account })
    .onConflict((conflict) =>
      conflict
        .column('account_id')
        .doUpdateSet({ began_at: sql<Date>`clock_timestamp()`, after_id: null, ended_at: null, wake: false })
        .where(due),
    )
    .execute()
  const round = await tx
    .selectFrom('life_rounds')
    .selectAll()
    .where('account_id', '=', account)
    .executeTakeFirstOrThrow()
  if (round.ended_at !== null) return null
  let query = tx
    .selectFrom('recordings')
    .select('id')
    .where('account_id', '=', account)
    .where('state', '<>', 'purged')
    .orderBy('id')
    .limit(limit)
  if (round.after_id !== null) query = query.where('id', '>', round.after_id)
  const rows = await query.execute()
  return { ids: rows.map((row) => row.id), wake: round.wake, beganAt: round.began_at }
}

/** Writes down how far the round has come; null = it has been through. A round that began anew meanwhile stays as it is. */
export async function moveRound(tx: AccountTx, page: RoundPage, afterId: string | null): Promise<void> {
  await tx
    .updateTable('life_rounds')
    .set(afterId === null ? { ended_at: sql<Date>`now()`, wake: false } : { after_id: afterId })
    .where('account_id', '=', account)
    .where(sql<boolean>`date_trunc('milliseconds', began_at) = ${page.beganAt}`)
    .execute()
}
