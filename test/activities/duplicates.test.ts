import { generateKeyPairSync } from 'node:crypto'
import { stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import { sql } from 'kysely'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDeleteActivities } from '../../src/activities/delete.ts'
import { createReplicateActivities } from '../../src/activities/replicate.ts'
import { createRetainActivities } from '../../src/activities/retain.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { ensurePerson } from '../../src/db/accounts.ts'
import { allowFastForward, arriveFastForward } from '../../src/db/clock.ts'
import { applyCommand } from '../../src/db/commands.ts'
import type { AccountTx } from '../../src/db/connect.ts'
import { linkDuplicate, returnDuplicates } from '../../src/db/duplicates.ts'
import { listFilesToCopy, recordCopy, recordStored } from '../../src/db/files.ts'
import { findRecording } from '../../src/db/recordings.ts'
import type { Command } from '../../src/domain/commands.ts'
import type { Actor } from '../../src/domain/permissions.ts'
import type { RecordingState } from '../../src/domain/recording.ts'
import { msPer } from '../../src/domain/units.ts'
import { copyBetween } from '../../src/storage/copy.ts'
import { makeLecture, openIngestStand, sha256 } from './ingest-fixture.ts'
import type { IngestStand } from './ingest-fixture.ts'

let lecture: Buffer
let stand: IngestStand
let ada: Actor
let ben: Actor
let requests = 0

beforeAll(async () => {
  lecture = await makeLecture()
})
beforeEach(async () => {
  stand = await openIngestStand()
  const person = async (name: string): Promise<Actor> => ({
    accountId: stand.accountId,
    name,
    roles: ['operator'],
    scopes: ['read', 'write'],
    personId: await inAccount((tx) => ensurePerson(tx, { name, email: `${name}@x.test`, roles: ['operator'] })),
  })
  ada = await person('ada')
  ben = await person('ben')
})
afterEach(() => stand.close())

const inAccount = <T>(work: (tx: AccountTx) => Promise<T>) => stand.db.asAccount(stand.accountId, work)
const refOf = (recordingId: string) => ({ accountId: stand.accountId, recordingId, atMs: Date.now() })
const run = <T>(work: () => Promise<T>) => new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(work)
const deletion = () =>
  createDeleteActivities({ ...stand.deps, sign: createSigner(generateKeyPairSync('ed25519').privateKey) })
const inbox = (path: string) => join(stand.directories.inbox, 'hall-a', path)
const there = (path: string) =>
  stat(inbox(path)).then(
    () => true,
    () => false,
  )
const depositAt = async (path: string) => (await stand.deposits()).filter((one) => one.path === `hall-a/${path}`)

async function upload(path: string): Promise<string> {
  await writeFile(inbox(path), lecture)
  const [id] = await stand.lookUntilQuiet()
  if (id === undefined) throw new Error(`${path} did not become complete`)
  return id
}

const give = async (recordingId: string, actor: Actor, command: Command) => {
  requests += 1
  const done = await applyCommand(stand.db, recordingId, { command, actor, requestId: `r${requests}` })
  expect(done.verdict).toEqual({ ok: true })
}

/** The first upload, kept: verified at two sites, its source gone. */
async function keepFirst(path = 'first.mp4'): Promise<string> {
  const id = await upload(path)
  expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
  await inAccount(async (tx) => {
    for (const state of ['claimed', 'encoding', 'archiving'] as const)
      await tx.updateTable('recordings').set({ state }).where('id', '=', id).execute()
    await recordStored(tx, id, stand.ids.primary, {
      name: 'manifest.json',
      kind: 'manifest',
      key: `${stand.accountId}/${id}/manifest.json`,
      contentType: 'application/json',
      sizeBytes: 2,
      sha256: 'x',
    })
    for (const file of await listFilesToCopy(tx, id)) {
      if (file.kind === 'original') await copyBetween(stand.primaryStore, stand.backupStore, file.key, file.key, file)
      await recordCopy(tx, id, file.id, stand.ids.backup)
    }
    await tx
      .updateTable('copies')
      .set({ state: 'verified', verified_at: new Date() })
      .where('recording_id', '=', id)
      .execute()
  })
  await createReplicateActivities(stand.deps).recordProtected(refOf(id))
  expect(await stand.releaseSource(id)).toEqual({ released: 1 })
  await createRetainActivities(stand.deps).beginRetention(refOf(id))
  return id
}

