import { createHash, randomBytes } from 'node:crypto'
import { appendFileSync, writeFileSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ensureKey, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { pickPort } from '../../src/dev/processes.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import type { Policy } from '../../src/domain/policy.ts'
import { msPer } from '../../src/domain/units.ts'
import { describeViolations, judge } from '../oracle/judge.ts'
import type { Dropped, OraclePlace, Told } from '../oracle/judge.ts'
import { startSeaweed } from '../servers/s3.ts'
import type { S3Server } from '../servers/s3.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { randomOf } from './random.ts'
import { dropByS3, dropBySftp } from './storm-droppers.ts'
import { act, tidyUp } from './storm-people.ts'
import type { Person } from './storm-people.ts'
import { freezeTree, makeSmallDisk, startApiProcess, startStormServers } from './storm-servers.ts'
import type { Restarted, SmallDisk, StormServers } from './storm-servers.ts'
import { describeBucket, hastyPolicy, writeBundle } from './system.ts'
import { startWorkerPool } from './worker-pool.ts'
import type { WorkerPool } from './worker-pool.ts'

const seed = Number(process.env['REELKEEP_CHAOS_SEED'] ?? 1)
const stormMs = Number(process.env['REELKEEP_CHAOS_MINUTES'] ?? 3) * msPer.minute
const restMs = 8 * msPer.minute
const workers = 3

const policy: Policy = {
  ...hastyPolicy,
  claim: { remindAfterMs: [5000], escalateAfterMs: 20_000, expireAfterMs: 60_000 },
  retention: {
    rules: [{ id: 'stormy', name: 'Recordings are kept for half a minute', when: {}, keepMs: 30_000 }],
    remindBeforeMs: [5000],
  },
  disposition: { approvals: 1, undoMs: 8000, remindEveryMs: 30_000 },
}

let servers: StormServers
let seaweed: S3Server
let inboxSshd: SftpServer
let backupSshd: SftpServer
let world: World
let pool: WorkerPool
let api: Restarted
let apiUrl: string
let disks: SmallDisk[] = []
let persons: Person[]
let base: Buffer
let clockFile: string
const dropped: Dropped[] = []
const told: Told[] = []
const beganAtMs = Date.now()

function say(line: string): void {
  process.stdout.write(`${((Date.now() - beganAtMs) / 1000).toFixed(1).padStart(6)} s  ${line}\n`)
}

beforeAll(async () => {
  say(`SEED=${seed}`)
  ;[servers, seaweed, inboxSshd, backupSshd] = await Promise.all([
    startStormServers({ cacheDir: inject('cacheDir'), temporalBinary: inject('temporalBinary'), say }),
    startSeaweed(),
    startSshd(),
    startSshd(),
  ])
  disks = ['primary', 'scratch'].map((name) => makeSmallDisk(join(servers.home, 'disks', name), 96))
  if (disks.some(({ canFill }) => !canFill)) say('NOT PLAYED: full disks (mounting a small one needs root)')
  await mkdir(join(inboxSshd.directory, 'hall'))
  await mkdir(join(inboxSshd.directory, 'room'))
  const port = await pickPort()
  apiUrl = `http://127.0.0.1:${port}`
  const { postgres, temporal } = servers
  const database = {
    ownerUrl: postgres.ownerUrl,
    appUrl: postgres.appUrl,
    adminUrl: postgres.adminUrl,
    drop: async () => undefined,
  }
  world = await startWorld({
    workers: false,
    policy,
    servers: { temporalAddress: temporal.address, database },
    urls: {
      inbox: inboxSshd.url().replace(inboxSshd.secretName, 'INBOX'),
      primary: `local:${disks[0]!.path}`,
      backup: seaweed.url('kept'),
    },
    env: {
      REELKEEP_SECRET_INBOX: inboxSshd.secret,
      REELKEEP_SECRET_FAR: backupSshd.secret,
      [`REELKEEP_SECRET_${seaweed.secretName}`]: seaweed.secret,
      SCRATCH_DIR: disks[1]!.path,
      API_PORT: String(port),
    },
  })
  const { ada, ben, una } = world.people
  persons = [ada, ben, una].map((actor) => ({ actor, key: `rk_${randomBytes(24).toString('hex')}` }))
  await world.db.asAccount(world.accountId, async (tx) => {
    await ensureStore(tx, {
      name: 'far',
      site: 'c',
      role: 'backup',
      url: backupSshd.url().replace(backupSshd.secretName, 'FAR'),
    })
    const bucketId = await ensureStore(tx, { name: 'bucket-inbox', site: 'b', role: 'inbox', url: seaweed.url('in') })
    await ensureRecorder(tx, {
      inboxId: bucketId,
      name: 'bucket',
      directory: 'cam',
      assignment: 'automatic',
      defaultOwnerId: ada.personId,
      quietMs: 4000,
    })
    for (const { actor, key } of persons)
      await ensureKey(tx, {
        personId: actor.personId,
        label: 'storm',
        keySha256: createHash('sha256').update(key).digest('hex'),
        scopes: ['read', 'write', 'admin'],
      })
  })
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: ada.personId, quietMs: 4000 })
  await world.addRecorder({ name: 'room', assignment: 'manager', managerId: ben.personId, quietMs: 4000 })
  const sample = join(world.home, 'base.mp4')
  await generateSmall(sample, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
  base = await readFile(sample)
  clockFile = join(servers.home, 'clock')
  const bundle = await writeBundle(join(world.home, 'bundle.js'))
  pool = startWorkerPool({
    count: workers,
    logFile: join(servers.home, 'workers.log'),
    env: { ...world.env, WORKFLOW_BUNDLE: bundle, CLOCK_FILE: clockFile },
  })
  api = startApiProcess({ ...world.env, CLOCK_FILE: clockFile }, join(servers.home, 'api.log'))
}, 300_000)
afterAll(async () => {
  await Promise.all([pool?.stop(), api?.stop()])
  await world?.stop()
  for (const disk of disks) disk.remove()
  await Promise.all([servers?.stop(), seaweed?.stop(), inboxSshd?.stop(), backupSshd?.stop()])
}, 120_000)

