import { settings } from '../config.ts'
import { openDatabase } from '../db/connect.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { migrateUp } from '../migrate.ts'
import { ensureSchedules, requireNamespace } from '../schedules.ts'
import type { Say } from './commands.ts'
import { requireDatabase } from './configured-database.ts'
import { resolveFfmpeg } from './ffmpeg.ts'
import type { FfmpegPrograms } from './ffmpeg.ts'
import { ensureDemoAccount, ensureEmptyAccount } from './first-account.ts'
import type { FirstAccount } from './first-account.ts'
import { createFolders, ensureSigningKey, readStackFile, writeStackFile } from './home.ts'
import type { Home, StackFile } from './home.ts'
import { startPostgres } from './postgres.ts'
import { choosePorts, isPortFree, lockHome } from './processes.ts'
import { startApi, startWorker } from './programs.ts'
import type { Service } from './supervisor.ts'
import { productSearchAttributes } from '../workflows/search-attributes.ts'
import { startTemporal } from './temporal.ts'
import { resolveTemporal } from './temporal-binary.ts'
import type { TemporalSource } from './temporal-binary.ts'
import { defaultCacheDir } from './wheel.ts'

/** How a stack is started. */
export interface StackOptions {
  readonly home: Home
  readonly env: NodeJS.ProcessEnv
  /** Counts when the stack is created: a demo has its own account, and its clocks can be moved. */
  readonly demo: boolean
  /** The API's port, where a person asked for one. */
  readonly port: number | null
  readonly say: Say
}

/** A running stack. */
export interface Stack extends FirstAccount {
  readonly url: string
  readonly temporalUiUrl: string | null
  readonly ffmpegPath: string
  /** What it was created as, which may differ from what this start asked for. */
  readonly demo: boolean
  /** May recordings' clocks be moved here? */
  readonly fastForward: boolean
  /** Drains and stops what this start started, workers first. A second call waits for the same end. */
  stop(): Promise<void>
}

/** Things to stop, in the order they were started. */
type Started = { readonly name: string; stop(): Promise<void> }[]

interface Servers {
  readonly appUrl: string
  readonly ownerUrl: string
  readonly postgresPort: number | null
  readonly temporalAddress: string
  readonly temporalUiUrl: string | null
  /** False for one that somebody else runs. */
  readonly ownTemporal: boolean
}

const defaultApiPort = 8700
const defaultTemporalPort = 7233
const defaultTemporalUiPort = 8233

/**
 * Starts the whole product on this machine, from nothing or from what an earlier start left: servers, schema, first
 * account, API, worker. After kill -9 it adopts or ends what still runs and every recording continues.
 * @throws already_running, missing_tool, invalid_config; then everything it started is stopped again
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const lock = await lockHome(options.home.root)
  const started: Started = [{ name: 'home', stop: () => lock.release() }]
  let stopping: Promise<void> | null = null
  const stop = () => (stopping ??= stopAll(started))
  try {
    return { ...(await bringUp(options, started)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function stopAll(started: Started): Promise<void> {
  for (const part of started.toReversed()) await part.stop()
}

async function bringUp(options: StackOptions, started: Started): Promise<Omit<Stack, 'stop'>> {
  const { home, env, say } = options
  await createFolders(home)
  const known = await readStackFile(home)
  const ffmpeg = await resolveFfmpeg({ configured: env['FFMPEG_PATH'] ?? null, install: true, say })
  const source = await resolveTemporal({
    address: env['TEMPORAL_ADDRESS'] || null,
    cacheDir: defaultCacheDir(env),
    say,
  })
  const demo = known?.demo ?? options.demo
  const fastForward = demo && canFastForward(source, env) && (known?.fastForward ?? true)
  const servers = await startServers(options, { known, source, fastForward, started })
  const migrated = await migrateUp(servers.ownerUrl, { fastForward })
  if (migrated.length > 0) say(`Database: ${migrated.length} migration(s) applied`)
  const account = await ensureFirstAccount(options, servers, demo)
  await ensureSchedules(
    { address: servers.temporalAddress, namespace: namespaceOf(env) },
    account.inboxIds.map((inboxId) => ({ accountId: account.accountId, inboxId })),
  )
  const url = await startPrograms(options, { known, demo, fastForward, servers, ffmpeg, started })
  return { ...account, url, temporalUiUrl: servers.temporalUiUrl, ffmpegPath: ffmpeg.ffmpegPath, demo, fastForward }
}

function namespaceOf(env: NodeJS.ProcessEnv): string {
  return env['TEMPORAL_NAMESPACE'] || 'reelkeep'
}

/** Clocks are moved only where both servers were made for it: never on servers that somebody configured. */
function canFastForward(source: TemporalSource, env: NodeJS.ProcessEnv): boolean {
  return source.kind === 'binary' && source.timeSkipping && !env['DATABASE_URL']
}

