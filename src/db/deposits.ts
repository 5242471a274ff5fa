import { sql } from 'kysely'
import type { DepositState, DepositView, EndSignal } from '../domain/deposit.ts'
import { isErrorCode } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'
import { keptPath } from '../domain/inbox-names.ts'
import { defaultQuietMs, looksNeeded } from '../domain/ingest.ts'
import { describeNextStep } from '../domain/next-step.ts'
import type { KnownDeposit, ListedFile, LookDecision, RecorderPlace } from '../domain/ingest.ts'
import type { RecordingState } from '../domain/recording.ts'
import { msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'

const account = sql<string>`current_setting('app.account')::uuid`
/** States of a deposit whose file may still become a recording: one at a time for each path. */
export const liveStates = ['arriving', 'stalled', 'orphan', 'complete'] as const
const rowsAtOnce = 1000
/** The listing's beginning is told by a worker's clock, the release by the database's. */
const clockSlackMs = 10_000

/**
 * What a look needs to know before it decides: deposits whose file may be in the listing that began at `listedFromMs`, and
 * the recorders. A source that was released since then still stands in that listing, and must not be taken for a new file.
 * Until its transaction ends no other scanner of this inbox decides: it would call complete what this one just saw change,
 * and two that meet the same deposits in different orders would wait for each other for ever.
 */
export async function readInbox(
  tx: AccountTx,
  inboxId: string,
  listedFromMs: number,
): Promise<{ known: KnownDeposit[]; recorders: RecorderPlace[] }> {
  await tx.selectFrom('stores').select('id').where('id', '=', inboxId).forNoKeyUpdate().execute()
  const rows = await tx
    .selectFrom('deposits')
    .select(['id', 'recorder_id', 'path', 'size_bytes', 'mtime_ms', 'file_id', 'state', 'end_signal'])
    .select(['reason_code', 'changed_at', 'looks'])
    .where('inbox_id', '=', inboxId)
    .where((where) =>
      where.or([
        where('state', 'not in', ['released', 'vanished']),
        where.and([where('state', '=', 'released'), where('settled_at', '>=', new Date(listedFromMs - clockSlackMs))]),
      ]),
    )
    .execute()
  const recorders = await tx.selectFrom('recorders').selectAll().where('inbox_id', '=', inboxId).execute()
  return {
    known: rows.map((row) => ({
      id: row.id,
      recorderId: row.recorder_id,
      path: row.path,
      sizeBytes: Number(row.size_bytes),
      mtimeMs: Number(row.mtime_ms),
      fileId: row.file_id,
      state: row.state,
      endSignal: row.end_signal,
      reasonCode: row.reason_code,
      changedAtMs: msOf(row.changed_at),
      looks: row.looks,
    })),
    recorders: recorders.map((row) => ({
      id: row.id,
      directory: row.directory,
      isDefault: row.is_default,
      quietMs: row.quiet_ms === null ? null : Number(row.quiet_ms),
    })),
  }
}

/**
 * Writes what a look decided. Each change is made only where the deposit is still what the look saw, so two scanners (or
 * a repeated look) change nothing twice. `nowMs` is the end of the look: rest begins there.
 */
export async function applyLook(
  tx: AccountTx,
  inboxId: string,
  decisions: readonly LookDecision[],
  nowMs: number,
): Promise<void> {
  const at = new Date(nowMs)
  const inserts = decisions.flatMap((decision) => newRow(decision, inboxId, at))
  for (let from = 0; from < inserts.length; from += rowsAtOnce) {
    await tx
      .insertInto('deposits')
      .values(inserts.slice(from, from + rowsAtOnce))
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }
  const seen = decisions.flatMap((decision) => (decision.kind === 'seen' ? [decision.depositId] : []))
  if (seen.length > 0) {
    await tx
      .updateTable('deposits')
      .set({ looks: sql<number>`least(looks + 1, ${looksNeeded - 1})` })
      .where(sql<boolean>`id = any(${seen}::uuid[])`)
      .where('state', 'in', liveStates)
      .execute()
  }
  for (const decision of decisions) await applyOne(tx, decision, at)
}

function newRow(decision: LookDecision, inboxId: string, at: Date) {
  if (decision.kind !== 'new' && decision.kind !== 'report') return []
  const { file, recorderId } = decision
  const verdict = decision.kind === 'report' ? decision.verdict : null
  const endSignal = decision.kind === 'new' ? decision.endSignal : null
  const live: DepositState = recorderId === null ? 'orphan' : endSignal === null ? 'arriving' : 'complete'
  return [
    {
      account_id: account,
      inbox_id: inboxId,
      recorder_id: recorderId,
      path: keptPath(file.path, file.usable),
      ...identityColumns(file),
      first_seen_at: at,
      changed_at: at,
      state: verdict?.state ?? live,
      end_signal: endSignal,
      reason_code: verdict?.code ?? null,
      reason: verdict?.reason ?? null,
      complete_at: verdict === null && live === 'complete' ? at : null,
      settled_at: verdict === null ? null : at,
    },
  ]
}

function identityColumns(file: ListedFile) {
  return { size_bytes: file.sizeBytes, mtime_ms: file.mtimeMs, file_id: file.fileId }
}

async function applyOne(tx: AccountTx, decision: LookDecision, at: Date): Promise<void> {
  if (decision.kind === 'new' || decision.kind === 'report' || decision.kind === 'seen') return
  const update = tx.updateTable('deposits').where('id', '=', decision.depositId)
  const noReason = { reason_code: null, reason: null }
  switch (decision.kind) {
    case 'changed': {
      const state = decision.recorderId === null ? 'orphan' : 'arriving'
      const restart = { looks: 1, changed_at: at, end_signal: null, settled_at: null, ...noReason }
      await update
        .set({ state, recorder_id: decision.recorderId, ...identityColumns(decision.file), ...restart })
        .where('state', 'in', ['arriving', 'stalled', 'orphan', 'quarantined'])
        .execute()
      return
    }
    case 'assigned':
      await update
        .set({ state: decision.recorderId === null ? 'orphan' : 'arriving', recorder_id: decision.recorderId })
        .where('state', 'in', ['arriving', 'stalled', 'orphan'])
        .execute()
      return
    case 'complete':
      await update
        .set({ state: 'complete', end_signal: decision.endSignal, complete_at: at, ...noReason })
        .where('state', 'in', ['arriving', 'stalled'])
        .where(notTakenInYet)
        .execute()
      return
    case 'settle':
      await update
        .set({ state: decision.verdict.state, reason_code: decision.verdict.code, reason: decision.verdict.reason })
        .set({ settled_at: at })
        .where('state', 'in', ['arriving', 'stalled', 'orphan'])
        .where(notTakenInYet)
        .execute()
      return
    case 'vanished':
      await update
        .set({ state: 'vanished', reason_code: 'vanished', reason: decision.reason, settled_at: at })
        .where('state', 'in', ['arriving', 'stalled', 'orphan', 'refused', 'quarantined'])
        .execute()
  }
}

/** A scanner that slept through a whole life must not make the same file complete again. */
const notTakenInYet = sql<boolean>`not exists (
  select 1 from deposits other where other.id <> deposits.id and other.inbox_id = deposits.inbox_id
    and other.path = deposits.path and other.size_bytes = deposits.size_bytes and other.mtime_ms = deposits.mtime_ms
    and other.file_id = deposits.file_id
    and other.state in ('complete', 'accepted', 'duplicate', 'quarantined', 'refused'))`

/** Complete deposits of an inbox that nobody has read yet: their lives are begun, or found to have begun. */
export async function listComplete(tx: AccountTx, inboxId: string): Promise<string[]> {
  const rows = await tx
    .selectFrom('deposits')
    .select('id')
    .where('inbox_id', '=', inboxId)
    .where('state', '=', 'complete')
    .orderBy('complete_at')
    .execute()
  return rows.map((row) => row.id)
}

/** Which deposits a list shows, newest first; `before` is the last one of the page before. */
export interface DepositFilter {
  readonly state?: DepositState
  readonly limit: number
  readonly before?: { readonly firstSeenAtMs: number; readonly id: string }
}

/** One page of everything that was ever seen in the account's inboxes, newest first. */
export async function listDeposits(tx: AccountTx, filter: DepositFilter): Promise<DepositView[]> {
  let query = viewQuery(tx).orderBy('d.first_seen_at', 'desc').orderBy('d.id', 'desc').limit(filter.limit)
  if (filter.state !== undefined) query = query.where('d.state', '=', filter.state)
  if (filter.before !== undefined) {
    // The instant in a cursor is cut to milliseconds; the row itself knows better, and the index serves it.
    query = query.where(
      sql<boolean>`(d.first_seen_at, d.id) < (select b.first_seen_at, b.id from deposits b where b.id = ${filter.before.id}::uuid)`,
    )
  }
  return (await query.execute()).map(viewOf)
}

/** One deposit, or null when there is none (or it is another account's). */
export async function findDeposit(tx: AccountTx, id: string): Promise<DepositView | null> {
  const row = await viewQuery(tx).where('d.id', '=', id).executeTakeFirst()
  return row === undefined ? null : viewOf(row)
}

function viewQuery(tx: AccountTx) {
  return tx
    .selectFrom('deposits as d')
    .innerJoin('stores as s', 's.id', 'd.inbox_id')
    .leftJoin('recorders as r', 'r.id', 'd.recorder_id')
    .select(['d.id', 'd.path', 'd.size_bytes', 'd.state', 'd.end_signal', 'd.first_seen_at', 'd.changed_at'])
    .select(['d.reason_code', 'd.reason', 'd.recording_id', 's.name as inbox_name', 's.url', 'r.name as recorder_name'])
    .select('r.quiet_ms')
    .leftJoin('recordings as f', (join) => join.onRef('f.id', '=', 'd.recording_id').on('d.state', '=', 'duplicate'))
    .select(['f.state as first_state', 'f.state_since as first_since', undoUntil.as('first_undo_until')])
}

/** When the undo window of the recording that a duplicate is linked to ends. */
const undoUntil = sql<Date | null>`(select p.undo_until from dispositions p where p.recording_id = f.id and p.state = 'approved')`

interface ViewRow {
  id: string
  path: string
  size_bytes: string
  state: DepositState
  end_signal: EndSignal | null
  first_seen_at: Date
  changed_at: Date
  reason_code: string | null
  reason: string | null
  recording_id: string | null
  inbox_name: string
  url: string
  recorder_name: string | null
  quiet_ms: string | null
  first_state: RecordingState | null
  first_since: Date | null
  first_undo_until: Date | null
}

function viewOf(row: ViewRow): DepositView {
  const ownQuietMs = /^(?:local|file):/.test(row.url) ? defaultQuietMs.local : defaultQuietMs.remote
  const quietMs = row.quiet_ms === null ? ownQuietMs : Number(row.quiet_ms)
  const changedAtMs = msOf(row.changed_at)
  return {
    id: row.id,
    inboxName: row.inbox_name,
    recorderName: row.recorder_name,
    path: row.path,
    sizeBytes: Number(row.size_bytes),
    state: row.state,
    endSignal: row.end_signal,
    firstSeenAtMs: msOf(row.first_seen_at),
    changedAtMs,
    reasonCode: codeOrNull(row.reason_code),
    reason: row.reason,
    nextStep: describeNextStep({ state: row.state, changedAtMs, quietMs, first: firstOf(row) }),
    recordingId: row.recording_id,
  }
}

function firstOf({ first_state: state, first_since: since, first_undo_until: undoUntilAt }: ViewRow) {
  return state === null || since === null ? null : { state, sinceMs: msOf(since), undoUntilMs: msOf(undoUntilAt) }
}

/** A code that an older or newer version wrote and this one does not know is shown as the general one. */
function codeOrNull(code: string | null): ErrorCode | null {
  if (code === null) return null
  return isErrorCode(code) ? code : 'internal'
}
