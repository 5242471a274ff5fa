import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client as TemporalClient, Connection } from '@temporalio/client'
import { sql } from 'kysely'
import { Client } from 'pg'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createApp } from '../../src/api/app.ts'
import { hashSecret, makeKey } from '../../src/api/auth.ts'
import { openStoreBook } from '../../src/api/media-source.ts'
import { createMetrics } from '../../src/api/metrics.ts'
import { openPipeline } from '../../src/api/pipeline.ts'
import { verifyAuditTrail } from '../../src/cli/audit.ts'
import { rebuild } from '../../src/cli/rebuild-run.ts'
import type { RebuildReport, RebuildRequest } from '../../src/cli/rebuild-run.ts'
import type { Config } from '../../src/config.ts'
import { ensureKey, ensurePerson, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import { areCopiesVerified } from '../../src/db/facts.ts'
import { insertRecorder } from '../../src/db/recorders.ts'
import { describeRecording, findRecording } from '../../src/db/recordings.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import type { Manifest } from '../../src/domain/archive.ts'
import { notInManifests } from '../../src/domain/rebuild.ts'
import type { Loss } from '../../src/domain/rebuild.ts'
import type { RecordingDetail } from '../../src/domain/recording.ts'
import { msPer } from '../../src/domain/units.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import { openStore } from '../../src/storage/open.ts'
import { startWorkers } from '../../src/worker.ts'
import { startSeaweed } from '../servers/s3.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'
import { bundleWorkflows, makeNamespace, saveHistory, startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { runCli } from './run.ts'

const patienceMs = 120_000

/** What the lost database held, and a store it can be rebuilt from. */
let world: World
let lost: Dump
const lives = { kept: '', early: '', held: '', extended: '', purged: '', trashed: '', waits: '', parked: '' }
const sealed = () => [lives.kept, lives.early, lives.held, lives.extended, lives.trashed, lives.parked]
let seed = 7000
const opened: { db: Database; database: FreshDatabase }[] = []
const folders: string[] = []

beforeAll(async () => {
  world = await startWorld()
  const ada = world.people.ada.personId
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: ada })
  await world.addRecorder({ name: 'room', directory: 'house/room', assignment: 'claim' })
  await liveLives()
  lost = await dump(databaseName(world.config.databaseUrl))
}, 400_000)
afterAll(async () => {
  for (const { db, database } of opened) {
    await db.close()
    await database.drop()
  }
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
  await world?.stop()
}, 120_000)

async function sample(): Promise<string> {
  seed += 1
  const path = join(world.home, `sample-${seed}.mp4`)
  await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
  return path
}

const until = (path: string, wanted: (recording: RecordingDetail) => boolean) => world.until(path, wanted, patienceMs)
const isKept = (recording: RecordingDetail) => recording.state === 'retained' && recording.nextAtMs !== null

async function describeAs(id: string, change: { title: string; tags: string[] }): Promise<void> {
  await repeatUntil(async () => {
    const { version = 0 } = (await world.detail(id)) ?? {}
    return (await world.db.asAccount(world.accountId, (tx) => describeRecording(tx, id, change, version))) === 'ok'
  })
}

async function repeatUntil(done: () => Promise<boolean>): Promise<void> {
  const untilMs = Date.now() + patienceMs
  while (!(await done())) {
    if (Date.now() > untilMs) throw new Error('It did not become so in time.')
    await pause(200)
  }
}

