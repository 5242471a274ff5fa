import { copyFile, mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { lookOnce } from '../../src/activities/look.ts'
import { notifyKey } from '../../src/api/compat/pod.ts'
import { openPipeline } from '../../src/api/pipeline.ts'
import { ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import type { AccountTx } from '../../src/db/connect.ts'
import { applyLook, readInbox } from '../../src/db/deposits.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { noMemory } from '../../src/domain/ingest.ts'
import { startWorkers } from '../../src/worker.ts'
import type { RunningWorkers } from '../../src/worker.ts'
import { openIngestStand } from '../activities/ingest-fixture.ts'
import { bundleWorkflows, startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { throwDice } from './seed.ts'
import { openDesk, stockRecordings } from './stock.ts'

describe('scanners of one inbox', () => {
  test('four at once, while thirty files arrive in pieces: each file is complete once, and is begun', async () => {
    const dice = throwDice('scanners')
    const stand = await openIngestStand()
    const names = Array.from({ length: 30 }, (_, at) => `lecture-${at}.mp4`)
    const inbox = { arriving: true, quietLooks: 0 }
    const upload = async (name: string) => {
      const path = join(stand.directories.inbox, 'hall-a', name)
      for (let piece = 1; piece <= 3; piece += 1) {
        await writeFile(path, name.repeat(piece * 10))
        await pause(dice.below(60))
      }
    }
    const scan = async () => {
      let memory = noMemory
      while (inbox.arriving || inbox.quietLooks < 120) {
        await pause(dice.below(8))
        stand.clock.nowMs += 1000
        const request = { accountId: stand.accountId, inboxId: stand.ids.inbox, memory, now: () => stand.clock.nowMs }
        const look = await lookOnce(stand.deps, request)
        memory = look.memory
        if (!inbox.arriving) inbox.quietLooks += 1
      }
    }
    const scanners = [scan(), scan(), scan(), scan()]
    for (const name of names) await upload(name)
    inbox.arriving = false
    await Promise.all(scanners)
    const deposits = await stand.deposits()
    const complete = deposits.filter(({ state }) => state === 'complete')
    expect(complete.map(({ path }) => path).sort()).toEqual(names.map((name) => `hall-a/${name}`).sort())
    const twice = deposits.filter(({ path }, at) => deposits.findIndex((one) => one.path === path) !== at)
    const rows = deposits.filter(({ path }) => twice.some((one) => one.path === path))
    expect(rows, 'deposits of one path').toEqual([])
    expect([...new Set(stand.started)].sort()).toEqual(complete.map(({ id }) => id).sort())
    await stand.close()
  }, 120_000)

  test('decide one after the other: none calls complete what another one just saw change', async () => {
    const stand = await openIngestStand()
    await writeFile(join(stand.directories.inbox, 'hall-a', 'x.mp4'), 'x')
    await stand.look()
    const read = (tx: AccountTx) => readInbox(tx, stand.ids.inbox, stand.clock.nowMs)
    let begun = () => {}
    const first = new Promise<void>((resolve) => (begun = resolve))
    const [, second] = await Promise.all([
      stand.db.asAccount(stand.accountId, async (tx) => {
        const { known } = await read(tx)
        begun()
        await pause(300)
        const file = { path: 'hall-a/x.mp4', sizeBytes: 77, mtimeMs: 7, fileId: 'x', special: null, usable: true }
        const changed = {
          kind: 'changed',
          depositId: known[0]?.id ?? '',
          file,
          recorderId: stand.ids.recorder,
        } as const
        await applyLook(tx, stand.ids.inbox, [changed], stand.clock.nowMs)
      }),
      first.then(() => stand.db.asAccount(stand.accountId, read)),
    ])
    expect(second.known).toMatchObject([{ sizeBytes: 77 }])
    await stand.close()
  })
})

describe('a deposit', () => {
  let world: World
  let second: RunningWorkers
  let otherInbox: string
  beforeAll(async () => {
    world = await startWorld()
    const otherFolder = join(world.home, 'other-inbox', 'hall')
    await mkdir(otherFolder, { recursive: true })
    const hall = { name: 'hall', ip: '10.0.0.7', notifySalt: 'salt' }
    await world.addRecorder(hall)
    otherInbox = await world.db.asAccount(world.accountId, async (tx) => {
      const inboxId = await ensureStore(tx, {
        name: 'other inbox',
        site: 'a',
        role: 'inbox',
        url: `local:${join(world.home, 'other-inbox')}`,
      })
      await ensureRecorder(tx, { inboxId, name: 'other hall', directory: 'hall', assignment: 'claim', quietMs: 3000 })
      return inboxId
    })
    second = await startWorkers({ config: world.config, workflowBundle: await bundleWorkflows() })
  })
  afterAll(async () => {
    await second?.stop()
    await world?.stop()
  })

  test('delivered five times, copied, renamed, into two inboxes, under two sets of workers and a storm of notifies: one recording', async () => {
    const sample = join(world.home, 'sample.mp4')
    await generateSmall(sample, { ffmpegPath: inject('ffmpegPath'), seed: 77, codec: 'h264-aac' })
    const hall = join(world.home, 'inbox', 'hall')
    await mkdir(hall, { recursive: true })
    const other = join(world.home, 'other-inbox', 'hall')
    await Promise.all([
      copyFile(sample, join(hall, 'one.mp4')),
      copyFile(sample, join(hall, 'copy of one.mp4')),
      copyFile(sample, join(hall, 'before.mp4')),
      copyFile(sample, join(other, 'one.mp4')),
      copyFile(sample, join(other, 'two.mp4')),
    ])
    const desk = openDesk(world)
    const notify = async () =>
      desk.app.request(
        `/record/recorder_notify/?recordingPlace=10_0_0_7&mediapath=x&key=${notifyKey('10_0_0_7', 'salt')}`,
      )
    const read = () =>
      world.db.asAccount(world.accountId, async (tx) => ({
        deposits: await tx.selectFrom('deposits').select(['id', 'path', 'inbox_id', 'state', 'recording_id']).execute(),
        recordings: await tx.selectFrom('recordings').select(['id', 'sha256']).execute(),
      }))
    const settled = ({ deposits }: Awaited<ReturnType<typeof read>>) =>
      deposits.filter(({ state }) => ['accepted', 'duplicate'].includes(state)).length
    let renamed = false
    let now = await read()
    for (let tries = 0; tries < 250 && settled(now) < 5; tries += 1) {
      const answers = await Promise.all(Array.from({ length: 6 }, notify))
      expect(await Promise.all(answers.map((answer) => answer.text()))).toEqual(Array.from({ length: 6 }, () => 'ok'))
      await Promise.all([1, 2, 3].map(() => world.pipeline.lookAtInbox(world.accountId, otherInbox)))
      await pause(200)
      now = await read()
      if (!renamed && now.deposits.some(({ path }) => path === 'hall/before.mp4')) {
        await rename(join(hall, 'before.mp4'), join(hall, 'after.mp4'))
        renamed = true
      }
    }
    expect(renamed).toBe(true)
    expect(now.recordings).toHaveLength(1)
    const [recording] = now.recordings
    const kept = now.deposits.filter(({ state }) => state !== 'vanished')
    expect(kept.map(({ state }) => state).sort()).toEqual([
      'accepted',
      'duplicate',
      'duplicate',
      'duplicate',
      'duplicate',
    ])
    expect(new Set(kept.map(({ recording_id: id }) => id))).toEqual(new Set([recording?.id]))
    expect(
      (await world.detail(recording?.id ?? ''))?.timeline.filter(({ action }) => action === 'recording.accepted'),
    ).toHaveLength(1)
    await desk.close()
  }, 120_000)

  test('is begun fifty times at once by five processes: one life', async () => {
    const recorderId = await world.addRecorder({ name: 'room' })
    const stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: world.stores.inbox, folders: {} }
    const [recordingId = ''] = await stockRecordings(stock, 1, 'awaiting_claim')
    const pipelines = Array.from({ length: 5 }, () => openPipeline(world.config.temporal))
    const begin = (life: { accepted?: true }) =>
      pipelines.flatMap((pipeline) =>
        Array.from({ length: 10 }, () => pipeline.startRecording({ accountId: world.accountId, recordingId, ...life })),
      )
    await Promise.all(begin({ accepted: true }))
    const connection = await Connection.connect({ address: world.config.temporal.address })
    const client = new Client({ connection, namespace: world.config.temporal.namespace })
    const runs = async () => {
      const found: string[] = []
      for await (const run of client.workflow.list({ query: `WorkflowId = "rec/${recordingId}"` }))
        found.push(run.runId)
      return found
    }
    let seen = await runs()
    for (let tries = 0; tries < 100 && seen.length === 0; tries += 1) {
      await pause(100)
      seen = await runs()
    }
    expect(seen).toHaveLength(1)
    // A deposit's life that is over does not begin again; a kept recording's own, terminated by hand, does.
    await client.workflow.getHandle(`rec/${recordingId}`).terminate('over')
    await Promise.all(begin({}))
    expect((await client.workflow.getHandle(`rec/${recordingId}`).describe()).status.name).toBe('TERMINATED')
    await pause(1000)
    expect(await runs()).toHaveLength(1)
    await connection.close()
    for (const pipeline of pipelines) await pipeline.close()
  })
})
