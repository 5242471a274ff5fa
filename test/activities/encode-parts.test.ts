import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createActivities } from '../../src/activities/index.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { ensurePerson } from '../../src/db/accounts.ts'
import { recordingPrefix } from '../../src/domain/archive.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import type { Encoder, PartShelf } from '../../src/media/encoder.ts'
import { defaultMediaLimits } from '../../src/media/encoder.ts'
import { createEncoder } from '../../src/media/ffmpeg.ts'
import type { Store } from '../../src/storage/store.ts'
import { ffmpeg, ffmpegPath, ffprobePath, sound, x264 } from '../media/fixtures.ts'
import { openIngestStand } from './ingest-fixture.ts'

let stand: Awaited<ReturnType<typeof openIngestStand>>
let personId = ''
let made = 0

beforeAll(async () => {
  stand = await openIngestStand()
  personId = await stand.db.asAccount(stand.accountId, (tx) =>
    ensurePerson(tx, { name: 'ada', email: 'ada@x.test', roles: ['admin'] }),
  )
})
afterAll(() => stand?.close())

const encoder = createEncoder({
  ffmpegPath,
  ffprobePath,
  sliceMs: 2000,
  limits: { ...defaultMediaLimits, maxWallMs: 300_000 },
})

/** A worker of its own: its own scratch, its own attempt, and a diary of the parts it made and found. */
async function newWorker(changes: { keep?: (number: number) => void; put?: Store['put'] } = {}) {
  const scratchDir = join(stand.home, `scratch-${++made}`)
  await mkdir(scratchDir)
  const environment = new MockActivityEnvironment({ attempt: made, heartbeatTimeoutMs: 120_000 })
  const kept: number[] = []
  const found: number[] = []
  const watched = (shelf: PartShelf): PartShelf => ({
    async fetch(part) {
      const isThere = await shelf.fetch(part)
      if (isThere) found.push(part.number)
      return isThere
    },
    async keep(part) {
      await shelf.keep(part)
      kept.push(part.number)
      changes.keep?.(part.number)
    },
  })
  const watching: Encoder = {
    ...encoder,
    encode: (path, facts, plan, out, options = {}) =>
      encoder.encode(path, facts, plan, out, {
        ...options,
        ...(options.shelf === undefined ? {} : { shelf: watched(options.shelf) }),
      }),
  }
  const primary = { ...(await stand.deps.stores.primary()) }
  const store: Store = Object.assign(Object.create(primary.store) as Store, changes.put ? { put: changes.put } : {})
  const activities = createActivities({
    ...stand.deps,
    stores: { ...stand.deps.stores, primary: async () => ({ ...primary, store }) },
    encoder: watching,
    scratchDir,
    notifier: { send: async () => undefined, close: async () => undefined },
    baseUrl: 'http://127.0.0.1:1',
    log: pino({ level: 'silent' }),
    sign: createSigner(generateKeyPairSync('ed25519').privateKey),
  })
  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    const answers: T[] = []
    await environment.run(async () => void answers.push(await work()))
    return answers[0]!
  }
  return { activities, environment, scratchDir, kept, found, run }
}

/** A recording of eight seconds that has to be encoded, claimed and about to be: four slices and the sound. */
async function newRecording() {
  const path = join(stand.directories.inbox, 'hall-a', `${randomUUID()}.mkv`)
  const picture = ['-f', 'lavfi', '-i', `testsrc2=s=96x54:r=10:d=8,drawbox=w=${++made}:h=9`]
  await ffmpeg(...picture, ...sound(8), ...x264, '-pix_fmt', 'yuv444p', '-g', '10', '-c:a', 'flac', path)
  const [recordingId = ''] = await stand.lookUntilQuiet()
  const ref = { accountId: stand.accountId, recordingId, atMs: Date.now() }
  const { activities, run } = await newWorker()
  await run(() => activities.takeIn(ref))
  await run(() => activities.openClaim(ref))
  const actor = {
    accountId: stand.accountId,
    name: 'ada',
    roles: ['admin' as const],
    scopes: ['write' as const],
    personId,
  }
  const request = { command: { kind: 'claim' as const, title: 'Mine' }, actor, requestId: randomUUID() }
  await run(() => activities.applyCommand(ref, request))
  const plan = await run(() => activities.beginEncode(ref))
  expect(plan.kind).toBe('ladder')
  return { ref, plan }
}

const rowsOf = (recordingId: string) =>
  stand.db.asAccount(stand.accountId, (tx) =>
    tx.selectFrom('encode_slices').selectAll().where('recording_id', '=', recordingId).orderBy('slice').execute(),
  )
const objectsOf = async (recordingId: string) => {
  const root = join(stand.directories.primary, recordingPrefix(stand.accountId, recordingId))
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}
/** Part of every key of an unfinished encode's part, and of no other. */
const partsFolder = ['', 'work', ''].join('/')
const isPart = (key: string) => key.includes(partsFolder)
const workOf = async (recordingId: string) => (await objectsOf(recordingId)).filter(isPart)
const filesOf = (recordingId: string) =>
  stand.db.asAccount(stand.accountId, (tx) =>
    tx.selectFrom('files').selectAll().where('recording_id', '=', recordingId).execute(),
  )

/** An encode whose worker is lost when the part of this number is kept. */
async function loseWorkerAt(number: number) {
  const recording = await newRecording()
  const { ref, plan } = recording
  const worker = await newWorker({
    keep: (kept) => {
      if (kept === number) worker.environment.cancel('CANCELLED')
    },
  })
  await expect(worker.run(() => worker.activities.encodeRecording(ref, plan))).rejects.toThrow(/cancelled/i)
  expect(await readdir(worker.scratchDir)).toEqual([])
  return { ...recording, worker }
}

