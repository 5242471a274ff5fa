import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ReelkeepError } from '../domain/errors.ts'
import { runCommand } from './commands.ts'

/**
 * One process and nothing else: a pid alone may belong to somebody else tomorrow, a pid with its start time cannot.
 */
export interface ProcessMark {
  readonly pid: number
  /** Opaque; equal only for the very same process. */
  readonly born: string
}

/** What is written down about a running service, so that a later start can adopt or end it. */
export interface ServiceRecord extends ProcessMark {
  /** Identifies command and arguments: a left-over that was started differently is not adopted. */
  readonly recipe: string
  readonly ports: readonly number[]
  readonly stopSignal: NodeJS.Signals
  readonly graceMs: number
}

/** A home folder held by this process until `release` (or until the process is gone, however it went). */
export interface HomeLock {
  release(): Promise<void>
}

/** The mark of a process that runs now, or null. A zombie does not run. */
export async function markProcess(pid: number): Promise<ProcessMark | null> {
  if (process.platform === 'linux') return markFromProc(pid)
  const result = await runCommand('ps', ['-o', 'stat=,lstart=', '-p', String(pid)])
  const [state = 'Z', ...born] = result.stdout.trim().split(/\s+/)
  return result.code !== 0 || state.startsWith('Z') ? null : { pid, born: born.join(' ') }
}

async function markFromProc(pid: number): Promise<ProcessMark | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The command name may hold spaces and brackets: fields are counted behind its last bracket (state is the third).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return null
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    return { pid, born: `${boot.trim()}/${fields[19] ?? ''}` }
  } catch {
    return null
  }
}

/** True while exactly this process runs; false when its pid now belongs to another one. */
export async function isRunning(mark: ProcessMark): Promise<boolean> {
  return (await markProcess(mark.pid))?.born === mark.born
}

/**
 * Ends a process: the polite signal, then, after `graceMs`, SIGKILL to its whole group. Returns when it is gone, at
 * once when it already was; a pid that was given to another process meanwhile is left alone.
 */
export async function endProcess(
  mark: ProcessMark,
  signal: NodeJS.Signals = 'SIGTERM',
  graceMs = 10_000,
): Promise<void> {
  if (!(await isRunning(mark))) return
  send(mark.pid, signal)
  if (await endedWithin(mark, graceMs)) return
  if (!send(-mark.pid, 'SIGKILL')) send(mark.pid, 'SIGKILL')
  await endedWithin(mark, 5000)
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

async function endedWithin(mark: ProcessMark, ms: number): Promise<boolean> {
  const until = Date.now() + ms
  while (await isRunning(mark)) {
    if (Date.now() >= until) return false
    await pause(25)
  }
  return true
}

/** Where the record of a service is kept. */
export function recordPath(runDir: string, name: string): string {
  return join(runDir, `${name}.pid.json`)
}

/** The record of a service that still runs, or null; a record whose process is gone is removed. */
export async function findService(runDir: string, name: string): Promise<ServiceRecord | null> {
  const path = recordPath(runDir, name)
  const record = parseRecord(await readFile(path, 'utf8').catch(() => ''))
  if (record !== null && (await isRunning(record))) return record
  await rm(path, { force: true })
  return null
}

/** Writes the record of a service as one whole file. */
export async function writeRecord(runDir: string, name: string, record: ServiceRecord): Promise<void> {
  await writeWhole(recordPath(runDir, name), JSON.stringify(record))
}

/**
 * Ends every service an earlier start left behind in this run folder (its supervisor was killed). Returns their names.
 */
export async function endLeftOvers(runDir: string): Promise<string[]> {
  const ended: string[] = []
  for (const file of await readdir(runDir).catch(() => [])) {
    if (!file.endsWith('.pid.json')) continue
    const name = file.slice(0, -'.pid.json'.length)
    const record = await findService(runDir, name)
    if (record === null) continue
    await endProcess(record, record.stopSignal, record.graceMs)
    await rm(join(runDir, file), { force: true })
    ended.push(name)
  }
  return ended
}

function parseRecord(text: string): ServiceRecord | null {
  const mark = parseMark(text)
  if (mark === null) return null
  const { recipe = '', ports = [], stopSignal = 'SIGTERM', graceMs = 10_000 } = mark as Partial<ServiceRecord>
  return { ...mark, recipe, ports, stopSignal, graceMs }
}

function parseMark(text: string): ProcessMark | null {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('born' in value)) return null
    return typeof value.pid === 'number' && typeof value.born === 'string'
      ? { ...value, pid: value.pid, born: value.born }
      : null
  } catch {
    return null
  }
}