/** Its time is over, and people decide to delete it, as far as this state. */
async function letGo(id: string, until: RecordingState): Promise<void> {
  const pass = (ms: number) =>
    inAccount(async (tx) => {
      await allowFastForward(tx, id, ms)
      await arriveFastForward(tx, id)
    })
  await pass(2 * msPer.year + msPer.day)
  await give(id, ada, { kind: 'requestDeletion', reason: 'old' })
  if (until === 'disposition_requested') return
  const planHash = (await inAccount((tx) => findRecording(tx, id)))?.facts.planHash ?? ''
  await give(id, ben, { kind: 'approveDeletion', planHash })
  if (until === 'trashed') return
  await pass(15 * msPer.day)
  expect(await deletion().beginPurge(refOf(id))).toEqual({ ok: true })
}

async function finishPurge(id: string): Promise<void> {
  const activities = deletion()
  for (const storeId of await activities.listPurgeStores(refOf(id)))
    await run(() => activities.purgeStore(refOf(id), storeId))
  await activities.purgeSource(refOf(id))
  await activities.certify(refOf(id))
}

test.each(['disposition_requested', 'trashed', 'purging'] as const)(
  'while the first is %s, a later upload is linked, says what it waits for, and its source stays',
  async (state) => {
    const first = await keepFirst()
    await letGo(first, state)
    const again = await upload('again.mp4')
    const linked = { kind: 'duplicate', ofRecordingId: first }
    expect(await stand.takeIn(again)).toEqual(linked)
    expect(await stand.takeIn(again)).toEqual(linked)
    expect(await stand.releaseSource(first)).toEqual({ released: 0 })
    expect(await there('again.mp4')).toBe(true)
    const [waiting, ...others] = await depositAt('again.mp4')
    expect(others).toEqual([])
    expect(waiting).toMatchObject({ id: again, state: 'duplicate', recordingId: first })
    expect(waiting?.nextStep).toMatch(/recording of its own/)
    const told = (await inAccount((tx) => findRecording(tx, first)))?.timeline
    expect(told?.filter(({ action }) => action === 'duplicate.linked').map(({ detail }) => detail)).toEqual([
      { deposit: again, path: 'hall-a/again.mp4' },
    ])
    // A look leaves it alone, however often.
    expect(await stand.lookUntilQuiet()).toEqual([])
  },
)

test.each(['disposition_requested', 'trashed'] as const)(
  'where the deletion is called off in %s, the source leaves as any other',
  async (state) => {
    const first = await keepFirst()
    await letGo(first, state)
    await stand.takeIn(await upload('again.mp4'))
    if (state === 'trashed') await give(first, ada, { kind: 'undo' })
    else await give(first, ben, { kind: 'rejectDeletion', reason: 'needed' })
    expect((await depositAt('again.mp4'))[0]?.nextStep).toMatch(/already kept/)
    expect(await stand.releaseSource(first)).toEqual({ released: 1 })
    expect(await stand.releaseSource(first)).toEqual({ released: 0 })
    expect(await there('again.mp4')).toBe(false)
  },
)

