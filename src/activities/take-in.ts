import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { AccountTx } from '../db/connect.ts'
import { announcePut } from '../db/announced-puts.ts'
import { linkDuplicate } from '../db/duplicates.ts'
import * as takenIn from '../db/taken-in.ts'
import type { DepositToTakeIn } from '../db/taken-in.ts'
import { originalKey } from '../domain/archive.ts'
import { contentTypeOf } from '../domain/content-types.ts'
import type { MediaFacts } from '../domain/encode.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'
import { isOverForGood } from '../domain/housekeeping.ts'
import { extensionOf, packageExtensions, titleFromPath } from '../domain/inbox-names.ts'
import { sameFile } from '../domain/ingest.ts'
import { decidePackage, describeUnprocessed } from '../domain/package.ts'
import { decideStructureFailure } from '../domain/quarantine.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { Beat } from './beat.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { removeUnnamedOriginal } from './left-puts.ts'
import { listedFile } from './look.ts'
import { copyToScratch } from './copy-to-scratch.ts'
import { putOriginal } from './put-original.ts'
import type { RecordingRef } from './records.ts'
import { releaseSource } from './release-source.ts'
import { requireIntact } from './scratch-files.ts'
import type { WorkingCopy } from './scratch-files.ts'
import { compareSidecars } from './sidecars.ts'

/** What became of a deposit. A verdict about the file is no failure of the activity. */
export type TakeInResult =
  | { readonly kind: 'accepted' | 'changed' | 'vanished' }
  | { readonly kind: 'duplicate'; readonly ofRecordingId: string }
  | { readonly kind: 'quarantined'; readonly code: ErrorCode; readonly message: string }

type TakeInDeps = Pick<ActivityDeps, 'db' | 'stores' | 'encoder' | 'scratchDir'>
type Ref = Pick<RecordingRef, 'accountId' | 'recordingId'>

/** One deposit on its way in, and everything it is read with. */
interface Intake {
  readonly deps: TakeInDeps
  readonly ref: Ref
  readonly deposit: DepositToTakeIn
  readonly inbox: PlacedStore
  readonly extension: string
  /** Scratch of this very attempt: a twin that was given up for dead may still be writing into its own. */
  readonly work: string
  readonly beat: Beat
}

/**
 * See `createIngestActivities`. Transient failures are thrown, everything about the file is returned and written on the
 * deposit. @throws store_*, scratch_full, database_unavailable
 */