/**
 * A TCP port of 127.0.0.1 that is free now: the preferred one when it is, else any. The same port is never given
 * out twice by one process, because the first caller may not listen on it yet.
 */
export async function pickPort(preferred?: number): Promise<number> {
  for (const wanted of preferred ? [preferred, 0] : [0]) {
    for (let attempt = 0; attempt < 20; attempt++) {
      const port = await tryPort(wanted)
      if (port === null) break
      if (givenPorts.has(port) && port !== preferred) continue
      givenPorts.add(port)
      return port
    }
  }
  throw new ReelkeepError('internal', 'No free TCP port on 127.0.0.1. Close some programs and start again.')
}

/**
 * The ports for a service: those of a left-over that still runs, so that it can be adopted, unless another one is asked
 * for; else the preferred ones where free, else any (`undefined` asks for any).
 */
export async function choosePorts(
  runDir: string,
  name: string,
  preferred: readonly (number | undefined)[],
): Promise<number[]> {
  const held = (await findService(runDir, name))?.ports ?? []
  const ports: number[] = []
  for (const [index, wanted] of preferred.entries()) {
    const left = held[index]
    ports.push(left !== undefined && (wanted === undefined || wanted === left) ? left : await pickPort(wanted))
  }
  return ports
}

const givenPorts = new Set<number>()

/** True where nothing listens on this port of 127.0.0.1. */
export async function isPortFree(port: number): Promise<boolean> {
  return (await tryPort(port)) !== null
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(null))
    server.listen({ host: '127.0.0.1', port }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : null))
    })
  })
}

/** The process that holds this home now, or null. */
export async function findHomeHolder(home: string): Promise<ProcessMark | null> {
  const mark = parseMark(await readFile(lockPath(home), 'utf8').catch(() => ''))
  return mark !== null && (await isRunning(mark)) ? mark : null
}

const lockSettlesMs = 150

/**
 * Takes a home folder for this process, so that two starts cannot serve the same data. The lock of a process that
 * is gone (kill -9 included) is taken over.
 * @throws already_running
 */
export async function lockHome(home: string): Promise<HomeLock> {
  const path = lockPath(home)
  await mkdir(dirname(path), { recursive: true })
  const mark = await markProcess(process.pid)
  // A token of its own: two that take the lock in one process within one millisecond must not look alike.
  const token = randomBytes(8).toString('hex')
  const text = JSON.stringify({ ...mark, since: new Date().toISOString(), token })
  for (;;) {
    if ((await createLock(path, text)) && (await keepsLock(path, text))) break
    const held = await readFile(path, 'utf8').catch(() => '')
    const holder = parseMark(held)
    if (holder !== null && (await isRunning(holder))) throw refusal(home, holder)
    await removeStaleLock(path, held)
  }
  return {
    release: async () => {
      if ((await readFile(path, 'utf8').catch(() => '')) === text) await rm(path, { force: true })
    },
  }
}

function refusal(home: string, holder: ProcessMark): ReelkeepError {
  const message = `Reelkeep already runs on ${home} (process ${holder.pid}). Stop it with \`reelkeep down\`, or start a second one beside it with another REELKEEP_HOME.`
  return new ReelkeepError('already_running', message, { details: { pid: holder.pid } })
}

/** `link` creates the lock with its text in one step, or not at all: nobody ever reads half a lock. */
async function createLock(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, text, { mode: 0o600 })
  try {
    await link(draft, path)
    return true
  } catch (cause) {
    if (isCode(cause, 'EEXIST')) return false
    throw cause
  } finally {
    await rm(draft, { force: true })
  }
}

/**
 * Two that found the same stale lock can, for a moment, move a fresh one aside (see `removeStaleLock`), and a third can
 * slip in. Whoever still finds its own lock after that moment holds it.
 */
async function keepsLock(path: string, text: string): Promise<boolean> {
  await pause(lockSettlesMs)
  return (await readFile(path, 'utf8').catch(() => '')) === text
}

/** Between reading and removing, another start may have taken the lock: then its lock is put back. */
async function removeStaleLock(path: string, seen: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await rename(path, aside)
  } catch (cause) {
    if (isCode(cause, 'ENOENT')) return
    throw cause
  }
  if ((await readFile(aside, 'utf8')) !== seen) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}

function lockPath(home: string): string {
  return join(home, 'run', 'home.lock')
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Replaces a file by a whole new one, readable by its owner only. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, text, { mode: 0o600 })
  await rename(draft, path)
}
