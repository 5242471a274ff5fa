import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import { pino } from 'pino'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createHousekeepingActivities } from '../../src/activities/housekeeping.ts'
import type { SweepResult } from '../../src/activities/housekeeping.ts'
import { createQuarantineActivities } from '../../src/activities/quarantine.ts'
import type { AccountTx } from '../../src/db/connect.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import { armName, enableFailpoints } from '../../src/failpoints/failpoint.ts'
import type { FailpointName } from '../../src/failpoints/names.ts'
import { makeLecture, openIngestStand } from './ingest-fixture.ts'
import type { IngestStand } from './ingest-fixture.ts'

let lecture: Buffer
let stand: IngestStand
let armed: string
let id: string

beforeAll(async () => {
  lecture = await makeLecture()
})
beforeEach(async () => {
  stand = await openIngestStand()
  armed = await mkdtemp(join(tmpdir(), 'reelkeep-armed-'))
  await mkdir(join(armed, 'played'))
  enableFailpoints({ directory: armed, hangMs: 1000 })
  await writeFile(source(), lecture)
  const [complete = ''] = await stand.lookUntilQuiet()
  id = complete
})
afterEach(async () => {
  enableFailpoints(null)
  await rm(armed, { recursive: true })
  await stand.close()
})

const source = () => join(stand.directories.inbox, 'hall-a', 'x.mp4')
const key = () => `${stand.accountId}/${id}/original.mp4`
const original = () => stand.primaryStore.stat(key())
const inAccount = <T>(work: (tx: AccountTx) => Promise<T>) => stand.db.asAccount(stand.accountId, work)
const announced = async () =>
  (await inAccount((tx) => tx.selectFrom('announced_puts').select('key').execute())).map((row) => row.key)
const ref = () => ({ accountId: stand.accountId, recordingId: id, atMs: Date.now() })

async function crashAt(point: FailpointName): Promise<void> {
  await writeFile(join(armed, armName({ point, subject: null, action: 'throw', times: 1, id: randomUUID() })), '')
  await expect(stand.takeIn(id)).rejects.toThrow('failpoint')
}

const daysPass = (days = 3) =>
  inAccount((tx) =>
    tx
      .updateTable('announced_puts')
      .set({ announced_at: new Date(Date.now() - days * 86_400_000) })
      .execute(),
  )

const sweep = () => {
  const { sweepStores } = createHousekeepingActivities({ ...stand.deps, log: pino({ level: 'silent' }) })
  return new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(sweepStores) as Promise<SweepResult>
}

/** What a sweep removes now, and that a second one finds nothing. */
async function sweptTwice(): Promise<number> {
  const { removed, failed } = await sweep()
  expect(failed).toBe(0)
  expect(await sweep()).toMatchObject({ removed: 0, failed: 0 })
  return removed
}

test('an original whose source vanished before its rows were written is removed, days later', async () => {
  await crashAt('take-in.after-put')
  await rm(source())
  expect(await stand.takeIn(id)).toEqual({ kind: 'vanished' })
  expect(await original()).not.toBeNull()
  // Young: whoever put it may still be at it.
  expect(await sweptTwice()).toBe(0)
  await daysPass(1)
  expect(await sweptTwice()).toBe(0)
  expect(await original()).not.toBeNull()
  await daysPass()
  expect(await sweptTwice()).toBe(1)
  expect(await original()).toBeNull()
  expect(await announced()).toEqual([])
})

test('the original of a revision that was let go of is removed, where that run died before it did it itself', async () => {
  await crashAt('take-in.after-put')
  await utimes(source(), new Date(), new Date(Date.now() - 5000))
  await crashAt('revision.after-drop')
  expect(await stand.takeIn(id)).toEqual({ kind: 'changed' })
  expect(await original()).not.toBeNull()
  await daysPass()
  expect(await sweptTwice()).toBe(1)
  expect(await original()).toBeNull()
})

test('a deposit that is still being taken in keeps its original at any age, and becomes a recording with it', async () => {
  await crashAt('take-in.after-put')
  await daysPass(400)
  expect(await sweptTwice()).toBe(0)
  const before = await original()
  expect(before).not.toBeNull()
  expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
  expect(await original()).toEqual(before)
  expect(await announced()).toEqual([])
  await daysPass()
  expect(await sweptTwice()).toBe(0)
  expect(await original()).toEqual(before)
})

