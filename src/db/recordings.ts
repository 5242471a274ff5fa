import { sql } from 'kysely'
import type { RawBuilder, SelectQueryBuilder } from 'kysely'
import { isErrorCode } from '../domain/errors.ts'
import type {
  CopyView,
  FileView,
  Problem,
  ProblemOption,
  RecordingDetail,
  RecordingState,
  RecordingSummary,
  Stage,
  TimelineEvent,
  Waiting,
} from '../domain/recording.ts'
import { waitingAnew } from '../domain/wording.ts'
import { msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'
import { findFacts } from './facts.ts'
import type { Schema } from './schema.ts'
import { findMatches } from './search.ts'

/** Which recordings a list shows, newest first; `before` is the last one of the page before. */
export interface RecordingFilter {
  readonly state?: RecordingState
  readonly recorderId?: string
  readonly ownerId?: string
  /** Words, each of which begins a word of the title, the description or a tag; case and accents do not count. */
  readonly text?: string
  /** A whole tag; case and accents do not count. */
  readonly tag?: string
  readonly problem?: boolean
  readonly createdFromMs?: number
  readonly createdBeforeMs?: number
  readonly limit: number
  readonly before?: { readonly createdAtMs: number; readonly id: string }
}

const problemJson = sql<ProblemRow | null>`(select to_jsonb(p) from problems p where p.recording_id = r.id and p.resolved_at is null order by p.since limit 1)`

interface ProblemRow {
  stage: Stage
  code: string
  message: string
  attempts: number
  since: string
  next_retry_at: string | null
  options: ProblemOption[]
}

function summaryQuery(tx: AccountTx) {
  return tx
    .selectFrom('recordings as r')
    .innerJoin('recorders as d', 'd.id', 'r.recorder_id')
    .leftJoin('people as o', 'o.id', 'r.owner_id')
    .selectAll('r')
    .select(['d.name as recorder_name', 'o.name as owner_name', problemJson.as('problem')])
    .select(
      sql<boolean>`exists (select 1 from holds h where h.recording_id = r.id and h.released_at is null)`.as('on_hold'),
    )
    .select(
      sql<boolean>`exists (select 1 from files f where f.recording_id = r.id and f.kind = 'poster')`.as('has_poster'),
    )
    .select(
      sql<boolean>`r.waiting_basis is not null and r.waiting_basis is distinct from waiting_basis_of(r)`.as(
        'waiting_is_over',
      ),
    )
}

type SummaryRow =
  ReturnType<typeof summaryQuery> extends SelectQueryBuilder<infer _Db, infer _Tables, infer Row> ? Row : never

/** One page of recordings, newest first. */
export async function listRecordings(tx: AccountTx, filter: RecordingFilter): Promise<RecordingSummary[]> {
  const query = summaryQuery(tx).orderBy('r.created_at', 'desc').orderBy('r.id', 'desc').limit(filter.limit)
  const conditions = conditionsOf(filter)
  if (filter.text === undefined && filter.tag === undefined) {
    const listed = [...conditions, ...placeOf(filter, sql`r.created_at`, sql`r.id`)]
    return (await listed.reduce((all, one) => all.where(one), query).execute()).map(summaryOf)
  }
  const matches = await findMatches(tx, filter, {
    conditions,
    place: (at, id) => placeOf(filter, at, id),
    limit: filter.limit,
  })
  if (matches === null) return []
  return (await query.where(sql<boolean>`r.id = any(array(${matches}))`).execute()).map(summaryOf)
}

function conditionsOf({ state, recorderId, ownerId, problem }: RecordingFilter): RawBuilder<boolean>[] {
  return [
    ...(state === undefined ? [] : [sql<boolean>`r.state = ${state}`]),
    ...(recorderId === undefined ? [] : [sql<boolean>`r.recorder_id = ${recorderId}`]),
    ...(ownerId === undefined ? [] : [sql<boolean>`r.owner_id = ${ownerId}`]),
    ...(problem === true
      ? [sql<boolean>`exists (select 1 from problems p where p.recording_id = r.id and p.resolved_at is null)`]
      : []),
  ]
}

/** Which part of the list is meant, said of the columns that hold a recording's place in it. */
function placeOf(
  { createdFromMs, createdBeforeMs, before }: RecordingFilter,
  createdAt: RawBuilder<unknown>,
  id: RawBuilder<unknown>,
): RawBuilder<boolean>[] {
  return [
    ...(createdFromMs === undefined ? [] : [sql<boolean>`${createdAt} >= ${new Date(createdFromMs)}`]),
    ...(createdBeforeMs === undefined ? [] : [sql<boolean>`${createdAt} < ${new Date(createdBeforeMs)}`]),
    // The instant in a cursor is cut to milliseconds; the row itself knows better, and the index serves it.
    ...(before === undefined
      ? []
      : [
          sql<boolean>`(${createdAt}, ${id}) < (select b.created_at, b.id from recordings b where b.id = ${before.id}::uuid)`,
        ]),
  ]
}

/** One recording, whole, or null when there is none (or it is another account's). */
export async function findRecording(tx: AccountTx, id: string): Promise<RecordingDetail | null> {
  const row = await summaryQuery(tx).where('r.id', '=', id).executeTakeFirst()
  const facts = row === undefined ? null : await findFacts(tx, id)
  if (row === undefined || facts === null) return null
  const deposit = await tx
    .selectFrom('deposits')
    .select('path')
    .where('id', '=', row.deposit_id)
    .executeTakeFirstOrThrow()
  return {
    ...summaryOf(row),
    description: row.description,
    tags: row.tags,
    depositPath: deposit.path,
    sha256: row.sha256,
    media: row.media,
    encodePlan: row.encode_plan,
    facts,
    files: await listFiles(tx, id),
    copies: await listCopies(tx, id),
    timeline: await listTimeline(tx, id),
    certificate: row.certificate,
  }
}

/** Changes what people describe, if nobody changed the recording meanwhile. */
export async function describeRecording(
  tx: AccountTx,
  id: string,
  change: { title?: string; description?: string; tags?: string[] },
  ifVersion: number,
): Promise<'ok' | 'stale' | 'missing'> {
  const found = await tx.selectFrom('recordings').select('version').where('id', '=', id).forUpdate().executeTakeFirst()
  if (found === undefined) return 'missing'
  if (Number(found.version) !== ifVersion) return 'stale'
  if (Object.keys(change).length > 0) await tx.updateTable('recordings').set(change).where('id', '=', id).execute()
  return 'ok'
}

function summaryOf(row: SummaryRow): RecordingSummary {
  return {
    id: row.id,
    title: row.title,
    state: row.state,
    stateSinceMs: row.state_since.getTime(),
    recorderName: row.recorder_name,
    ownerName: row.owner_name,
    sizeBytes: Number(row.size_bytes),
    durationMs: row.media.durationMs,
    progressPercent: row.progress_percent,
    onHold: row.on_hold,
    problem: row.problem === null ? null : problemOf(row.problem),
    retainUntilMs: msOf(row.retain_until),
    hasPoster: row.has_poster,
    createdAtMs: row.created_at.getTime(),
    clockOffsetMs: Number(row.clock_offset_ms),
    version: Number(row.version),
    ...waitingOf(row),
  }
}

/** What its life said last, unless a decision made that untrue and the life has not yet said what follows. */
function waitingOf(row: SummaryRow): Waiting {
  if (row.waiting_is_over) return waitingAnew
  return { waitingFor: row.waiting_for ?? '', nextStep: row.next_step ?? '', nextAtMs: msOf(row.next_at) }
}

/** Writes down what a life waits for, and what it is in while it waits. A second run writes the same. */
export async function writeWaiting(tx: AccountTx, recordingId: string, waiting: Waiting): Promise<void> {
  await tx
    .updateTable('recordings')
    .set({
      waiting_for: waiting.waitingFor,
      next_step: waiting.nextStep,
      next_at: waiting.nextAtMs === null ? null : new Date(waiting.nextAtMs),
      waiting_basis: sql<string | null>`waiting_basis_of(recordings)`,
    })
    .where('id', '=', recordingId)
    .execute()
}

function problemOf(row: ProblemRow): Problem {
  return {
    stage: row.stage,
    code: isErrorCode(row.code) ? row.code : 'internal',
    message: row.message,
    attempts: row.attempts,
    sinceMs: Date.parse(row.since),
    nextRetryAtMs: row.next_retry_at === null ? null : Date.parse(row.next_retry_at),
    options: row.options,
  }
}

async function listFiles(tx: AccountTx, recordingId: string): Promise<FileView[]> {
  const rows = await tx
    .selectFrom('files')
    .selectAll()
    .where('recording_id', '=', recordingId)
    .orderBy('name')
    .execute()
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    kind: row.kind,
    contentType: row.content_type,
    sizeBytes: Number(row.size_bytes),
    sha256: row.sha256,
    widthPx: row.width_px,
    heightPx: row.height_px,
    durationMs: row.duration_ms === null ? null : Number(row.duration_ms),
  }))
}

