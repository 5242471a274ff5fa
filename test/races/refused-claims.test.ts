import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPipeline } from '../../src/api/pipeline.ts'
import type { Pipeline } from '../../src/api/pipeline.ts'
import type { Command } from '../../src/domain/commands.ts'
import { hasCode } from '../../src/domain/errors.ts'
import type { Actor } from '../../src/domain/permissions.ts'
import { msPer } from '../../src/domain/units.ts'
import { lookAgain } from '../../src/workflows/names.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { openDesk, planHash, stockRecordings } from './stock.ts'
import type { Desk } from './stock.ts'

const full = process.env['REELKEEP_RACES'] === 'full'
const refused = full ? 10_000 : 2_100
/** More than Temporal lets one run hear. */
const heard = 2_100
const atOnce = 300

let world: World
let desk: Desk
let pipelines: Pipeline[]
let connection: Connection
let temporal: Client

beforeAll(async () => {
  world = await startWorld({ env: { WORKER_ROLES: 'life' } })
  desk = openDesk(world)
  // As many processes of the API as a life hears at once.
  pipelines = [1, 2].map(() => openPipeline(world.config.temporal))
  connection = await Connection.connect({ address: world.config.temporal.address })
  temporal = new Client({ connection, namespace: world.config.temporal.namespace })
})
afterAll(async () => {
  for (const pipeline of pipelines ?? []) await pipeline.close()
  await connection?.close()
  await desk?.close()
  await world?.stop()
})

/** Gives a command until it is decided, and says how: a code, or `ok`. */
async function giveUntilDecided(at: number, id: string, actor: Actor, command: Command): Promise<string> {
  const requestId = randomUUID()
  for (const untilMs = Date.now() + 180_000; ;) {
    try {
      await pipelines[at % pipelines.length]!.command(id, { command, actor, requestId })
      return 'ok'
    } catch (error) {
      if (!hasCode(error, 'pipeline_unavailable') || Date.now() > untilMs)
        return hasCode(error, 'forbidden') ? 'forbidden' : String(error)
      await pause(200)
    }
  }
}

/** Many of one command, some hundred at a time; how often each answer came. */
async function crowd(count: number, id: string, actor: Actor, command: Command): Promise<Record<string, number>> {
  const answers: Record<string, number> = {}
  for (let begun = 0; begun < count; begun += atOnce) {
    const some = Array.from({ length: Math.min(atOnce, count - begun) }, (_, at) =>
      giveUntilDecided(at, id, actor, command),
    )
    for (const answer of await Promise.all(some)) answers[answer] = (answers[answer] ?? 0) + 1
  }
  return answers
}

const runOf = async (id: string) => (await temporal.workflow.getHandle(`rec/${id}`).describe()).runId

const noticesOf = async (id: string, kind = 'notice.claim') =>
  (await world.detail(id))?.timeline
    .filter(({ action }) => action.startsWith(kind))
    .map(({ action, detail }) => [action, detail['to'], detail['occasion']])

async function waitUntil(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries += 1) {
    if (tries > 1800) throw new Error(`Waited in vain for ${holds.toString()}`)
    await pause(100)
  }
}

