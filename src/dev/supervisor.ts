import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ReelkeepError } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'
import { lastLines } from './commands.ts'
import type { RunAs, Say } from './commands.ts'
import { endProcess, findService, isRunning, markProcess, recordPath, writeRecord } from './processes.ts'
import type { ProcessMark, ServiceRecord } from './processes.ts'

/** One server of the local stack and how it is started, known to be ready, and stopped. */
export interface ServiceSpec {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** The whole environment besides PATH and HOME: a service does not change with the shell it was started from. */
  readonly env?: NodeJS.ProcessEnv
  readonly runAs?: RunAs
  readonly ports: readonly number[]
  /** Where the record of the running process is kept. */
  readonly runDir: string
  readonly logFile: string
  /** Called before every start, also before a restart after a crash. */
  readonly prepare?: () => Promise<void>
  /** Does this process (not another one on the same port) answer yet? */
  readonly ready: (pid: number) => Promise<boolean>
  readonly readyTimeoutMs?: number
  readonly stopSignal?: NodeJS.Signals
  readonly graceMs?: number
  readonly say?: Say
}

/** A running server of the local stack. */
export interface Service {
  /** Changes after a crash. */
  readonly pid: number
  /** True when it was found running: an earlier supervisor was killed. */
  readonly adopted: boolean
  /** Stops it and forgets it. A second call does nothing. */
  stop(): Promise<void>
}

type Life = ProcessMark & { readonly gone: Promise<unknown> }

const firstDelayMs = 250
const longestDelayMs = 15_000
/** A process that ran this long has recovered: the next crash is again answered at once. */
const recoveredAfterMs = 60_000
const keptLogBytes = 20 * bytesPer.mib

/**
 * Starts a server and keeps it running: a crash is followed by a new start, ever later while it keeps crashing. When an
 * earlier supervisor was killed, its server is adopted if it was started the same way and answers, else it is ended
 * first. Resolves when the server is ready.
 * @throws missing_tool when it ends, or does not get ready, on its first start; the message holds the end of its log
 */
export async function startService(spec: ServiceSpec): Promise<Service> {
  await mkdir(spec.runDir, { recursive: true })
  await mkdir(dirname(spec.logFile), { recursive: true })
  const adopted = await adopt(spec)
  if (adopted !== null) return new Supervised(spec, adopted, true)
  const life = await launch(spec)
  if (await becomesReady(spec, life)) return new Supervised(spec, life, false)
  const ended = !(await isRunning(life))
  await end(spec, life)
  const log = lastLines(await readFile(spec.logFile, 'utf8').catch(() => ''), 8)
  const what = ended ? 'ended while starting' : `did not get ready within ${(spec.readyTimeoutMs ?? 30_000) / 1000} s`
  throw new ReelkeepError('missing_tool', `${spec.name} ${what}. The end of ${spec.logFile}:\n${log}`)
}

class Supervised implements Service {
  readonly adopted: boolean
  readonly #spec: ServiceSpec
  readonly #stopRequest = new AbortController()
  readonly #watching: Promise<void>
  #life: Life

  constructor(spec: ServiceSpec, life: Life, adopted: boolean) {
    this.#spec = spec
    this.#life = life
    this.adopted = adopted
    this.#watching = this.#watch()
  }

  get pid(): number {
    return this.#life.pid
  }

  async stop(): Promise<void> {
    this.#stopRequest.abort()
    await this.#watching
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopRequest
    const stopped = once(signal, 'abort')
    let delayMs = firstDelayMs
    let startedAtMs = Date.now()
    while (!signal.aborted) {
      await Promise.race([this.#life.gone, stopped])
      if (signal.aborted) break
      if (Date.now() - startedAtMs > recoveredAfterMs) delayMs = firstDelayMs
      this.#spec.say?.(`${this.#spec.name} ended unexpectedly; starting it again…`)
      await Promise.race([pause(delayMs, undefined, { signal }).catch(() => undefined), stopped])
      if (signal.aborted) break
      delayMs = Math.min(delayMs * 2, longestDelayMs)
      startedAtMs = Date.now()
      this.#life = await launch(this.#spec).catch((error: unknown) => {
        this.#spec.say?.(
          `${this.#spec.name} could not be started: ${error instanceof Error ? error.message : String(error)}`,
        )
        return { ...this.#life, gone: Promise.resolve() }
      })
    }
    await end(this.#spec, this.#life)
  }
}

async function adopt(spec: ServiceSpec): Promise<Life | null> {
  const found = await findService(spec.runDir, spec.name)
  if (found === null) return null
  const life = { ...found, gone: watchAdopted(found) }
  if (found.recipe === recipe(spec) && (await becomesReady(spec, life))) return life
  await endProcess(found, found.stopSignal, found.graceMs)
  return null
}

async function watchAdopted(mark: ProcessMark): Promise<void> {
  while (await isRunning(mark)) await pause(500, undefined, { ref: false })
}

async function launch(spec: ServiceSpec): Promise<Life> {
  await spec.prepare?.()
  const log = await openLog(spec.logFile)
  try {
    const child = spawn(spec.command, [...spec.args], {
      // Its own group: Ctrl-C in the terminal reaches the supervisor alone, which then stops things in order.
      detached: true,
      cwd: '/',
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...spec.env },
      stdio: ['ignore', log.fd, log.fd],
      ...spec.runAs,
    })
    const gone = once(child, 'exit').catch(() => undefined)
    await once(child, 'spawn')
    const pid = child.pid ?? 0
    const mark = (await markProcess(pid)) ?? { pid, born: '' }
    await writeRecord(spec.runDir, spec.name, record(spec, mark))
    return { ...mark, gone }
  } catch (cause) {
    throw new ReelkeepError(
      'missing_tool',
      `${spec.command} could not be started. Check that it exists and may be executed.`,
      { cause },
    )
  } finally {
    await log.close()
  }
}

async function becomesReady(spec: ServiceSpec, life: Life): Promise<boolean> {
  const until = Date.now() + (spec.readyTimeoutMs ?? 30_000)
  while (Date.now() < until && (await isRunning(life))) {
    if (await spec.ready(life.pid)) return true
    await pause(50)
  }
  return false
}

async function end(spec: ServiceSpec, life: Life): Promise<void> {
  await endProcess(life, spec.stopSignal, spec.graceMs)
  await rm(recordPath(spec.runDir, spec.name), { force: true })
}

function record(spec: ServiceSpec, mark: ProcessMark): ServiceRecord {
  const { ports, stopSignal = 'SIGTERM', graceMs = 10_000 } = spec
  return { ...mark, recipe: recipe(spec), ports, stopSignal, graceMs }
}

function recipe(spec: ServiceSpec): string {
  return createHash('sha256')
    .update(JSON.stringify([spec.command, spec.args]))
    .digest('hex')
    .slice(0, 16)
}

/** Appends; a log that grew too big is put aside once, so a service cannot fill the disk over many starts. */
async function openLog(path: string) {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size > keptLogBytes) await rename(path, `${path}.1`)
  return open(path, 'a', 0o600)
}
