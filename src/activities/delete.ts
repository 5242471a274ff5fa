import { sql } from 'kysely'
import { writeAudit } from '../db/audit.ts'
import { endDisposition } from '../db/commands.ts'
import type { AccountTx } from '../db/connect.ts'
import { returnDuplicates } from '../db/duplicates.ts'
import { databaseNowMs, lockFacts, recordingNowMs } from '../db/facts.ts'
import { listCopies } from '../db/recordings.ts'
import { forgetAllSlices } from '../db/slices.ts'
import type { CertificatePayload } from '../domain/certificate.ts'
import { recordingPrefix } from '../domain/archive.ts'
import { decidePurge } from '../domain/commands.ts'
import type { Verdict } from '../domain/commands.ts'
import { ReelkeepError } from '../domain/errors.ts'
import type { RecordingFacts } from '../domain/recording.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { Store } from '../storage/store.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'

/** The one door bytes leave by: decided again at the last moment, copy by copy, with proof. */
export function createDeleteActivities({ db, stores, sign }: Pick<ActivityDeps, 'db' | 'stores' | 'sign'>) {
  return {
    /**
     * Asks everything again in the transaction that opens the purge: holds, retention, plan, approvals, undo window,
     * by the database's clock, under the row lock a hold also takes. A no ends the disposition and says why.
     */
    async beginPurge(ref: RecordingRef): Promise<Verdict> {
      const verdict = await db.asAccount(ref.accountId, (tx) => openPurge(tx, ref.recordingId), { actor: 'system' })
      await failpoint('purge.begin-after-commit')
      return verdict
    },

    /** Ids of the stores that hold something of this recording. */
    async listPurgeStores(ref: RecordingRef): Promise<readonly string[]> {
      const rows = await db.asAccount(ref.accountId, (tx) =>
        tx.selectFrom('copies').select('store_id').distinct().where('recording_id', '=', ref.recordingId).execute(),
      )
      return rows.map((row) => row.store_id)
    },

    /**
     * Removes every copy of the recording from one store, makes sure that each is gone, and then whatever else stands
     * under the recording's prefix (files of attempts that died). A second run goes on where the first one stopped.
     *
     * A store that shows none of the copies it should hold may be a disk that is not mounted, and nothing would be proven by finding
     * nothing there: that is a failure, until a person says that they are lost (`lostIsGone`).
     * @throws object_missing, store_*
     */
    purgeStore: (ref: RecordingRef, storeId: string, { lostIsGone = false } = {}): Promise<number> =>
      withHeartbeat((beat) => emptyStore({ db, stores }, ref, { storeId, lostIsGone }, beat)),

    /** Removes the source, where the recording is deleted before it ever left the inbox. A newer file of that name stays. */
    async purgeSource(ref: RecordingRef): Promise<void> {
      const deposit = await db.asAccount(ref.accountId, async (tx) => {
        await requirePurging(tx, ref.recordingId)
        return tx.selectFrom('deposits').selectAll().where('id', '=', ref.recordingId).executeTakeFirstOrThrow()
      })
      if (deposit.state === 'released') return
      const { store } = await stores.open(ref.accountId, deposit.inbox_id)
      const found = await store.stat(deposit.path)
      const same = found !== null && found.sizeBytes === Number(deposit.size_bytes) && found.fileId === deposit.file_id
      await failpoint('purge.source-before-delete')
      if (same && Math.floor(found.modifiedAtMs) === Number(deposit.mtime_ms)) await store.delete(deposit.path)
      await failpoint('purge.source-after-delete')
      await db.asAccount(ref.accountId, (tx) =>
        tx
          .updateTable('deposits')
          .set({ state: 'released', settled_at: sql<Date>`now()` })
          .where('id', '=', ref.recordingId)
          .execute(),
      )
    },

    /**
     * Signs what was removed and ends the life; later deposits of the same bytes, which waited for this, are taken in anew.
     * A second run finds it ended.
     */
    async certify(ref: RecordingRef): Promise<void> {
      await db.asAccount(ref.accountId, (tx) => endLife(tx, ref.recordingId, sign), { actor: 'system' })
      await failpoint('certify.after-commit')
    },
  }
}

