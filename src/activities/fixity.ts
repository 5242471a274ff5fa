import { listAccountIds } from '../db/accounts.ts'
import { databaseNowMs } from '../db/facts.ts'
import { listDue } from '../db/fixity-standing.ts'
import * as fixity from '../db/fixity.ts'
import type { CheckPlan, CopyFinding, OwedMend } from '../db/fixity.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'
import { decideFixity, describeDisagreement, fixityPassLimit, judgeCopy } from '../domain/fixity.ts'
import type { AskReason, FixityVerdict, Reading, StoreWitness } from '../domain/fixity.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import { copyFile } from './copy-file.ts'
import type { ActivityDeps } from './deps.ts'
import { readStore } from './read-copies.ts'
import type { RecordingRef } from './records.ts'

type Ref = Pick<RecordingRef, 'accountId' | 'recordingId'>
type FixityDeps = Pick<ActivityDeps, 'db' | 'stores'>

/** What one check of one recording found; numbers are copies, `asked` is files. */
export interface FixityFound {
  /** False: its copies are not checked (now), because it is not sealed yet or on its way out. */
  readonly checked: boolean
  readonly ok: number
  readonly failed: number
  readonly couldNotRun: number
  /** Of the failed ones: a good copy is known. */
  readonly toMend: number
  readonly asked: number
}

const nothingFound: FixityFound = { checked: false, ok: 0, failed: 0, couldNotRun: 0, toMend: 0, asked: 0 }

/** Where a pass stands: the account, how many of its recordings were asked for, and the last of them. */
export interface PassCursor {
  readonly accountId: string
  readonly asked: number
  readonly after: { readonly due: string; readonly id: string } | null
}

/** What a pass asks for next. */
export interface PassQuestion {
  /** Only this account; null = all. */
  readonly accountId: string | null
  readonly everything: boolean
  /** The database's clock when the pass began; null = it begins now. */
  readonly beganAtMs: number | null
  readonly cursor: PassCursor | null
  readonly limit: number
}

/** One page of a pass. */
export interface PassPage {
  readonly beganAtMs: number
  readonly recordings: readonly Ref[]
  /** `null` = nothing is left. */
  readonly cursor: PassCursor | null
}

/** Reading what is kept again, and making bad copies again from good ones. */
export function createFixityActivities(deps: FixityDeps) {
  const { db } = deps
  return {
    /** The next recordings to check, the longest due first, account by account. */
    listFixityDue: (question: PassQuestion): Promise<PassPage> => listPage(deps, question),

    /**
     * Reads every copy of a recording again, in all stores side by side, compares it with the database and the manifests, and
     * writes down what was found: results, what is to be mended from where, and a problem where a person has to decide. Where
     * another worker wrote findings meanwhile, it reads again: old readings never replace newer ones.
     */
    async checkFixity(ref: Ref): Promise<FixityFound> {
      return withHeartbeat(async (beat) => {
        for (;;) {
          const found = await check(deps, ref, beat)
          if (found !== 'overtaken') return found
        }
      })
    },

    /**
     * Makes every copy again that the last check owes, from the good one it found. Each counts only after the next check has read
     * it back. One that fails does not stop the others; the first failure is thrown at the end. A second run goes on.
     */
    async mendCopies(ref: Ref): Promise<number> {
      return withHeartbeat(async (beat) => {
        let mended = 0
        let failure: ReelkeepError | null = null
        for (const owed of await db.asAccount(ref.accountId, (tx) => fixity.listOwedMends(tx, ref.recordingId))) {
          try {
            if (await mend(deps, ref, owed, beat)) mended += 1
          } catch (error) {
            if (!(error instanceof ReelkeepError)) throw error
            failure ??= error
          }
        }
        if (failure !== null) throw failure
        return mended
      })
    },

    /** The check or the mending itself failed: people see why, and the next pass tries again. */
    async noteFixityFailed(ref: Ref, failure: { code: ErrorCode; message: string }): Promise<void> {
      const message = `Checking or mending its copies failed: ${failure.message} The next daily pass tries again.`
      await db.asAccount(ref.accountId, async (tx) => {
        const { open } = await fixity.lockForFixity(tx, ref.recordingId)
        if (!open) return
        await fixity.openDisagreement(tx, ref.recordingId, { code: failure.code, message })
        await fixity.postponeCheck(tx, ref.recordingId)
      })
    },
  }
}

async function check({ db, stores }: FixityDeps, ref: Ref, beat: Beat): Promise<FixityFound | 'overtaken'> {
  const plan = await db.asAccount(ref.accountId, (tx) => fixity.planCheck(tx, ref.recordingId))
  if (plan === null) return nothingFound
  const witnesses = await readEverything(stores, ref, plan, beat)
  const { findings, disagreements } = judge(plan, witnesses)
  return db.asAccount(ref.accountId, async (tx) => {
    const now = await fixity.lockForFixity(tx, ref.recordingId)
    if (!now.open) return nothingFound
    if (now.mark !== plan.mark) return 'overtaken'
    await fixity.recordFindings(tx, ref.recordingId, findings)
    const count = (result: CopyFinding['result']) => findings.filter((finding) => finding.result === result).length
    const found: FixityFound = {
      checked: true,
      ok: count('ok'),
      failed: count('failed'),
      couldNotRun: count('could_not_run'),
      toMend: findings.filter((finding) => finding.mendFrom !== null).length,
      asked: disagreements.length,
    }
    if (disagreements.length > 0) {
      const message = describeDisagreement(disagreements)
      await fixity.openDisagreement(tx, ref.recordingId, { code: 'copies_disagree', message })
    } else if (found.ok === findings.length) await fixity.closeDisagreement(tx, ref.recordingId)
    return found
  })
}

