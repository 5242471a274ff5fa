import { Client, types } from 'pg'

/* Rows as Postgres has them. Whole numbers are numbers, instants are milliseconds. */

/** An account, as far as promises depend on its policy. */
export interface AccountRow {
  readonly id: string
  readonly policy: {
    readonly copies: { readonly count: number; readonly sites: number }
    readonly disposition: { readonly approvals: number }
  }
}
/** A person of an account. */
export interface PersonRow {
  readonly id: string
  readonly account_id: string
  readonly email: string
}
/** A store as the product knows it. */
export interface StoreRow {
  readonly id: string
  readonly account_id: string
  readonly name: string
  readonly site: string
  readonly role: string
  readonly url: string
}
/** A recorder and who answers for it. */
export interface RecorderRow {
  readonly id: string
  readonly account_id: string
  readonly inbox_id: string
  readonly manager_id: string | null
  readonly default_owner_id: string | null
}
/** Anything that was ever seen in an inbox. */
export interface DepositRow {
  readonly id: string
  readonly account_id: string
  readonly inbox_id: string
  readonly recorder_id: string | null
  readonly path: string
  readonly state: string
  readonly sha256: string | null
  readonly reason_code: string | null
  readonly reason: string | null
  readonly recording_id: string | null
  readonly settled_at: number | null
}
/** A recording: its state, what it waits for, and the proof of its end. */
export interface RecordingRow {
  readonly id: string
  readonly account_id: string
  readonly recorder_id: string
  readonly deposit_id: string
  readonly state: string
  readonly state_since: number | null
  readonly owner_id: string | null
  readonly sha256: string
  readonly size_bytes: number
  readonly waiting_for: string | null
  readonly next_step: string | null
  readonly next_at: number | null
  readonly plan: RetentionPlanJson | null
  readonly plan_hash: string | null
  readonly retain_until: number | null
  readonly clock_offset_ms: number
  readonly certificate: unknown
}
/** The plan that approvals are bound to. */
export interface RetentionPlanJson {
  readonly policyVersion: number
  readonly ruleId: string
  readonly retainUntilMs: number
  readonly reason: string
  readonly extendedToMs: number | null
  readonly actions: readonly { readonly kind: string; readonly atMs: number; readonly reason: string }[]
}
/** A file of a recording, and its key in every store. */
export interface FileRow {
  readonly id: string
  readonly account_id: string
  readonly recording_id: string
  readonly kind: string
  readonly name: string
  readonly key: string
  readonly size_bytes: number
  readonly sha256: string
}
/** One file in one store. */
export interface CopyRow {
  readonly id: string
  readonly account_id: string
  readonly recording_id: string
  readonly file_id: string
  readonly store_id: string
  readonly state: string
  readonly verified_at: number | null
  readonly purged_at: number | null
}
/** A legal hold. */
export interface HoldRow {
  readonly id: string
  readonly account_id: string
  readonly recording_id: string
  readonly placed_by: string
  readonly placed_at: number
  readonly released_by: string | null
  readonly released_at: number | null
}
/** A request to delete a recording, and what became of it. */
export interface DispositionRow {
  readonly id: string
  readonly account_id: string
  readonly recording_id: string
  readonly requested_by: string | null
  readonly requested_at: number
  readonly plan_hash: string
  readonly state: string
  readonly undo_until: number | null
  readonly purge_started_at: number | null
}
/** One person's yes to one request. */
export interface ApprovalRow {
  readonly disposition_id: string
  readonly person_id: string
  readonly account_id: string
  readonly plan_hash: string
}
/** Why something needs attention. */
export interface ProblemRow {
  readonly id: string
  readonly account_id: string
  readonly recording_id: string
  readonly stage: string
  readonly code: string
  readonly message: string
  readonly next_retry_at: number | null
  readonly options: readonly string[]
  readonly resolved_at: number | null
  readonly resolution: string | null
}
/** An original that may stand in a store before a row names it. */
export interface AnnouncedRow {
  readonly account_id: string
  readonly store_id: string
  readonly key: string
  readonly announced_at: number
}
/** A mail that was handed over. */
export interface NoticeRow {
  readonly account_id: string
  readonly recording_id: string
  readonly kind: string
  readonly recipient: string
}
/** One link of an account's audit trail. */
export interface AuditRow {
  readonly account_id: string
  readonly seq: number
  readonly recording_id: string | null
  readonly at: number
  readonly clock_at: number | null
  readonly actor: string
  readonly action: string
  readonly detail: Readonly<Record<string, unknown>>
  readonly prev_hash: string
  readonly hash: string
  /** What the hash is taken over, as texts of Postgres. */
  readonly at_text: string
  readonly clock_at_text: string | null
  readonly detail_text: string
}
/** Where an account's audit trail ends. */
export interface AuditHeadRow {
  readonly account_id: string
  readonly seq: number
  readonly hash: string
}