/** Real lives, as different as they come. */
async function liveLives(): Promise<void> {
  const { ada, ben, una } = world.people
  const keptFile = await sample()
  for (const name of ['held', 'extended', 'purged', 'trashed']) await world.drop(await sample(), `hall/${name}.mp4`)
  await world.drop(keptFile, 'hall/kept.mp4')
  for (const name of ['early', 'waits']) await world.drop(await sample(), `house/room/2026/${name}.mp4`)
  const cut = join(world.home, 'cut.mp4')
  await writeFile(cut, (await readFile(keptFile)).subarray(0, 3000))
  await world.drop(cut, 'hall/cut.mp4')
  for (const name of ['kept', 'held', 'extended', 'purged', 'trashed'] as const)
    lives[name] = (await until(`hall/${name}.mp4`, isKept)).id
  for (const name of ['early', 'waits'] as const)
    lives[name] = (await until(`house/room/2026/${name}.mp4`, ({ state }) => state === 'awaiting_claim')).id

  await describeAs(lives.early, { title: 'Named before', tags: ['kept', 'early'] })
  await world.give(lives.early, una, { kind: 'claim' })
  await until('house/room/2026/early.mp4', isKept)
  await describeAs(lives.kept, { title: 'Named after', tags: ['late'] })
  await world.give(lives.kept, ada, { kind: 'assign', ownerId: una.personId })
  await world.give(lives.held, ben, { kind: 'hold', reason: 'court 12/26' })
  await world.give(lives.extended, ada, { kind: 'extend', untilMs: Date.now() + 9 * msPer.year, reason: 'research' })
  for (const name of ['purged', 'trashed'] as const) {
    await world.fastForward(lives[name], 2 * msPer.year + msPer.day)
    const asked = await until(`hall/${name}.mp4`, ({ state }) => state === 'disposition_requested')
    await world.give(asked.id, ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
  }
  await world.fastForward(lives.purged, 15 * msPer.day)
  await until('hall/purged.mp4', ({ state }) => state === 'purged')
  await world.drop(keptFile, 'hall/again.mp4')
  await world.db.asAccount(world.accountId, (tx) =>
    ensureStore(tx, { name: 'away', site: 'c', role: 'backup', url: `local:${join(world.home, 'not-mounted')}` }),
  )
  await world.drop(await sample(), 'hall/parked.mp4')
  lives.parked = (await until('hall/parked.mp4', ({ problem }) => problem?.stage === 'replicate')).id
  await repeatUntil(async () => ['duplicate', 'released'].includes((await depositState('hall/again.mp4')) ?? ''))
}

async function depositState(path: string): Promise<string | undefined> {
  const row = await world.db.asAccount(world.accountId, (tx) =>
    tx.selectFrom('deposits').select('state').where('path', '=', path).executeTakeFirst(),
  )
  return row?.state
}

type Row = Record<string, unknown>
type Dump = Record<string, Row[]>

function databaseName(url: string): string {
  return new URL(url).pathname.slice(1)
}

/** Every table, whole, as nobody but the superuser sees it. */
async function dump(name: string): Promise<Dump> {
  const url = new URL(inject('adminUrl'))
  url.pathname = `/${name}`
  const client = new Client(url.href)
  await client.connect()
  try {
    const tables = await client.query(
      "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    )
    const all: Dump = {}
    for (const { name: table } of tables.rows.filter((row) => !row.name.startsWith('kysely_'))) {
      const { rows } = await client.query(`select to_jsonb(t) as row from ${table} t order by 1`)
      all[table] = rows.map(({ row }) => row)
    }
    return all
  } finally {
    await client.end()
  }
}

const fileName = (all: Dump, id: unknown) => all['files']?.find((file) => file['id'] === id)?.['name']
/** What makes two rows the same thing; rows of other tables are the same where they are equal. */
const keyOf: Record<string, (row: Row, all: Dump) => string> = {
  accounts: (row) => String(row['id']),
  people: (row) => String(row['email']),
  stores: (row) => String(row['name']),
  recorders: (row) => String(row['name']),
  deposits: (row) => String(row['id']),
  recordings: (row) => String(row['id']),
  files: (row) => `${String(row['recording_id'])} ${String(row['name'])}`,
  copies: (row, all) => {
    const store = all['stores']?.find(({ id }) => id === row['store_id'])
    return `${String(row['recording_id'])} ${String(fileName(all, row['file_id']))} ${String(store?.['url'])}`
  },
}

/** Every table whose rows are not the same ones, and every column that differs in rows that are. */
function differences(before: Dump, after: Dump): string[] {
  const found = new Set<string>()
  for (const table of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const key = keyOf[table] ?? ((row: Row) => JSON.stringify(row))
    const [was, is] = [before, after].map((all) => new Map((all[table] ?? []).map((row) => [key(row, all), row]))) as [
      Map<string, Row>,
      Map<string, Row>,
    ]
    for (const [id, row] of was) {
      const other = is.get(id)
      if (other === undefined) found.add(table)
      else
        for (const column of Object.keys(row))
          if (JSON.stringify(row[column]) !== JSON.stringify(other[column])) found.add(`${table}.${column}`)
    }
    for (const id of is.keys()) if (!was.has(id)) found.add(table)
  }
  return [...found].sort((a, b) => a.localeCompare(b))
}

function unlisted(found: readonly string[], losses: readonly Loss[]): string[] {
  const listed = new Set(losses.flatMap(({ rows = [], columns = [] }) => [...rows, ...columns]))
  return found.filter((difference) => !listed.has(difference))
}

async function emptyDatabase(): Promise<{ db: Database; url: string; name: string }> {
  const database = await freshDatabase()
  const db = openDatabase(database.appUrl)
  opened.push({ db, database })
  return { db, url: database.appUrl, name: databaseName(database.appUrl) }
}

const run = (url: string, ...args: string[]) =>
  runCli({ REELKEEP_HOME: join(world.home, 'none'), DATABASE_URL: url }, args)

const primaryUrl = () => `local:${join(world.home, 'primary')}`

function requestFrom(db: Database, root: string, change: Partial<RebuildRequest> = {}): RebuildRequest {
  const store = openLocalStore({ root })
  const source = { name: 'Primary', site: 'a', role: 'primary' as const, url: `local:${root}`, label: store.label }
  return { db, store, source, accountId: null, accountName: null, fast: false, ...change }
}

const idsOf = (items: readonly { recordingId: string }[]) => items.map((one) => one.recordingId).toSorted()
const recordingIn = (db: Database, id: string) => db.asAccount(world.accountId, (tx) => findRecording(tx, id))

describe('from the primary store alone', () => {
  let target: Awaited<ReturnType<typeof emptyDatabase>>
  let report: RebuildReport
  let rebuilt: Dump

  beforeAll(async () => {
    target = await emptyDatabase()
    const done = await run(target.url, 'rebuild', '--from', primaryUrl(), '--site', 'a', '--name', 'primary', '--json')
    expect(done.error).toBeNull()
    report = JSON.parse(done.out)
    rebuilt = await dump(target.name)
    expect(done.exitCode).toBe(1)
  })

  test('every sealed recording that was not purged is there again; the others are named', () => {
    expect(idsOf(report.inserted)).toEqual(sealed().toSorted())
    expect(report.refused).toEqual([
      expect.objectContaining({
        recordingId: lives.waits,
        why: 'unsealed',
        reason: expect.stringContaining('an original without a manifest'),
      }),
    ])
    expect(report).toMatchObject({
      checked: 'read back',
      lackingCopies: sealed().length,
      accounts: [world.accountId],
      strangers: { count: 0 },
    })
  })

  test('what differs from the lost database is on the list, and nothing else does', () => {
    const found = differences(lost, rebuilt)
    expect(unlisted(found, notInManifests)).toEqual([])
    expect(found).toEqual(expect.arrayContaining(['holds', 'dispositions', 'approvals', 'recordings', 'audit_events']))
    expect(found).toEqual(expect.arrayContaining(['recordings.title', 'recordings.tags', 'recordings.retain_until']))
    expect(found).toEqual(expect.arrayContaining(['problems', 'notices', 'deposits', 'recorders.directory', 'people']))
    // Without its entry, each of these is seen.
    for (const loss of notInManifests) {
      const others = notInManifests.filter((one) => one !== loss)
      const only = unlisted(unlisted([...(loss.rows ?? []), ...(loss.columns ?? [])], others), others)
      for (const one of only.filter((name) => found.includes(name))) expect(unlisted(found, others)).toContain(one)
    }
  })

  test('a row that was forged, or lost, is no listed difference', () => {
    const changed = structuredClone(rebuilt)
    changed['recordings']![0]!['sha256'] = 'other'
    changed['files']!.find((file) => file['kind'] === 'original')!['key'] = 'other'
    expect(unlisted(differences(lost, changed), notInManifests)).toEqual(['files.key', 'recordings.sha256'])
  })

  test('the list names tables and columns that exist', () => {
    for (const { rows = [], columns = [] } of notInManifests) {
      for (const table of rows) expect(Object.keys(rebuilt)).toContain(table)
      for (const column of columns) {
        const [table = '', name = ''] = column.split('.')
        expect(Object.keys(rebuilt[table]?.[0] ?? {}), column).toContain(name)
      }
    }
  })

  test('title, tags and owner are those of the sealing; only what was changed later is lost', () => {
    const row = (all: Dump, id: string) => all['recordings']?.find((one) => one['id'] === id) ?? {}
    const ownerOf = (all: Dump, id: string) =>
      all['people']?.find((person) => person['id'] === row(all, id)['owner_id'])?.['email']
    for (const id of sealed()) {
      expect(ownerOf(rebuilt, id)).toBe(id === lives.kept ? 'ada@example.test' : ownerOf(lost, id))
      if (id === lives.kept) continue
      for (const column of ['title', 'description', 'tags', 'media'])
        expect(row(rebuilt, id)[column]).toEqual(row(lost, id)[column])
      const acceptedAtMs = (all: Dump) => Date.parse(String(row(all, id)['created_at']))
      expect(acceptedAtMs(rebuilt)).toBe(acceptedAtMs(lost))
    }
    expect(row(rebuilt, lives.early)).toMatchObject({ title: 'Named before', tags: ['kept', 'early'] })
    expect(row(rebuilt, lives.kept)['title']).not.toBe('Named after')
  })

  test('each stands under a hold, kept by its rule, verified in this store; its timeline says from where', async () => {
    for (const id of sealed()) {
      const recording = await recordingIn(target.db, id)
      expect(recording).toMatchObject({ state: 'retained', onHold: true, clockOffsetMs: 0 })
      expect(recording?.facts.holds[0]?.reason).toMatch(/^rebuilt from manifests on \d{4}-\d\d-\d\d: check holds/)
      expect(recording?.retainUntilMs).toBe((recording?.createdAtMs ?? 0) + 2 * msPer.year)
      expect(new Set(recording?.copies.map((copy) => copy.state))).toEqual(new Set(['verified']))
      expect(recording?.timeline.map((event) => [event.action, event.actor])).toEqual(
        ['accepted', 'claimed', 'encoding', 'archiving', 'protected', 'retained', 'rebuilt']
          .map((state) => [`recording.${state}`, 'rebuild'])
          .concat([['hold.placed', 'rebuild']]),
      )
      expect(recording?.timeline[0]?.detail).toEqual({ rebuiltFrom: primaryUrl() })
      // An ETag of the lost database matches nothing here.
      const before = lost['recordings']?.find((row) => row['id'] === id)?.['version']
      expect(recording?.version).toBeGreaterThan(Number(before) + 1_000_000)
    }
    expect(await target.db.asAccount(world.accountId, (tx) => verifyAuditTrail(tx, world.accountId))).toMatchObject({
      brokenAtSeq: null,
    })
  })

  test('a second run changes nothing', async () => {
    const again = await rebuild(requestFrom(target.db, join(world.home, 'primary')))
    expect(again).toMatchObject({ inserted: [], copiesAdded: [], unchanged: sealed().length })
    expect(differences(rebuilt, await dump(target.name))).toEqual([])
  })

  test('the report says in words what was done and what no manifest holds', async () => {
    const { out } = await run(target.url, 'rebuild', '--from', primaryUrl())
    expect(out).toContain(`0 inserted, 0 with copies added, ${sealed().length} unchanged, 1 refused`)
    expect(out).toContain(`unsealed: an original without a manifest`)
    for (const { what } of notInManifests) expect(out).toContain(what)
    const fast = await run((await emptyDatabase()).url, 'rebuild', '--from', primaryUrl(), '--fast')
    expect(fast.out).toContain('ONLY SIZES WERE COMPARED')
  })

  test('a rebuilt recorder gets its inbox and directory by its name, and keeps its recordings', async () => {
    const own = await emptyDatabase()
    await rebuild(requestFrom(own.db, join(world.home, 'primary')))
    const before = await recordingIn(own.db, lives.early)
    const recorder = await own.db.asAccount(world.accountId, async (tx) => {
      const inboxId = await ensureStore(tx, { name: 'In', site: 'a', role: 'inbox', url: 'local:/nowhere' })
      const setup = { accountId: world.accountId, name: 'room', directory: 'house/room', assignment: 'claim' as const }
      return insertRecorder(tx, { ...setup, inboxId })
    })
    expect(recorder).toMatchObject({ id: before?.facts.recorderId, directory: 'house/room', inboxName: 'In' })
    await expect(
      own.db.asAccount(world.accountId, (tx) =>
        insertRecorder(tx, { ...recorder, accountId: world.accountId, directory: 'x' }),
      ),
    ).rejects.toMatchObject({ code: 'name_taken' })
  })

  test('the copies of the other site are added, each read back, once; then they are enough', async () => {
    const own = await emptyDatabase()
    await rebuild(requestFrom(own.db, join(world.home, 'primary')))
    const root = join(world.home, 'backup')
    const source = { name: 'Backup', site: 'b', role: 'backup' as const, url: `local:${root}`, label: 'local' }
    const added = await rebuild(requestFrom(own.db, root, { source }))
    expect(added.inserted).toEqual([])
    expect(added.copiesAdded.map((one) => one.recordingId)).toEqual(
      expect.arrayContaining([lives.kept, lives.early, lives.held, lives.extended, lives.trashed]),
    )
    // The parked one's copy at the other site may have been made, or not.
    expect(added.lackingCopies).toBeLessThanOrEqual(1)
    const enough = await own.db.asAccount(world.accountId, (tx) => areCopiesVerified(tx, lives.kept))
    expect(enough).toBe(true)
    const before = await dump(own.name)
    expect(await rebuild(requestFrom(own.db, root, { source }))).toMatchObject({ inserted: [], copiesAdded: [] })
    expect(differences(before, await dump(own.name))).toEqual([])
  })
})

test('two runs at once, and a second folder with the same bytes: each recording is there once', async () => {
  const twin = '0b5f6c1e-0000-4000-8000-00000000000e'
  const root = await harmedStore(async (at) => {
    await cp(join(at(lives.early), '..'), join(at(twin), '..'), { recursive: true })
    const text = await readFile(at(twin), 'utf8')
    await writeFile(at(twin), text.replaceAll(lives.early, twin))
  })
  const { db, name } = await emptyDatabase()
  const both = await Promise.all([rebuild(requestFrom(db, root)), rebuild(requestFrom(db, root))])
  const inserted = both.flatMap((report) => idsOf(report.inserted))
  expect(new Set(inserted).size).toBe(inserted.length)
  expect(inserted).toHaveLength(sealed().length)
  for (const report of both) {
    const refused = report.refused.filter((one) => one.why === 'same_bytes').map((one) => one.recordingId)
    expect([[twin], [lives.early]]).toContainEqual(refused)
  }
  const whole = await dump(name)
  expect(whole['recordings']).toHaveLength(sealed().length)
  expect(whole['holds']).toHaveLength(sealed().length)
})

test('the account gets its administrator by its name; a store is never taken over', async () => {
  const { db, url } = await emptyDatabase()
  const root = join(world.home, 'primary')
  await rebuild(requestFrom(db, root))
  const name = `Rebuilt ${world.accountId}`
  const added = await run(url, 'account', 'add', name, '--admin', 'Ada', '--email', 'ada@example.test')
  expect(added.out).toMatch(/^rk_/)
  const people = await db.asAccount(world.accountId, (tx) => tx.selectFrom('people').selectAll().execute())
  expect(people.find((person) => person.email === 'ada@example.test')).toMatchObject({ name: 'Ada', roles: ['admin'] })

  const backup = join(world.home, 'backup')
  const asPrimary = { ...other(backup), name: 'Second' }
  await expect(rebuild(requestFrom(db, backup, { source: asPrimary }))).rejects.toMatchObject({ code: 'wrong_state' })
  const sameName = { ...other(backup), role: 'backup' as const }
  await expect(rebuild(requestFrom(db, backup, { source: sameName }))).rejects.toMatchObject({ code: 'name_taken' })
  const otherRole = { ...other(root), role: 'backup' as const, name: 'Second' }
  await expect(rebuild(requestFrom(db, root, { source: otherRole }))).rejects.toMatchObject({ code: 'wrong_state' })
  const named = await emptyDatabase()
  await run(named.url, 'account', 'add', 'Taken', '--admin', 'Ada', '--email', 'ada@example.test')
  await expect(rebuild(requestFrom(named.db, root, { accountName: 'Taken' }))).rejects.toMatchObject({
    code: 'name_taken',
  })
  await rebuild(requestFrom(named.db, root, { accountName: 'University' }))
  const { rows } = await named.db.asAccount(world.accountId, (tx) =>
    sql<{ name: string }>`select name from accounts`.execute(tx),
  )
  expect(rows).toEqual([{ name: 'University' }])
})

test('a run that was cut off between recordings is gone on with', async () => {
  const { db, name } = await emptyDatabase()
  const cut = new AbortController()
  const request = requestFrom(db, join(world.home, 'primary'), {
    signal: cut.signal,
    onProgress: (line) => (line.startsWith('2 of') ? cut.abort(new Error('cut off')) : undefined),
  })
  await expect(rebuild(request)).rejects.toThrow('cut off')
  const half = (await dump(name))['recordings'] ?? []
  expect(half.length).toBeGreaterThan(0)
  expect(half.length).toBeLessThan(sealed().length)
  const rest = await rebuild(requestFrom(db, join(world.home, 'primary')))
  expect(rest.unchanged).toBe(half.length)
  const whole = await dump(name)
  expect(whole['recordings']).toHaveLength(sealed().length)
  expect(whole['holds']).toHaveLength(sealed().length)
  expect(unlisted(differences(lost, whole), notInManifests)).toEqual([])
})

/** The primary store, copied so that it can be harmed. */
async function harmedStore(harm: (at: (id: string, name?: string) => string) => Promise<void>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'reelkeep-harmed-'))
  folders.push(root)
  await cp(join(world.home, 'primary'), root, { recursive: true })
  await harm((id, name = 'manifest.json') => join(root, world.accountId, id, name))
  return root
}