async function emptyStore(
  { db, stores }: Pick<ActivityDeps, 'db' | 'stores'>,
  ref: RecordingRef,
  { storeId, lostIsGone }: { readonly storeId: string; readonly lostIsGone: boolean },
  { signal, beat }: Beat,
): Promise<number> {
  const { store, name } = await stores.open(ref.accountId, storeId)
  const { owed, isBegun } = await db.asAccount(ref.accountId, async (tx) => {
    await requirePurging(tx, ref.recordingId)
    return listOwedPurges(tx, ref.recordingId, storeId)
  })
  if (!isBegun) {
    const isLost = !(await showsAny(store, owed))
    if (isLost && !lostIsGone) throw showsNothing(name, ref)
    await db.asAccount(ref.accountId, (tx) => beginStore(tx, ref.recordingId, { storeId, name, isLost }))
  }
  for (const copy of owed) {
    await failpoint('purge.before-copy')
    await store.delete(copy.key)
    await failpoint('purge.before-copy-row')
    await db.asAccount(ref.accountId, (tx) => recordPurged(tx, copy.id))
    await failpoint('purge.after-copy-row')
    beat({ store: name, file: copy.name })
  }
  for await (const stray of store.list(recordingPrefix(ref.accountId, ref.recordingId), signal))
    await store.delete(stray.key)
  await failpoint('purge.after-strays')
  await db.asAccount(ref.accountId, (tx) => forgetAllSlices(tx, ref.recordingId))
  await db.asAccount(ref.accountId, (tx) =>
    writeAudit(tx, ref.recordingId, 'system', 'store.purged', { store: name, copies: owed.length }),
  )
  return owed.length
}

/** True where a store shows one of the copies it should hold, or should hold none. */
async function showsAny(
  store: Pick<Store, 'stat'>,
  owed: readonly { readonly key: string; readonly state: string }[],
): Promise<boolean> {
  const expected = owed.filter(({ state }) => state !== 'failed')
  for (const { key } of expected) if ((await store.stat(key)) !== null) return true
  return expected.length === 0
}

function showsNothing(store: string, { recordingId }: RecordingRef): ReelkeepError {
  return new ReelkeepError(
    'object_missing',
    `Store ${store} shows none of the files of recording ${recordingId} that are to be deleted there. Mount its disk or correct its address, then retry; only where it has lost them for good, skip this.`,
  )
}

async function openPurge(tx: AccountTx, recordingId: string): Promise<Verdict> {
  const facts = await lockFacts(tx, recordingId)
  if (facts === null || facts.state === 'purging' || facts.state === 'purged') return { ok: true }
  const verdict = decidePurge(facts, await areApproversAllowed(tx, facts), await recordingNowMs(tx, recordingId))
  if (!verdict.ok) {
    // The undo window may merely be open still (a hint came early): that is no reason to cancel.
    if (verdict.code !== 'wrong_state' && verdict.code !== 'retention_not_ended') {
      await endDisposition(tx, facts, 'cancelled')
      await writeAudit(tx, recordingId, 'system', 'purge.cancelled', { code: verdict.code, message: verdict.message })
    }
    return verdict
  }
  await tx
    .updateTable('dispositions')
    .set({ state: 'purging', purge_started_at: sql<Date>`now()` })
    .where('id', '=', facts.disposition?.id ?? '')
    .execute()
  await tx.updateTable('recordings').set({ state: 'purging' }).where('id', '=', recordingId).execute()
  await failpoint('purge.begin-before-commit')
  return verdict
}

async function endLife(tx: AccountTx, recordingId: string, sign: ActivityDeps['sign']): Promise<void> {
  const facts = await lockFacts(tx, recordingId)
  if (facts === null || facts.state === 'purged') return
  const left = (await listCopies(tx, recordingId)).find((copy) => copy.state !== 'purged')
  if (left !== undefined)
    throw new ReelkeepError(
      'copies_not_verified',
      `${left.key} is not purged from store ${left.storeName} yet; retry the deletion.`,
    )
  const certificate = sign(await composeCertificate(tx, facts))
  await tx
    .updateTable('dispositions')
    .set({ state: 'done', settled_at: sql<Date>`now()` })
    .where('id', '=', facts.disposition?.id ?? '')
    .execute()
  await tx
    .updateTable('recordings')
    .set({
      state: 'purged',
      certificate: JSON.stringify(certificate),
      waiting_for: null,
      next_step: null,
      next_at: null,
    })
    .where('id', '=', recordingId)
    .execute()
  await returnDuplicates(tx, recordingId)
  await failpoint('certify.before-commit')
}

