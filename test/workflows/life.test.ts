import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Selectable } from 'kysely'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { SMTPServer } from 'smtp-server'
import { ensureStore } from '../../src/db/accounts.ts'
import type { Schema } from '../../src/db/schema.ts'
import { pickPort } from '../../src/dev/processes.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { msPer } from '../../src/domain/units.ts'
import { saveHistory, startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let seed = 0

beforeAll(async () => {
  world = await startWorld()
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  await world.addRecorder({ name: 'room', assignment: 'claim' })
})
afterAll(() => world?.stop())

/** `SAVE_HISTORIES=v2 npm test -- test/workflows/life.test.ts` keeps the runs of this version for `replay.test.ts`. */
async function keepHistory(recordingId: string, name: string): Promise<void> {
  const version = process.env['SAVE_HISTORIES']
  if (version !== undefined) await saveHistory(world, recordingId, `${name}-${version}`)
}

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
  expect(await bytesLeft('inbox/hall/2026')).toEqual([])

  await world.fastForward(kept.id, 2 * msPer.year + msPer.day)
  const asked = await world.until('hall/2026/lecture.MP4', (recording) => recording.state === 'disposition_requested')
  expect(asked.timeline.filter((event) => event.action === 'notice.retention_ending')).toHaveLength(2)
  await world.give(kept.id, world.people.ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
  expect((await world.detail(kept.id))?.state).toBe('trashed')

  await world.fastForward(kept.id, 15 * msPer.day)
  const gone = await world.until('hall/2026/lecture.MP4', (recording) => recording.state === 'purged')
  expect(gone.copies.every((copy) => copy.state === 'purged')).toBe(true)
  expect(gone.certificate).toMatchObject({ payload: { approvedBy: ['Ben'], requestedBy: 'policy' } })
  await keepHistory(kept.id, 'whole-life')
  const prefix = `${world.accountId}/${kept.id}`
  expect([...(await bytesLeft(`primary/${prefix}`)), ...(await bytesLeft(`backup/${prefix}`))]).toEqual([])
})

test.concurrent(
  'a manager is told, reminded, then administrators are; unclaimed, its deletion is requested and people decide',
  async () => {
    await world.addRecorder({ name: 'managed', assignment: 'manager', managerId: world.people.ben.personId })
    await world.drop(await sample(), 'managed/a.mp4')
    const waiting = await world.until(
      'managed/a.mp4',
      ({ timeline, nextAtMs }) => nextAtMs !== null && timeline.some((event) => event.action === 'notice.claim_wanted'),
    )
    await expect(world.give(waiting.id, world.people.una, { kind: 'claim' })).rejects.toMatchObject({
      code: 'forbidden',
    })
    await world.fastForward(waiting.id, 91 * msPer.day)
    const asked = await world.until('managed/a.mp4', (recording) => recording.state === 'disposition_requested')
    const notices = () =>
      asked.timeline
        .filter((event) => event.action.startsWith('notice.claim'))
        .map((event) => [event.action, event.detail['to']])
    expect(notices()).toEqual([
      ['notice.claim_wanted', 'Ben'],
      ['notice.claim_reminder', 'Ben'],
      ['notice.claim_reminder', 'Ben'],
      ['notice.claim_escalation', 'Ada'],
    ])
    await keepHistory(waiting.id, 'unclaimed')
    await world.give(waiting.id, world.people.ben, { kind: 'rejectDeletion', reason: 'It is needed' })
    expect(await world.detail(waiting.id)).toMatchObject({ state: 'awaiting_claim', facts: { plan: null } })
    await world.give(waiting.id, world.people.ben, {
      kind: 'assign',
      ownerId: world.people.una.personId,
      title: 'Named',
    })
    expect(await world.until('managed/a.mp4', (recording) => recording.state === 'retained')).toMatchObject({
      title: 'Named',
      ownerName: 'Una',
    })
  },
)