export async function takeIn(deps: TakeInDeps, ref: Ref, beat: Beat): Promise<TakeInResult> {
  const { accountId, recordingId } = ref
  const deposit = await deps.db.asAccount(accountId, (tx) => takenIn.findDepositToTakeIn(tx, recordingId))
  const before = await settledBefore(deps, accountId, deposit)
  if (before !== null || deposit === null) return before ?? { kind: 'changed' }
  const inbox = await deps.stores.open(accountId, deposit.inboxId)
  const work = join(deps.scratchDir, `take-in-${recordingId}-${randomUUID()}`)
  const intake: Intake = { deps, ref, deposit, inbox, extension: extensionOf(deposit.path), work, beat }
  try {
    return (await sourceTrouble(intake)) ?? (await examineAndAccept(intake))
  } catch (error) {
    if (hasCode(error, 'object_missing')) return await vanished(intake)
    if (hasCode(error, 'changed_while_read')) return await changed(intake)
    throw error
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The answer of an earlier run, where there was one. A quarantined deposit is judged again: somebody asked for it. */
async function settledBefore(
  deps: TakeInDeps,
  accountId: string,
  deposit: DepositToTakeIn | null,
): Promise<TakeInResult | null> {
  if (deposit?.state === 'complete' || deposit?.state === 'quarantined') return null
  if (deposit?.state === 'vanished') return { kind: 'vanished' }
  if (deposit?.state === 'refused') {
    return { kind: 'quarantined', code: 'wrong_state', message: deposit.reason ?? 'The deposit was given up.' }
  }
  const becameId = deposit?.recordingId ?? null
  if (deposit === null || becameId === null) return { kind: 'changed' }
  if (becameId === deposit.id) return { kind: 'accepted' }
  if (deposit.state === 'duplicate') await releaseSource(deps, { accountId, recordingId: becameId })
  return { kind: 'duplicate', ofRecordingId: becameId }
}

/** What the source itself says against going on: gone, replaced, or no plain file any more. */
async function sourceTrouble(intake: Intake): Promise<TakeInResult | null> {
  const found = await intake.inbox.store.stat(intake.deposit.path)
  if (found === null) return vanished(intake)
  if (found.special !== null) {
    const what = found.special.replace('_', ' ')
    return quarantine(intake, 'special_file', `It is a ${what} now, not a plain file. Put the file itself there.`)
  }
  return sameFile(listedFile(found), intake.deposit) ? null : changed(intake)
}

async function examineAndAccept(intake: Intake): Promise<TakeInResult> {
  const { deposit } = intake
  if (deposit.recorderId === null)
    throw new ReelkeepError('internal', `Deposit ${deposit.id} is complete without a recorder.`)
  const path = join(intake.work, 'source')
  const hashes = await copyToScratch(intake, path)
  const moved = await sourceTrouble(intake)
  if (moved !== null) return moved
  const checksum = await compareSidecars(intake.inbox.store, deposit.path, hashes)
  const copy = { name: deposit.path, path, recorded: { sizeBytes: deposit.sizeBytes, sha256: hashes.sha256 } }
  const judged = await judge(intake, copy, checksum)
  if (judged.kind !== 'fit') return judged
  const linked = await duplicate(intake, hashes.sha256)
  if (linked !== null) return linked
  await failpoint('take-in.after-judge')
  // Decoding takes long enough for somebody to go on writing.
  return (await sourceTrouble(intake)) ?? accept(intake, deposit.recorderId, copy, judged.media)
}

type Judged = { readonly kind: 'fit'; readonly media: MediaFacts } | TakeInResult

/** Structure, sidecars, then every entry of a package, or streams and every frame: the cheapest first. */
async function judge(intake: Intake, copy: WorkingCopy, checksum: 'none' | 'matches' | 'differs'): Promise<Judged> {
  const { encoder } = intake.deps
  const { path } = copy
  const { signal } = intake.beat
  try {
    await encoder.checkStructure(path, intake.extension)
    if (checksum === 'differs') {
      const message = 'The bytes are not what the checksum file beside it promises. Upload both again.'
      return await quarantine(intake, 'checksum_mismatch', message)
    }
    if (packageExtensions.has(intake.extension)) throw await judgePackage(intake, path)
    const media = await encoder.probe(path, { signal })
    await encoder.decodeAll(path, media, { signal })
    return { kind: 'fit', media }
  } catch (error) {
    const isVerdict = error instanceof ReelkeepError && (error.kind === 'rejected' || error.kind === 'corrupt')
    if (!isVerdict) throw error
    // A file is not condemned for what this machine's disk made of it.
    await requireIntact(intake.deps, intake.ref, copy, intake.beat)
    const { deposit } = intake
    const fate = decideStructureFailure({
      code: error.code,
      endSignal: deposit.endSignal,
      checksum,
      restedMs: deposit.restedMs,
    })
    if (fate === 'quarantined' || deposit.state === 'quarantined') return quarantine(intake, error.code, error.message)
    return drop(intake, { state: 'stalled', code: error.code, reason: error.message })
  }
}

/** What to say about a package that was read to its end: what it lacks, or that nothing processes its kind yet. */
async function judgePackage({ deps, extension, beat }: Intake, path: string): Promise<ReelkeepError> {
  const verdict = decidePackage(await deps.encoder.readPackage(path, extension, { signal: beat.signal }))
  if (verdict.kind === 'unfit') return new ReelkeepError(verdict.code, verdict.message)
  return new ReelkeepError('unsupported_package', describeUnprocessed(verdict))
}

/**
 * The bytes go into the primary store first; the rows that say so, all at once, after them. Announced before: should this end in
 * between and the deposit go another way, housekeeping knows what to look for.
 */
async function accept(intake: Intake, recorderId: string, copy: WorkingCopy, media: MediaFacts): Promise<TakeInResult> {
  const { deps, ref, deposit, extension, beat } = intake
  const { sha256 } = copy.recorded
  const primary = await deps.stores.primary(ref.accountId)
  const contentType = contentTypeOf(extension)
  const key = originalKey(ref.accountId, deposit.id, extension)
  const put = { storeId: primary.id, key, depositId: deposit.id }
  if (!(await deps.db.asAccount(ref.accountId, (tx) => announcePut(tx, put)))) return settledMeanwhile(intake)
  await failpoint('take-in.after-announce')
  await putOriginal(deps, { ref, primary, key, contentType, copy }, beat)
  await failpoint('take-in.after-put')
  const title = media.title?.trim() || titleFromPath(deposit.path)
  const taken = { deposit, recorderId, sha256, media, title, extension, contentType, storeId: primary.id }
  const detail = { path: deposit.path, sha256, sizeBytes: deposit.sizeBytes, endSignal: deposit.endSignal }
  const accept = async (tx: AccountTx) => {
    const done = await takenIn.acceptDeposit(tx, ref.accountId, taken)
    await failpoint('take-in.before-commit')
    return done
  }
  const accepted = await deps.db.asAccount(ref.accountId, accept, { actor: 'system', detail })
  await failpoint('take-in.after-commit')
  if (accepted === 'accepted') return { kind: 'accepted' }
  if (accepted === 'over') return settledMeanwhile(intake)
  const linked = await duplicate(intake, sha256)
  if (linked !== null) return linked
  throw new ReelkeepError(
    'internal',
    `The first of the bytes of ${deposit.id} was purged meanwhile. It is tried again.`,
  )
}

/** Another run was quicker, whatever it came to. What this one put goes where nobody can come to name it any more. */
async function settledMeanwhile(intake: Intake): Promise<TakeInResult> {
  const { deps, ref } = intake
  const deposit = await deps.db.asAccount(ref.accountId, (tx) => takenIn.findDepositToTakeIn(tx, ref.recordingId))
  if (isOverForGood(deposit)) await removeOwnOriginal(intake)
  return (await settledBefore(deps, ref.accountId, deposit)) ?? { kind: 'changed' }
}

/** Links the deposit to the recording that has its bytes; null where there is none. */
async function duplicate(intake: Intake, sha256: string): Promise<TakeInResult | null> {
  const { deps, ref } = intake
  const linked = await deps.db.asAccount(ref.accountId, (tx) => linkDuplicate(tx, ref.recordingId, sha256))
  if (linked === null) return null
  if (!linked.changed) return settledMeanwhile(intake)
  const ofRecordingId = linked.recordingId
  await failpoint('duplicate.after-row')
  await removeOwnOriginal(intake)
  await failpoint('duplicate.after-removal')
  // Where the first is safe already, nothing else would come back for this source. Where its deletion is being decided, the
  // source waits: the end of that decision comes back for it.
  await releaseSource(deps, { accountId: ref.accountId, recordingId: ofRecordingId })
  return { kind: 'duplicate', ofRecordingId }
}

async function quarantine(intake: Intake, code: ErrorCode, message: string): Promise<TakeInResult> {
  const { deps, ref } = intake
  await deps.db.asAccount(ref.accountId, (tx) => takenIn.quarantineDeposit(tx, ref.recordingId, { code, message }))
  await failpoint('quarantine.after-row')
  return { kind: 'quarantined', code, message }
}

async function vanished({ deps, ref }: Intake): Promise<TakeInResult> {
  await deps.db.asAccount(ref.accountId, (tx) => takenIn.markVanished(tx, ref.recordingId))
  return { kind: 'vanished' }
}

async function changed(intake: Intake): Promise<TakeInResult> {
  if (intake.deposit.state === 'quarantined') {
    const message =
      'Another file stands under its name now, as a deposit of its own. Give this one up, or replace it by that file.'
    return quarantine(intake, 'changed_while_read', message)
  }
  const reason = 'It was written to again while it was read. It is read anew when it rests.'
  return drop(intake, { state: 'arriving', code: 'changed_while_read', reason })
}

async function drop(
  intake: Intake,
  next: { state: 'arriving' | 'stalled'; code: ErrorCode; reason: string },
): Promise<TakeInResult> {
  const { deps, ref } = intake
  const dropped = await deps.db.asAccount(ref.accountId, (tx) => takenIn.dropRevision(tx, ref.recordingId, next))
  await failpoint('revision.after-drop')
  // Only once nobody can accept this id any more: a twin may be about to.
  if (dropped) await removeOwnOriginal(intake)
  return { kind: 'changed' }
}

/** An earlier run may have stored the original and died before its rows. Where this run dies, too, housekeeping removes it. */
async function removeOwnOriginal({ deps, ref, extension }: Intake): Promise<void> {
  const { store } = await deps.stores.primary(ref.accountId)
  const key = originalKey(ref.accountId, ref.recordingId, extension)
  await removeUnnamedOriginal(store, ref.accountId, ref.recordingId, key)
}