/** Until the storm is over, again and again with random pauses. What one actor draws does not change the others. */
async function keepOn(untilMs: number, pauses: () => number, work: () => Promise<void>): Promise<void> {
  while (Date.now() < untilMs) {
    await pause(pauses())
    await work()
  }
}

function recorders(untilMs: number): Promise<void>[] {
  let count = 0
  return ['hall', 'room', 'cam'].map((directory) => {
    const random = randomOf(seed).fork(`recorder ${directory}`)
    return keepOn(
      untilMs,
      () => random.whole(800, 6000),
      async () => {
        const where = { directory, base, name: `${directory}-${(count += 1)}`, scratch: world.home, prefix: 'in' }
        const done = await (directory === 'cam'
          ? dropByS3(seaweed, random, where)
          : dropBySftp(inboxSshd, random, where))
        if (done !== null) dropped.push(done)
      },
    )
  })
}

function people(untilMs: number): Promise<void>[] {
  return persons.map((person) => {
    const random = randomOf(seed).fork(`person ${person.actor.name}`)
    return keepOn(
      untilMs,
      () => random.whole(200, 2500),
      () => act(apiUrl, person, random, told),
    )
  })
}

/** Every kind of trouble, with how often it is drawn. One of the freezes lasts a whole minute. */
async function breaker(untilMs: number): Promise<void> {
  const random = randomOf(seed).fork('breaker')
  const freezes: Promise<void>[] = []
  const longFreeze = random.pick(['worker', 'Temporal', 'Postgres'] as const)
  let longDone = false
  const freezeMs = (of: string) => {
    if (longDone || of !== longFreeze) return random.whole(2000, 15_000)
    longDone = true
    return 60_000
  }
  const troubles: readonly (readonly [number, string, () => Promise<void> | void])[] = [
    [6, 'kill -9 a worker', () => pool.kill(random.whole(0, workers - 1))],
    [2, 'kill -9 the API', () => api.kill()],
    [1, 'kill -9 Postgres', () => void process.kill(servers.postgres.pid, 'SIGKILL')],
    [1, 'kill -9 Temporal', () => void process.kill(servers.temporal.pid, 'SIGKILL')],
    [2, 'freeze a worker', () => pool.freeze(random.whole(0, workers - 1), freezeMs('worker'))],
    [1, 'freeze Postgres', () => void freezes.push(freezeTree(servers.postgres.pid, freezeMs('Postgres')))],
    [1, 'freeze Temporal', () => void freezes.push(freezeTree(servers.temporal.pid, freezeMs('Temporal')))],
    [1, 'freeze the bucket', () => freezeServer(seaweed, random.whole(2000, 20_000))],
    [1, 'freeze the far site', () => freezeServer(backupSshd, random.whole(2000, 20_000))],
    [1, 'set the clocks of workers and API wrong', () => setClocks(random.whole(-3 * msPer.day, 3 * msPer.day))],
    [1, 'set the clocks of workers and API right', () => setClocks(0)],
    [2, 'fill the primary disk', () => void freezes.push(disks[0]!.fill(random.whole(3000, 12_000)))],
    [2, 'fill the scratch disk', () => void freezes.push(disks[1]!.fill(random.whole(3000, 12_000)))],
  ]
  const drawn = troubles.flatMap((trouble) => Array.from({ length: trouble[0] }, () => trouble))
  await keepOn(
    untilMs,
    () => random.whole(1500, 6000),
    async () => {
      const [, name, play] = random.pick(drawn)
      say(name)
      try {
        await play()
      } catch (error) {
        say(`  ${String(error)}`)
      }
    },
  )
  await Promise.all(freezes)
  setClocks(0)
}

