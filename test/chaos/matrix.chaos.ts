import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ensureStore } from '../../src/db/accounts.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { actionsAt, failpoints } from '../../src/failpoints/names.ts'
import type { FailpointName } from '../../src/failpoints/names.ts'
import { taskQueues } from '../../src/workflows/names.ts'
import { describeViolations, judge } from '../oracle/judge.ts'
import type { OraclePlace } from '../oracle/judge.ts'
import { startSeaweed } from '../servers/s3.ts'
import type { S3Server } from '../servers/s3.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { scenarioOf, scenarios } from './lives.ts'
import type { Fault, Rest, Stage } from './lives.ts'
import { describeBucket, hastyPolicy, listPlayed, Watcher, writeBundle } from './system.ts'
import { startWorkerPool } from './worker-pool.ts'
import type { WorkerPool } from './worker-pool.ts'

/** `full` = every action at every failpoint, once and twice; otherwise each failpoint meets one action, by turns. */
const isFull = process.env['REELKEEP_CHAOS_MATRIX'] === 'full'
const only = process.env['REELKEEP_CHAOS_ONLY'] ?? ''
const atOnce = Number(process.env['REELKEEP_CHAOS_AT_ONCE'] ?? 24)
const lifeMs = Number(process.env['REELKEEP_CHAOS_LIFE_MS'] ?? 600_000)

let world: World
let seaweed: S3Server
let sshd: SftpServer
let pool: WorkerPool
let stage: Stage
let arms: string

beforeAll(async () => {
  ;[seaweed, sshd] = await Promise.all([startSeaweed(), startSshd()])
  world = await startWorld({
    workers: false,
    policy: hastyPolicy,
    env: {
      [`REELKEEP_SECRET_${seaweed.secretName}`]: seaweed.secret,
      [`REELKEEP_SECRET_${sshd.secretName}`]: sshd.secret,
    },
  })
  await world.db.asAccount(world.accountId, async (tx) => {
    await ensureStore(tx, { name: 'bucket', site: 'c', role: 'backup', url: seaweed.url('kept') })
    await ensureStore(tx, { name: 'far', site: 'd', role: 'backup', url: sshd.url() })
  })
  const { ada, ben } = world.people
  for (const name of ['hall', 'kept'])
    await world.addRecorder({ name, assignment: 'automatic', defaultOwnerId: ada.personId, quietMs: 2000 })
  await world.addRecorder({ name: 'managed', assignment: 'manager', managerId: ben.personId, quietMs: 2000 })
  arms = join(world.home, 'arms')
  await mkdir(join(arms, 'played'), { recursive: true })
  const base = join(world.home, 'base.mp4')
  await generateSmall(base, { ffmpegPath: inject('ffmpegPath'), seed: 4711, codec: 'h264-aac' })
  const bundle = await writeBundle(join(world.home, 'bundle.js'))
  pool = startWorkerPool({
    count: 3,
    logFile: join(world.home, 'workers.log'),
    env: { ...world.env, WORKFLOW_BUNDLE: bundle, FAILPOINTS_DIR: arms },
  })
  stage = {
    world,
    arms,
    watcher: await Watcher.open(world.adminUrl),
    dropped: [],
    told: [],
    base: await readFile(base),
    notMedia: Buffer.from('%PDF-1.7 this is no recording '),
    forMs: lifeMs,
    leaveWithoutLife,
    reconcile,
  }
}, 240_000)
afterAll(async () => {
  await pool?.stop()
  await stage?.watcher.close()
  await world?.stop()
  await Promise.all([seaweed?.stop(), sshd?.stop()])
}, 120_000)

/** Writes the row a look writes when it finds a deposit complete. */
async function leaveWithoutLife(inbox: { readonly id: string; readonly path: string }, path: string): Promise<void> {
  const found = await stat(join(inbox.path, path))
  await world.db.asAccount(world.accountId, async (tx) => {
    const recorder = await tx
      .selectFrom('recorders')
      .select('id')
      .where('inbox_id', '=', inbox.id)
      .executeTakeFirstOrThrow()
    await tx
      .insertInto('deposits')
      .values({
        account_id: world.accountId,
        inbox_id: inbox.id,
        recorder_id: recorder.id,
        path,
        size_bytes: found.size,
        mtime_ms: Math.floor(found.mtimeMs),
        file_id: `${found.dev}:${found.ino}`,
        state: 'complete',
        end_signal: 'quiet',
        complete_at: new Date(),
      })
      .execute()
  })
}

async function reconcile(name: string): Promise<void> {
  const connection = await Connection.connect({ address: world.config.temporal.address })
  const client = new Client({ connection, namespace: world.config.temporal.namespace })
  await client.workflow.start('reconcileWorkflow', {
    workflowId: `reconcile/${name}`,
    taskQueue: taskQueues.life,
    args: [],
  })
  await connection.close()
}

/** Every fault of this run. */
function listFaults(): Fault[] {
  const points = (Object.keys(failpoints) as FailpointName[]).filter((point) => point.startsWith(only))
  return points.flatMap((point, index) => {
    const actions = actionsAt(point)
    if (isFull) return actions.flatMap((action) => [1, 2].map((times) => ({ point, action, times })))
    return [{ point, action: actions[index % actions.length] ?? 'die', times: 1 + (index % 2) }]
  })
}