test('what was announced and never put is forgotten; what was announced again is young again', async () => {
  await crashAt('take-in.after-announce')
  expect(await announced()).toEqual([key()])
  await daysPass()
  await crashAt('take-in.after-announce')
  await inAccount((tx) => tx.updateTable('deposits').set({ state: 'vanished' }).where('id', '=', id).execute())
  expect(await sweptTwice()).toBe(0)
  expect(await announced()).toEqual([key()])
  await daysPass()
  await sweep()
  expect(await announced()).toEqual([])
})

test('in quarantine it stays for the person who decides; given up, it goes', async () => {
  await crashAt('take-in.after-put')
  await inAccount((tx) =>
    tx.updateTable('deposits').set({ state: 'quarantined', reason_code: 'truncated' }).where('id', '=', id).execute(),
  )
  await daysPass()
  expect(await sweptTwice()).toBe(0)
  expect(await original()).not.toBeNull()
  await createQuarantineActivities(stand.deps).refuseDeposit(ref())
  expect(await sweptTwice()).toBe(1)
  expect(await original()).toBeNull()
})

test.each(['before', 'after'])(
  'a run that sleeps %s its put until its deposit is settled and swept leaves nothing',
  async (when) => {
    const put = stand.primaryStore.put.bind(stand.primaryStore)
    const sleeping = { begun: () => {}, wake: () => {} }
    const begun = new Promise<void>((resolve) => (sleeping.begun = resolve))
    const awake = new Promise<void>((resolve) => (sleeping.wake = resolve))
    stand.primaryStore.put = async (...args) => {
      const done = when === 'after' ? await put(...args) : null
      sleeping.begun()
      await awake
      return done ?? put(...args)
    }
    const late = stand.takeIn(id)
    await begun
    await rm(source())
    expect(await stand.takeIn(id)).toEqual({ kind: 'vanished' })
    await daysPass()
    await sweptTwice()
    expect(await original()).toBeNull()
    sleeping.wake()
    expect(await late).toEqual({ kind: 'vanished' })
    expect(await stand.recordings()).toEqual([])
    expect(await original()).toBeNull()
  },
)

test('a package with a manifest is never touched, whatever the database believes of its deposit', async () => {
  await crashAt('take-in.after-put')
  await rm(source())
  await stand.takeIn(id)
  const manifest = join(stand.directories.primary, stand.accountId, id, 'manifest.json')
  await mkdir(dirname(manifest), { recursive: true })
  await writeFile(manifest, '{}')
  await daysPass()
  expect(await sweptTwice()).toBe(0)
  expect(await original()).not.toBeNull()
  expect(await announced()).toEqual([key()])
})

test('only what was announced is touched, and only below the deposit that announced it', async () => {
  await crashAt('take-in.after-put')
  await rm(source())
  await stand.takeIn(id)
  const other = `${stand.accountId}/${randomUUID()}/original.mp4`
  for (const one of [other, `${stand.accountId}/${id}/notes.txt`]) {
    await mkdir(dirname(join(stand.directories.primary, one)), { recursive: true })
    await writeFile(join(stand.directories.primary, one), 'somebody else’s')
  }
  await inAccount((tx) =>
    tx
      .insertInto('announced_puts')
      .values({ account_id: stand.accountId, store_id: stand.ids.primary, key: other, deposit_id: randomUUID() })
      .execute(),
  )
  await daysPass()
  expect(await sweptTwice()).toBe(1)
  expect(await stand.primaryStore.stat(other)).not.toBeNull()
  expect(await stand.primaryStore.stat(`${stand.accountId}/${id}/notes.txt`)).not.toBeNull()
})

test('a store that does not answer is swept the next day', async () => {
  await crashAt('take-in.after-put')
  await rm(source())
  await stand.takeIn(id)
  await daysPass()
  const remove = stand.primaryStore.delete
  stand.primaryStore.delete = async () => {
    throw new ReelkeepError('store_unavailable', 'primary does not answer.')
  }
  expect(await sweep()).toMatchObject({ removed: 0, failed: 1 })
  expect(await announced()).toEqual([key()])
  stand.primaryStore.delete = remove
  expect(await sweptTwice()).toBe(1)
})

test('a further worker that finds a recording under the id never removes its original', async () => {
  expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
  await inAccount((tx) =>
    tx
      .insertInto('announced_puts')
      .values({ account_id: stand.accountId, store_id: stand.ids.primary, key: key(), deposit_id: id })
      .execute(),
  )
  await daysPass()
  expect(await sweptTwice()).toBe(0)
  expect(await original()).not.toBeNull()
  expect(await announced()).toEqual([])
})
