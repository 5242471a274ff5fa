import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { msPer } from '../../src/domain/units.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let seed = 0

beforeAll(async () => {
  world = await startWorld()
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  await world.addRecorder({ name: 'room', assignment: 'claim' })
})
afterAll(() => world?.stop())

async function sample(): Promise<string> {
  seed += 1
  const path = join(world.home, `sample-${seed}.mp4`)
  await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
  return path
}

async function bytesLeft(folder: string): Promise<string[]> {
  const entries = await readdir(join(world.home, folder), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}

test('a recording lives its whole life: years pass, a second person approves, every copy goes, the proof stays', async () => {
  await world.drop(await sample(), 'hall/2026/lecture.MP4')
  const kept = await world.until('hall/2026/lecture.MP4', (recording) => recording.state === 'retained')
  expect(kept.copies.every((copy) => copy.state === 'verified')).toBe(true)
  expect(new Set(kept.copies.map((copy) => copy.site)).size).toBe(2)
  expect(await bytesLeft('inbox')).toEqual([])

  await world.fastForward(kept.id, 2 * msPer.year + msPer.day)
  const asked = await world.until('hall/2026/lecture.MP4', (recording) => recording.state === 'disposition_requested')
  expect(asked.timeline.filter((event) => event.action === 'notice.retention_ending')).toHaveLength(2)
  await world.give(kept.id, world.people.ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
  expect((await world.detail(kept.id))?.state).toBe('trashed')

  await world.fastForward(kept.id, 15 * msPer.day)
  const gone = await world.until('hall/2026/lecture.MP4', (recording) => recording.state === 'purged')
  expect(gone.copies.every((copy) => copy.state === 'purged')).toBe(true)
  expect(gone.certificate).toMatchObject({ payload: { approvedBy: ['Ben'], requestedBy: 'policy' } })
  expect([...(await bytesLeft('primary')), ...(await bytesLeft('backup'))]).toEqual([])
})
