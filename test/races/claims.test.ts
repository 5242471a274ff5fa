import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPipeline } from '../../src/api/pipeline.ts'
import type { Pipeline } from '../../src/api/pipeline.ts'
import { hasCode, ReelkeepError } from '../../src/domain/errors.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { throwDice } from './seed.ts'
import { openDesk, stockRecordings } from './stock.ts'
import type { Answer, Desk } from './stock.ts'

const names = ['Alma', 'Bela', 'Cleo', 'Dora', 'Egon', 'Fred', 'Gabi', 'Hugo'] as const
const full = process.env['REELKEEP_RACES'] === 'full'
const recordings = full ? 200 : 40
const claimsEach = 50
/** How many recordings are fought over at the same time. */
const fights = 2

let world: World
/** Three processes of the API: together they tell one life more than it hears at once. */
let desks: Desk[]
let people: Awaited<ReturnType<Desk['addPerson']>>[]
let recorderId: string

beforeAll(async () => {
  // Nobody encodes: what is claimed waits for an encoder, which is not the point here.
  world = await startWorld({ env: { WORKER_ROLES: 'life' } })
  desks = [openDesk(world), openDesk(world), openDesk(world)]
  people = await Promise.all(names.map((name) => desks[0]!.addPerson(name, ['user'])))
  recorderId = await world.addRecorder({ name: 'room', assignment: 'claim' })
})
afterAll(async () => {
  for (const desk of desks ?? []) await desk.close()
  await world?.stop()
})

const stockUp = async (count: number) => {
  const stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: world.stores.inbox, folders: {} }
  const ids = await stockRecordings(stock, count, 'awaiting_claim')
  for (const recordingId of ids)
    await world.pipeline.startRecording({ accountId: world.accountId, recordingId, accepted: true })
  return ids
}

interface Claim {
  readonly person: (typeof people)[number]
  readonly key: string
  readonly answer: Answer
}

const undecided = { inProgress: 0, unavailable: 0 }

/** What says "repeat this" is repeated under the same key, as its answer says, until somebody decided. */
async function claim(desk: Desk, id: string, person: Claim['person'], key: string): Promise<Claim> {
  for (;;) {
    const answer = await desk.post(`/recordings/${id}/claim`, person.key, {}, key)
    const twinRuns = answer.body?.code === 'idempotency_in_progress'
    if (!twinRuns && answer.status !== 503) return { person, key, answer }
    if (answer.status === 503) undecided.unavailable += 1
    else undecided.inProgress += 1
    await pause(100)
  }
}

async function judge(id: string, claims: readonly Claim[]): Promise<void> {
  const won = new Map(claims.filter(({ answer }) => answer.status === 200).map((one) => [one.key, one]))
  const said = claims.map(({ answer }) => `${answer.status} ${answer.body?.code ?? ''} ${answer.body?.detail ?? ''}`)
  expect(won.size, [...new Set(said)].join('\n')).toBe(1)
  const [winner] = won.values()
  for (const { person, key, answer } of claims) {
    if (won.has(key)) {
      expect(answer.status).toBe(200)
      continue
    }
    expect(answer.body, `${person.name} about ${id}`).toMatchObject({ status: 409, code: 'already_claimed' })
    expect(answer.body.detail).toContain(
      person.name === winner?.person.name ? 'You own this recording already' : `${winner?.person.name} was faster`,
    )
  }
  for (const one of claims)
    for (const other of claims) if (one.key === other.key) expect(one.answer.body).toEqual(other.answer.body)
  const row = await world.detail(id)
  expect(row?.ownerName).toBe(winner?.person.name)
  expect(row?.timeline.filter(({ action }) => action === 'command.claim').map(({ actor }) => actor)).toEqual([
    winner?.person.name,
  ])
}

describe('claims', () => {
  test(`${recordings * claimsEach} at once on ${recordings} recordings (${full ? 'the full number' : 'REELKEEP_RACES=full: 10000 on 200'}): one winner each, everybody else hears who`, async () => {
    const dice = throwDice('claims')
    const ids = await stockUp(recordings)
    const begunMs = Date.now()
    const statuses = new Map<number, number>()
    const queue = [...ids]
    const fight = async () => {
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
        const recordingId = id
        const keys = Array.from({ length: claimsEach - 5 }, () => ({ person: dice.pick(people), key: randomUUID() }))
        // Some people press twice: the same request under the same key.
        const twice = Array.from({ length: 5 }, () => dice.pick(keys))
        const claims = await Promise.all(
          [...keys, ...twice].map(({ person, key }) => claim(dice.pick(desks), recordingId, person, key)),
        )
        for (const { answer } of claims) statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
        await judge(recordingId, claims)
      }
    }
    await Promise.all(Array.from({ length: fights }, fight))
    const tookMs = Date.now() - begunMs
    process.stdout.write(
      `${ids.length * claimsEach} claims in ${tookMs} ms, answers by status ${JSON.stringify([...statuses])}, asked to repeat: ${JSON.stringify(undecided)}\n`,
    )
  }, 1_800_000)

  test('a life hears ten commands at once; the eleventh waits for its turn and is carried out', async () => {
    const [id = ''] = await stockUp(1)
    const pipelines = Array.from({ length: 8 }, () => openPipeline(world.config.temporal))
    const hold = async (pipeline: Pipeline, reason: string, requestId: string = randomUUID()): Promise<unknown> => {
      const request = { command: { kind: 'hold' as const, reason }, actor: world.people.ben, requestId }
      try {
        return await pipeline.command(id, request)
      } catch (error) {
        // A machine that is busy elsewhere: repeated as the refusal says, it counts once.
        if (!hasCode(error, 'pipeline_unavailable')) throw error
        return hold(pipeline, reason, requestId)
      }
    }
    await Promise.all(pipelines.flatMap((pipeline, at) => [1, 2, 3, 4].map((n) => hold(pipeline, `case ${at}.${n}`))))
    expect((await world.detail(id))?.facts.holds).toHaveLength(32)
    await Promise.all(pipelines.map((pipeline) => pipeline.close()))
  })

  test('whoever waits for a turn asks Postgres again, and hears the answer without Temporal', async () => {
    const [id = ''] = await stockUp(1)
    const pipeline = openPipeline(world.config.temporal)
    const asked: number[] = []
    const heard = await Promise.allSettled(
      Array.from({ length: 12 }, (_, at) =>
        pipeline.command(
          id,
          { command: { kind: 'hold', reason: `${at}` }, actor: world.people.ben, requestId: randomUUID() },
          async () => {
            asked.push(at)
            throw new ReelkeepError('already_claimed', 'known by now')
          },
        ),
      ),
    )
    expect(asked).toEqual([4, 5, 6, 7, 8, 9, 10, 11])
    expect(heard.map(({ status }) => status === 'fulfilled')).toEqual(heard.map((_, at) => at < 4))
    await pipeline.close()
  })
})