const reasons = (report: RebuildReport) =>
  Object.fromEntries(report.refused.map((one) => [one.recordingId, `${one.why}: ${one.reason}`]))

async function editManifest(path: string, edit: (manifest: Manifest) => object): Promise<void> {
  await writeFile(path, JSON.stringify(edit(JSON.parse(await readFile(path, 'utf8')))))
}

test('harmed and hostile packages are named with their reason; the whole ones come back', async () => {
  const stranger = '0b5f6c1e-0000-4000-8000-00000000000f'
  const root = await harmedStore(async (at) => {
    await editManifest(at(lives.kept), (manifest) => ({ ...manifest, accountId: stranger }))
    await editManifest(at(lives.held), (manifest) => ({
      ...manifest,
      files: manifest.files.map((file) => ({ ...file, key: file.key.replace(lives.held, lives.early) })),
    }))
    await writeFile(at(lives.extended), `{"__proto__":{"x":1},${'"a":['.repeat(100_000)}`)
    await rm(at(lives.trashed))
    await symlink('/etc/passwd', at(lives.trashed))
    const big = at(lives.parked)
    await truncate(big, 1024 * 1024 + 1)
    // A second folder of the very same recording, under an id of its own.
    const twin = join(at(stranger), '..')
    await mkdir(twin)
    await cp(join(at(lives.early), '..'), twin, { recursive: true })
    await writeFile(join(root0(at), 'lost+found.txt'), 'x')
  })
  const { db, name } = await emptyDatabase()
  const report = await rebuild(requestFrom(db, root))
  expect(idsOf(report.inserted)).toEqual([lives.early])
  expect(report.strangers).toEqual({ count: 1, examples: ['lost+found.txt'] })
  expect(reasons(report)).toMatchObject({
    [lives.kept]: expect.stringMatching(/^broken_manifest: it says account/),
    [lives.held]: expect.stringMatching(/^broken_manifest: .*not below its own folder/),
    [lives.extended]: expect.stringMatching(/^broken_manifest: /),
    [lives.trashed]: expect.stringMatching(/^broken_manifest: /),
    [lives.parked]: expect.stringMatching(/^broken_manifest: it is larger/),
    [stranger]: expect.stringMatching(/^broken_manifest: it says recording/),
    [lives.waits]: expect.stringMatching(/^unsealed/),
  })
  expect((await dump(name))['accounts']?.map((row) => row['id'])).toEqual([world.accountId])
  const mended = await rebuild(requestFrom(db, join(world.home, 'primary'), { source: other(root) }))
  expect(idsOf(mended.inserted)).toEqual(
    sealed()
      .filter((id) => id !== lives.early)
      .toSorted(),
  )
})

