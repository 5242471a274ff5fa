import { sql } from 'kysely'
import { fixityAgainMs, fixityEveryMs, fixityStates } from '../domain/fixity.ts'
import type { Content } from '../domain/fixity.ts'
import type { Problem } from '../domain/recording.ts'
import { writeAudit } from './audit.ts'
import type { AccountTx } from './connect.ts'
import { isGoing } from './facts.ts'
import { listFilesToCopy } from './files.ts'
import type { FileToCopy } from './files.ts'
import { openProblem, resolveProblem } from './problems.ts'

/** One copy that a check reads. */
export interface CopyToCheck {
  readonly id: string
  readonly fileId: string
  readonly storeId: string
  readonly storeName: string
  readonly state: 'stored' | 'verified' | 'failed'
  readonly lastResult: 'ok' | 'failed' | 'could_not_run' | null
}

/** A file, and everything the database says it is. */
export interface FileToCheck extends FileToCopy {
  readonly database: readonly Content[]
}

/** What one check reads, and the mark by which it is seen whether another check was faster. */
export interface CheckPlan {
  readonly files: readonly FileToCheck[]
  readonly copies: readonly CopyToCheck[]
  readonly mark: string | null
}

/** What a check found of one copy. */
export interface CopyFinding {
  readonly copy: CopyToCheck
  readonly fileName: string
  readonly result: 'ok' | 'failed' | 'could_not_run'
  /** `null` = it stays what it was. */
  readonly state: 'verified' | 'failed' | null
  readonly note: string | null
  /** The store of a good copy, where this one is to be made again. */
  readonly mendFrom: string | null
}

/** A copy that is owed: bad, with a good one to make it from. */
export interface OwedMend {
  readonly copyId: string
  readonly file: FileToCopy
  readonly toStoreId: string
  readonly fromStoreId: string
}

/** What to read of one recording, or null where its copies are not checked (now): not sealed, or on its way out. */
export async function planCheck(tx: AccountTx, recordingId: string): Promise<CheckPlan | null> {
  const recording = await tx
    .selectFrom('recordings')
    .select(['sha256', 'size_bytes', sql<string | null>`fixity_at::text`.as('mark')])
    .where('id', '=', recordingId)
    .where('state', 'in', [...fixityStates])
    .executeTakeFirst()
  const files = await listFilesToCopy(tx, recordingId)
  if (recording === undefined || !files.some((file) => file.kind === 'manifest')) return null
  const inRecording = { sizeBytes: Number(recording.size_bytes), sha256: recording.sha256 }
  const rows = await tx
    .selectFrom('copies as c')
    .innerJoin('stores as s', 's.id', 'c.store_id')
    .select(['c.id', 'c.file_id', 'c.store_id', 's.name', 'c.state', 'c.check_result'])
    .where('c.recording_id', '=', recordingId)
    .where('c.state', '!=', 'purged')
    .orderBy('s.name')
    .execute()
  return {
    mark: recording.mark,
    files: files.map((file) => ({
      ...file,
      database: [
        { sizeBytes: file.sizeBytes, sha256: file.sha256 },
        ...(file.kind === 'original' ? [inRecording] : []),
      ],
    })),
    copies: rows.flatMap(({ state, ...row }) =>
      state === 'purged'
        ? []
        : [
            {
              id: row.id,
              fileId: row.file_id,
              storeId: row.store_id,
              storeName: row.name,
              state,
              lastResult: row.check_result,
            },
          ],
    ),
  }
}

/**
 * Locks the recording and says whether its copies may still be checked and mended. `mark` null or another one than the
 * plan's = another check wrote its findings meanwhile.
 */
export async function lockForFixity(
  tx: AccountTx,
  recordingId: string,
): Promise<{ readonly open: boolean; readonly leaving: boolean; readonly mark: string | null }> {
  const row = await tx
    .selectFrom('recordings')
    .select(['state', sql<string | null>`fixity_at::text`.as('mark')])
    .where('id', '=', recordingId)
    .forUpdate()
    .executeTakeFirst()
  return {
    open: fixityStates.some((state) => state === row?.state),
    leaving: isGoing(row?.state ?? null),
    mark: row?.mark ?? null,
  }
}

/** Writes down what a check found, copy by copy, with an audit row for each store where something changed. */
export async function recordFindings(
  tx: AccountTx,
  recordingId: string,
  findings: readonly CopyFinding[],
): Promise<void> {
  const rows = findings.map(({ copy, result, state, note, mendFrom }) => ({
    id: copy.id,
    result,
    state,
    note,
    mend_from: mendFrom,
  }))
  await sql`
    update copies c set
      checked_at = now(),
      check_result = j.result,
      check_since = case when c.check_result = j.result then c.check_since else now() end,
      check_note = j.note,
      mend_from = j.mend_from,
      state = coalesce(j.state, c.state),
      verified_at = case when j.state = 'verified' and c.state <> 'verified' then now() else c.verified_at end
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as j(id uuid, result text, state text, note text, mend_from uuid)
    where c.id = j.id and c.recording_id = ${recordingId}::uuid and c.state <> 'purged'`.execute(tx)
  const again = findings.every(({ result }) => result === 'ok') ? fixityEveryMs : fixityAgainMs
  await tx
    .updateTable('recordings')
    .set({ fixity_at: sql<Date>`now()`, fixity_due_at: sql<Date>`now() + ${again} * interval '1 millisecond'` })
    .where('id', '=', recordingId)
    .execute()
  for (const [action, changed] of Object.entries(changesOf(findings)))
    for (const storeName of new Set(changed.map(({ copy }) => copy.storeName)))
      await auditCopies(
        tx,
        recordingId,
        action,
        storeName,
        changed.filter(({ copy }) => copy.storeName === storeName),
      )
}

