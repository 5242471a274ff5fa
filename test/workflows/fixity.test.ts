import { appendFile, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { Client, Connection } from '@temporalio/client'
import { Worker } from '@temporalio/worker'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { giveCommand } from '../../src/api/commands.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import type { RecordingDetail } from '../../src/domain/recording.ts'
import { bundleWorkflows, startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let client: Client
const forMs = 120_000

beforeAll(async () => {
  world = await startWorld()
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  const connection = await Connection.connect({ address: world.config.temporal.address })
  client = new Client({ connection, namespace: world.config.temporal.namespace })
})
afterAll(async () => {
  await client?.connection.close()
  await world?.stop()
})

let seed = 900
async function keep(): Promise<RecordingDetail> {
  seed += 1
  const from = join(world.home, `sample-${seed}.mp4`)
  await generateSmall(from, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
  await world.drop(from, `hall/${seed}.mp4`)
  return world.until(`hall/${seed}.mp4`, (recording) => recording.state === 'retained', forMs)
}

function keyOf(recording: RecordingDetail, kind: string): string {
  return recording.copies.find((copy) => copy.kind === kind)!.key
}

const pathOf = (folder: 'primary' | 'backup', key: string) => join(world.home, folder, key)

async function passOver(): Promise<unknown> {
  await world.pipeline.checkAllCopies(world.accountId)
  return client.workflow.getHandle(`fixity-pass/${world.accountId}`).result()
}

test(
  'a pass finds what is damaged, mends it from the other site, and its history can be replayed',
  { timeout: 300_000 },
  async () => {
    const [first, second] = [await keep(), await keep()]
    const original = await readFile(pathOf('primary', keyOf(first, 'original')))
    await appendFile(pathOf('backup', keyOf(first, 'original')), 'rot')
    await rm(pathOf('primary', keyOf(second, 'original')))
    expect(await passOver()).toEqual({ recordings: 2, failed: 0, couldNotRun: 0, asked: 0 })
    expect(await readFile(pathOf('backup', keyOf(first, 'original')))).toEqual(original)
    for (const { id } of [first, second]) {
      const mended = (await world.detail(id))!
      expect(mended.copies.every((copy) => copy.state === 'verified' && copy.checkResult === 'ok')).toBe(true)
      expect(mended.timeline.map(({ action }) => action).filter((action) => action.startsWith('copy.'))).toEqual([
        'copy.failed',
        'copy.mended',
      ])
      const history = await client.workflow.getHandle(`fixity/${id}`).fetchHistory()
      await Worker.runReplayHistory({ workflowBundle: await bundleWorkflows() }, history, `fixity/${id}`)
    }
    // A second pass finds nothing.
    expect(await passOver()).toEqual({ recordings: 2, failed: 0, couldNotRun: 0, asked: 0 })
  },
)

test(
  'no good copy left: a person is asked, brings one back, presses "again", and the rest follows',
  { timeout: 300_000 },
  async () => {
    const kept = await keep()
    const key = keyOf(kept, 'original')
    const good = await readFile(pathOf('primary', key))
    await writeFile(pathOf('primary', key), 'one damage')
    await writeFile(pathOf('backup', key), 'another damage')
    expect(await passOver()).toMatchObject({ failed: 2, asked: 1 })
    const asked = (await world.detail(kept.id))!
    expect(asked.problem).toMatchObject({ code: 'copies_disagree', options: ['retry'], nextRetryAtMs: null })
    // The life itself goes on as if nothing had happened.
    expect(asked.waitingFor).toContain('the end of its retention')
    await writeFile(pathOf('backup', key), good)
    await giveCommand(world, kept.id, {
      command: { kind: 'resolve', option: 'retry' },
      actor: world.people.ben,
      requestId: randomUUID(),
    })
    const answered = await world.until(
      kept.depositPath,
      (recording) => recording.problem === null && recording.copies.every((copy) => copy.state === 'verified'),
      forMs,
    )
    expect(await readFile(pathOf('primary', key))).toEqual(good)
    expect(answered.timeline.map(({ action }) => action)).toContain('problem.resolved')
  },
)
