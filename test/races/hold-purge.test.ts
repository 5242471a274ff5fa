import { randomUUID, generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDeleteActivities } from '../../src/activities/delete.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { openPipeline } from '../../src/api/pipeline.ts'
import { applyCommand } from '../../src/db/commands.ts'
import type { CommandRequest, Verdict } from '../../src/domain/commands.ts'
import { hasCode, ReelkeepError } from '../../src/domain/errors.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import type { Store } from '../../src/storage/store.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { throwDice } from './seed.ts'
import type { Dice } from './seed.ts'
import { stockRecordings } from './stock.ts'
import type { Stock } from './stock.ts'

const pairs = 500
const throughWorkflow = 80
const atOnce = 10

let world: World
let stock: Stock
let dice: Dice
let activities: ReturnType<typeof createDeleteActivities>

beforeAll(async () => {
  dice = throwDice('hold versus purge')
  world = await startWorld({ env: { WORKER_ROLES: 'life' } })
  const recorderId = await world.addRecorder({ name: 'hall' })
  const { primary, backup, inbox } = world.stores
  const folders = { [primary]: join(world.home, 'primary'), [backup]: join(world.home, 'backup') }
  stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: inbox, folders }
  const open = async (_accountId: string, id: string) => {
    const root = folders[id] ?? join(world.home, 'inbox')
    return { id, name: id, site: id, store: dawdling(openLocalStore({ root })) }
  }
  const unused = async () => Promise.reject(new Error('not asked for here'))
  activities = createDeleteActivities({
    db: world.db,
    stores: { open, primary: unused, backups: unused, close: unused },
    sign: createSigner(generateKeyPairSync('ed25519').privateKey),
  })
})
afterAll(() => world?.stop())

/** The same store, with a moment before and after every byte goes. */
function dawdling(store: Store): Store {
  return Object.assign(Object.create(store) as Store, {
    async delete(key: string) {
      await pause(dice.below(20))
      await store.delete(key)
      await pause(dice.below(20))
    },
  })
}

const approved = (undoForMs?: number) => ({
  ownerId: world.people.una.personId,
  approvedBy: [world.people.ben.personId],
  ...(undoForMs === undefined ? {} : { undoForMs }),
})

const holdRequest = (): CommandRequest => ({
  command: { kind: 'hold', reason: 'court' },
  actor: world.people.ben,
  requestId: randomUUID(),
})

async function purge(recordingId: string): Promise<Verdict> {
  const ref = { accountId: world.accountId, recordingId, atMs: Date.now() }
  const verdict = await activities.beginPurge(ref)
  if (!verdict.ok) return verdict
  await pause(dice.below(20))
  const storeIds = await activities.listPurgeStores(ref)
  await Promise.all(storeIds.map((id) => new MockActivityEnvironment().run(() => activities.purgeStore(ref, id))))
  await pause(dice.below(20))
  await activities.purgeSource(ref)
  await activities.certify(ref)
  return verdict
}

async function bytesOf(recordingId: string): Promise<string[]> {
  const found: string[] = []
  for (const folder of Object.values(stock.folders)) {
    const path = join(folder, world.accountId, recordingId, 'original.mp4')
    if (existsSync(path)) found.push(await readFile(path, 'utf8'))
  }
  return found
}

/** The promise itself: a hold that was accepted finds every byte, and never is neither side told. */
async function judge(recordingId: string, held: boolean): Promise<void> {
  const recording = await world.detail(recordingId)
  const bytes = await bytesOf(recordingId)
  if (held) {
    expect(bytes, recordingId).toEqual([`bytes of ${recordingId}`, `bytes of ${recordingId}`])
    expect(recording, recordingId).toMatchObject({ state: 'retained', onHold: true, certificate: null })
    expect(recording?.facts.disposition).toBeNull()
    expect(recording?.copies.map(({ state }) => state)).toEqual(['verified', 'verified'])
    expect(recording?.timeline.filter(({ action }) => action === 'store.purged')).toEqual([])
  } else {
    expect(bytes, recordingId).toEqual([])
    expect(recording, recordingId).toMatchObject({ state: 'purged', onHold: false })
    expect(recording?.certificate).not.toBeNull()
    expect(recording?.copies.map(({ state }) => state)).toEqual(['purged', 'purged'])
    expect(recording?.timeline.filter(({ action }) => action === 'command.hold')).toEqual([])
  }
}