test.concurrent('a claim is granted once; the same request again gets the same yes; losers are told', async () => {
  await world.drop(await sample(), 'room/once.mp4')
  const { id } = await world.until('room/once.mp4', (recording) => recording.state === 'awaiting_claim')
  const answers = await Promise.allSettled([
    world.give(id, world.people.una, { kind: 'claim' }, 'same-request'),
    world.give(id, world.people.ada, { kind: 'claim' }),
    world.give(id, world.people.ben, { kind: 'claim' }),
  ])
  expect(answers.filter((answer) => answer.status === 'fulfilled')).toHaveLength(1)
  for (const answer of answers)
    if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'already_claimed' })
  const kept = await world.until('room/once.mp4', (recording) => recording.state === 'retained')
  if (answers[0].status === 'fulfilled') await world.give(id, world.people.una, { kind: 'claim' }, 'same-request')
  expect(kept.timeline.filter((event) => event.action === 'command.claim')).toHaveLength(1)
})

test.concurrent('a hold outlasts retention; an undo brings back; a rejected request is asked again later', async () => {
  await world.drop(await sample(), 'hall/held.mp4')
  const path = 'hall/held.mp4'
  const { id } = await world.until(path, (recording) => recording.state === 'retained')
  await world.give(id, world.people.ben, { kind: 'hold', reason: 'court 12/26' })
  expect((await world.detail(id))?.waitingFor).not.toContain('the end of its retention')
  await world.fastForward(id, 3 * msPer.year)
  const held = await world.detail(id)
  expect(held).toMatchObject({ state: 'retained', onHold: true })
  expect(held?.waitingFor).toContain('court 12/26')
  await expect(world.give(id, world.people.ada, { kind: 'requestDeletion', reason: 'old' })).rejects.toMatchObject({
    code: 'on_hold',
  })

  await world.give(id, world.people.ben, { kind: 'release', holdId: held?.facts.holds[0]?.id ?? '' })
  expect((await world.detail(id))?.waitingFor).not.toContain('legal hold')
  const asked = await world.until(path, (recording) => recording.state === 'disposition_requested')
  await world.give(id, world.people.ben, { kind: 'rejectDeletion', reason: 'not yet' })
  await world.until(path, (recording) => recording.state === 'retained' && recording.nextAtMs !== null)
  await world.fastForward(id, 15 * msPer.day)
  const again = await world.until(path, (recording) => recording.state === 'disposition_requested')
  expect(again.facts.disposition?.id).not.toBe(asked.facts.disposition?.id)

  await world.give(id, world.people.ben, { kind: 'approveDeletion', planHash: again.facts.planHash ?? '' })
  await world.give(id, world.people.ada, { kind: 'undo' })
  const back = await world.until(path, (recording) => recording.state === 'retained')
  expect(back.copies.every((copy) => copy.state === 'verified')).toBe(true)
  await world.give(id, world.people.ada, { kind: 'extend', untilMs: Date.now() + 10 * msPer.year, reason: 'research' })
  expect((await world.detail(id))?.facts.plan?.reason).toContain('extended')
  await keepHistory(id, 'called-off')
})

test.concurrent(
  'a broken file is quarantined with its reason, and taken in once it was mended under its name',
  async () => {
    const good = await sample()
    const cut = join(world.home, 'cut.mp4')
    await writeFile(cut, (await readFile(good)).subarray(0, 3000))
    await world.drop(cut, 'hall/broken.mp4')
    const quarantined = await deposit(
      'hall/broken.mp4',
      (row) => row.state === 'quarantined' || row.state === 'stalled',
    )
    expect(quarantined.reason_code).toBe('truncated')
    await world.drop(good, 'hall/broken.mp4')
    await world.until('hall/broken.mp4', (recording) => recording.state === 'retained')
  },
)