const root0 = (at: (id: string) => string) => join(at('x'), '..', '..', '..')
const other = (root: string) => ({
  name: 'Primary',
  site: 'a',
  role: 'primary' as const,
  url: `local:${root}`,
  label: `local:${root}`,
})

test('files that are missing, cut, flipped or replaced by a link are not taken; sizes alone do not see a flip', async () => {
  const root = await harmedStore(async (at) => {
    const flip = at(lives.kept, 'original.mp4')
    const bytes = await readFile(flip)
    bytes[100] = (bytes[100] ?? 0) ^ 1
    await writeFile(flip, bytes)
    await rm(at(lives.held, 'original.mp4'))
    await truncate(at(lives.extended, 'original.mp4'), 1000)
    await rm(at(lives.trashed, 'original.mp4'))
    await symlink(at(lives.early, 'original.mp4'), at(lives.trashed, 'original.mp4'))
  })
  const { db } = await emptyDatabase()
  const report = await rebuild(requestFrom(db, root))
  expect(idsOf(report.inserted)).toEqual([lives.early, lives.parked].toSorted())
  expect(reasons(report)).toMatchObject({
    [lives.kept]: expect.stringMatching(/^broken_files: .*other bytes/),
    [lives.held]: expect.stringMatching(/^broken_files: .*missing/),
    [lives.extended]: expect.stringMatching(/^broken_files: .*has 1000 bytes/),
    [lives.trashed]: expect.stringMatching(/^broken_files: .*symlink/),
  })

  const fast = await emptyDatabase()
  const quick = await rebuild(requestFrom(fast.db, root, { fast: true }))
  expect(quick.checked).toBe('sizes only')
  expect(idsOf(quick.inserted)).toContain(lives.kept)
  const states = new Set((await recordingIn(fast.db, lives.kept))?.copies.map((copy) => copy.state))
  expect(states).toEqual(new Set(['stored']))
  expect(await rebuild(requestFrom(fast.db, root, { fast: true }))).toMatchObject({ inserted: [], copiesAdded: [] })
  const slow = await rebuild(requestFrom(fast.db, root))
  expect(idsOf(slow.copiesAdded)).toEqual([lives.early, lives.parked].toSorted())
  expect(reasons(slow)[lives.kept]).toMatch(/other bytes/)
})