test(
  `${refused} refused claims and ${heard} commands that change nothing: it can be claimed, nobody is reminded twice or not at all`,
  { timeout: 1_800_000 },
  async () => {
    const { ben, una } = world.people
    const recorderId = await world.addRecorder({ name: 'room', assignment: 'manager', managerId: ben.personId })
    const stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: world.stores.inbox, folders: {} }
    const [id = ''] = await stockRecordings(stock, 1, 'awaiting_claim')
    await world.pipeline.startRecording({ accountId: world.accountId, recordingId: id, accepted: true })
    const firstRun = await waitUntil(async () => (await noticesOf(id))?.length === 1).then(() => runOf(id))
    await world.fastForward(id, 4 * msPer.day)
    await waitUntil(async () => (await noticesOf(id))?.length === 2)
    const dueAtMs = (await world.detail(id))?.nextAtMs

    expect(await crowd(refused, id, una, { kind: 'claim' })).toEqual({ forbidden: refused })
    expect(await runOf(id)).toBe(firstRun)
    expect(await crowd(heard, id, ben, { kind: 'notMine' })).toEqual({ ok: heard })
    expect(await runOf(id)).not.toBe(firstRun)
    await waitUntil(async () => (await world.detail(id))?.nextAtMs === dueAtMs)

    await world.fastForward(id, 4 * msPer.day)
    await waitUntil(async () => (await noticesOf(id))?.length === 3)
    expect(await noticesOf(id)).toEqual([
      ['notice.claim_wanted', 'Ben', 'claim-1-after-0'],
      ['notice.claim_reminder', 'Ben', `claim-1-after-${3 * msPer.day}`],
      ['notice.claim_reminder', 'Ben', `claim-1-after-${7 * msPer.day}`],
    ])
    const { key } = await desk.addPerson('Gabi', ['admin'])
    expect((await desk.post(`/recordings/${id}/claim`, key, {})).status).toBe(200)
    expect((await world.detail(id))?.ownerName).toBe('Gabi')
  },
)

/** Tells a life to look again, as often as makes a run nearly full, and lets it come to rest. */
async function fill(id: string): Promise<void> {
  const before = await runOf(id)
  for (let sent = 0; sent < 1200; sent += 100)
    await Promise.all(Array.from({ length: 100 }, () => temporal.workflow.getHandle(`rec/${id}`).signal(lookAgain)))
  await waitUntil(async () => (await runOf(id)) !== before)
}

test(
  'waits for approvals and for the end of the undo window go on in a new run as they stood',
  { timeout: 600_000 },
  async () => {
    const { ben } = world.people
    const recorderId = await world.addRecorder({ name: 'hall', assignment: 'claim' })
    const folders = Object.fromEntries(
      (['primary', 'backup'] as const).map((name) => [world.stores[name], join(world.home, name)]),
    )
    const stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: world.stores.inbox, folders }
    const [id = ''] = await stockRecordings(stock, 1, 'disposition_requested')
    await world.pipeline.startRecording({ accountId: world.accountId, recordingId: id, accepted: true })
    const asked = async () => [
      ...new Set((await noticesOf(id, 'notice.approval_wanted'))?.map(([, , occasion]) => String(occasion).slice(-2))),
    ]
    await waitUntil(async () => (await asked()).length === 1)
    await world.fastForward(id, 10 * msPer.day)
    const dueAtMs = (await world.detail(id))?.nextAtMs
    await fill(id)
    await waitUntil(async () => (await world.detail(id))?.nextAtMs === dueAtMs)
    await world.fastForward(id, 5 * msPer.day)
    await waitUntil(async () => (await asked()).length === 2)
    expect(await asked()).toEqual(['-0', '-1'])
    expect((await world.detail(id))?.nextAtMs).toBeGreaterThanOrEqual((dueAtMs ?? 0) + 14 * msPer.day)

    await world.give(id, ben, { kind: 'approveDeletion', planHash })
    await waitUntil(async () => (await world.detail(id))?.nextStep === 'every copy is purged')
    await fill(id)
    await waitUntil(async () => (await world.detail(id))?.nextStep === 'every copy is purged')
    await world.give(id, ben, { kind: 'undo' })
    // Neither is it forgotten that later deposits of its bytes waited, nor is its deletion asked for again at once.
    await waitUntil(async () => (await world.detail(id))?.nextStep === 'its deletion is requested')
    const { events } = await temporal.workflow.getHandle(`rec/${id}`).fetchHistory()
    const done = events?.map((event) => event.activityTaskScheduledEventAttributes?.activityType?.name)
    expect(done).toContain('releaseSource')
    expect(await world.detail(id)).toMatchObject({ state: 'retained' })
  },
)
