import { randomUUID, generateKeyPairSync } from 'node:crypto'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { createDeleteActivities } from '../../src/activities/delete.ts'
import { createReconcileActivities } from '../../src/activities/reconcile.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { openPipeline } from '../../src/api/pipeline.ts'
import { ensureAccount } from '../../src/db/accounts.ts'
import { beginRebuiltRound } from '../../src/db/life-rounds.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import type { RecordingState } from '../../src/domain/recording.ts'
import type { RecordingInput } from '../../src/workflows/messages.ts'
import { openIngestStand } from './ingest-fixture.ts'

let stand: Awaited<ReturnType<typeof openIngestStand>>
const asked: { id: string; wake: boolean; accepted: boolean }[] = []
let failAt = Number.POSITIVE_INFINITY

beforeAll(async () => {
  stand = await openIngestStand()
})
afterAll(() => stand?.close())
beforeEach(() => {
  asked.length = 0
  failAt = Number.POSITIVE_INFINITY
})

const ways: Partial<Record<RecordingState, readonly RecordingState[]>> = {
  accepted: [],
  retained: ['claimed', 'encoding', 'archiving', 'protected', 'retained'],
}

async function addRecordings(count: number, state: RecordingState): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID()).sort()
  await stand.db.asAccount(stand.accountId, async (tx) => {
    const media = { container: 'mp4', durationMs: 1, sizeBytes: 1, video: null, audio: null, streamCount: 1 }
    for (const id of ids) {
      const row = { id, account_id: stand.accountId, recorder_id: stand.ids.recorder }
      const deposit = { ...row, inbox_id: stand.ids.inbox, path: `${id}.mp4`, size_bytes: 1, mtime_ms: 1, file_id: id }
      await tx
        .insertInto('deposits')
        .values({ ...deposit, state: 'accepted' })
        .execute()
      const facts = JSON.stringify({ ...media, title: null, notes: [] })
      await tx
        .insertInto('recordings')
        .values({ ...row, deposit_id: id, title: 'x', sha256: id, size_bytes: 1, media: facts })
        .execute()
      for (const next of ways[state] ?? [])
        await tx.updateTable('recordings').set({ state: next }).where('id', '=', id).execute()
    }
  })
  return ids
}

const turn = () =>
  new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(
    createReconcileActivities({
      db: stand.db,
      startRecording: async ({ recordingId, accepted }: RecordingInput, options) => {
        if (asked.length >= failAt) throw new ReelkeepError('pipeline_unavailable', 'Temporal is away.')
        asked.push({ id: recordingId, wake: options?.wake ?? false, accepted: accepted ?? false })
      },
    }).startMissingLives,
  )

const setRound = (set: { after_id?: string | null; ended_at?: Date | null }) =>
  stand.db.asAccount(stand.accountId, (tx) => tx.updateTable('life_rounds').set(set).execute())

test('a round comes past every recording once, then rests for an hour', async () => {
  const ids = [...(await addRecordings(3, 'accepted')), ...(await addRecordings(2, 'retained'))].sort()
  expect(await turn()).toBe(5)
  expect(asked).toEqual(ids.map((id) => ({ id, wake: false, accepted: true })))
  expect(await turn()).toBe(0)
  await setRound({ ended_at: new Date(Date.now() - 2 * 3_600_000) })
  expect(await turn()).toBe(5)
})

test('a turn that failed half-way is done again from where the round stood', async () => {
  await setRound({ ended_at: new Date(0) })
  failAt = 2
  await expect(turn()).rejects.toMatchObject({ code: 'pipeline_unavailable' })
  failAt = Number.POSITIVE_INFINITY
  asked.length = 0
  expect(await turn()).toBe(5)
})

test('a turn is bounded, over all accounts; the next one goes on', { timeout: 240_000 }, async () => {
  await addRecordings(1200, 'accepted')
  const other = await ensureAccount(stand.db, { name: 'Other', policy: defaultPolicy })
  expect(other).not.toBe(stand.accountId)
  await setRound({ ended_at: new Date(0) })
  expect(await turn()).toBe(1000)
  const first = asked.map((one) => one.id)
  asked.length = 0
  expect(await turn()).toBe(205)
  expect(new Set([...first, ...asked.map((one) => one.id)]).size).toBe(1205)
  expect(await turn()).toBe(0)
})

test('rebuilt rows begin a round at once, which wakes what runs; the one after does not', async () => {
  await stand.db.asAccount(stand.accountId, (tx) => beginRebuiltRound(tx))
  await turn()
  await stand.db.asAccount(stand.accountId, (tx) => beginRebuiltRound(tx))
  await turn()
  await turn()
  expect(asked.length).toBeGreaterThan(2000)
  expect(asked.every((one) => one.wake)).toBe(true)
  asked.length = 0
  await setRound({ ended_at: new Date(0) })
  await turn()
  expect(asked.some((one) => one.wake)).toBe(false)
})

test('a life that was terminated is begun again for a recording, never for a deposit; one that runs is left alone', async () => {
  const temporal = { address: inject('temporalAddress'), namespace: inject('temporalNamespace') }
  const pipeline = openPipeline(temporal)
  const client = new Client({
    connection: await Connection.connect({ address: temporal.address }),
    namespace: temporal.namespace,
  })
  const input = { accountId: stand.accountId, recordingId: randomUUID() }
  const life = client.workflow.getHandle(`rec/${input.recordingId}`)
  const runId = async () => (await life.describe()).runId
  try {
    await pipeline.startRecording({ ...input, accepted: true }, { wake: true })
    const first = await runId()
    for (const options of [undefined, { wake: true }])
      await pipeline.startRecording({ ...input, accepted: true }, options)
    expect(await runId()).toBe(first)
    await life.terminate('by hand')
    await pipeline.startRecording(input)
    expect(await runId()).toBe(first)
    await pipeline.startRecording({ ...input, accepted: true })
    expect(await runId()).not.toBe(first)
    expect((await life.describe()).status.name).toBe('RUNNING')
    await life.terminate('the end of the test')
  } finally {
    await pipeline.close()
    await client.connection.close()
  }
})

test('a purge that only a life believes in removes nothing', async () => {
  const [recordingId = ''] = await addRecordings(1, 'retained')
  const folder = join(stand.directories.primary, stand.accountId, recordingId)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'original.mp4'), 'x')
  const { purgeStore } = createDeleteActivities({
    ...stand.deps,
    sign: createSigner(generateKeyPairSync('ed25519').privateKey),
  })
  const ref = { accountId: stand.accountId, recordingId, atMs: Date.now() }
  await expect(
    new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(purgeStore, ref, stand.ids.primary),
  ).rejects.toMatchObject({ code: 'wrong_state' })
  expect(await readdir(folder)).toEqual(['original.mp4'])
})