test('a database with other recordings is refused before anything is written', async () => {
  const { db, name } = await emptyDatabase()
  await rebuild(requestFrom(db, join(world.home, 'primary')))
  const before = await dump(name)
  const without = await harmedStore((at) => rm(join(at(lives.kept), '..'), { recursive: true }))
  await expect(rebuild(requestFrom(db, without))).rejects.toMatchObject({
    code: 'wrong_state',
    message: expect.stringContaining(lives.kept),
  })
  const changed = await harmedStore((at) =>
    editManifest(at(lives.kept), (manifest) => ({ ...manifest, title: 'Another' })),
  )
  await expect(rebuild(requestFrom(db, changed))).rejects.toMatchObject({ code: 'wrong_state' })
  const elsewhere = await harmedStore(async () => undefined)
  await expect(rebuild(requestFrom(db, elsewhere))).rejects.toMatchObject({ code: 'wrong_state' })
  const empty = await mkdtemp(join(tmpdir(), 'reelkeep-harmed-'))
  folders.push(empty)
  await expect(rebuild(requestFrom(db, empty))).rejects.toMatchObject({ code: 'not_found' })
  await expect(rebuild(requestFrom(db, join(empty, 'gone')))).rejects.toMatchObject({ code: 'store_misconfigured' })
  expect(differences(before, await dump(name))).toEqual([])
  await expect(
    rebuild(requestFrom(world.db, join(world.home, 'primary'))),
    'the living one has an unsealed recording',
  ).rejects.toMatchObject({ code: 'wrong_state' })
})