/**
 * The database refuses to write down a purge that was not opened, but by then the bytes would be gone: so it is asked
 * before. Nothing leads back from here, so no lock has to be held while they go. @throws wrong_state
 */
async function requirePurging(tx: AccountTx, recordingId: string): Promise<void> {
  const row = await tx.selectFrom('recordings').select('state').where('id', '=', recordingId).executeTakeFirst()
  if (row?.state !== 'purging' && row?.state !== 'purged')
    throw new ReelkeepError(
      'wrong_state',
      `Recording ${recordingId} is ${row?.state ?? 'not there'}: its bytes stay until a purge is opened.`,
    )
}

/** Each approver must still hold a role that may approve. */
async function areApproversAllowed(tx: AccountTx, facts: RecordingFacts): Promise<boolean> {
  const ids = facts.disposition?.approvedBy ?? []
  if (ids.length === 0) return false
  const allowed = await tx
    .selectFrom('people')
    .select('id')
    .where('id', 'in', [...ids])
    .where(sql<boolean>`roles && array['operator', 'manager', 'admin']`)
    .execute()
  return allowed.length === ids.length
}

/** What is still to go from one store. `isBegun` = some of it may be gone by a run before this one. */
async function listOwedPurges(tx: AccountTx, recordingId: string, storeId: string) {
  const copies = await tx
    .selectFrom('copies as c')
    .innerJoin('files as f', 'f.id', 'c.file_id')
    .select(['c.id', 'f.key', 'f.name', 'c.state', 'c.going_at'])
    .where('c.recording_id', '=', recordingId)
    .where('c.store_id', '=', storeId)
    .orderBy('f.name')
    .execute()
  return {
    owed: copies.filter(({ state }) => state !== 'purged'),
    isBegun: copies.some(({ state, going_at }) => state === 'purged' || going_at !== null),
  }
}

/** Written down before the first byte goes: from now on a missing copy is one that this purge removed. */
async function beginStore(
  tx: AccountTx,
  recordingId: string,
  { storeId, name, isLost }: { readonly storeId: string; readonly name: string; readonly isLost: boolean },
): Promise<void> {
  await tx
    .updateTable('copies')
    .set({ going_at: sql<Date>`now()` })
    .where('recording_id', '=', recordingId)
    .where('store_id', '=', storeId)
    .where('state', '!=', 'purged')
    .execute()
  if (isLost) await writeAudit(tx, recordingId, 'system', 'store.lost', { store: name })
}

async function recordPurged(tx: AccountTx, copyId: string): Promise<void> {
  await tx
    .updateTable('copies')
    .set({ state: 'purged', purged_at: sql<Date>`now()` })
    .where('id', '=', copyId)
    .where('state', '!=', 'purged')
    .execute()
}

async function composeCertificate(tx: AccountTx, facts: RecordingFacts): Promise<CertificatePayload> {
  const row = await tx.selectFrom('recordings').selectAll().where('id', '=', facts.id).executeTakeFirstOrThrow()
  const head = await sql<{ seq: string; hash: string }>`select seq, hash from audit_heads`.execute(tx)
  const people = await tx.selectFrom('people').select(['id', 'name']).execute()
  const nameOf = (id: string | null) => people.find((person) => person.id === id)?.name ?? 'policy'
  const copies = await listCopies(tx, facts.id)
  return {
    version: 1,
    recordingId: facts.id,
    accountId: facts.accountId,
    title: row.title,
    sha256: row.sha256,
    acceptedAt: row.created_at.toISOString(),
    retainedUntil: row.retain_until?.toISOString() ?? null,
    reason: facts.disposition?.reason ?? '',
    planHash: facts.disposition?.planHash ?? '',
    requestedBy: nameOf(facts.disposition?.requestedBy ?? null),
    approvedBy: (facts.disposition?.approvedBy ?? []).map(nameOf),
    copies: copies.map((copy) => ({
      file: copy.fileName,
      store: copy.storeName,
      site: copy.site,
      sha256: copy.sha256,
      sizeBytes: copy.sizeBytes,
      purgedAt: new Date(copy.purgedAtMs ?? 0).toISOString(),
    })),
    auditHead: { seq: Number(head.rows[0]?.seq ?? 0), hash: head.rows[0]?.hash ?? '' },
    clockOffsetMs: facts.clockOffsetMs,
    // Like every purgedAt, by the database's real clock; how far this recording's own was ahead stands beside it.
    issuedAt: new Date(await databaseNowMs(tx)).toISOString(),
  }
}
