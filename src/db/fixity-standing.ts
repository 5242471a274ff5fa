import { sql } from 'kysely'
import { fixityStates } from '../domain/fixity.ts'
import type { AccountTx } from './connect.ts'

/** Which recordings a pass asks for next. */
export interface DueQuestion {
  /** Everything, not only what is due. */
  readonly everything: boolean
  /** The database's clock when the pass began: what was checked since is not checked again. */
  readonly beganAtMs: number
  /** The last one of the page before. */
  readonly after: { readonly due: string; readonly id: string } | null
  readonly limit: number
}

/** One page of recordings to check, the longest due first. */
export async function listDue(
  tx: AccountTx,
  { everything, beganAtMs, after, limit }: DueQuestion,
): Promise<{ readonly id: string; readonly due: string }[]> {
  const began = new Date(beganAtMs)
  let query = tx
    .selectFrom('recordings as r')
    .select(['r.id', sql<string>`r.fixity_due_at::text`.as('due')])
    .where('r.state', 'in', [...fixityStates])
    .where((at) => at.or([at('r.fixity_at', 'is', null), at('r.fixity_at', '<', began)]))
    .where(sql<boolean>`exists (select 1 from files f where f.recording_id = r.id and f.kind = 'manifest')`)
    .orderBy('r.fixity_due_at')
    .orderBy('r.id')
    .limit(limit)
  if (!everything) query = query.where('r.fixity_due_at', '<=', began)
  if (after !== null)
    query = query.where(sql<boolean>`(r.fixity_due_at, r.id) > (${after.due}::timestamptz, ${after.id}::uuid)`)
  return query.execute()
}

/** How an account's copies stand: for people who wait for a pass, and for whoever wants to know how old the last look is. */
export interface FixityStanding {
  /** Recordings whose copies are checked. */
  readonly recordings: number
  /** Of these, not checked since the instant that was asked about. */
  readonly waiting: number
  /** The check that is longest ago; null = one was never checked since its copies were made, or there is none. */
  readonly oldestCheckAtMs: number | null
  readonly failed: number
  readonly couldNotRun: number
  /** Of the failed ones, being made again. */
  readonly mending: number
  /** Recordings where a person has to decide. */
  readonly asked: number
}

/** Counts how the copies of everything that is kept stand. */
export async function readStanding(tx: AccountTx, sinceMs: number): Promise<FixityStanding> {
  const states = sql.join(fixityStates.map((state) => sql.lit(state)))
  const { rows } = await sql<
    Record<Exclude<keyof FixityStanding, 'oldestCheckAtMs'>, number> & { oldest: Date | null }
  >`
    with kept as (
      select id, fixity_at from recordings r where state in (${states})
        and exists (select 1 from files f where f.recording_id = r.id and f.kind = 'manifest')
    ), bad as (
      select c.check_result, c.mend_from from copies c join kept k on k.id = c.recording_id
      where c.check_result in ('failed', 'could_not_run') and c.state <> 'purged'
    )
    select (select count(*)::int from kept) as recordings,
      (select count(*)::int from kept where fixity_at is null or fixity_at < ${new Date(sinceMs)}) as waiting,
      (select case when bool_and(fixity_at is not null) then min(fixity_at) end from kept) as oldest,
      (select count(*)::int from bad where check_result = 'failed') as failed,
      (select count(*)::int from bad where check_result = 'could_not_run') as "couldNotRun",
      (select count(*)::int from bad where mend_from is not null) as mending,
      (select count(distinct p.recording_id)::int from problems p join kept k on k.id = p.recording_id
        where p.stage = 'replicate' and p.resolved_at is null) as asked`.execute(tx)
  const [row] = rows
  if (row === undefined) throw new Error('a count without a row')
  const { oldest, ...counts } = row
  return { ...counts, oldestCheckAtMs: oldest === null ? null : oldest.getTime() }
}

/** True where a check of this recording's copies answers what stands open: pressing "again" then means that check. */
export async function isFixityAsked(tx: AccountTx, recordingId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('problems as p')
    .innerJoin('recordings as r', 'r.id', 'p.recording_id')
    .select('p.id')
    .where('r.id', '=', recordingId)
    .where('r.state', 'in', [...fixityStates])
    .where('p.stage', '=', 'replicate')
    .where('p.resolved_at', 'is', null)
    .executeTakeFirst()
  return row !== undefined
}

/** True where a step of the recording's life is parked that could be skipped: no check of its copies is one. */
export async function isStepParked(tx: AccountTx, recordingId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('problems')
    .select('id')
    .where('recording_id', '=', recordingId)
    .where('resolved_at', 'is', null)
    .where(sql<boolean>`'skip' = any(options)`)
    .executeTakeFirst()
  return row !== undefined
}

/** True where this recording's copies are checked: it is kept, and its package is sealed. */
export async function isChecked(tx: AccountTx, recordingId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('recordings as r')
    .innerJoin('files as f', 'f.recording_id', 'r.id')
    .select('r.id')
    .where('r.id', '=', recordingId)
    .where('r.state', 'in', [...fixityStates])
    .where('f.kind', '=', 'manifest')
    .executeTakeFirst()
  return row !== undefined
}