interface Outcome {
  readonly fault: Fault
  readonly rest: Rest | { readonly how: 'lost'; readonly reason: string }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** On a busy machine a life may pass its failpoint before the fault is armed: then another life is to meet it. */
const roundsAtMost = 3

async function liveUntilPlayed(faults: readonly Fault[]): Promise<{ outcomes: Outcome[]; silent: readonly Fault[] }> {
  const outcomes: Outcome[] = []
  let silent = faults
  for (let round = 1; silent.length > 0 && round <= roundsAtMost; round += 1) {
    if (round > 1)
      say(`armed too late, once more: ${silent.map(({ point, action }) => `${point} ${action}`).join(', ')}`)
    outcomes.push(...(await liveAll(silent, `round-${round}-life`)))
    const played = new Set((await listPlayed(arms)).map(({ point, action }) => `${point} ${action}`))
    silent = silent.filter(({ point, action }) => !played.has(`${point} ${action}`))
  }
  return { outcomes, silent }
}

async function liveAll(faults: readonly Fault[], prefix: string): Promise<Outcome[]> {
  const waiting = faults.map((fault, index) => ({ fault, name: `${prefix}-${index}` }))
  const outcomes: Outcome[] = []
  const one = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { fault, name } = next
      const live = scenarios[scenarioOf[fault.point] ?? 'whole']
      const rest = await live(stage, { name, fault }).catch((error: unknown) => ({
        how: 'lost' as const,
        reason: error instanceof Error ? error.message : String(error),
      }))
      outcomes.push({ fault, rest })
      if (rest.how === 'lost' || rest.how === 'needs attention')
        say(
          `${outcomes.length}/${faults.length} ${fault.point} ${fault.action} x${fault.times}: ${rest.how}: ${rest.reason}`,
        )
      const id = /"depositId":"([^"]+)"/.exec(rest.reason ?? '')?.[1]
      if (rest.how === 'lost' && id !== undefined) say(await explainLife(id).catch(String))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
  return outcomes
}

/** What Temporal knows of a life that did not come to rest: where it stands, and why its activity fails. */
async function explainLife(recordingId: string): Promise<string> {
  const connection = await Connection.connect({ address: world.config.temporal.address })
  try {
    const client = new Client({ connection, namespace: world.config.temporal.namespace })
    const handle = client.workflow.getHandle(`rec/${recordingId}`)
    const { raw, status } = await handle.describe()
    const pending = (raw.pendingActivities ?? []).map(
      (one) => `${one.activityType?.name} attempt ${one.attempt}: ${one.lastFailure?.message ?? 'no failure yet'}`,
    )
    const { events } = await handle.fetchHistory()
    const last = (events ?? []).slice(-20).map((event) => {
      const [detail] = Object.entries(event)
        .filter(([key]) => key.endsWith('Attributes'))
        .map(([, value]) => value as object)
      return `${String(event.eventId)} ${String(event.eventType)} ${JSON.stringify(detail).slice(0, 300)}`
    })
    return [
      `${status.name}; pending: ${pending.join('; ')}; task: ${JSON.stringify(raw.pendingWorkflowTask)}`,
      ...last,
    ].join('\n')
  } finally {
    await connection.close()
  }
}

function places(): OraclePlace[] {
  const { home } = world
  return [
    ...[...new Set(['inbox', ...stage.dropped.map(({ inbox }) => inbox)])].map((name) => ({
      name,
      role: 'inbox' as const,
      site: 'a',
      kind: 'directory' as const,
      path: join(home, name),
    })),
    { name: 'primary', role: 'primary', site: 'a', kind: 'directory', path: join(home, 'primary') },
    { name: 'backup', role: 'backup', site: 'b', kind: 'directory', path: join(home, 'backup') },
    { name: 'far', role: 'backup', site: 'd', kind: 'directory', path: sshd.directory },
    { name: 'bucket', role: 'backup', site: 'c', ...describeBucket(seaweed, 'kept') },
  ]
}

const faults = listFaults()
test(`${faults.length} faults: every life comes to rest, no promise is broken`, { timeout: 3_600_000 }, async () => {
  const { outcomes, silent } = await liveUntilPlayed(faults)
  await writeFile(join(world.home, 'outcomes.json'), JSON.stringify(outcomes, null, 1))
  const count = (how: string) => outcomes.filter(({ rest }) => rest.how === how).length
  say(
    `${faults.length} faults, ${pool.deaths} deaths: ${count('purged')} purged, ${count('refused')} refused, ${count('duplicate')} linked, ${count('needs attention')} in needs attention`,
  )
  expect(outcomes.filter(({ rest }) => rest.how === 'lost')).toEqual([])
  expect(silent, 'armed and never played').toEqual([])
  const asked = outcomes.filter(({ fault, rest }) => fault.action === 'corrupt' && rest.how === 'needs attention')
  expect(asked, 'bytes that go bad before the first verified copy mend themselves').toEqual([])
  const violations = await judge({
    databaseUrl: world.adminUrl,
    temporal: world.config.temporal,
    places: places(),
    dropped: stage.dropped,
    told: stage.told,
    settled: true,
    graceMs: 120_000,
  })
  expect(violations, describeViolations(violations)).toEqual([])
})
