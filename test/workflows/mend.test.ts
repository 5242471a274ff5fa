import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { enableFailpoints } from '../../src/failpoints/failpoint.ts'
import type { FailpointName } from '../../src/failpoints/names.ts'
import { arm, deposit, describeDrop, hastyPolicy, listPlayed, makeUnique } from '../chaos/system.ts'
import { describeViolations, judge } from '../oracle/judge.ts'
import type { Dropped } from '../oracle/judge.ts'
import { saveHistory, startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let world: World
let arms: string
let base: Buffer
const dropped: Dropped[] = []

beforeAll(async () => {
  // Nobody asks for their deletion while they are looked at.
  const retention = { ...hastyPolicy.retention, rules: [{ ...hastyPolicy.retention.rules[0]!, keepMs: 3_600_000 }] }
  world = await startWorld({ policy: { ...hastyPolicy, retention } })
  arms = join(world.home, 'arms')
  await mkdir(join(arms, 'played'), { recursive: true })
  enableFailpoints({ directory: arms, hangMs: 4000 })
  const { ada } = world.people
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: ada.personId, quietMs: 2000 })
  await world.addRecorder({ name: 'claimed', assignment: 'claim', quietMs: 2000 })
  const file = join(world.home, 'base.mp4')
  await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed: 4711, codec: 'h264-aac' })
  base = await readFile(file)
})
afterAll(async () => {
  enableFailpoints(null)
  await world?.stop()
})

interface Damage {
  readonly point: FailpointName
  readonly times: number
  /** From its first byte, or from its claim on, when the original stands in the primary store already. */
  readonly from: 'deposit' | 'claim'
}

/** The id of the deposit at a path, as soon as it was seen. */
async function depositId(path: string): Promise<string> {
  for (let tries = 0; tries < 600; tries += 1) {
    const row = await world.db.asAccount(world.accountId, (tx) =>
      tx.selectFrom('deposits').select('id').where('path', '=', path).executeTakeFirst(),
    )
    if (row !== undefined) return row.id
    await pause(50)
  }
  throw new Error(`${path} was not seen`)
}

/** Drops a recording that meets this damage. Returns its id. */
async function drop(name: string, { point, times, from }: Damage): Promise<string> {
  const path = `${from === 'claim' ? 'claimed' : 'hall'}/${name}.mp4`
  const bytes = makeUnique(base)
  dropped.push(describeDrop('inbox', path, bytes, 'whole'))
  await deposit(join(world.home, 'inbox', path), bytes, 'write')
  const id = await depositId(path)
  const damage = { point, times, action: 'corrupt', subject: id } as const
  if (from === 'deposit') await arm(arms, damage)
  else {
    await world.until(path, ({ state }) => state === 'awaiting_claim', 120_000)
    await arm(arms, damage)
    await world.give(id, world.people.ben, { kind: 'claim', title: name })
  }
  return id
}

const kept = (id: string, path: string) =>
  world.until(path, (seen) => seen.id === id && seen.state === 'retained', 240_000)

async function actionsOf(recordingId: string): Promise<string[]> {
  const rows = await world.db.asAccount(world.accountId, (tx) =>
    tx.selectFrom('audit_events').select('action').where('recording_id', '=', recordingId).orderBy('seq').execute(),
  )
  return rows.map(({ action }) => action)
}

/** Every problem there ever was of these recordings. */
async function problemsOf(ids: readonly string[]) {
  return world.db.asAccount(world.accountId, (tx) =>
    tx
      .selectFrom('problems')
      .select(['recording_id', 'code', 'message'])
      .where('recording_id', 'in', [...ids])
      .execute(),
  )
}

async function expectKeptPromises(): Promise<void> {
  const place = (name: 'inbox' | 'primary' | 'backup', site: string) =>
    ({ name, role: name, site, kind: 'directory', path: join(world.home, name) }) as const
  const violations = await judge({
    databaseUrl: world.adminUrl,
    temporal: world.config.temporal,
    places: [place('inbox', 'a'), place('primary', 'a'), place('backup', 'b')],
    dropped,
    told: [],
    settled: true,
    graceMs: 120_000,
  })
  expect(violations, describeViolations(violations)).toEqual([])
}

const scratch = 'scratch.corrupt'
const mended = 'copy.mended'
/** One file of every kind but the original, with the manifest. */
const everythingElse = 12

const damages: readonly (Damage & { readonly name: string; readonly leaves: string })[] = [
  { name: 'source', point: 'take-in.after-read', times: 1, from: 'deposit', leaves: scratch },
  { name: 'source-twice', point: 'take-in.after-read', times: 2, from: 'deposit', leaves: scratch },
  { name: 'download', point: 'encode.after-download', times: 1, from: 'deposit', leaves: scratch },
  { name: 'rendition', point: 'encode.before-put', times: 1, from: 'deposit', leaves: scratch },
  { name: 'original', point: 'local.after-write', times: 1, from: 'deposit', leaves: mended },
  { name: 'original-partly', point: 'local.during-write', times: 1, from: 'deposit', leaves: mended },
  { name: 'original-twice', point: 'local.after-link', times: 2, from: 'deposit', leaves: mended },
  { name: 'stored-rendition', point: 'local.after-link', times: 1, from: 'claim', leaves: mended },
  { name: 'many', point: 'local.after-write', times: everythingElse, from: 'claim', leaves: mended },
]

test('what goes bad before the first verified copy mends itself', { timeout: 400_000 }, async () => {
  const lives = await Promise.all(
    damages.map(async (damage) => {
      const id = await drop(damage.name, damage)
      await kept(id, `${damage.from === 'claim' ? 'claimed' : 'hall'}/${damage.name}.mp4`)
      return { id, ...damage }
    }),
  )
  const played = (await listPlayed(arms)).map(({ point, subject }) => `${point} ${subject}`)
  for (const { id, name, point, times, leaves } of lives) {
    expect(
      played.filter((one) => one === `${point} ${id}`),
      name,
    ).toHaveLength(times)
    expect(await actionsOf(id), name).toContain(leaves)
  }
  expect(await problemsOf(lives.map(({ id }) => id))).toEqual([])
  await expectKeptPromises()
  const version = process.env['SAVE_HISTORIES']
  const remade = lives.find(({ name }) => name === 'many')
  if (version !== undefined && remade !== undefined) await saveHistory(world, remade.id, `remade-${version}`)
})

test(
  'a store that alters everything is named, tried again by itself, and trusted again',
  { timeout: 400_000 },
  async () => {
    const id = await drop('lying', { point: 'local.after-write', times: 1000, from: 'deposit' })
    const parked = await world.until('hall/lying.mp4', ({ problem }) => problem !== null, 120_000)
    expect(parked.problem).toMatchObject({ stage: 'encode', code: 'store_alters_bytes', attempts: 1 })
    expect(parked.problem?.message).toContain('store primary')
    expect(parked.problem?.nextRetryAtMs).toBeGreaterThan(Date.now())
    // The disk is mended.
    for (const file of await readdir(arms)) if (file.includes(id)) await rm(join(arms, file))
    await kept(id, 'hall/lying.mp4')
    await expectKeptPromises()
  },
)
