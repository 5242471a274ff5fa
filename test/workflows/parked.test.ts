import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lookAgain } from '../../src/workflows/names.ts'
import { stockRecordings } from '../races/stock.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let connection: Connection
let temporal: Client

beforeAll(async () => {
  world = await startWorld()
  connection = await Connection.connect({ address: world.config.temporal.address })
  temporal = new Client({ connection, namespace: world.config.temporal.namespace })
})
afterAll(async () => {
  await connection?.close()
  await world?.stop()
})

const lifeOf = (id: string) => temporal.workflow.getHandle(`rec/${id}`)
const runOf = async (id: string) => (await lifeOf(id).describe()).runId

async function waitUntil<T>(look: () => Promise<T>, wanted: (seen: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const seen = await look()
    if (wanted(seen)) return seen
    if (tries > 900) throw new Error(`Waited in vain; last seen: ${JSON.stringify(seen)}`)
    await pause(100)
  }
}

/** As a disk that is not mounted: its directory is there, and empty. */
async function unmount(): Promise<() => Promise<void>> {
  const path = join(world.home, 'backup')
  await rename(path, `${path}.away`)
  await mkdir(path)
  return async () => {
    await rmdir(path)
    await rename(`${path}.away`, path)
  }
}

async function stockTrashed(): Promise<string> {
  const recorderId = await world.addRecorder({ name: 'hall', assignment: 'claim' })
  const folders = Object.fromEntries(
    (['primary', 'backup'] as const).map((name) => [world.stores[name], join(world.home, name)]),
  )
  const stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: world.stores.inbox, folders }
  const [id = ''] = await stockRecordings(stock, 1, 'trashed', { approvedBy: [world.people.ben.personId] })
  return id
}

const begin = (id: string) =>
  world.pipeline.startRecording({ accountId: world.accountId, recordingId: id, accepted: true })
const problemOf = async (id: string) => (await world.detail(id))?.problem ?? null
const resolve = (id: string, option: 'retry' | 'skip') => world.give(id, world.people.ben, { kind: 'resolve', option })
const untilPurged = (id: string) =>
  waitUntil(
    async () => (await world.detail(id))?.state,
    (state) => state === 'purged',
  )
const untilTried = (id: string, times: number) =>
  waitUntil(
    () => problemOf(id),
    (seen) => seen?.attempts === times,
  )

/** As much as Temporal lets one run hear, as years of tries bring it. */
async function fillRun(id: string): Promise<void> {
  for (let sent = 0; sent < 1200; sent += 100)
    await Promise.all(Array.from({ length: 100 }, () => lifeOf(id).signal(lookAgain)))
  await waitUntil(
    async () => (await lifeOf(id).describe()).raw.workflowExecutionInfo?.historyLength?.toNumber() ?? 0,
    (events) => events > 4200,
  )
}

test('a deletion proves nothing by a store that shows nothing: its disk may not be mounted', async () => {
  const id = await stockTrashed()
  const mount = await unmount()
  await begin(id)
  expect(await untilTried(id, 1)).toMatchObject({
    code: 'object_missing',
    message: expect.stringContaining('Store backup shows none'),
  })
  expect((await world.detail(id))?.state).toBe('purging')
  await mount()
  const isThere = async () =>
    (await readdir(join(world.home, 'backup'), { recursive: true })).some(
      (name) => name.includes(id) && name.endsWith('.mp4'),
    )
  expect(await isThere()).toBe(true)
  await resolve(id, 'retry')
  await untilPurged(id)
  expect(await isThere()).toBe(false)
  expect(await problemOf(id)).toBeNull()
})

test('where a person says that a store lost it all, the deletion goes on, and the timeline says so', async () => {
  const id = await stockTrashed()
  await unmount()
  await begin(id)
  await untilTried(id, 1)
  await resolve(id, 'skip')
  await untilPurged(id)
  const lost = (await world.detail(id))?.timeline.filter(({ action }) => action === 'store.lost')
  expect(lost).toMatchObject([{ detail: { store: 'backup' } }])
  await rm(join(world.home, 'backup.away'), { recursive: true })
})

test(
  'what is tried again for years goes on in a new run, and the tries are counted on',
  { timeout: 300_000 },
  async () => {
    const id = await stockTrashed()
    const mount = await unmount()
    await begin(id)
    await untilTried(id, 1)
    const before = await runOf(id)
    await fillRun(id)
    await resolve(id, 'retry')
    await untilTried(id, 2)
    expect(await runOf(id)).not.toBe(before)
    await resolve(id, 'retry')
    await untilTried(id, 3)
    await mount()
    await resolve(id, 'retry')
    await untilPurged(id)
    expect(await problemOf(id)).toBeNull()
  },
)
