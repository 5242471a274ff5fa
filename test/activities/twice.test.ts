import { randomUUID, generateKeyPairSync } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createActivities } from '../../src/activities/index.ts'
import type { Activities } from '../../src/activities/index.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { ensurePerson } from '../../src/db/accounts.ts'
import { allowFastForward, arriveFastForward } from '../../src/db/clock.ts'
import { findRecording } from '../../src/db/recordings.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import type { Command } from '../../src/domain/commands.ts'
import type { Actor, Role } from '../../src/domain/permissions.ts'
import { msPer } from '../../src/domain/units.ts'
import type { Mail } from '../../src/notify/notifier.ts'
import { openIngestStand } from './ingest-fixture.ts'

let stand: Awaited<ReturnType<typeof openIngestStand>>
let activities: Activities
const mails: Mail[] = []

beforeAll(async () => {
  stand = await openIngestStand()
  activities = createActivities({
    ...stand.deps,
    notifier: { send: async (mail) => void mails.push(mail), close: async () => undefined },
    baseUrl: 'http://127.0.0.1:1',
    log: pino({ level: 'silent' }),
    sign: createSigner(generateKeyPairSync('ed25519').privateKey),
  })
})
afterAll(() => stand?.close())

/** Everything the world can show of a recording; two runs of an activity must leave the same. */
async function world(recordingId: string) {
  const recording = await stand.db.asAccount(stand.accountId, (tx) => findRecording(tx, recordingId))
  const files: string[] = []
  for (const directory of Object.values(stand.directories))
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) files.push(join(entry.parentPath, entry.name))
  const { version: _version, ...shown } = recording ?? { version: 0 }
  return JSON.parse(
    JSON.stringify(
      { shown, files: files.sort((a, b) => a.localeCompare(b)), mails: mails.length },
      (key, value: unknown) => (key === 'version' ? undefined : value),
    ),
  ) as unknown
}

test('every activity of a life, done twice, is done once', async () => {
  const path = join(stand.directories.inbox, 'hall-a', 'x.mp4')
  await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed: 500, codec: 'h264-aac' })
  const [recordingId = ''] = await stand.lookUntilQuiet()
  const ref = { accountId: stand.accountId, recordingId, atMs: Date.now() }
  const person = async (name: string, roles: Role[]): Promise<Actor> => ({
    accountId: stand.accountId,
    name,
    roles,
    scopes: ['read', 'write'],
    personId: await stand.db.asAccount(stand.accountId, (tx) =>
      ensurePerson(tx, { name, email: `${name}@x.test`, roles }),
    ),
  })
  const ada = await person('ada', ['admin'])
  const ben = await person('ben', ['operator'])

  const twice = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const answers: T[] = []
    const run = () =>
      new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(async () => void answers.push(await work()))
    await run()
    const after = await world(recordingId)
    await run()
    expect(await world(recordingId), `${name}, the second time`).toEqual(after)
    return answers[0]!
  }
  const command = (actor: Actor, what: Command) => {
    const request = { command: what, actor, requestId: randomUUID() }
    return twice(what.kind, () => activities.applyCommand(ref, request))
  }
  const pass = async (ms: number) =>
    stand.db.asAccount(stand.accountId, async (tx) => {
      await allowFastForward(tx, recordingId, ms)
      await arriveFastForward(tx, recordingId)
    })

  await twice('takeIn', () => activities.takeIn(ref))
  await twice('openClaim', () => activities.openClaim(ref))
  await twice('sendNotice', () => activities.sendNotice(ref, 'claim_escalation', 'once'))
  expect(mails).toHaveLength(1)
  await command(ada, { kind: 'claim', title: 'Mine' })
  const plan = await twice('beginEncode', () => activities.beginEncode(ref))
  await twice('encodeRecording', () => activities.encodeRecording(ref, plan))
  await twice('endEncode', () => activities.endEncode(ref))
  await twice('sealPackage', () => activities.sealPackage(ref))
  const { primaryId, backupIds } = await twice('listCopyStores', () => activities.listCopyStores(ref))
  await twice('verifyCopies', () => activities.verifyCopies(ref, primaryId))
  for (const backupId of backupIds) {
    await twice('copyToStore', () => activities.copyToStore(ref, backupId))
    await twice('verifyCopies', () => activities.verifyCopies(ref, backupId))
  }
  await twice('recordProtected', () => activities.recordProtected(ref))
  await twice('releaseSource', () => activities.releaseSource(ref))
  await twice('beginRetention', () => activities.beginRetention(ref))
  await command(ben, { kind: 'hold', reason: 'court' })
  const held = await activities.loadFacts(ref)
  await command(ben, { kind: 'release', holdId: held.facts?.holds[0]?.id ?? '' })
  await pass(2 * msPer.year + msPer.day)
  await twice('requestByPolicy', () => activities.requestByPolicy(ref, 'Retention ended'))
  const asked = await activities.loadFacts(ref)
  await command(ben, { kind: 'approveDeletion', planHash: asked.facts?.planHash ?? '' })
  expect(await activities.beginPurge(ref)).toMatchObject({ ok: false, code: 'retention_not_ended' })
  await pass(15 * msPer.day)
  await twice('beginPurge', () => activities.beginPurge(ref))
  // A part that a run of the encode left when it came back late.
  const part = {
    recording_id: recordingId,
    plan_hash: 'x',
    slice: 0,
    rung: '54p',
    key: 'x',
    size_bytes: 1,
    sha256: 'x',
  }
  await stand.db.asAccount(stand.accountId, (tx) =>
    tx
      .insertInto('encode_slices')
      .values({ ...part, account_id: stand.accountId })
      .execute(),
  )
  for (const storeId of await activities.listPurgeStores(ref)) {
    const first = await new MockActivityEnvironment().run(() => activities.purgeStore(ref, storeId))
    expect(first).toBeGreaterThan(0)
    expect(await new MockActivityEnvironment().run(() => activities.purgeStore(ref, storeId))).toBe(0)
  }
  expect(
    await stand.db.asAccount(stand.accountId, (tx) => tx.selectFrom('encode_slices').select('slice').execute()),
  ).toEqual([])
  await twice('purgeSource', () => activities.purgeSource(ref))
  await twice('certify', () => activities.certify(ref))
  expect(await stand.db.asAccount(stand.accountId, (tx) => findRecording(tx, recordingId))).toMatchObject({
    state: 'purged',
  })
})
