import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { enableFailpoints } from '../../src/failpoints/failpoint.ts'
import { arm, hastyPolicy, listPlayed } from '../chaos/system.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let arms: string

beforeAll(async () => {
  world = await startWorld({ policy: hastyPolicy })
  arms = join(world.home, 'arms')
  await mkdir(join(arms, 'played'), { recursive: true })
  enableFailpoints({ directory: arms, hangMs: 4000 })
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
})
afterAll(async () => {
  enableFailpoints(null)
  await world?.stop()
})

/** Starts when facts were read, before they arrive: what is done meanwhile must not be forgotten. */
async function whileFactsAreOld(recordingId: string, count: number, doing: () => Promise<void>): Promise<void> {
  await arm(arms, { point: 'facts.after-load', subject: recordingId, action: 'hang', times: count })
  for (let tries = 0; tries < 300; tries += 1) {
    if ((await listPlayed(arms)).filter(({ subject }) => subject === recordingId).length === count) return doing()
    await pause(50)
  }
  throw new Error('the facts were not read')
}

test('an approval that comes while older facts are on their way is not forgotten', async () => {
  const file = join(world.home, 'a.mp4')
  await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed: 31, codec: 'h264-aac' })
  await world.drop(file, 'hall/a.mp4')
  const asked = await world.until('hall/a.mp4', ({ state }) => state === 'retained')
  // Twice: the request to delete looks once, the life once more, and that look is the last for a while.
  await whileFactsAreOld(asked.id, 3, async () => {
    const { facts, state } = await world.until('hall/a.mp4', ({ state }) => state === 'disposition_requested')
    expect(state).toBe('disposition_requested')
    await world.give(asked.id, world.people.ben, { kind: 'approveDeletion', planHash: facts.planHash ?? '' })
  })
  await world.until('hall/a.mp4', ({ state }) => state === 'purged', 30_000)
})
