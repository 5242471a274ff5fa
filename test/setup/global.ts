import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { resolveFfmpeg } from '../../src/dev/ffmpeg.ts'
import { startPostgres } from '../../src/dev/postgres.ts'
import type { LocalPostgres } from '../../src/dev/postgres.ts'
import { endLeftOvers, findHomeHolder, lockHome } from '../../src/dev/processes.ts'
import { resolveTemporal } from '../../src/dev/temporal-binary.ts'
import { startTemporal } from '../../src/dev/temporal.ts'
import type { LocalTemporal } from '../../src/dev/temporal.ts'
import { defaultCacheDir } from '../../src/dev/wheel.ts'
import { productSearchAttributes } from '../../src/workflows/search-attributes.ts'
import { findTestPrograms } from './packages.ts'

declare module 'vitest' {
  /** What every test file finds with `inject`. The servers are one each for the whole run; empty without servers. */
  export interface ProvidedContext {
    /** Owner and application role of the migrated template database: copy it with `freshDatabase()`, never write to it. */
    readonly ownerUrl: string
    readonly appUrl: string
    readonly adminUrl: string
    /** Fast-forward is on. */
    readonly temporalAddress: string
    readonly temporalBinary: string
    readonly temporalNamespace: string
    readonly ffmpegPath: string
    readonly ffprobePath: string
    readonly sshdPath: string
    readonly chromiumPath: string
    readonly cacheDir: string
  }
}

const namespace = 'reelkeep-test'
const homePrefix = 'reelkeep-test-'

/** Starts one Postgres and one Temporal for the run. `REELKEEP_TEST_NO_SERVERS=1` skips both, for tests of pure code. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cacheDir = defaultCacheDir()
  const ffmpeg = await resolveFfmpeg({ configured: null, install: true, say })
  project.provide('cacheDir', cacheDir)
  project.provide('ffmpegPath', ffmpeg.ffmpegPath)
  project.provide('ffprobePath', ffmpeg.ffprobePath)
  project.provide('temporalNamespace', namespace)
  if (process.env['REELKEEP_TEST_NO_SERVERS'] === '1') return async () => undefined

  const programs = await findTestPrograms(say)
  project.provide('sshdPath', programs.sshdPath)
  project.provide('chromiumPath', programs.chromiumPath)
  await removeAbandonedRuns()
  const home = await mkdtemp(join(tmpdir(), homePrefix))
  await chmod(home, 0o711)
  await lockHome(home)
  const started: { postgres?: LocalPostgres; temporal?: LocalTemporal } = {}
  const stop = async () => {
    await Promise.all([started.temporal?.stop(), started.postgres?.stop()])
    await rm(home, { recursive: true, force: true })
  }
  try {
    await Promise.all([
      startDatabase(home, cacheDir).then((postgres) => (started.postgres = postgres)),
      startWorkflows(home, cacheDir, project).then((temporal) => (started.temporal = temporal)),
    ])
  } catch (error) {
    await stop()
    throw error
  }
  project.provide('ownerUrl', started.postgres?.ownerUrl ?? '')
  project.provide('appUrl', started.postgres?.appUrl ?? '')
  project.provide('adminUrl', started.postgres?.adminUrl ?? '')
  project.provide('temporalAddress', started.temporal?.address ?? '')
  return stop
}

async function startDatabase(home: string, cacheDir: string): Promise<LocalPostgres> {
  // Nothing here has to survive a power cut.
  const settings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '200' }
  const postgres = await startPostgres({ home, cacheDir, settings, say })
  const migrate = new URL('../../src/migrate.ts', import.meta.url)
  if (existsSync(migrate)) {
    const { migrateUp }: typeof import('../../src/migrate.ts') = await import(migrate.href)
    await migrateUp(postgres.ownerUrl, { fastForward: true })
  }
  return postgres
}

async function startWorkflows(home: string, cacheDir: string, project: TestProject): Promise<LocalTemporal> {
  const source = await resolveTemporal({ address: null, cacheDir, say })
  if (source.kind !== 'binary' || !source.timeSkipping)
    throw new Error('The tests need a Temporal that can skip time (1.9 or newer).')
  project.provide('temporalBinary', source.path)
  return startTemporal({
    binary: source.path,
    dbFile: join(home, 'temporal.sqlite'),
    uiPort: null,
    namespace,
    fastForward: true,
    searchAttributes: productSearchAttributes,
    logFile: join(home, 'logs', 'temporal.log'),
    runDir: join(home, 'run'),
    say,
  })
}

/** A run that was killed could not stop its servers; the next one does. */
async function removeAbandonedRuns(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const home = join(tmpdir(), name)
    if (!name.startsWith(homePrefix) || !existsSync(join(home, 'run')) || (await findHomeHolder(home)) !== null)
      continue
    await endLeftOvers(join(home, 'run'))
    await rm(home, { recursive: true, force: true })
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