/** Every row that promises are about, of one instant. */
export interface Rows {
  readonly nowMs: number
  readonly accounts: readonly AccountRow[]
  readonly people: readonly PersonRow[]
  readonly stores: readonly StoreRow[]
  readonly recorders: readonly RecorderRow[]
  readonly deposits: readonly DepositRow[]
  readonly recordings: readonly RecordingRow[]
  readonly files: readonly FileRow[]
  readonly copies: readonly CopyRow[]
  readonly holds: readonly HoldRow[]
  readonly dispositions: readonly DispositionRow[]
  readonly approvals: readonly ApprovalRow[]
  readonly problems: readonly ProblemRow[]
  readonly notices: readonly NoticeRow[]
  readonly announced: readonly AnnouncedRow[]
  readonly audit: readonly AuditRow[]
  readonly auditHeads: readonly AuditHeadRow[]
}

const int8 = 20
const timestamptz = 1184
const parse: (oid: number) => (text: string) => unknown = (oid) => {
  if (oid === int8) return Number
  const usual = types.getTypeParser(oid, 'text') as (text: string) => unknown
  return oid === timestamptz ? (text) => (usual(text) as Date).getTime() : usual
}

/** Reads every row in one snapshot of the database, whoever else writes meanwhile. */
export async function readRows(databaseUrl: string): Promise<Rows> {
  const client = new Client({
    connectionString: databaseUrl,
    types: { getTypeParser: (oid: number) => parse(oid) as never },
  })
  await client.connect()
  const read = async <T>(statement: string): Promise<T[]> => (await client.query(statement)).rows as T[]
  try {
    await client.query('begin isolation level repeatable read read only')
    const [role] = await read<{ sees_all: boolean; now: number }>(
      'select rolsuper or rolbypassrls as sees_all, now() from pg_roles where rolname = current_user',
    )
    if (role?.sees_all !== true)
      throw new Error('The oracle must see every row: give it a role that bypasses row-level security.')
    return {
      nowMs: role.now,
      accounts: await read('select * from accounts'),
      people: await read('select * from people'),
      stores: await read('select * from stores'),
      recorders: await read('select * from recorders'),
      deposits: await read('select * from deposits order by first_seen_at, id'),
      recordings: await read('select * from recordings order by created_at, id'),
      files: await read('select * from files'),
      copies: await read('select * from copies'),
      holds: await read('select * from holds'),
      dispositions: await read('select * from dispositions order by requested_at'),
      approvals: await read('select * from approvals'),
      problems: await read('select * from problems'),
      notices: await read('select * from notices'),
      announced: await read('select * from announced_puts'),
      audit: await read(`select *, extract(epoch from at)::text as at_text, detail::text as detail_text,
        extract(epoch from clock_at)::text as clock_at_text from audit_events order by account_id, seq`),
      auditHeads: await read('select * from audit_heads'),
    }
  } finally {
    await client.end()
  }
}
