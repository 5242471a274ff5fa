import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { ReelkeepError } from '../domain/errors.ts'
import { exists } from './commands.ts'
import type { Say } from './commands.ts'
import { holdsPort } from './listening.ts'
import { findRoot } from './root.ts'
import type { Home } from './home.ts'
import { choosePorts } from './processes.ts'
import { startService } from './supervisor.ts'
import type { Service } from './supervisor.ts'

/** What both programs of the product are started with. */
export interface ProgramOptions {
  readonly home: Home
  /** Their settings, as `config.ts` reads them. */
  readonly env: NodeJS.ProcessEnv
  readonly say: Say
}

const readyTimeoutMs = 60_000
/** A worker finishes or hands back what it does; its own grace period is shorter. */
const workerGraceMs = 40_000

/** Starts API and console; ready when `/readyz` says that database and Temporal answer. @throws missing_tool with its log */
export async function startApi({ home, env, say }: ProgramOptions, port: number): Promise<Service> {
  return startService({
    name: 'api',
    ...(await program('server.js', env)),
    env,
    ports: [port],
    runDir: home.runDir,
    logFile: join(home.logsDir, 'api.log'),
    ready: async (pid) => (await holdsPort(pid, port)) && answers(`http://127.0.0.1:${port}/readyz`),
    readyTimeoutMs,
    say,
  })
}

/** Starts the worker; ready when its metrics can be read. @throws missing_tool with its log */
export async function startWorker({ home, env, say }: ProgramOptions): Promise<Service> {
  const [port = 0] = await choosePorts(home.runDir, 'worker', [undefined])
  return startService({
    name: 'worker',
    ...(await program('worker.js', env)),
    env: { ...env, METRICS_PORT: String(port) },
    ports: [port],
    runDir: home.runDir,
    logFile: join(home.logsDir, 'worker.log'),
    ready: () => listens(port),
    readyTimeoutMs,
    graceMs: workerGraceMs,
    say,
  })
}

/**
 * Command and arguments. The last argument says which build and settings the process has: after a kill -9, one that runs
 * older code or talks to other servers is replaced, not adopted.
 */
async function program(file: string, env: NodeJS.ProcessEnv): Promise<{ command: string; args: string[] }> {
  const dist = join(await findRoot(), 'dist')
  const path = join(dist, 'src', file)
  if (!(await exists(path)))
    throw new ReelkeepError('missing_tool', `${path} is missing. Build with \`npm run build\` and start again.`)
  const build = await readFile(join(dist, '.sources'), 'utf8').catch(() => '')
  const made = createHash('sha256').update(build).update(JSON.stringify(env)).digest('hex').slice(0, 16)
  return { command: process.execPath, args: ['--enable-source-maps', path, `--started-with=${made}`] }
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2000) }).then(
    async (response) => {
      await response.body?.cancel()
      return response.ok
    },
    () => false,
  )
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
}
