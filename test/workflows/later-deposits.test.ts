import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { listDeposits } from '../../src/db/deposits.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import type { DepositView } from '../../src/domain/deposit.ts'
import { msPer } from '../../src/domain/units.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World

beforeAll(async () => {
  world = await startWorld()
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
})
afterAll(() => world?.stop())

const inInbox = async () => (await readdir(join(world.home, 'inbox', 'hall'))).sort()

async function deposit(path: string, wanted: (one: DepositView) => boolean): Promise<DepositView> {
  let last: unknown = 'nothing'
  for (let tries = 0; tries < 600; tries += 1) {
    const all = await world.db.asAccount(world.accountId, (tx) => listDeposits(tx, { limit: 100 }))
    const found = all.filter((one) => one.path === path)
    const right = found.find(wanted)
    if (right !== undefined) return right
    last = found
    await pause(100)
  }
  throw new Error(`No such deposit at ${path}: ${JSON.stringify(last)}`)
}

test(
  'bytes uploaded again while their deletion is decided wait for it: called off, they leave; carried out, they live again',
  { timeout: 300_000 },
  async () => {
    const file = join(world.home, 'sample.mp4')
    await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed: 1, codec: 'h264-aac' })
    await world.drop(file, 'hall/first.mp4')
    const { id } = await world.until('hall/first.mp4', ({ state }) => state === 'retained', 120_000)
    await world.fastForward(id, 2 * msPer.year + msPer.day)
    await world.until('hall/first.mp4', ({ state }) => state === 'disposition_requested', 120_000)

    await world.drop(file, 'hall/second.mp4')
    const waiting = await deposit('hall/second.mp4', ({ state }) => state === 'duplicate')
    expect(waiting).toMatchObject({ recordingId: id })
    expect(waiting.nextStep).toMatch(/people decide on it/)
    expect(await inInbox()).toEqual(['second.mp4'])
    await world.give(id, world.people.ben, { kind: 'rejectDeletion', reason: 'somebody still wants it' })
    await deposit('hall/second.mp4', ({ state }) => state === 'released')
    expect(await inInbox()).toEqual([])
    await world.until('hall/first.mp4', ({ waitingFor }) => waitingFor.includes('the end of its retention'), 120_000)

    await world.fastForward(id, 15 * msPer.day)
    const asked = await world.until('hall/first.mp4', ({ state }) => state === 'disposition_requested', 120_000)
    await world.give(id, world.people.ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
    await world.drop(file, 'hall/third.mp4')
    const third = await deposit('hall/third.mp4', ({ state }) => state === 'duplicate')
    expect(third.nextStep).toMatch(/in the trash since .*, until /)
    await world.fastForward(id, 15 * msPer.day)
    await world.until('hall/first.mp4', ({ state }) => state === 'purged', 120_000)

    const again = await world.until('hall/third.mp4', ({ state }) => state === 'retained', 120_000)
    expect(again.id).not.toBe(id)
    expect(again.id).not.toBe(third.id)
    expect(again.sha256).toBe((await world.detail(id))?.sha256)
    expect(again.copies.every(({ state }) => state === 'verified')).toBe(true)
    await deposit('hall/third.mp4', ({ state }) => state === 'released')
    expect(await inInbox()).toEqual([])
  },
)
