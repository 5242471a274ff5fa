import { createHash, createPublicKey } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { msPer } from '../../src/domain/units.ts'
import { startS3Double } from '../servers/s3-double.ts'
import type { S3Double } from '../servers/s3-double.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { describeViolations, judge } from './judge.ts'
import type { Dropped, Subject, Told } from './judge.ts'

let world: World
let backup: S3Double
const dropped: Dropped[] = []
const told: Told[] = []

beforeAll(async () => {
  backup = await startS3Double()
  world = await startWorld({
    urls: { backup: backup.url('copies') },
    env: { [`REELKEEP_SECRET_${backup.secretName}`]: backup.secret },
  })
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  await world.addRecorder({ name: 'room', assignment: 'claim' })
})
afterAll(async () => {
  await world?.stop()
  await backup?.stop()
})

/** What the oracle may know: the servers, the doors of the stores, and what was done from outside. */
async function subjectOf(settled: boolean): Promise<Subject> {
  const databaseUrl = new URL(inject('adminUrl'))
  databaseUrl.pathname = new URL(world.config.databaseUrl).pathname
  const [accessKeyId = '', secretAccessKey = ''] = backup.secret.split(':')
  const { endpoint, bucket } = backup
  return {
    databaseUrl: databaseUrl.href,
    temporal: world.config.temporal,
    places: [
      { name: 'inbox', role: 'inbox', site: 'a', kind: 'directory', path: join(world.home, 'inbox') },
      { name: 'primary', role: 'primary', site: 'a', kind: 'directory', path: join(world.home, 'primary') },
      {
        name: 'backup',
        role: 'backup',
        site: 'b',
        kind: 's3',
        endpoint,
        bucket,
        prefix: 'copies',
        accessKeyId,
        secretAccessKey,
      },
    ],
    dropped,
    told,
    settled,
    publicKeyPem: createPublicKey(await readFile(world.config.signingKeyFile, 'utf8'))
      .export({ type: 'spki', format: 'pem' })
      .toString(),
  }
}

async function put(from: string, path: string, kind: Dropped['kind'] = 'whole'): Promise<void> {
  const bytes = await readFile(from)
  await world.drop(from, path)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  dropped.push({ inbox: 'inbox', path, sha256, sizeBytes: bytes.length, kind, finishedAtMs: Date.now() })
}

async function give(...[recordingId, actor, command]: Parameters<World['give']>): Promise<void> {
  const beganAtMs = Date.now()
  const accepted = await world.give(recordingId, actor, command).then(
    () => true,
    () => false,
  )
  told.push({ recordingId, kind: command.kind, personId: actor.personId, accepted, beganAtMs, endedAtMs: Date.now() })
}

/** Judges again and again until the lives are over; the first broken promise ends it. */
async function watch(live: { over: boolean }): Promise<string> {
  let looks = 0
  while (!live.over) {
    const violations = await judge(await subjectOf(false))
    if (violations.length > 0) return describeViolations(violations)
    looks += 1
    await pause(300)
  }
  return looks > 0 ? describeViolations([]) : 'Nobody looked.'
}

async function live(): Promise<{ kept: string }> {
  const { ada, ben, una } = world.people
  const [one = '', two = '', three = ''] = await Promise.all(
    [1, 2, 3].map(async (seed) => {
      const path = join(world.home, `sample-${seed}.mp4`)
      await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
      return path
    }),
  )
  const cut = join(world.home, 'cut.mp4')
  await writeFile(cut, (await readFile(one)).subarray(0, 3000))
  await put(one, 'hall/kept.mp4')
  await put(two, 'room/claimed.mp4')
  await put(three, 'hall/purged.mp4')
  await put(cut, 'hall/cut.mp4', 'broken')
  const unclaimed = await world.until('room/claimed.mp4', ({ state }) => state === 'awaiting_claim', 120_000)
  await Promise.all([una, ada, ben].map((person) => give(unclaimed.id, person, { kind: 'claim' })))
  const kept = await world.until('hall/kept.mp4', isKept, 120_000)
  await put(one, 'hall/again.mp4')
  const claimed = await world.until('room/claimed.mp4', isKept, 120_000)
  await give(claimed.id, ben, { kind: 'hold', reason: 'court' })
  const { id } = await world.until('hall/purged.mp4', isKept, 120_000)
  await world.fastForward(id, 2 * msPer.year + msPer.day)
  const asked = await world.until('hall/purged.mp4', ({ state }) => state === 'disposition_requested', 120_000)
  await give(id, ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
  await world.fastForward(id, 15 * msPer.day)
  await world.until('hall/purged.mp4', ({ state }) => state === 'purged', 120_000)
  await untilDeposit('hall/again.mp4', 'released')
  await untilDeposit('hall/cut.mp4', 'stalled')
  return { kept: kept.id }
}

const isKept: Parameters<World['until']>[1] = ({ state, waitingFor, nextAtMs }) =>
  state === 'retained' && waitingFor.includes('retention') && nextAtMs !== null

async function untilDeposit(path: string, state: string): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    const rows = await world.db.asAccount(world.accountId, (tx) =>
      tx.selectFrom('deposits').select('state').where('path', '=', path).execute(),
    )
    if (rows.some((row) => row.state === state)) return
    await pause(200)
  }
  throw new Error(`${path} never was ${state}`)
}

test('real lives break no promise, at any moment and at rest', { timeout: 600_000 }, async () => {
  const watched = { over: false }
  const watching = watch(watched)
  const { kept } = await live().finally(() => (watched.over = true))
  expect(await watching).toBe('Every promise holds.')
  expect(told.filter(({ kind, accepted }) => kind === 'claim' && accepted)).toHaveLength(1)
  expect(describeViolations(await judge(await subjectOf(true)))).toBe('Every promise holds.')

  const key = `copies/${world.accountId}/${kept}/manifest.json`
  backup.corrupt(key)
  expect(await judge(await subjectOf(true))).toMatchObject([{ promise: 3, recordingId: kept }])
  await backup.client.deleteObject({ Bucket: backup.bucket, Key: key })
  expect(await judge(await subjectOf(true))).toMatchObject([{ promise: 5, recordingId: kept }])
})
