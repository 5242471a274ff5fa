import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { temporal } from '@temporalio/proto'
import { bundleWorkflowCode, DefaultLogger, makeTelemetryFilterString, Runtime } from '@temporalio/worker'
import { inject } from 'vitest'
import { openPipeline } from '../../src/api/pipeline.ts'
import type { Pipeline } from '../../src/api/pipeline.ts'
import { loadConfig } from '../../src/config.ts'
import type { Config } from '../../src/config.ts'
import { ensureAccount, ensurePerson, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import type { RecorderSetup } from '../../src/db/accounts.ts'
import { allowFastForward, arriveFastForward } from '../../src/db/clock.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import { findRecording } from '../../src/db/recordings.ts'
import type { Command } from '../../src/domain/commands.ts'
import type { Actor, Role } from '../../src/domain/permissions.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import type { Policy } from '../../src/domain/policy.ts'
import type { RecordingDetail } from '../../src/domain/recording.ts'
import { startWorkers } from '../../src/worker.ts'
import type { RunningWorkers } from '../../src/worker.ts'
import { productSearchAttributes } from '../../src/workflows/search-attributes.ts'
import { freshDatabase } from './database.ts'
import type { FreshDatabase } from './database.ts'

/** A whole system for one test file: database, namespace, stores on disk, people and workers. */
export interface World {
  readonly home: string
  /** Its database as the superuser sees it: for oracles, never for what is tested. */
  readonly adminUrl: string
  readonly accountId: string
  readonly config: Config
  /** The settings as a worker process gets them. */
  readonly env: NodeJS.ProcessEnv
  readonly db: Database
  readonly pipeline: Pipeline
  readonly people: Readonly<Record<'ada' | 'ben' | 'una', Actor>>
  readonly stores: Readonly<Record<'inbox' | 'primary' | 'backup', string>>
  workers: RunningWorkers
  restartWorkers(): Promise<void>
  addRecorder(setup: Partial<RecorderSetup> & { name: string }): Promise<string>
  /** Drops a file the way a careful recorder does: under a temporary name, then renamed. */
  drop(from: string, path: string): Promise<void>
  give(recordingId: string, actor: Actor, command: Command, requestId?: string): Promise<void>
  detail(recordingId: string): Promise<RecordingDetail | null>
  /** Waits until the deposit at this path is a recording for which `wanted` holds. */
  until(path: string, wanted: (recording: RecordingDetail) => boolean, forMs?: number): Promise<RecordingDetail>
  fastForward(recordingId: string, ms: number): Promise<void>
  stop(): Promise<void>
}

let bundled: Promise<{ code: string }> | null = null

/** The workflows as workers run them, bundled once per test process. */
export function bundleWorkflows(): Promise<{ code: string }> {
  bundled ??= bundleWorkflowCode({
    workflowsPath: new URL('../../src/workflows/index.ts', import.meta.url).pathname,
    logger: new DefaultLogger('WARN'),
  })
  return bundled
}

/** Starts a world. */
export async function startWorld(
  options: {
    policy?: Policy
    env?: NodeJS.ProcessEnv
    /** False where a test runs workers of its own, in processes that may die. */
    workers?: boolean
    /** Servers of the test's own, that it may kill; otherwise the run's. */
    servers?: { readonly temporalAddress: string; readonly database: FreshDatabase }
    /** Store URLs instead of the folders below `home`. */
    urls?: Partial<Record<'inbox' | 'primary' | 'backup', string>>
    /** Ports of this machine through which the workers, and nobody else, reach Postgres and Temporal. */
    through?: { postgres: number; temporal: number }
  } = {},
): Promise<World> {
  installQuietRuntime()
  const database = options.servers?.database ?? (await freshDatabase())
  const temporalAddress = options.servers?.temporalAddress ?? inject('temporalAddress')
  const home = await mkdtemp(join(tmpdir(), 'reelkeep-world-'))
  for (const folder of ['inbox', 'primary', 'backup', 'scratch', 'mail', 'secrets']) await mkdir(join(home, folder))
  const keyFile = join(home, 'secrets', 'signing.pem')
  await writeFile(keyFile, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const namespace = await makeNamespace(temporalAddress)
  const env = {
    DATABASE_URL: database.appUrl,
    TEMPORAL_ADDRESS: temporalAddress,
    TEMPORAL_NAMESPACE: namespace,
    SIGNING_KEY_FILE: keyFile,
    SCRATCH_DIR: join(home, 'scratch'),
    MAIL_DIR: join(home, 'mail'),
    FFMPEG_PATH: inject('ffmpegPath'),
    FFPROBE_PATH: inject('ffprobePath'),
    LOG_LEVEL: 'error',
    ...options.env,
  }
  const config = loadConfig(env)
  const db = openDatabase(config.databaseUrl)
  const accountId = await ensureAccount(db, { name: 'Test university', policy: options.policy ?? defaultPolicy })
  const setup = await db.asAccount(accountId, async (tx) => {
    const person = async (name: string, roles: Role[]): Promise<Actor> => ({
      accountId,
      name,
      roles,
      scopes: ['read', 'write', 'admin'],
      personId: await ensurePerson(tx, { name, email: `${name.toLowerCase()}@example.test`, roles }),
    })
    return {
      people: {
        ada: await person('Ada', ['admin']),
        ben: await person('Ben', ['manager', 'operator']),
        una: await person('Una', ['user']),
      },
      stores: {
        inbox: await ensureStore(tx, {
          name: 'inbox',
          site: 'a',
          role: 'inbox',
          url: options.urls?.inbox ?? `local:${join(home, 'inbox')}`,
        }),
        primary: await ensureStore(tx, {
          name: 'primary',
          site: 'a',
          role: 'primary',
          url: options.urls?.primary ?? `local:${join(home, 'primary')}`,
        }),
        backup: await ensureStore(tx, {
          name: 'backup',
          site: 'b',
          role: 'backup',
          url: options.urls?.backup ?? `local:${join(home, 'backup')}`,
        }),
      },
    }
  })
  const pipeline = openPipeline(config.temporal)
  const workersConfig = options.through === undefined ? config : loadConfig(passThrough(env, options.through))
  const start = async () =>
    options.workers === false
      ? noWorkers
      : startWorkers({ config: workersConfig, workflowBundle: await bundleWorkflows() })
  const world: World = {
    home,
    adminUrl: database.adminUrl,
    accountId,
    config,
    env,
    db,
    pipeline,
    ...setup,
    workers: await start(),
    async restartWorkers() {
      await world.workers.stop()
      world.workers = await start()
    },
    addRecorder: (recorder) =>
      db.asAccount(accountId, (tx) =>
        ensureRecorder(tx, {
          inboxId: setup.stores.inbox,
          directory: recorder.name,
          assignment: 'claim',
          quietMs: 3000,
          ...recorder,
        }),
      ),
    async drop(from, path) {
      const to = join(home, 'inbox', path)
      await mkdir(dirname(to), { recursive: true })
      const temporary = join(dirname(to), `.${randomUUID()}.part`)
      await copyFile(from, temporary)
      await rename(temporary, to)
    },
    async give(recordingId, actor, command, requestId = randomUUID()) {
      await pipeline.command(recordingId, { command, actor, requestId })
    },
    detail: (recordingId) => db.asAccount(accountId, (tx) => findRecording(tx, recordingId)),
    until: (path, wanted, forMs = 40_000) => waitFor(world, path, wanted, forMs),
    async fastForward(recordingId, ms) {
      await db.asAccount(accountId, (tx) => allowFastForward(tx, recordingId, ms))
      await pipeline.fastForward(recordingId, ms, randomUUID())
      await db.asAccount(accountId, (tx) => arriveFastForward(tx, recordingId))
    },
    async stop() {
      await world.workers.stop()
      await pipeline.close()
      await db.close()
      await database.drop()
      await rm(home, { recursive: true, force: true })
    },
  }
  return world
}

function passThrough<T extends { DATABASE_URL: string }>(
  settings: T,
  ports: { postgres: number; temporal: number },
): T {
  const database = new URL(settings.DATABASE_URL)
  database.host = `127.0.0.1:${ports.postgres}`
  return { ...settings, DATABASE_URL: database.href, TEMPORAL_ADDRESS: `127.0.0.1:${ports.temporal}` }
}

const noWorkers: RunningWorkers = { done: Promise.resolve(), stop: async () => undefined }

/** Writes a life's history down, for replays by later versions. Paths of this machine are left out. */
export async function saveHistory(world: World, recordingId: string, name: string): Promise<void> {
  const connection = await Connection.connect({ address: world.config.temporal.address })
  const client = new Client({ connection, namespace: world.config.temporal.namespace })
  const root = new URL('../../', import.meta.url).pathname
  const id = `rec/${recordingId}`
  const last = await client.workflow.getHandle(id).fetchHistory()
  const firstRunId = last.events?.[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId ?? ''
  const first = await client.workflow.getHandle(id, firstRunId).fetchHistory()
  for (const [part, history] of [
    ['begin', first],
    ['end', last],
  ] as const) {
    const text = historyToJSON(history).replaceAll(root, '/').replaceAll(world.home, '/home')
    await writeFile(new URL(`../workflows/histories/${name}-${part}.json`, import.meta.url), `${text}\n`)
  }
  await connection.close()
}

async function waitFor(world: World, path: string, wanted: (recording: RecordingDetail) => boolean, forMs: number) {
  const untilMs = Date.now() + forMs
  let last: unknown = 'nothing was seen'
  while (Date.now() < untilMs) {
    const deposits = await world.db.asAccount(world.accountId, (tx) =>
      tx.selectFrom('deposits').selectAll().where('path', '=', path).orderBy('first_seen_at', 'desc').execute(),
    )
    for (const deposit of deposits) {
      const recording = await world.detail(deposit.id)
      if (recording !== null && wanted(recording)) return recording
      last =
        recording === null
          ? { deposit }
          : { state: recording.state, waiting: recording.waitingFor, problem: recording.problem }
    }
    await pause(100)
  }
  throw new Error(`Waited ${forMs} ms for ${path}; last seen: ${JSON.stringify(last)}`)
}

let runtimeInstalled = false
function installQuietRuntime(): void {
  if (runtimeInstalled) return
  runtimeInstalled = true
  const filter = makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' })
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter, forward: {} } },
    shutdownSignals: [],
  })
}

/** A namespace of its own: test files share the server, never the queues. */
export async function makeNamespace(address = inject('temporalAddress')): Promise<string> {
  const namespace = `test-${randomUUID().slice(0, 8)}`
  const connection = await Connection.connect({ address })
  try {
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: msToTs('1 day') })
    const types = temporal.api.enums.v1.IndexedValueType
    const typeOf = {
      Keyword: types.INDEXED_VALUE_TYPE_KEYWORD,
      Datetime: types.INDEXED_VALUE_TYPE_DATETIME,
      Int: types.INDEXED_VALUE_TYPE_INT,
      Bool: types.INDEXED_VALUE_TYPE_BOOL,
    }
    const searchAttributes = Object.fromEntries(
      Object.entries(productSearchAttributes).map(([name, type]) => [name, typeOf[type]]),
    )
    for (let tries = 0; ; tries += 1) {
      try {
        await connection.operatorService.addSearchAttributes({ namespace, searchAttributes })
        return namespace
      } catch (error) {
        if (tries > 50) throw error
        await pause(200)
      }
    }
  } finally {
    await connection.close()
  }
}
