import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exists } from '../src/dev/commands.ts'
import type { Say } from '../src/dev/commands.ts'
import { resolveFfmpeg } from '../src/dev/ffmpeg.ts'
import type { FfmpegPrograms } from '../src/dev/ffmpeg.ts'
import { endLeftOvers, findHomeHolder, lockHome } from '../src/dev/processes.ts'
import { defaultCacheDir } from '../src/dev/wheel.ts'

/** What a person asked for on the command line. */
export interface BenchOptions {
  /** Small sizes: seconds instead of minutes, and numbers that say less. */
  readonly quick: boolean
  /** How many recordings live their lives. */
  readonly lives: number
  /** How often each comparison is made. */
  readonly pairs: number
}

/** What every benchmark works in. */
export interface BenchContext extends BenchOptions {
  /** A folder of this run's own, on the disk of the system's temporary files. */
  readonly folder: string
  /** Where the servers started here keep the records by which they are found and ended. */
  readonly runDir: string
  readonly cacheDir: string
  readonly ffmpeg: FfmpegPrograms
  readonly signal: AbortSignal
  readonly say: Say
  /** Names something to be stopped after this benchmark, however it ends; what was named last is stopped first. */
  onEnd(stop: () => Promise<unknown>): void
  /** Stops what was named: the next benchmark has the machine to itself. */
  stopStarted(): Promise<void>
}

const prefix = 'reelkeep-bench-'

/**
 * Runs `work` in a folder of its own; afterwards nothing of it is left: no process and no file, also when it failed or was
 * interrupted. What a run killed by kill -9 left behind is ended and removed by the next one.
 */
export async function inContext<T>(
  options: BenchOptions,
  signal: AbortSignal,
  work: (context: BenchContext) => Promise<T>,
): Promise<T> {
  await removeAbandonedRuns()
  const folder = await mkdtemp(join(tmpdir(), prefix))
  const stops: (() => Promise<unknown>)[] = []
  const say: Say = (line) => process.stderr.write(`${line}\n`)
  const stopStarted = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop())
      await stop().catch((error: unknown) => say(`Cleaning up: ${String(error)}`))
  }
  try {
    // The Postgres of a run by root works as another user, who has to get through here.
    await chmod(folder, 0o711)
    await lockHome(folder)
    const ffmpeg = await resolveFfmpeg({ configured: null, install: true, say })
    return await work({
      ...options,
      folder,
      runDir: join(folder, 'run'),
      cacheDir: defaultCacheDir(),
      ffmpeg,
      signal,
      say,
      onEnd: (stop) => stops.push(stop),
      stopStarted,
    })
  } finally {
    await stopStarted()
    await removeRun(folder)
  }
}

/** Homes of the servers that benchmarks start. */
const homesOf = (folder: string) => [folder, join(folder, 'stack')]

async function removeRun(folder: string): Promise<void> {
  for (const home of homesOf(folder)) {
    // Where the server's user cannot reach the home, its data lies elsewhere.
    const elsewhere = (await readFile(join(home, 'postgres.location'), 'utf8').catch(() => '')).trim()
    if (elsewhere !== '') await rm(elsewhere, { recursive: true, force: true, maxRetries: 5 })
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

async function removeAbandonedRuns(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const folder = join(tmpdir(), name)
    if (!name.startsWith(prefix) || !(await exists(join(folder, 'run'))) || (await findHomeHolder(folder)) !== null)
      continue
    for (const home of homesOf(folder)) await endLeftOvers(join(home, 'run'))
    await removeRun(folder)
  }
}
