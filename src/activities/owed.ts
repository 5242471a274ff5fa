import type { AccountTx } from '../db/connect.ts'
import { listFilesToCopy } from '../db/files.ts'
import type { FileToCopy } from '../db/files.ts'
import * as owed from '../db/owed.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { sameContent } from '../domain/fixity.ts'
import { planOwed } from '../domain/owed.ts'
import type { OwedCopy, OwedPlan } from '../domain/owed.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { withHeartbeat } from './beat.ts'
import type { Beat } from './beat.ts'
import { copyFile } from './copy-file.ts'
import type { ActivityDeps, PlacedStore } from './deps.ts'
import { readLook } from './mend-copy.ts'
import type { RecordingRef } from './records.ts'

type Ref = Pick<RecordingRef, 'accountId' | 'recordingId'>
type OwedDeps = Pick<ActivityDeps, 'db' | 'stores'>

/** What a life has to see to: the stores that owe copies, in the order in which they are served, and a source that may go. */
export interface OwedFound {
  readonly storeIds: readonly string[]
  readonly source: boolean
}

interface Job {
  readonly ref: Ref
  readonly to: PlacedStore
  readonly file: FileToCopy
}

const nothing: OwedPlan = { stores: [], source: false }

/** Making good what a kept recording owes: copies that stores lack, and sources that should have left their inbox. */
export function createOwedActivities(deps: OwedDeps) {
  const { db, stores } = deps
  const debtOf = (ref: Ref, storeId: string) =>
    db.asAccount(ref.accountId, async (tx) => {
      const debt = (await plan(tx, ref)).stores.find((one) => one.storeId === storeId)
      const files = new Map((await listFilesToCopy(tx, ref.recordingId)).map((file) => [file.id, file]))
      return { make: debt?.make ?? [], read: debt?.read ?? [], files }
    })

  return {
    /** What this recording owes now. Nothing where it is on its way out, or where a person let it be. */
    async findOwed(ref: Ref): Promise<OwedFound> {
      const { stores: debts, source } = await db.asAccount(ref.accountId, (tx) => plan(tx, ref))
      return { storeIds: debts.map(({ storeId }) => storeId), source }
    },

    /**
     * Makes the copies that one store lacks, the manifest last, each from a verified copy. Ends early where the recording is on its way
     * out by then. A second run makes what is left.
     */
    async makeOwedCopies(ref: Ref, storeId: string): Promise<number> {
      return withHeartbeat(async (beat) => {
        const { make, files } = await debtOf(ref, storeId)
        const to = await stores.open(ref.accountId, storeId)
        let made = 0
        for (const copy of make) {
          const file = files.get(copy.fileId)
          if (file === undefined) continue
          if (!(await makeCopy(deps, { ref, to, file }, copy, beat))) break
          made += 1
        }
        return made
      })
    },

    /**
     * Reads the copies that one store owes back: only then do they count. One that reads back as other bytes is to be made again,
     * and whatever this store owes still is said as a failure, so that nobody takes it for done.
     * @throws store_alters_bytes, store_*
     */
    async readOwedCopies(ref: Ref, storeId: string): Promise<number> {
      return withHeartbeat(async (beat) => {
        const { read, files } = await debtOf(ref, storeId)
        const to = await stores.open(ref.accountId, storeId)
        let verified = 0
        for (const [index, fileId] of read.entries()) {
          const file = files.get(fileId)
          if (file === undefined) continue
          const matched = await readsBack(to, file, beat)
          await failpoint('owed.after-read-back')
          if (matched) verified += 1
          const last = index === read.length - 1 && verified > 0 ? { store: to.name, copies: verified } : null
          await db.asAccount(ref.accountId, (tx) => owed.recordReadBack(tx, placeOf({ ref, to, file }), matched, last))
        }
        const left = (await debtOf(ref, storeId)).make[0]
        const bad = left === undefined ? undefined : files.get(left.fileId)
        if (bad === undefined) return verified
        throw new ReelkeepError(
          'store_alters_bytes',
          `${bad.key} in store ${to.name} is not what was written there. It is made again by itself; if this goes on, check the disk and memory of store ${to.name}.`,
        )
      })
    },
  }
}

async function plan(tx: AccountTx, ref: Ref): Promise<OwedPlan> {
  const facts = await owed.findOwedFacts(tx, ref.recordingId)
  return facts === null ? nothing : planOwed(facts)
}

const placeOf = ({ ref, to, file }: Job): owed.OwedPlace => ({
  recordingId: ref.recordingId,
  fileId: file.id,
  storeId: to.id,
})

/** Makes one copy. False where the recording is on its way out: then none is made, and none is left behind a purge. */
async function makeCopy({ db, stores }: OwedDeps, job: Job, copy: OwedCopy, beat: Beat): Promise<boolean> {
  const { ref, to, file } = job
  const asAccount = <T>(work: (tx: AccountTx) => Promise<T>) => db.asAccount(ref.accountId, work)
  // A store that is away is not announced to: a purge would have to wait for it, for the sake of nothing.
  await to.store.stat(file.key)
  if (!(await asAccount((tx) => owed.announceCopy(tx, placeOf(job))))) return false
  await failpoint('owed.after-announce')
  await copyFromAny({ db, stores }, job, copy, beat)
  await failpoint('owed.after-copy')
  if ((await asAccount((tx) => owed.recordMade(tx, placeOf(job)))) === 'made') return true
  await to.store.delete(file.key)
  return false
}

/** From one verified copy after the other: one that turns out to be bad, or is out of reach, does not stand in the way. */
async function copyFromAny(
  { db, stores }: OwedDeps,
  { ref, to, file }: Job,
  copy: OwedCopy,
  beat: Beat,
): Promise<void> {
  let failure: ReelkeepError | null = null
  for (const storeId of copy.from) {
    try {
      const from = await stores.open(ref.accountId, storeId)
      return await copyFile(from, to, file, beat)
    } catch (error) {
      if (!(error instanceof ReelkeepError)) throw error
      beat.signal.throwIfAborted()
      if (isBadSource(error)) await db.asAccount(ref.accountId, (tx) => owed.hastenCheck(tx, ref.recordingId))
      failure ??= error
    }
  }
  if (failure !== null && !isBadSource(failure)) throw failure
  throw new ReelkeepError(
    'copies_not_verified',
    `${file.key} is missing from store ${to.name}, and no copy of it is verified and reads back right. ` +
      'The check of its copies says what each store has; when one is good again, this is tried again.',
    failure === null ? {} : { cause: failure },
  )
}

/** Other bytes, no bytes, or fewer than there should be. */
function isBadSource(error: ReelkeepError): boolean {
  return hasCode(error, 'copy_mismatch') || hasCode(error, 'object_missing') || hasCode(error, 'changed_while_read')
}

async function readsBack({ store, name }: PlacedStore, file: FileToCopy, { signal, beat }: Beat): Promise<boolean> {
  const onProgress = (bytes: number) => beat({ store: name, file: file.name, bytes })
  const look = await readLook(store, file.key, { signal, onProgress })
  return typeof look === 'object' && sameContent(look, file)
}
