import { readFileSync, realpathSync } from 'node:fs'
import { createPrivateKey } from 'node:crypto'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeTelemetryFilterString, NativeConnection, Runtime, Worker } from '@temporalio/worker'
import type { WorkerOptions } from '@temporalio/worker'
import { createActivities } from './activities/index.ts'
import { createFailureInterceptor } from './activities/failure-interceptor.ts'
import { createSigner } from './activities/sign.ts'
import { createStoreBook } from './activities/store-book.ts'
import type { ActivityDeps } from './activities/deps.ts'
import { openPipeline } from './api/pipeline.ts'
import type { Pipeline } from './api/pipeline.ts'
import { loadConfig } from './config.ts'
import type { Config } from './config.ts'
import { listAccountIds } from './db/accounts.ts'
import { openDatabase } from './db/connect.ts'
import type { Database } from './db/connect.ts'
import { unsetAddress } from './domain/rebuild.ts'
import { msPer } from './domain/units.ts'
import { createLogger } from './log.ts'
import { defaultMediaLimits } from './media/encoder.ts'
import { createEncoder } from './media/ffmpeg.ts'
import { createMailer } from './notify/email.ts'
import { ensureSchedules } from './schedules.ts'
import { taskQueues } from './workflows/names.ts'

/** What a process of workers needs besides its settings. */
export interface WorkerSetup {
  readonly config: Config
  /** The bundled workflows, made by the build. */
  readonly workflowBundle: NonNullable<WorkerOptions['workflowBundle']>
}

/** Workers that run until `stop`; `done` rejects when one of them fails. */
export interface RunningWorkers {
  readonly done: Promise<void>
  stop(): Promise<void>
}

/** Starts the workers that the settings ask for: lives and transfers, encodes, or both, each on its own queue. */
export async function startWorkers({ config, workflowBundle }: WorkerSetup): Promise<RunningWorkers> {
  const log = createLogger(config.logLevel, 'worker')
  await mkdir(config.scratchDir, { recursive: true })
  await sweepScratch(config.scratchDir)
  const db = openDatabase(config.databaseUrl, { maxConnections: 20 })
  const stores = createStoreBook(db, config.resolveSecret)
  const pipeline = openPipeline(config.temporal)
  const stopping = new AbortController()
  const notifier = createMailer({ ...config.mail, smtpUrl: config.mail.smtpUrl })
  const activities = createActivities(
    chooseDeps(config, { db, stores, notifier, pipeline, log, stopping: stopping.signal }),
  )
  const connection = await NativeConnection.connect({ address: config.temporal.address })
  const shared = { ...manners, connection, namespace: config.temporal.namespace, activities }
  const workers: Worker[] = []
  if (config.worker.roles.includes('life')) {
    await ensureInboxSchedules(db, config)
    workers.push(
      await Worker.create({
        ...shared,
        workflowBundle,
        taskQueue: taskQueues.life,
        maxCachedWorkflows: 200,
        maxConcurrentActivityTaskExecutions: 50,
        maxConcurrentWorkflowTaskExecutions: 40,
      }),
    )
  }
  if (config.worker.roles.includes('encode'))
    workers.push(
      await Worker.create({
        ...shared,
        taskQueue: taskQueues.encode,
        maxConcurrentActivityTaskExecutions: config.worker.encodeSlots,
      }),
    )
  const runs = workers.map((worker) => worker.run())
  log.info({ roles: config.worker.roles }, 'working')
  const done = Promise.all(runs).then(() => undefined)
  // Whoever starts the workers awaits `done`; until then a failure must not end the process unseen.
  done.catch(() => undefined)
  return {
    done,
    async stop() {
      stopping.abort()
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown()
      await Promise.allSettled(runs)
      await connection.close()
      await Promise.all([stores.close(), pipeline.close(), notifier.close(), db.close()])
    },
  }
}

/** How every worker behaves: who it is, how it stops, how failures leave it. */
const manners = {
  identity: `${hostname()}:${process.pid}`,
  shutdownGraceTime: '10 seconds',
  shutdownForceTime: '30 seconds',
  interceptors: {
    activity: [
      (context: Parameters<typeof createFailureInterceptor>[0]) => ({ inbound: createFailureInterceptor(context) }),
    ],
  },
} satisfies Omit<WorkerOptions, 'taskQueue'>

type Opened = Pick<ActivityDeps, 'db' | 'stores' | 'notifier' | 'log' | 'stopping'> & { readonly pipeline: Pipeline }

function chooseDeps(config: Config, { pipeline, ...opened }: Opened): ActivityDeps {
  return {
    ...opened,
    encoder: createEncoder({
      ffmpegPath: config.ffmpegPath,
      ffprobePath: config.ffprobePath,
      limits: defaultMediaLimits,
    }),
    scratchDir: config.scratchDir,
    baseUrl: config.api.baseUrl,
    startRecording: (input, options) => pipeline.startRecording(input, options),
    sign: createSigner(createPrivateKey(readFileSync(config.signingKeyFile))),
  }
}

/** Work that a killed worker left on scratch; longer than any activity may run, so nobody's work is taken. */
async function sweepScratch(scratchDir: string): Promise<void> {
  const abandonedAfterMs = 3 * msPer.day
  for (const name of await readdir(scratchDir)) {
    if (!/^(take-in|encode)-/.test(name)) continue
    const path = join(scratchDir, name)
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { recursive: true, force: true })
  }
}

async function ensureInboxSchedules(db: Database, config: Config): Promise<void> {
  const inboxes: { accountId: string; inboxId: string }[] = []
  for (const accountId of await listAccountIds(db)) {
    const rows = await db.asAccount(accountId, (tx) =>
      tx.selectFrom('stores').select('id').where('role', '=', 'inbox').where('url', '<>', unsetAddress).execute(),
    )
    inboxes.push(...rows.map((row) => ({ accountId, inboxId: row.id })))
  }
  await ensureSchedules(config.temporal, inboxes)
}

async function main(): Promise<void> {
  const config = loadConfig()
  Runtime.install({
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'WARN' }), forward: {} },
      ...(config.worker.metricsPort > 0
        ? { metrics: { prometheus: { bindAddress: `127.0.0.1:${config.worker.metricsPort}` } } }
        : {}),
    },
    shutdownSignals: [],
  })
  const codePath = fileURLToPath(new URL('../workflow-bundle.js', import.meta.url))
  const workers = await startWorkers({ config, workflowBundle: { codePath } })
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => void workers.stop().then(() => process.exit(0)))
  await workers.done
}

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === realpathSync(process.argv[1])) await main()