function changesOf(findings: readonly CopyFinding[]): Readonly<Record<string, readonly CopyFinding[]>> {
  return {
    'copy.failed': findings.filter(({ result, copy }) => result === 'failed' && copy.lastResult !== 'failed'),
    'copy.mended': findings.filter((finding) => becameGood(finding) && finding.copy.lastResult === 'failed'),
    // Owed, made or found in a store, and never read back before.
    'copy.verified': findings.filter((finding) => becameGood(finding) && finding.copy.lastResult !== 'failed'),
    'copy.recovered': findings.filter(({ state, copy }) => state === 'verified' && copy.state === 'failed'),
  }
}

/** A copy that stood there without counting, and counts now. */
function becameGood({ state, copy }: CopyFinding): boolean {
  return state === 'verified' && copy.state === 'stored'
}

/** A store that lost ten thousand pieces of a stream is one line of the trail, not ten thousand. */
const namedInAudit = 50

async function auditCopies(
  tx: AccountTx,
  recordingId: string,
  action: string,
  store: string,
  findings: readonly CopyFinding[],
): Promise<void> {
  const named = findings.slice(0, namedInAudit)
  const files = named.map(({ fileName, note }) => (note === null ? fileName : `${fileName}: ${note}`))
  await writeAudit(tx, recordingId, 'system', action, { store, copies: findings.length, files })
}

/** Puts a disagreement where people see it. While it is the same one, nothing is written again. */
export async function openDisagreement(
  tx: AccountTx,
  recordingId: string,
  { code, message }: Pick<Problem, 'code' | 'message'>,
): Promise<void> {
  const open = await tx
    .selectFrom('problems')
    .select(['code', 'message', 'attempts'])
    .where('recording_id', '=', recordingId)
    .where('stage', '=', 'replicate')
    .where('resolved_at', 'is', null)
    .executeTakeFirst()
  if (open?.code === code && open.message === message) return
  const attempts = (open?.attempts ?? 0) + 1
  await openProblem(tx, recordingId, {
    stage: 'replicate',
    code,
    message,
    attempts,
    nextRetryAtMs: null,
    options: ['retry'],
  })
  await writeAudit(tx, recordingId, 'system', 'fixity.asked', { code, message })
}

/** Every copy was read and is good: whatever was asked is answered. */
export async function closeDisagreement(tx: AccountTx, recordingId: string): Promise<void> {
  await resolveProblem(tx, recordingId, 'replicate', 'every copy agrees')
}

/** The copies that the last check found bad and knows a good one for. */
export async function listOwedMends(tx: AccountTx, recordingId: string): Promise<OwedMend[]> {
  const files = new Map((await listFilesToCopy(tx, recordingId)).map((file) => [file.id, file]))
  const rows = await tx
    .selectFrom('copies')
    .select(['id', 'file_id', 'store_id', 'mend_from'])
    .where('recording_id', '=', recordingId)
    .where('mend_from', 'is not', null)
    .where('state', '=', 'failed')
    .orderBy('id')
    .execute()
  return rows.flatMap((row) => {
    const file = files.get(row.file_id)
    if (file === undefined || row.mend_from === null) return []
    return [{ copyId: row.id, file, toStoreId: row.store_id, fromStoreId: row.mend_from }]
  })
}

/** True where this copy is still owed: locked with its recording until the transaction ends. */
export async function isStillOwed(tx: AccountTx, recordingId: string, copyId: string): Promise<boolean> {
  const { open } = await lockForFixity(tx, recordingId)
  if (!open) return false
  const owed = await tx
    .selectFrom('copies')
    .select('id')
    .where('id', '=', copyId)
    .where('state', '=', 'failed')
    .where('mend_from', 'is not', null)
    .executeTakeFirst()
  return owed !== undefined
}

/** The copy was made again; it counts once it is read back. False where the recording is being purged: it must go again. */
export async function recordMend(tx: AccountTx, recordingId: string, copyId: string): Promise<boolean> {
  const { leaving } = await lockForFixity(tx, recordingId)
  if (leaving) return false
  await tx
    .updateTable('copies')
    .set({ state: 'stored', stored_at: sql<Date>`now()`, mend_from: null })
    .where('id', '=', copyId)
    .where('state', '=', 'failed')
    .execute()
  return true
}

/** A check that could not be brought to its end is tried again by the next pass, and not by the one that runs. */
export async function postponeCheck(tx: AccountTx, recordingId: string): Promise<void> {
  await tx
    .updateTable('recordings')
    .set({ fixity_at: sql<Date>`now()`, fixity_due_at: sql<Date>`now() + ${fixityAgainMs} * interval '1 millisecond'` })
    .where('id', '=', recordingId)
    .execute()
}

/** Disagreements about recordings that are gone by now need nobody any more. Returns how many were closed. */
export async function closeGone(tx: AccountTx): Promise<number> {
  const rows = await tx
    .selectFrom('problems as p')
    .innerJoin('recordings as r', 'r.id', 'p.recording_id')
    .select('r.id')
    .where('p.stage', '=', 'replicate')
    .where('p.resolved_at', 'is', null)
    .where('r.state', '=', 'purged')
    .execute()
  for (const { id } of rows) await resolveProblem(tx, id, 'replicate', 'the recording is gone')
  return rows.length
}
