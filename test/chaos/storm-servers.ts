import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startPostgres } from '../../src/dev/postgres.ts'
import type { LocalPostgres } from '../../src/dev/postgres.ts'
import { startTemporal } from '../../src/dev/temporal.ts'
import type { LocalTemporal } from '../../src/dev/temporal.ts'
import { migrateUp } from '../../src/migrate.ts'
import { productSearchAttributes } from '../../src/workflows/search-attributes.ts'

/** Postgres and Temporal of one storm: killed, frozen and started again. */
export interface StormServers {
  readonly home: string
  readonly postgres: LocalPostgres
  readonly temporal: LocalTemporal
  stop(): Promise<void>
}

/** Starts both in a folder of their own. Whoever kills one finds it started again. */
export async function startStormServers(options: {
  cacheDir: string
  temporalBinary: string
  say: (line: string) => void
}): Promise<StormServers> {
  const home = await mkdtemp(join(tmpdir(), 'reelkeep-storm-'))
  chmodSync(home, 0o711)
  // The machine survives, only the server dies: what it confirmed must have left its memory, not reached the platter.
  const settings = { fsync: 'off', max_connections: '200' }
  const postgres = await startPostgres({ home, cacheDir: options.cacheDir, settings, say: options.say })
  await migrateUp(postgres.ownerUrl, { fastForward: true })
  const temporal = await startTemporal({
    binary: options.temporalBinary,
    dbFile: join(home, 'temporal.sqlite'),
    uiPort: null,
    namespace: 'storm',
    fastForward: true,
    searchAttributes: productSearchAttributes,
    logFile: join(home, 'logs', 'temporal.log'),
    runDir: join(home, 'run'),
    say: options.say,
  })
  return {
    home,
    postgres,
    temporal,
    async stop() {
      await Promise.all([postgres.stop(), temporal.stop()])
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** A small disk of its own: a memory file system as root, a plain folder (which never fills) otherwise. */
export interface SmallDisk {
  readonly path: string
  readonly canFill: boolean
  /** Leaves no byte free for a while. */
  fill(forMs: number): Promise<void>
  remove(): void
}

/** Makes one of this size at a path that does not exist yet. */
export function makeSmallDisk(path: string, sizeMib: number): SmallDisk {
  mkdirSync(path, { recursive: true })
  let mounted = false
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'tmpfs', path], { stdio: 'ignore' })
    mounted = true
  } catch {
    // Not root, or in a container without mounts: the caller says so.
  }
  return {
    path,
    canFill: mounted,
    async fill(forMs) {
      if (!mounted) return
      const filler = join(path, `.filler-${randomUUID()}`)
      const { bavail, bsize } = statfsSync(path)
      try {
        // Somebody else takes the last bytes meanwhile: full is full.
        await writeFile(filler, Buffer.alloc(bavail * bsize)).catch(() => undefined)
        await pause(forMs)
      } finally {
        rmSync(filler, { force: true })
      }
    },
    remove() {
      if (mounted) execFileSync('umount', ['-l', path], { stdio: 'ignore' })
    },
  }
}

/** A program of the product as a process that is started again when it dies. */
export interface Restarted {
  kill(): void
  stop(): Promise<void>
}

/** Runs `src/server.ts`. What it says goes to one file. */
export function startApiProcess(env: NodeJS.ProcessEnv, logFile: string): Restarted {
  const log = openSync(logFile, 'a')
  let stopping = false
  const launch = () => {
    const started = spawn(
      process.execPath,
      ['--import', 'tsx', '--import', './test/chaos/jumping-clock.mjs', 'src/server.ts'],
      {
        cwd: new URL('../../', import.meta.url).pathname,
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
        stdio: ['ignore', log, log],
      },
    )
    started.once('exit', () => !stopping && setTimeout(() => !stopping && (child = launch()), 500))
    return started
  }
  let child = launch()
  return {
    kill: () => void child.kill('SIGKILL'),
    async stop() {
      stopping = true
      child.kill('SIGTERM')
      for (let tries = 0; child.exitCode === null && child.signalCode === null && tries < 150; tries += 1)
        await pause(100)
      child.kill('SIGKILL')
    },
  }
}

/** Stops a process and everything below it for a while (backends of Postgres have groups of their own). */
export async function freezeTree(pid: number, forMs: number): Promise<void> {
  const pids = [pid, ...childrenOf(pid)]
  for (const one of pids) signal(one, 'SIGSTOP')
  await pause(forMs)
  for (const one of pids) signal(one, 'SIGCONT')
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => {
      try {
        return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${one}/stat`, 'utf8'))?.[1]) === pid
      } catch {
        return false
      }
    })
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone.
  }
}
