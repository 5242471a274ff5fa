import { sql } from 'kysely'
import type { Disposition, Hold, RecordingFacts, RecordingState } from '../domain/recording.ts'
import { getPolicy } from './accounts.ts'
import { msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'

/** Everything decisions about one recording need, or null when there is none (or it is another account's). */
export async function findFacts(tx: AccountTx, recordingId: string): Promise<RecordingFacts | null> {
  return loadFacts(tx, recordingId, false)
}

/** The same under a row lock: nobody changes this recording, and no hold is placed on it, until the transaction ends. */
export async function lockFacts(tx: AccountTx, recordingId: string): Promise<RecordingFacts | null> {
  return loadFacts(tx, recordingId, true)
}

/** The recording's state, which nobody changes until the transaction ends; null where there is no such recording. */
export async function lockState(tx: AccountTx, recordingId: string): Promise<RecordingState | null> {
  const row = await tx
    .selectFrom('recordings')
    .select('state')
    .where('id', '=', recordingId)
    .forUpdate()
    .executeTakeFirst()
  return row?.state ?? null
}

/** True where every copy is to go, or went: nothing may come back behind a purge. */
export function isGoing(state: RecordingState | null): boolean {
  return state === null || state === 'purging' || state === 'purged'
}

async function loadFacts(tx: AccountTx, recordingId: string, lock: boolean): Promise<RecordingFacts | null> {
  const query = tx
    .selectFrom('recordings as r')
    .innerJoin('recorders as d', 'd.id', 'r.recorder_id')
    .selectAll('r')
    .select(['d.assignment', 'd.manager_id', 'd.default_owner_id'])
    // No join: whoever waited for the lock would get the new owner with the name of the old one.
    .select((part) =>
      part.selectFrom('people as o').select('o.name').whereRef('o.id', '=', 'r.owner_id').as('owner_name'),
    )
    .where('r.id', '=', recordingId)
  const row = await (lock ? query.forUpdate('r') : query).executeTakeFirst()
  if (row === undefined) return null
  return {
    id: row.id,
    accountId: row.account_id,
    recorderId: row.recorder_id,
    state: row.state,
    assignment: row.assignment,
    managerId: row.manager_id,
    defaultOwnerId: row.default_owner_id,
    ownerId: row.owner_id,
    ownerName: row.owner_name,
    acceptedAtMs: msOf(row.created_at),
    durationMs: row.media.durationMs,
    sizeBytes: Number(row.size_bytes),
    plan: row.plan,
    planHash: row.plan_hash,
    retainUntilMs: msOf(row.retain_until),
    holds: await standingHolds(tx, recordingId),
    disposition: await openDisposition(tx, recordingId),
    copiesVerified: await areCopiesVerified(tx, recordingId),
    clockOffsetMs: Number(row.clock_offset_ms),
    version: Number(row.version),
  }
}

async function standingHolds(tx: AccountTx, recordingId: string): Promise<readonly Hold[]> {
  const rows = await tx
    .selectFrom('holds')
    .selectAll()
    .where('recording_id', '=', recordingId)
    .where('released_at', 'is', null)
    .execute()
  return rows.map((row) => ({
    id: row.id,
    reason: row.reason,
    placedBy: row.placed_by,
    placedAtMs: msOf(row.placed_at),
  }))
}

async function openDisposition(tx: AccountTx, recordingId: string): Promise<Disposition | null> {
  const row = await tx
    .selectFrom('dispositions')
    .selectAll()
    .where('recording_id', '=', recordingId)
    .where('state', 'in', ['requested', 'approved', 'purging'])
    .executeTakeFirst()
  if (row === undefined) return null
  const approvals = await tx
    .selectFrom('approvals')
    .select('person_id')
    .where('disposition_id', '=', row.id)
    .orderBy('at')
    .execute()
  return {
    id: row.id,
    requestedBy: row.requested_by,
    requestedAtMs: msOf(row.requested_at),
    reason: row.reason,
    planHash: row.plan_hash,
    state: row.state,
    approvedBy: approvals.map((approval) => approval.person_id),
    undoUntilMs: msOf(row.undo_until),
  }
}

/** True once every file, the manifest included, stands verified in as many stores and sites as the policy asks for. */
export async function areCopiesVerified(tx: AccountTx, recordingId: string): Promise<boolean> {
  const { copies } = await getPolicy(tx)
  const { rows } = await sql<{ owed: number; sealed: boolean }>`
    select count(*) filter (where stores < ${copies.count} or sites < ${copies.sites})::integer as owed,
           coalesce(bool_or(kind = 'manifest'), false) as sealed
    from (select f.kind, count(distinct c.store_id) as stores, count(distinct s.site) as sites
          from files f
          left join copies c on c.file_id = f.id and c.state = 'verified'
          left join stores s on s.id = c.store_id
          where f.recording_id = ${recordingId} group by f.id) as per_file`.execute(tx)
  return rows[0] !== undefined && rows[0].owed === 0 && rows[0].sealed
}

/** The recording's own now, by the database clock. */
export async function recordingNowMs(tx: AccountTx, recordingId: string): Promise<number> {
  const { rows } = await sql<{
    now: Date
  }>`select recording_now(r) as now from recordings r where r.id = ${recordingId}`.execute(tx)
  return rows[0]?.now.getTime() ?? databaseNowMs(tx)
}

/** The database's clock, which no recording's fast-forward moves: the start of this transaction. */
export async function databaseNowMs(tx: AccountTx): Promise<number> {
  const { rows } = await sql<{ now: Date }>`select now() as now`.execute(tx)
  return rows[0]?.now.getTime() ?? 0
}