test('a database that was never migrated is told so', async () => {
  const url = new URL(inject('appUrl'))
  url.pathname = '/postgres'
  expect((await run(url.href, 'rebuild', '--from', primaryUrl())).error).toMatchObject({ code: 'invalid_config' })
})

test('from an S3 store', { timeout: 180_000 }, async () => {
  const server = await startSeaweed()
  const url = server.url('recordings')
  const store = openStore(url, () => server.secret)
  try {
    const local = openLocalStore({ root: join(world.home, 'primary') })
    for await (const { key, sizeBytes } of local.list(`${world.accountId}/${lives.early}`))
      await store.put(key, { open: (fromByte) => local.read(key, { start: fromByte }) }, { sizeBytes })
    const { db } = await emptyDatabase()
    const source = { ...other('x'), url, label: store.label }
    const report = await rebuild({ db, store, source, accountId: null, accountName: 'Univ', fast: false })
    expect(idsOf(report.inserted)).toEqual([lives.early])
    const recording = await recordingIn(db, lives.early)
    expect(recording?.copies.every((copy) => copy.state === 'verified')).toBe(true)
    expect(recording?.timeline[0]?.detail).toEqual({ rebuiltFrom: store.label })
  } finally {
    await store.close()
    await server.stop()
  }
})

describe('lives', () => {
  /** Workers on a rebuilt database, in this namespace. */
  async function workOn(databaseUrl: string, namespace: string) {
    const config: Config = { ...world.config, databaseUrl, temporal: { ...world.config.temporal, namespace } }
    return { config, workers: await startWorkers({ config, workflowBundle: await bundleWorkflows() }) }
  }

  async function shown(db: Database, id: string, wanted: (recording: RecordingDetail) => boolean) {
    const untilMs = Date.now() + patienceMs
    for (;;) {
      const recording = await recordingIn(db, id)
      if (recording !== null && wanted(recording)) return recording
      if (Date.now() > untilMs)
        throw new Error(`${JSON.stringify(lives)}: ${id} waits for ${recording?.waitingFor}, is ${recording?.state}`)
      await pause(200)
    }
  }
  const isHeld = ({ waitingFor }: RecordingDetail) => waitingFor.includes('legal hold (rebuilt from manifests')

  const runsOf = async (namespace: string) => {
    const connection = await Connection.connect({ address: world.config.temporal.address })
    try {
      const client = new TemporalClient({ connection, namespace })
      const runs: Record<string, string> = {}
      for (const id of sealed()) {
        const description = await client.workflow.getHandle(`rec/${id}`).describe()
        const first = description.raw.workflowExecutionInfo?.firstRunId ?? ''
        runs[id] = `${first} ${description.status.name}`
      }
      return runs
    } finally {
      await connection.close()
    }
  }

  async function statusOf(namespace: string, id: string): Promise<string> {
    const connection = await Connection.connect({ address: world.config.temporal.address })
    try {
      const client = new TemporalClient({ connection, namespace })
      return (await client.workflow.getHandle(`rec/${id}`).describe()).status.name
    } finally {
      await connection.close()
    }
  }

  async function operatorIn(db: Database) {
    const key = makeKey()
    const personId = await db.asAccount(world.accountId, async (tx) => {
      const id = await ensurePerson(tx, { name: 'Olga', email: 'olga@example.test', roles: ['admin'] })
      await ensureKey(tx, { personId: id, label: 'x', keySha256: hashSecret(key), scopes: ['read', 'write', 'admin'] })
      return id
    })
    const actor = { ...world.people.ada, personId, name: 'Olga' }
    return { key, actor }
  }

  test(
    'Temporal lost, too: each gets a life, which reaches its rest with the hold shown',
    { timeout: 300_000 },
    async () => {
      const { db, url } = await emptyDatabase()
      await rebuild(requestFrom(db, join(world.home, 'primary')))
      const namespace = await makeNamespace()
      const { config, workers } = await workOn(url, namespace)
      const pipeline = openPipeline(config.temporal)
      const log = pino({ level: 'silent' })
      const stores = openStoreBook({ db, resolveSecret: config.resolveSecret, log })
      try {
        for (const id of sealed()) await shown(db, id, isHeld)
        const { key, actor } = await operatorIn(db)

        const app = createApp({ db, pipeline, stores, config, log, metrics: createMetrics(), signingKeys: [] })
        const media = await app.request(`/api/v1/recordings/${lives.kept}/media/source.mp4`, {
          headers: { Authorization: `Bearer ${key}` },
        })
        expect(media.status).toBe(200)
        expect((await media.arrayBuffer()).byteLength).toBeGreaterThan(1000)

        const holdId = (await recordingIn(db, lives.kept))?.facts.holds[0]?.id ?? ''
        await expect(
          pipeline.command(lives.kept, { command: { kind: 'requestDeletion', reason: 'x' }, actor, requestId: 'a' }),
        ).rejects.toMatchObject({ code: 'on_hold' })
        await pipeline.command(lives.kept, { command: { kind: 'release', holdId }, actor, requestId: 'b' })
        await shown(db, lives.kept, ({ waitingFor }) => waitingFor.includes('the end of its retention'))
      } finally {
        await workers.stop()
        await stores.close()
        await pipeline.close()
      }
    },
  )

  test(
    'Temporal kept: lives that run are not begun again; they look at the rebuilt rows, and nothing they began goes on',
    { timeout: 300_000 },
    async () => {
      await world.workers.stop()
      world.workers = { ...world.workers, stop: async () => undefined }
      const { namespace } = world.config.temporal
      const before = await runsOf(namespace)
      const { db, url } = await emptyDatabase()
      await rebuild(requestFrom(db, join(world.home, 'primary')))
      const { config, workers } = await workOn(url, namespace)
      const pipeline = openPipeline(config.temporal)
      try {
        const rest = sealed().filter((id) => id !== lives.parked)
        for (const id of rest) await shown(db, id, isHeld)
        expect(await runsOf(namespace)).toEqual(before)
        // What ended well is never begun again, whoever asks.
        await pipeline.startRecording({ accountId: world.accountId, recordingId: lives.purged, accepted: true })
        const again = { accountId: world.accountId, recordingId: lives.purged, accepted: true }
        await pipeline.startRecording(again, { wake: true })
        expect(await statusOf(namespace, lives.purged)).toBe('COMPLETED')
        const { actor } = await operatorIn(db)
        const holdId = (await recordingIn(db, lives.held))?.facts.holds[0]?.id ?? ''
        await pipeline.command(lives.held, { command: { kind: 'release', holdId }, actor, requestId: 'c' })
        await shown(db, lives.held, ({ waitingFor }) => waitingFor.includes('the end of its retention'))
        // The run that was told to look again, for replays by later versions.
        const version = process.env['SAVE_HISTORIES']
        if (version !== undefined) await saveHistory(world, lives.held, `rebuilt-${version}`)
        for (const id of sealed())
          expect(await readdir(join(world.home, 'primary', world.accountId, id))).toContain('original.mp4')
      } finally {
        await workers.stop()
        await pipeline.close()
      }
    },
  )
})