async function startServers(
  options: StackOptions,
  plan: { known: StackFile | null; source: TemporalSource; fastForward: boolean; started: Started },
): Promise<Servers> {
  const [database, workflows] = await settleAll([startDatabase(options, plan), startWorkflowServer(options, plan)])
  return { ...database, ...workflows }
}

type ServerPlan = Parameters<typeof startServers>[1]

async function startDatabase(
  { home, env, say }: StackOptions,
  { known, started }: ServerPlan,
): Promise<Pick<Servers, 'appUrl' | 'ownerUrl' | 'postgresPort'>> {
  const configured = env['DATABASE_URL']
  if (configured) {
    const ownerUrl = env['DATABASE_OWNER_URL'] || configured
    await requireDatabase('DATABASE_URL', configured)
    await requireDatabase('DATABASE_OWNER_URL', ownerUrl)
    say('Postgres: the configured one (DATABASE_URL)')
    return { appUrl: configured, ownerUrl, postgresPort: null }
  }
  const preferred = known?.ports.postgres ?? null
  const server = await startPostgres({
    home: home.root,
    cacheDir: defaultCacheDir(env),
    ...(preferred !== null && { port: preferred }),
    say,
  })
  started.push({ name: 'Postgres', stop: () => server.stop() })
  say(`Postgres: 127.0.0.1:${server.port}${server.adopted ? ' (was still running)' : ''}`)
  return { appUrl: server.appUrl, ownerUrl: server.ownerUrl, postgresPort: server.port }
}

async function startWorkflowServer(
  { home, env, say }: StackOptions,
  { known, source, fastForward, started }: ServerPlan,
): Promise<Pick<Servers, 'temporalAddress' | 'temporalUiUrl' | 'ownTemporal'>> {
  if (source.kind === 'address') {
    await requireNamespace({ address: source.address, namespace: namespaceOf(env) }, productSearchAttributes)
    say(`Temporal: the configured one (${source.address})`)
    return { temporalAddress: source.address, temporalUiUrl: env['TEMPORAL_UI_URL'] || null, ownTemporal: false }
  }
  const server = await startTemporal({
    binary: source.path,
    dbFile: home.temporalDb,
    port: known?.ports.temporal ?? defaultTemporalPort,
    uiPort: known?.ports.temporalUi ?? defaultTemporalUiPort,
    namespace: namespaceOf(env),
    fastForward,
    searchAttributes: productSearchAttributes,
    logFile: `${home.logsDir}/temporal.log`,
    runDir: home.runDir,
    say,
  })
  started.push({ name: 'Temporal', stop: () => server.stop() })
  say(`Temporal: ${server.address}${server.adopted ? ' (was still running)' : ''}`)
  return { temporalAddress: server.address, temporalUiUrl: server.uiUrl, ownTemporal: true }
}

async function ensureFirstAccount({ home }: StackOptions, { appUrl }: Servers, demo: boolean): Promise<FirstAccount> {
  const db = openDatabase(appUrl, { maxConnections: 2 })
  try {
    return demo ? await ensureDemoAccount(db, home) : await ensureEmptyAccount(db, home)
  } finally {
    await db.close()
  }
}