test.concurrent('the same bytes again are linked to the first, and not processed twice', async () => {
  const file = await sample()
  await world.drop(file, 'hall/first.mp4')
  const first = await world.until('hall/first.mp4', (recording) => recording.state === 'retained')
  await world.drop(file, 'hall/again.mp4')
  expect(await deposit('hall/again.mp4', (row) => row.state === 'duplicate' || row.state === 'released')).toMatchObject(
    { recording_id: first.id },
  )
})

test('a store that is away parks the recording with reason and next retry; a person retries, nothing is lost', async () => {
  await world.addRecorder({ name: 'away', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  const backup = await world.db.asAccount(world.accountId, (tx) =>
    ensureStore(tx, {
      name: 'second backup',
      site: 'c',
      role: 'backup',
      url: `local:${join(world.home, 'not-mounted')}`,
    }),
  )
  try {
    await world.drop(await sample(), 'away/x.mp4')
    const parked = await world.until('away/x.mp4', (recording) => recording.problem !== null)
    expect(parked).toMatchObject({
      state: 'archiving',
      problem: { stage: 'replicate', code: 'store_misconfigured', options: ['retry'] },
    })
    expect(parked.problem?.nextRetryAtMs).toBeGreaterThan(Date.now())
    expect(await readdir(join(world.home, 'inbox', 'away'))).toEqual(['x.mp4'])
    await mkdir(join(world.home, 'not-mounted'))
    await world.give(parked.id, world.people.ben, { kind: 'resolve', option: 'retry' })
    const kept = await world.until('away/x.mp4', (recording) => recording.state === 'retained')
    expect(kept.problem).toBeNull()
    await keepHistory(kept.id, 'parked')
  } finally {
    await world.db.asAccount(world.accountId, (tx) =>
      tx.updateTable('stores').set({ role: 'inbox' }).where('id', '=', backup).execute(),
    )
  }
})

async function deposit(
  path: string,
  wanted: (row: Selectable<Schema['deposits']>) => boolean,
): Promise<Selectable<Schema['deposits']>> {
  for (let tries = 0; tries < 300; tries += 1) {
    const rows = await world.db.asAccount(world.accountId, (tx) =>
      tx.selectFrom('deposits').selectAll().where('path', '=', path).execute(),
    )
    const found = rows.find(wanted)
    if (found !== undefined) return found
    await pause(100)
  }
  throw new Error(`No such deposit at ${path}`)
}

test(
  'a mail server that is away holds nothing up; its notice goes out when it is back',
  { timeout: 360_000 },
  async () => {
    const port = await pickPort()
    const silent = await startWorld({ env: { SMTP_URL: `smtp://127.0.0.1:${port}`, MAIL_DIR: '' } })
    const server = new SMTPServer({ authOptional: true, disabledCommands: ['STARTTLS'] })
    try {
      await silent.addRecorder({ name: 'room', assignment: 'manager', managerId: silent.people.ben.personId })
      const file = await sample()
      await silent.drop(file, 'room/x.mp4')
      const waiting = await silent.until('room/x.mp4', (recording) => recording.state === 'awaiting_claim')
      await silent.give(waiting.id, silent.people.ben, { kind: 'claim' })
      await silent.until('room/x.mp4', (recording) => recording.state === 'retained')
      // By now the life goes on in another run, and takes the notice along.
      await silent.until('room/x.mp4', (recording) => recording.waitingFor.includes('the end of its retention'), 90_000)
      const parked = await silent.until('room/x.mp4', (recording) => recording.problem !== null, 120_000)
      expect(parked.problem).toMatchObject({ stage: 'claim', code: 'mail_unavailable', options: ['retry', 'skip'] })
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
      // Tried again by itself within minutes; nobody has to press anything.
      const told = await silent.until('room/x.mp4', (recording) => recording.problem === null, 150_000)
      expect(told.timeline.filter(({ action }) => action === 'notice.claim_wanted')).toHaveLength(1)
    } finally {
      await new Promise((resolve) => server.close(() => resolve(null)))
      await silent.stop()
    }
  },
)