/** What every store has to say about every file: read side by side, one copy at a time in each. */
async function readEverything(
  stores: ActivityDeps['stores'],
  ref: Ref,
  plan: CheckPlan,
  beat: Beat,
): Promise<ReadonlyMap<string, readonly StoreWitness[]>> {
  const files = new Map(plan.files.map((file) => [file.id, file]))
  const storeIds = [...new Set(plan.copies.map((copy) => copy.storeId))]
  const perStore = await Promise.all(
    storeIds.map(async (storeId) => {
      const asked = plan.copies.flatMap((copy) => {
        const file = copy.storeId === storeId ? files.get(copy.fileId) : undefined
        return file === undefined ? [] : [{ copy, file }]
      })
      return { asked, ...(await readStore(stores, ref.accountId, storeId, asked, beat)) }
    }),
  )
  const witnesses = new Map<string, StoreWitness[]>(plan.files.map((file) => [file.id, []]))
  for (const { asked, readings, manifest } of perStore)
    for (const { copy, file } of asked) {
      const reading: Reading = readings.get(copy.id) ?? { how: 'could_not_run', reason: 'not read' }
      const manifestSays = file.kind === 'manifest' ? null : (manifest.get(file.key) ?? null)
      witnesses.get(file.id)?.push({ storeId: copy.storeId, reading, manifestSays })
    }
  return witnesses
}

function judge(plan: CheckPlan, witnesses: ReadonlyMap<string, readonly StoreWitness[]>) {
  const findings: CopyFinding[] = []
  const copies = new Map(plan.copies.map((copy) => [`${copy.fileId} ${copy.storeId}`, copy]))
  const disagreements: { name: string; reason: AskReason }[] = []
  for (const file of plan.files) {
    const stores = witnesses.get(file.id) ?? []
    const verdict = decideFixity({ database: file.database, stores })
    if (verdict.kind === 'ask') disagreements.push({ name: file.name, reason: verdict.reason })
    for (const store of stores) {
      const copy = copies.get(`${file.id} ${store.storeId}`)
      if (copy === undefined) continue
      findings.push({
        copy,
        fileName: file.name,
        ...judgeCopy(store, file.database, verdict),
        note: noteOf(store.reading, file),
        mendFrom: mendSource(verdict, copy.storeId),
      })
    }
  }
  return { findings, disagreements }
}

function mendSource(verdict: FixityVerdict, storeId: string): string | null {
  return verdict.kind === 'mend' && verdict.bad.includes(storeId) ? (verdict.good[0] ?? null) : null
}

function noteOf(reading: Reading, file: { readonly sizeBytes: number; readonly sha256: string }): string | null {
  if (reading.how === 'missing') return 'missing'
  if (reading.how === 'could_not_run') return reading.reason
  const { sizeBytes, sha256 } = reading.content
  if (sizeBytes !== file.sizeBytes) return `${sizeBytes} bytes instead of ${file.sizeBytes}`
  return sha256 === file.sha256 ? null : `reads back as ${sha256}`
}

/**
 * Makes one copy again. Asked at the last moment, under the recording's lock: is it kept still, and is the copy still bad?
 * What reads back right by now is left alone. False where the recording went meanwhile.
 */
async function mend({ db, stores }: FixityDeps, ref: Ref, owed: OwedMend, beat: Beat): Promise<boolean> {
  const { file } = owed
  const [from, to] = [
    await stores.open(ref.accountId, owed.fromStoreId),
    await stores.open(ref.accountId, owed.toStoreId),
  ]
  const isOwed = () => db.asAccount(ref.accountId, (tx) => fixity.isStillOwed(tx, ref.recordingId, owed.copyId))
  const requireOwed = async () => {
    if (await isOwed()) return
    throw new ReelkeepError('wrong_state', `${file.key} in store ${to.name} is not to be mended any more.`)
  }
  try {
    await requireOwed()
    await copyFile(from, to, file, beat, requireOwed)
  } catch (error) {
    if (hasCode(error, 'wrong_state')) return false
    throw error
  }
  if (await db.asAccount(ref.accountId, (tx) => fixity.recordMend(tx, ref.recordingId, owed.copyId))) return true
  // The purge had passed this store already: nothing may come back behind it.
  await to.store.delete(file.key)
  return false
}

async function listPage({ db }: FixityDeps, question: PassQuestion): Promise<PassPage> {
  const { accountId: only, everything, cursor, limit } = question
  const all = only === null ? [...(await listAccountIds(db))].sort() : [only]
  const recordings: Ref[] = []
  let beganAtMs = question.beganAtMs
  for (const accountId of all.filter((id) => cursor === null || id >= cursor.accountId)) {
    const from = cursor?.accountId === accountId ? cursor : { accountId, asked: 0, after: null }
    const allowed = everything ? limit : fixityPassLimit - from.asked
    const rows = await db.asAccount(accountId, async (tx) => {
      beganAtMs ??= await databaseNowMs(tx)
      if (from.after === null) await fixity.closeGone(tx)
      const page = Math.min(allowed, limit - recordings.length)
      return listDue(tx, { everything, beganAtMs, after: from.after, limit: page })
    })
    recordings.push(...rows.map(({ id }) => ({ accountId, recordingId: id })))
    const last = rows.at(-1)
    if (recordings.length >= limit && last !== undefined) {
      const next = { accountId, asked: from.asked + rows.length, after: last }
      return { beganAtMs: beganAtMs ?? 0, recordings, cursor: next }
    }
  }
  return { beganAtMs: beganAtMs ?? 0, recordings, cursor: null }
}