async function chooseApiPort({ home, env, port, say }: StackOptions, known: StackFile | null): Promise<number> {
  const asked = port ?? (env['API_PORT'] ? Number(env['API_PORT']) : null)
  const wanted = asked ?? known?.ports.api ?? defaultApiPort
  const [found = 0] = await choosePorts(home.runDir, 'api', [wanted === 0 ? undefined : wanted])
  if (found === wanted || wanted === 0) return found
  if (asked !== null)
    throw new ReelkeepError('invalid_config', `Port ${asked} is in use by another program. Choose another with --port.`)
  say(`Port ${wanted} is in use by another program; the API takes ${found} from now on.`)
  return found
}

function rememberPorts(api: number, servers: Servers, known: StackFile | null): StackFile['ports'] {
  const portOf = (url: string | null) => (url === null ? null : Number(url.split(':').at(-1)))
  const own = servers.ownTemporal
  return {
    api,
    postgres: servers.postgresPort ?? known?.ports.postgres ?? null,
    temporal: own ? portOf(servers.temporalAddress) : (known?.ports.temporal ?? null),
    temporalUi: own ? portOf(servers.temporalUiUrl) : (known?.ports.temporalUi ?? null),
  }
}

interface ProgramPlan {
  readonly known: StackFile | null
  readonly demo: boolean
  readonly fastForward: boolean
  readonly servers: Servers
  readonly ffmpeg: FfmpegPrograms
  readonly started: Started
}

/** Starts API and worker. Where another stack that starts at the same time takes the API's port first, it takes another. */
async function startPrograms(options: StackOptions, plan: ProgramPlan): Promise<string> {
  const { known, demo, fastForward, servers, started } = plan
  for (let attempt = 1; ; attempt++) {
    const port = await chooseApiPort(options, known)
    const url = `http://127.0.0.1:${port}`
    const stack: StackFile = { fastForward, demo, url, ports: rememberPorts(port, servers, known) }
    await writeStackFile(options.home, stack)
    const before = started.length
    try {
      await startProgramsOn(options, plan, { port, url })
      return url
    } catch (error) {
      if (attempt > 1 || (await isPortFree(port))) throw error
      await stopAll(started.splice(before))
    }
  }
}

async function startProgramsOn(
  { home, env, say }: StackOptions,
  { servers, ffmpeg, started }: ProgramPlan,
  { port, url }: { readonly port: number; readonly url: string },
): Promise<void> {
  const ours = {
    DATABASE_URL: servers.appUrl,
    TEMPORAL_ADDRESS: servers.temporalAddress,
    TEMPORAL_NAMESPACE: namespaceOf(env),
    API_HOST: '127.0.0.1',
    API_PORT: String(port),
    BASE_URL: env['BASE_URL'] || url,
    TEMPORAL_UI_URL: servers.temporalUiUrl ?? '',
    SCRATCH_DIR: home.scratchDir,
    SECRETS_DIR: home.secretsDir,
    SIGNING_KEY_FILE: await ensureSigningKey(home),
    MAIL_DIR: home.mailDir,
    FFMPEG_PATH: ffmpeg.ffmpegPath,
    FFPROBE_PATH: ffmpeg.ffprobePath,
  }
  const programs = { home, env: { ...passedOn(env), ...ours }, say }
  const keep = (name: string) => (service: Service) => started.push({ name, stop: () => service.stop() })
  await settleAll([startApi(programs, port).then(keep('API')), startWorker(programs).then(keep('worker'))])
  say(`API and console: ${url}; worker: ready`)
}

/** Settings a person set for this start, and secrets that store URLs name. */
function passedOn(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = new Set<string>(settings.map((setting) => setting.name).filter((name) => name !== 'DATABASE_OWNER_URL'))
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => names.has(name) || name.startsWith('REELKEEP_SECRET_')),
  )
}

/** Like `Promise.all`, but waits for every part before failing: nothing starts behind the back of the clean-up. */
async function settleAll<A, B>(parts: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(parts)
  return Promise.all(parts)
}