function setClocks(wrongByMs: number): void {
  writeFileSync(clockFile, String(wrongByMs))
}

function freezeServer(server: S3Server | SftpServer, forMs: number): void {
  server.signal('SIGSTOP')
  setTimeout(() => server.signal('SIGCONT'), forMs)
}

/** What still moves, by the database itself. */
async function listRestless(): Promise<string[]> {
  const client = new Client(world.adminUrl)
  await client.connect()
  try {
    const { rows } = await client.query<{ what: string }>(`
      select 'recording ' || id || ' is ' || state as what from recordings r
      where state in ('accepted', 'claimed', 'encoding', 'archiving', 'protected', 'disposition_requested', 'approved', 'trashed', 'purging')
        and not exists (select 1 from problems p where p.recording_id = r.id and p.resolved_at is null and p.next_retry_at is null)
      union all
      select 'recording ' || id || ' waits for ' || coalesce(waiting_for, 'nothing') from recordings r
      where state = 'retained' and not exists (select 1 from holds h where h.recording_id = r.id and h.released_at is null)
        and (next_at is null or next_at < now() + clock_offset_ms * interval '1 millisecond' + interval '10 seconds')
      union all
      select 'deposit ' || path || ' is ' || state from deposits d where state in ('arriving', 'complete')`)
    return rows.map(({ what }) => what)
  } finally {
    await client.end()
  }
}

async function comeToRest(): Promise<string[]> {
  const untilMs = Date.now() + restMs
  let restless: string[] = ['not looked yet']
  for (let calm = 0; calm < 3 && Date.now() < untilMs;) {
    await tidyUp(apiUrl, persons[1]!, told)
    await tidyUp(apiUrl, persons[0]!, told)
    restless = await listRestless().catch((error: unknown) => [String(error)])
    calm = restless.length === 0 ? calm + 1 : 0
    await pause(2000)
  }
  return restless
}

function places(): OraclePlace[] {
  return [
    { name: 'inbox', role: 'inbox', site: 'a', kind: 'directory', path: inboxSshd.directory },
    { name: 'bucket-inbox', role: 'inbox', site: 'b', ...describeBucket(seaweed, 'in') },
    { name: 'primary', role: 'primary', site: 'a', kind: 'directory', path: disks[0]!.path },
    { name: 'backup', role: 'backup', site: 'b', ...describeBucket(seaweed, 'kept') },
    { name: 'far', role: 'backup', site: 'c', kind: 'directory', path: backupSshd.directory },
  ]
}

test(
  `a storm of ${stormMs / msPer.minute} minutes, SEED=${seed}: nothing lost, nothing twice, nothing early`,
  { timeout: 5_400_000 },
  async () => {
    const untilMs = Date.now() + stormMs
    await Promise.all([...recorders(untilMs), ...people(untilMs), breaker(untilMs)])
    const whole = dropped.filter(({ kind }) => kind === 'whole').length
    say(
      `the storm is over: ${dropped.length} drops (${whole} whole), ${told.length} answers, ${pool.deaths} dead workers`,
    )
    const restless = await comeToRest()
    say(`at rest: ${restless.length === 0 ? 'everything' : restless.join('; ')}`)
    const violations = await judge({
      databaseUrl: world.adminUrl,
      temporal: world.config.temporal,
      places: places(),
      dropped,
      told,
      settled: true,
      graceMs: 120_000,
    })
    say(violations.length === 0 ? 'ORACLE: no promise is broken' : describeViolations(violations))
    if (restless.length > 0 || violations.length > 0) await keepEvidence()
    expect(restless, 'did not come to rest').toEqual([])
    expect(violations, describeViolations(violations)).toEqual([])
  },
)

/** The logs of a storm that found something, where the next person finds them. */
async function keepEvidence(): Promise<void> {
  const folder = join(tmpdir(), `reelkeep-storm-evidence-${seed}`)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  for (const name of ['workers.log', 'api.log'])
    appendFileSync(join(folder, name), await readFile(join(servers.home, name)).catch(() => ''))
  appendFileSync(join(folder, 'told.json'), JSON.stringify(told, null, 1))
  appendFileSync(join(folder, 'dropped.json'), JSON.stringify(dropped, null, 1))
  say(`evidence: ${folder}`)
}