/** Every copy of a recording's files, store by store. */
export async function listCopies(tx: AccountTx, recordingId: string): Promise<CopyView[]> {
  const rows = await tx
    .selectFrom('copies as c')
    .innerJoin('files as f', 'f.id', 'c.file_id')
    .innerJoin('stores as s', 's.id', 'c.store_id')
    .select(['f.id as file_id', 'f.name as file_name', 'f.kind', 'f.key', 'f.size_bytes', 'f.sha256'])
    .select(['s.name as store_name', 's.site', 's.role', 'c.state', 'c.verified_at', 'c.purged_at'])
    .select(['c.checked_at', 'c.check_result', 'c.check_since', 'c.check_note', 'c.mend_from'])
    .where('c.recording_id', '=', recordingId)
    .orderBy('s.role', 'desc')
    .orderBy('s.name')
    .orderBy('f.name')
    .execute()
  return rows.map((row) => ({
    fileId: row.file_id,
    fileName: row.file_name,
    kind: row.kind,
    storeName: row.store_name,
    site: row.site,
    role: row.role,
    key: row.key,
    sizeBytes: Number(row.size_bytes),
    sha256: row.sha256,
    state: row.state,
    verifiedAtMs: msOf(row.verified_at),
    purgedAtMs: msOf(row.purged_at),
    checkedAtMs: msOf(row.checked_at),
    checkResult: row.check_result,
    checkSinceMs: msOf(row.check_since),
    checkNote: row.check_note,
    mending: row.mend_from !== null,
  }))
}

async function listTimeline(tx: AccountTx, recordingId: string): Promise<TimelineEvent[]> {
  const rows = await tx
    .selectFrom('audit_events')
    .selectAll()
    .where('recording_id', '=', recordingId)
    .orderBy('seq')
    .execute()
  return rows.map((row) => ({
    seq: Number(row.seq),
    atMs: row.at.getTime(),
    clockAtMs: msOf(row.clock_at),
    actor: row.actor,
    action: row.action,
    detail: row.detail,
  }))
}

/** The table of allowed edges as the database enforces it. */
export async function listEdges(
  tx: AccountTx,
): Promise<readonly Pick<Schema['recording_edges'], 'from_state' | 'to_state'>[]> {
  return tx.selectFrom('recording_edges').selectAll().execute()
}