test('purged, its later uploads are deposits of their own again: one becomes a recording, the others its duplicates', async () => {
  const first = await keepFirst()
  await letGo(first, 'trashed')
  const paths = ['b.mp4', 'c.mp4', 'd.mp4']
  const before: string[] = []
  for (const path of paths) {
    before.push(await upload(path))
    await stand.takeIn(before.at(-1) ?? '')
  }
  await inAccount(async (tx) => {
    await allowFastForward(tx, first, 15 * msPer.day)
    await arriveFastForward(tx, first)
  })
  expect(await deletion().beginPurge(refOf(first))).toEqual({ ok: true })
  await finishPurge(first)
  const after = await stand.deposits()
  // A second run, and a take-in that comes back late, change nothing.
  await deletion().certify(refOf(first))
  for (const id of before) expect(await stand.takeIn(id)).toEqual({ kind: 'changed' })
  expect(await stand.deposits()).toEqual(after)
  for (const path of paths) {
    expect(await there(path)).toBe(true)
    const [deposit] = await depositAt(path)
    expect(deposit).toMatchObject({ state: 'arriving', recordingId: null })
    expect(before).not.toContain(deposit?.id)
    expect(deposit?.reason).toContain(first)
  }
  const told = (await inAccount((tx) => findRecording(tx, first)))?.timeline.map(({ action }) => action)
  expect(told?.filter((action) => action === 'duplicates.returned')).toHaveLength(1)

  stand.clock.nowMs = Date.now()
  const ids = await stand.lookUntilQuiet()
  expect(ids).toHaveLength(3)
  const results = await Promise.all(ids.map((id) => stand.takeIn(id)))
  expect(results.map(({ kind }) => kind).sort()).toEqual(['accepted', 'duplicate', 'duplicate'])
  const [kept, ...others] = (await stand.recordings()).filter(({ state }) => state !== 'purged')
  expect(others).toEqual([])
  expect(kept).toMatchObject({ sha256: sha256(lecture), state: 'accepted' })
  expect((await stand.deposits()).filter(({ recordingId }) => recordingId === kept?.id)).toHaveLength(3)
})

test('a path that was written over meanwhile comes back once, and a file that is gone is said to be gone', async () => {
  const first = await keepFirst()
  await letGo(first, 'purging')
  await stand.takeIn(await upload('over.mp4'))
  await utimes(inbox('over.mp4'), new Date(), new Date(Date.now() - msPer.hour))
  const [later = ''] = await stand.lookUntilQuiet()
  await stand.takeIn(later)
  await stand.takeIn(await upload('replaced.mp4'))
  await writeFile(inbox('replaced.mp4'), 'something else arrives')
  await stand.look()
  await finishPurge(first)
  const states = async (path: string) => (await depositAt(path)).map(({ state }) => state).sort()
  expect(await states('over.mp4')).toEqual(['arriving', 'vanished'])
  expect(await states('replaced.mp4')).toEqual(['arriving', 'vanished'])
  expect((await stand.deposits()).filter(({ state, reason }) => state === 'vanished' && reason === null)).toEqual([])
})

test('a purge that ends while a deposit is being linked is seen: the deposit is a recording of its own', async () => {
  const first = await keepFirst()
  await letGo(first, 'purging')
  const again = await upload('again.mp4')
  let taken: Promise<unknown> = Promise.resolve()
  await inAccount(async (tx) => {
    await tx.selectFrom('recordings').select('id').where('id', '=', first).forUpdate().execute()
    taken = stand.takeIn(again)
    await untilBlocked()
    await tx.updateTable('recordings').set({ state: 'purged' }).where('id', '=', first).execute()
    await returnDuplicates(tx, first)
  })
  expect(await taken).toEqual({ kind: 'accepted' })
  expect((await depositAt('again.mp4'))[0]).toMatchObject({ id: again, state: 'accepted', recordingId: again })
})

test('a deposit that is being linked while the purge ends is among those that it returns', async () => {
  const first = await keepFirst()
  await letGo(first, 'purging')
  const again = await upload('again.mp4')
  let purged: Promise<unknown> = Promise.resolve()
  await inAccount(async (tx) => {
    expect(await linkDuplicate(tx, again, sha256(lecture))).toEqual({ recordingId: first, changed: true })
    purged = finishPurge(first)
    await untilBlocked()
  })
  await purged
  expect(await depositAt('again.mp4')).toMatchObject([{ state: 'arriving', recordingId: null }])
})

/** Until some transaction waits for the lock of another one. */
async function untilBlocked(): Promise<void> {
  for (;;) {
    const { rows } = await inAccount((tx) =>
      sql`select 1 from pg_locks l where not l.granted and l.pid in (select pid from pg_stat_activity
        where datname = current_database())`.execute(tx),
    )
    if (rows.length > 0) return
  }
}