/** Renditions of one attempt, all there, and nothing besides. */
async function expectWholeAndTidy(recordingId: string) {
  const files = await filesOf(recordingId)
  expect(files.map(({ name }) => name).sort()).toEqual(
    expect.arrayContaining(['54p.mp4', 'audio.m4a', 'hls/master.m3u8', 'poster.jpg', 'sprite.jpg']),
  )
  const attempts = files.filter(({ kind }) => kind !== 'original').map(({ key }) => key.split('/')[3])
  expect(new Set(attempts).size).toBe(1)
  const objects = await objectsOf(recordingId)
  expect(objects.sort()).toEqual(files.map(({ key }) => join(stand.directories.primary, key)).sort())
  expect(await rowsOf(recordingId)).toEqual([])
}

describe('an encode that lost its worker', () => {
  test('is gone on with by another one, which makes only what is missing', async () => {
    const { ref, plan } = await loseWorkerAt(1)
    expect((await rowsOf(ref.recordingId)).map(({ slice, rung }) => [slice, rung])).toEqual([
      [0, '54p'],
      [1, '54p'],
    ])
    expect(await workOf(ref.recordingId)).toHaveLength(2)
    const next = await newWorker()
    await next.run(() => next.activities.encodeRecording(ref, plan))
    expect(next.found).toEqual([0, 1])
    expect(next.kept).toEqual([2, 3, 4])
    await expectWholeAndTidy(ref.recordingId)
    expect(await next.run(() => next.activities.encodeRecording(ref, plan))).toBeGreaterThan(5)
    await next.run(() => next.activities.endEncode(ref))
    await next.run(() => next.activities.sealPackage(ref))
    const manifest = (await objectsOf(ref.recordingId)).find((path) => path.endsWith('manifest.json')) ?? ''
    expect(await readFile(manifest, 'utf8')).not.toContain(partsFolder)
  }, 300_000)

  test('a part that is corrupt, and one that is missing, are made again', async () => {
    const { ref, plan } = await loseWorkerAt(2)
    const [first, second] = (await workOf(ref.recordingId)).sort()
    const bytes = await readFile(first!)
    bytes[bytes.length >> 1]! ^= 1
    await writeFile(first!, bytes)
    await rm(second!)
    const next = await newWorker()
    await next.run(() => next.activities.encodeRecording(ref, plan))
    expect(next.found).toEqual([2])
    expect(next.kept).toEqual([0, 1, 3, 4])
    await expectWholeAndTidy(ref.recordingId)
  }, 300_000)

  test('two at once leave one result', async () => {
    const { ref, plan } = await newRecording()
    const both = [await newWorker(), await newWorker()]
    await Promise.all(both.map(({ run, activities }) => run(() => activities.encodeRecording(ref, plan))))
    await expectWholeAndTidy(ref.recordingId)
  }, 300_000)

  test('parts of an encode that a person goes on without are removed when the package is sealed', async () => {
    const { ref } = await loseWorkerAt(0)
    expect(await workOf(ref.recordingId)).not.toEqual([])
    const next = await newWorker()
    await next.run(() => next.activities.endEncode(ref))
    await next.run(() => next.activities.sealPackage(ref))
    expect(await workOf(ref.recordingId)).toEqual([])
    expect(await rowsOf(ref.recordingId)).toEqual([])
    expect((await filesOf(ref.recordingId)).map(({ kind }) => kind).sort()).toEqual(['manifest', 'original'])
  }, 300_000)

  test('an encode that comes to its end after a person went on without it leaves nothing, and counts for nothing', async () => {
    const { ref, plan } = await newRecording()
    const other = await newWorker()
    let isOver = false
    const zombie = await newWorker({
      async put(key, source, options) {
        if (!isOver && key.includes('/renditions/')) {
          isOver = true
          await other.run(() => other.activities.endEncode(ref))
          await other.run(() => other.activities.sealPackage(ref))
        }
        return stand.primaryStore.put(key, source, options)
      },
    })
    await zombie.run(() => zombie.activities.encodeRecording(ref, plan))
    expect(isOver).toBe(true)
    expect((await filesOf(ref.recordingId)).map(({ kind }) => kind).sort()).toEqual(['manifest', 'original'])
    expect((await objectsOf(ref.recordingId)).filter((path) => path.includes('/renditions/'))).toEqual([])
  }, 300_000)

  test('a part of a run that comes back when the encode is over does not count and does not stay', async () => {
    const { ref, plan } = await newRecording()
    const other = await newWorker()
    let isOver = false
    const zombie = await newWorker({
      // It never gets as far as tidying up itself.
      keep: () => zombie.environment.cancel('CANCELLED'),
      async put(key, source, options) {
        // The other run does everything while this one's first part is on its way.
        if (!isOver && isPart(key)) {
          isOver = true
          await other.run(() => other.activities.encodeRecording(ref, plan))
        }
        return stand.primaryStore.put(key, source, options)
      },
    })
    await expect(zombie.run(() => zombie.activities.encodeRecording(ref, plan))).rejects.toThrow(/cancelled/i)
    expect(other.found).toEqual([])
    await expectWholeAndTidy(ref.recordingId)
  }, 300_000)

  test('an encode goes on although its parts cannot be kept', async () => {
    const { ref, plan } = await newRecording()
    const worker = await newWorker({
      async put(key, source, options) {
        if (isPart(key)) throw new ReelkeepError('store_unavailable', 'The store does not answer.')
        return stand.primaryStore.put(key, source, options)
      },
    })
    await worker.run(() => worker.activities.encodeRecording(ref, plan))
    await expectWholeAndTidy(ref.recordingId)
  }, 300_000)
})