describe('a hold and a purge', () => {
  test(`${pairs - throughWorkflow} pairs, told to the transactions: never "hold accepted" and a byte gone`, async () => {
    const ids = await stockRecordings(stock, pairs - throughWorkflow, 'trashed', approved())
    const won = { hold: 0, purge: 0 }
    const pair = async (recordingId: string) => {
      const [purged, held] = await Promise.all([
        pause(dice.below(21)).then(() => purge(recordingId)),
        pause(dice.below(21)).then(() => applyCommand(world.db, recordingId, holdRequest())),
      ])
      expect(purged.ok, recordingId).toBe(!held.verdict.ok)
      // A hold ends the disposition, so the purge finds nothing that it could carry out.
      if (!purged.ok) expect(purged.code).toBe('wrong_state')
      if (!held.verdict.ok)
        expect(held.verdict).toMatchObject({
          code: 'wrong_state',
          message: expect.stringMatching(/too late for a hold/),
        })
      won[held.verdict.ok ? 'hold' : 'purge'] += 1
      await judge(recordingId, held.verdict.ok)
    }
    const queue = [...ids]
    const work = async () => {
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) await pair(id)
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    process.stdout.write(`the hold won ${won.hold} times, the purge ${won.purge} times\n`)
    expect(Math.min(won.hold, won.purge)).toBeGreaterThan(0)
  }, 300_000)

  test(`${throughWorkflow} pairs, told to the lives: the same`, async () => {
    const undoForMs = 12_000
    const ids = await stockRecordings(stock, throughWorkflow, 'trashed', approved(undoForMs))
    const undoUntilMs = (await world.detail(ids[0] ?? ''))?.facts.disposition?.undoUntilMs ?? 0
    for (const recordingId of ids)
      await world.pipeline.startRecording({ accountId: world.accountId, recordingId, accepted: true })
    const pipeline = openPipeline(world.config.temporal)
    const won = { hold: 0, purge: 0 }
    const hold = async (recordingId: string, request = holdRequest()): Promise<boolean> => {
      try {
        await pipeline.command(recordingId, request)
        return true
      } catch (error) {
        // A busy machine answers late: the same request again, as the error says.
        if (hasCode(error, 'pipeline_unavailable')) return hold(recordingId, request)
        // Whoever comes when the life is over hears that, too.
        if (!hasCode(error, 'wrong_state')) throw error
        expect(error.message).toMatch(/too late for a hold|life is over/)
        return false
      }
    }
    await Promise.all(
      ids.map(async (recordingId) => {
        await pause(Math.max(0, undoUntilMs - Date.now() - 300 + dice.below(2500)))
        const held = await hold(recordingId)
        won[held ? 'hold' : 'purge'] += 1
        if (!held) await untilPurged(recordingId)
        await judge(recordingId, held)
      }),
    )
    await pipeline.close()
    process.stdout.write(`lives: the hold won ${won.hold} times, the purge ${won.purge} times\n`)
    expect(Math.min(won.hold, won.purge)).toBeGreaterThan(0)
  }, 300_000)

  test('bytes do not go because somebody purges: a purge has to be opened first', async () => {
    const [recordingId = ''] = await stockRecordings(stock, 1, 'trashed', approved())
    expect((await applyCommand(world.db, recordingId, holdRequest())).verdict.ok).toBe(true)
    const ref = { accountId: world.accountId, recordingId, atMs: Date.now() }
    for (const storeId of await activities.listPurgeStores(ref))
      await expect(new MockActivityEnvironment().run(() => activities.purgeStore(ref, storeId))).rejects.toBeInstanceOf(
        ReelkeepError,
      )
    await expect(activities.purgeSource(ref)).rejects.toMatchObject({ code: 'wrong_state' })
    await judge(recordingId, true)
  })
})

async function untilPurged(recordingId: string): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    if ((await world.detail(recordingId))?.state === 'purged') return
    await pause(100)
  }
}
