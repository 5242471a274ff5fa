import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest'
import { giveCommand } from '../../src/api/commands.ts'
import { rebuild } from '../../src/cli/rebuild-run.ts'
import { ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { AccountTx } from '../../src/db/connect.ts'
import { recordCheck } from '../../src/db/files.ts'
import { findRecording } from '../../src/db/recordings.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import type { RecordingDetail } from '../../src/domain/recording.ts'
import { msPer } from '../../src/domain/units.ts'
import { enableFailpoints } from '../../src/failpoints/failpoint.ts'
import type { FailpointAction, FailpointName } from '../../src/failpoints/names.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import { startWorkers } from '../../src/worker.ts'
import { arm, hastyPolicy, listPlayed } from '../chaos/system.ts'
import { freshDatabase } from '../setup/database.ts'
import { bundleWorkflows, makeNamespace, saveHistory, startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let client: Client
let arms: string
const forMs = 180_000
const keepMs = msPer.hour

beforeAll(async () => {
  const retention = {
    rules: [{ id: 'hour', name: 'Kept for an hour', when: {}, keepMs }],
    remindBeforeMs: [10 * msPer.minute],
  }
  world = await startWorld({ policy: { ...hastyPolicy, retention } })
  arms = join(world.home, 'arms')
  await mkdir(join(arms, 'played'), { recursive: true })
  enableFailpoints({ directory: arms, hangMs: 5000 })
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  const connection = await Connection.connect({ address: world.config.temporal.address })
  client = new Client({ connection, namespace: world.config.temporal.namespace })
})
afterAll(async () => {
  enableFailpoints(null)
  await client?.connection.close()
  await world?.stop()
})

let seed = 5100
async function drop(): Promise<string> {
  seed += 1
  const from = join(world.home, `sample-${seed}.mp4`)
  await generateSmall(from, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
  await world.drop(from, `hall/${seed}.mp4`)
  return `hall/${seed}.mp4`
}

const waitsForTheEnd = ({ state, waitingFor }: RecordingDetail) =>
  state === 'retained' && waitingFor.includes('the end of its retention')

async function keep(): Promise<RecordingDetail> {
  return world.until(await drop(), waitsForTheEnd, forMs)
}

/** A further backup store, for this test, and the turn of the reconciliation that tells the lives of it. */
async function addStore(name: string, { exists = true } = {}): Promise<string> {
  const root = join(world.home, name)
  if (exists) await mkdir(root)
  await inAccount((tx) => ensureStore(tx, { name, site: name, role: 'backup', url: `local:${root}` }))
  onTestFinished(async () => {
    const gone = { role: 'inbox', url: 'unset:inbox' } as const
    await inAccount((tx) => tx.updateTable('stores').set(gone).where('name', '=', name).execute())
  })
  await goRound()
  return root
}

const inAccount = <T>(work: (tx: AccountTx) => Promise<T>) => world.db.asAccount(world.accountId, work)

const goRound = () => client.schedule.getHandle('reconcile').trigger('ALLOW_ALL')

/** An hour has passed since the last round. */
async function goNextRound(): Promise<void> {
  await inAccount((tx) =>
    tx
      .updateTable('life_rounds')
      .set({ ended_at: sql<Date>`now() - interval '2 hours'`, after_id: null })
      .execute(),
  )
  await goRound()
}

async function passOver(): Promise<void> {
  await world.pipeline.checkAllCopies(world.accountId)
  await client.workflow.getHandle(`fixity-pass/${world.accountId}`).result()
}

const copiesIn = ({ copies }: RecordingDetail, storeName: string) =>
  copies.filter((copy) => copy.storeName === storeName)
const isWholeIn = (recording: RecordingDetail, storeName: string) =>
  copiesIn(recording, storeName).length === recording.files.length &&
  copiesIn(recording, storeName).every(({ state }) => state === 'verified')
const eventsOf = ({ timeline }: RecordingDetail, action: string) => timeline.filter((event) => event.action === action)
/** Names of what stands of a recording below this root: every kept recording gets its copies there. */
const filesOf = async ({ id }: Pick<RecordingDetail, 'id'>, root: string) =>
  (await readdir(join(root, world.accountId, id), { recursive: true, withFileTypes: true }).catch(() => []))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)

const armFor = (point: FailpointName, subject: string, action: FailpointAction, times = 1) =>
  arm(arms, { point, subject, action, times })

async function untilPlayed(point: FailpointName, subject: string): Promise<void> {
  for (const untilMs = Date.now() + forMs; Date.now() < untilMs; await pause(50))
    if ((await listPlayed(arms)).some((one) => one.point === point && one.subject === subject)) return
  throw new Error(`${point} was not reached`)
}

test(
  'a backup store that is added later gets its copies, read back; the life says so',
  { timeout: 400_000 },
  async () => {
    const kept = await keep()
    await armFor('owed.after-announce', kept.id, 'hang')
    const root = await addStore('later')
    await untilPlayed('owed.after-announce', kept.id)
    const making = await world.until(kept.depositPath, ({ waitingFor }) => waitingFor.includes('copies'), forMs)
    expect(making).toMatchObject({ state: 'retained', waitingFor: 'copies that its stores lack' })
    expect(making.nextStep).toContain('made from a verified copy')
    // A hold that is placed meanwhile changes nothing about it.
    await world.give(kept.id, world.people.ben, { kind: 'hold', reason: 'court' })
    const held = await world.until(
      kept.depositPath,
      (seen) => seen.onHold && seen.waitingFor.startsWith('copies'),
      forMs,
    )

    const whole = await world.until(kept.depositPath, (seen) => isWholeIn(seen, 'later'), forMs)
    expect(eventsOf(whole, 'copy.verified').map(({ detail }) => detail)).toEqual([
      { store: 'later', copies: whole.files.length },
    ])
    for (const copy of copiesIn(whole, 'later'))
      expect(await readFile(join(root, copy.key))).toEqual(await readFile(join(world.home, 'primary', copy.key)))
    await world.until(kept.depositPath, ({ waitingFor }) => waitingFor.includes('legal hold (court)'), forMs)
    await world.give(kept.id, world.people.ben, { kind: 'release', holdId: held.facts.holds[0]!.id })
    await world.until(kept.depositPath, waitsForTheEnd, forMs)
    // Nothing is owed any more: another round wakes nobody. What its life said last is in its history a moment later.
    await pause(3000)
    const { historyLength } = await client.workflow.getHandle(`rec/${kept.id}`).describe()
    await goNextRound()
    await pause(3000)
    expect((await client.workflow.getHandle(`rec/${kept.id}`).describe()).historyLength).toBe(historyLength)
    const version = process.env['SAVE_HISTORIES']
    if (version !== undefined) await saveHistory(world, kept.id, `owed-${version}`)
  },
)

test('a copy that a store altered is made again before it counts', { timeout: 400_000 }, async () => {
  const kept = await keep()
  await armFor('local.after-write', kept.id, 'corrupt')
  const root = await addStore('altering')
  const whole = await world.until(kept.depositPath, (seen) => isWholeIn(seen, 'altering'), forMs)
  await untilPlayed('local.after-write', kept.id)
  for (const copy of copiesIn(whole, 'altering'))
    expect(await readFile(join(root, copy.key))).toEqual(await readFile(join(world.home, 'primary', copy.key)))
})

test('a store that is away is waited for, and a person may let it be', { timeout: 400_000 }, async () => {
  const kept = await keep()
  await addStore('away', { exists: false })
  // What it waits for is written a moment after its problem.
  const parked = await world.until(kept.depositPath, (seen) => seen.waitingFor.includes('a person, because'), forMs)
  expect(parked.problem).toMatchObject({ stage: 'archive', code: 'store_misconfigured', options: ['retry', 'skip'] })
  expect(parked.nextAtMs).toBe(parked.problem?.nextRetryAtMs)
  // Nothing is announced to a store that never answered: a purge would have to wait for it.
  expect(copiesIn(parked, 'away')).toEqual([])
  await giveCommand(world, kept.id, {
    command: { kind: 'resolve', option: 'skip' },
    actor: world.people.ben,
    requestId: randomUUID(),
  })
  await world.until(kept.depositPath, (seen) => seen.problem === null && waitsForTheEnd(seen), forMs)
  // It stays so: the next round does not ask again.
  await mkdir(join(world.home, 'away'))
  await goNextRound()
  await pause(3000)
  expect(await filesOf(kept, join(world.home, 'away'))).toEqual([])
})

test('a copy that is nowhere good is made only when one is good again', { timeout: 400_000 }, async () => {
  const kept = await keep()
  const key = kept.copies.find(({ kind }) => kind === 'original')!.key
  const good = await readFile(join(world.home, 'primary', key))
  for (const folder of ['primary', 'backup']) await writeFile(join(world.home, folder, key), `bad in ${folder}`)
  const root = await addStore('careful')
  const parked = await world.until(kept.depositPath, ({ problem }) => problem !== null, forMs)
  expect(parked.problem).toMatchObject({ stage: 'archive', code: 'copies_not_verified', options: ['retry', 'skip'] })
  expect(await filesOf(kept, root)).not.toContain('original.mp4')
  await writeFile(join(world.home, 'backup', key), good)
  await giveCommand(world, kept.id, {
    command: { kind: 'resolve', option: 'retry' },
    actor: world.people.ben,
    requestId: randomUUID(),
  })
  await world.until(kept.depositPath, (seen) => isWholeIn(seen, 'careful') && seen.problem === null, forMs)
  expect(await readFile(join(root, key))).toEqual(good)
  // What was seen bad is checked by the next pass, though it was not due for 90 days.
  await passOver()
  await world.until(kept.depositPath, (seen) => seen.copies.every(({ state }) => state === 'verified'), forMs)
  expect(await readFile(join(world.home, 'primary', key))).toEqual(good)
})

test('a source that stayed because a copy was bad leaves when it is mended', { timeout: 400_000 }, async () => {
  const path = await drop()
  const { id } = await world.until(path, () => true, forMs)
  await armFor('replicate.protect-after-commit', id, 'hang')
  await untilPlayed('replicate.protect-after-commit', id)
  const sealed = (await world.detail(id))!
  const { key, fileId } = copiesIn(sealed, 'backup').find(({ kind }) => kind === 'original')!
  await writeFile(join(world.home, 'backup', key), 'rot')
  // What a run says that comes back late.
  await inAccount(async (tx) => {
    await recordCheck(tx, fileId, world.stores.backup, false)
    await tx
      .updateTable('copies')
      .set({ checked_at: new Date(), check_since: new Date(), check_result: 'failed' })
      .where('file_id', '=', fileId)
      .where('store_id', '=', world.stores.backup)
      .execute()
  })
  await world.until(path, waitsForTheEnd, forMs)
  expect(await readdir(join(world.home, 'inbox', 'hall'))).toContain(path.slice('hall/'.length))
  await goNextRound()
  await pause(3000)
  expect(await readdir(join(world.home, 'inbox', 'hall'))).toContain(path.slice('hall/'.length))

  await passOver()
  await world.until(path, (seen) => seen.copies.every(({ state }) => state === 'verified'), forMs)
  await goNextRound()
  for (const untilMs = Date.now() + forMs; ; await pause(100)) {
    if (!(await readdir(join(world.home, 'inbox', 'hall'))).includes(path.slice('hall/'.length))) break
    expect(Date.now()).toBeLessThan(untilMs)
  }
  await world.until(path, waitsForTheEnd, forMs)
})

test(
  'whose deletion is requested gets no copies any more; the purge removes what there is',
  { timeout: 400_000 },
  async () => {
    const kept = await keep()
    // Its first copy comes to stand there, and no row ever says so.
    await armFor('owed.after-copy', kept.id, 'throw', 1000)
    const root = await addStore('late')
    const parked = await world.until(kept.depositPath, ({ problem }) => problem?.stage === 'archive', forMs)
    expect(await filesOf(kept, root)).toHaveLength(1)
    expect(parked.problem?.nextRetryAtMs).not.toBeNull()

    await world.fastForward(kept.id, keepMs + msPer.minute)
    const asked = await world.until(kept.depositPath, ({ state }) => state === 'disposition_requested', forMs)
    // Its owner was reminded in time, whatever was parked.
    const reminded = await inAccount((tx) =>
      tx.selectFrom('notices').select('kind').where('recording_id', '=', kept.id).execute(),
    )
    expect(reminded.map(({ kind }) => kind)).toContain('retention_ending')
    await world.until(kept.depositPath, ({ problem }) => problem === null, forMs)
    for (const file of await readdir(arms)) if (file.includes(kept.id)) await rm(join(arms, file))
    await goNextRound()
    await pause(3000)
    expect(await filesOf(kept, root)).toHaveLength(1)

    await world.give(kept.id, world.people.ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
    const purged = await world.until(kept.depositPath, ({ state }) => state === 'purged', forMs)
    expect(new Set(copiesIn(purged, 'late').map(({ state }) => state))).toEqual(new Set(['purged']))
    for (const place of ['late', 'primary', 'backup'])
      expect(await filesOf(kept, join(world.home, place)), place).toEqual([])
    const file = join(world.home, 'certificate.json')
    await writeFile(file, JSON.stringify(purged.certificate))
    const verified = spawnSync(process.execPath, ['scripts/verify-certificate.mjs', file], { encoding: 'utf8' })
    expect(verified.stdout + verified.stderr).toContain('VALID')
    expect(verified.status).toBe(0)
  },
)

test('what was rebuilt from one site gets its copies at the other one again', { timeout: 400_000 }, async () => {
  const kept = await keep()
  await world.workers.stop()
  const database = await freshDatabase()
  const db = openDatabase(database.appUrl)
  const namespace = await makeNamespace(world.config.temporal.address)
  try {
    const root = join(world.home, 'primary')
    const store = openLocalStore({ root })
    const source = { name: 'Primary', site: 'a', role: 'primary' as const, url: `local:${root}`, label: store.label }
    const report = await rebuild({ db, store, source, accountId: null, accountName: null, fast: true })
    expect(report.lackingCopies).toBeGreaterThan(0)
    const second = join(world.home, 'second')
    await mkdir(second)
    const { accountId } = world
    await db.asAccount(accountId, (tx) =>
      ensureStore(tx, { name: 'second', site: 'b', role: 'backup', url: `local:${second}` }),
    )
    const config = { ...world.config, databaseUrl: database.appUrl, temporal: { ...world.config.temporal, namespace } }
    const workers = await startWorkers({ config, workflowBundle: await bundleWorkflows() })
    try {
      for (const untilMs = Date.now() + forMs; ; await pause(200)) {
        const seen = await db.asAccount(accountId, (tx) => findRecording(tx, kept.id))
        if (seen !== null && isWholeIn(seen, 'second') && seen.waitingFor.includes('legal hold')) {
          expect(isWholeIn(seen, 'Primary')).toBe(true)
          expect(seen.problem).toBe(null)
          break
        }
        if (Date.now() > untilMs) throw new Error(JSON.stringify(seen))
      }
    } finally {
      await workers.stop()
    }
  } finally {
    await db.close()
    await database.drop()
    world.workers = { ...world.workers, stop: async () => undefined }
  }
})
