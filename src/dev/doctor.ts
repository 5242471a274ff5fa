import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { listAccountIds } from '../db/accounts.ts'
import { openDatabase } from '../db/connect.ts'
import type { Database } from '../db/connect.ts'
import { loadConfig } from '../config.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { bytesPer, describeBytes, msPer } from '../domain/units.ts'
import { checkTools } from '../media/check-tools.ts'
import { openStore } from '../storage/open.ts'
import { exists, runCommand } from './commands.ts'
import { findDatabaseUrls } from './database-urls.ts'
import { readStackFile } from './home.ts'
import type { Home } from './home.ts'
import { resolveTemporal } from './temporal-binary.ts'
import { defaultCacheDir } from './wheel.ts'

/** One thing that was looked at. */
export interface Check {
  readonly name: string
  readonly verdict: 'ok' | 'failed' | 'skipped'
  readonly found: string
  /** What to do; empty where nothing is. */
  readonly nextStep: string
}

type Finding = Omit<Check, 'name'>

const ok = (found: string): Finding => ({ verdict: 'ok', found, nextStep: '' })
const failed = (found: string, nextStep: string): Finding => ({ verdict: 'failed', found, nextStep })
const skipped = (found: string, nextStep: string): Finding => ({ verdict: 'skipped', found, nextStep })

const lowDiskBytes = 5 * bytesPer.gib
/** Deletion dates come from the database clock; a worker that is further off shows people wrong times. */
const clockToleranceMs = 2 * msPer.second

/** Looks at everything Reelkeep needs here. Downloads and changes nothing; a store check writes and removes a few bytes. */
export async function runDoctor(env: NodeJS.ProcessEnv, home: Home): Promise<readonly Check[]> {
  const checks = [
    await check('Node', async () => checkNode()),
    ...(await checkMedia(env)),
    await check('Temporal', () => checkTemporal(env, home)),
    await check('disk: home', () => checkDisk(home.root)),
    await check('disk: scratch', () => checkDisk(env['SCRATCH_DIR'] || home.scratchDir)),
  ]
  const urls = await findDatabaseUrls(env, home).catch(() => null)
  if (urls === null)
    return [
      ...checks,
      { name: 'Postgres', ...skipped('no database configured, no stack here', 'reelkeep up, or set DATABASE_URL') },
    ]
  const db = openDatabase(urls.appUrl, { maxConnections: 2 })
  try {
    const database = await check('Postgres', () => checkDatabase(db))
    if (database.verdict === 'failed') return [...checks, database]
    return [...checks, database, await check('clocks', () => checkClocks(db)), ...(await checkStores(db, env, home))]
  } finally {
    await db.close()
  }
}

async function check(name: string, look: () => Promise<Finding>): Promise<Check> {
  try {
    return { name, ...(await look()) }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { name, ...failed(error instanceof ReelkeepError ? error.code : 'unexpected error', message) }
  }
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const recent = major > 20 || (major === 20 && minor >= 19)
  return recent
    ? ok(process.versions.node)
    : failed(process.versions.node, 'Install Node 20.19 or newer (22 or 24 recommended).')
}

async function checkMedia(env: NodeJS.ProcessEnv): Promise<readonly Check[]> {
  const report = await checkTools(env['FFMPEG_PATH'] || 'ffmpeg', env['FFPROBE_PATH'] || 'ffprobe')
  const found = report.version === '' ? 'none' : report.version
  if (report.problems.length === 0)
    return [
      { name: 'ffmpeg', ...ok(`${found}, every encoder and filter that is needed`) },
      { name: 'media jail', ...ok(report.jail) },
    ]
  return report.problems.map((problem) => ({ name: 'ffmpeg', ...failed(found, problem) }))
}

async function checkTemporal(env: NodeJS.ProcessEnv, home: Home): Promise<Finding> {
  const configured = env['TEMPORAL_ADDRESS']
  const port = (await readStackFile(home))?.ports.temporal ?? null
  const address = configured || (port === null ? null : `127.0.0.1:${port}`)
  const cacheDir = defaultCacheDir(env)
  // Looking must not download 44 MB: without a program at hand, `up` does that.
  const onHand = (await runCommand('temporal', ['--version'])).code === 0 || (await hasCached(cacheDir))
  const source = onHand && !configured ? await resolveTemporal({ address: null, cacheDir, say: () => undefined }) : null
  const version = source?.kind === 'binary' ? source.version : ''
  if (address === null)
    return version === ''
      ? skipped('not here yet', '`reelkeep up` downloads it, or set TEMPORAL_ADDRESS')
      : ok(`${version}; not running`)
  const { openPipeline } = await import('../api/pipeline.ts')
  const pipeline = openPipeline({ address, namespace: env['TEMPORAL_NAMESPACE'] || 'reelkeep' })
  try {
    await pipeline.ping()
    return ok(`answers at ${address}${version === '' ? '' : ` (${version})`}`)
  } catch {
    return configured
      ? failed(`${address} does not answer`, 'Start that server, or correct TEMPORAL_ADDRESS.')
      : skipped(`${version || 'installed'}; not running`, 'reelkeep up')
  } finally {
    await pipeline.close()
  }
}

async function hasCached(cacheDir: string): Promise<boolean> {
  for (const folder of ['temporal-1.9.1', 'temporal-official-1.9.1', 'temporal-built'])
    if (await exists(join(cacheDir, folder, 'temporal'))) return true
  return false
}

async function checkDisk(folder: string): Promise<Finding> {
  let place = folder
  while (!(await exists(place))) place = join(place, '..')
  const { bavail, bsize } = await statfs(place)
  const free = bavail * bsize
  const found = `${describeBytes(free)} free at ${folder}`
  return free < lowDiskBytes ? failed(found, `Free space there: at least ${describeBytes(lowDiskBytes)}.`) : ok(found)
}

async function checkDatabase(db: Database): Promise<Finding> {
  const [row] = await db.throughDoor('accounts', async (tx) => {
    const { rows } = await sql<{ version: string; bypass: boolean; fast_forward: boolean }>`
      select current_setting('server_version') as version, r.rolsuper or r.rolbypassrls as bypass,
        (select fast_forward from system) as fast_forward
      from pg_roles r where r.rolname = current_user`.execute(tx)
    return rows
  })
  const version = row?.version ?? 'unknown'
  if (Number.parseInt(version, 10) < 15) return failed(version, 'Use Postgres 15 or newer.')
  if (row?.bypass === true)
    return failed(
      `${version}, as a role that row-level security does not bind`,
      'Use the application role in DATABASE_URL.',
    )
  return ok(`${version}, migrated${row?.fast_forward === true ? ', clocks of recordings can be moved (a demo)' : ''}`)
}

/** Half the round trip is not ours: the smaller of a few differences is the better one. */
async function checkClocks(db: Database): Promise<Finding> {
  const differences: number[] = []
  for (let look = 0; look < 3; look++) {
    const sentMs = Date.now()
    const atMs = await db.throughDoor('accounts', async (tx) => {
      const { rows } = await sql<{ at: Date }>`select clock_timestamp() as at`.execute(tx)
      return rows[0]?.at.getTime() ?? 0
    })
    differences.push(atMs - (sentMs + Date.now()) / 2)
  }
  const difference = differences.sort((a, b) => Math.abs(a) - Math.abs(b))[0] ?? 0
  const found = `${Math.round(Math.abs(difference))} ms ${difference < 0 ? 'behind' : 'ahead of'} this machine`
  return Math.abs(difference) > clockToleranceMs
    ? failed(`the database is ${found}`, 'Synchronise both clocks (NTP): deletion dates come from the database.')
    : ok(`the database is ${found}`)
}

async function checkStores(db: Database, env: NodeJS.ProcessEnv, home: Home): Promise<readonly Check[]> {
  // Only the secrets are needed here; the other settings belong to API and workers.
  const config = loadConfig({
    DATABASE_URL: '-',
    TEMPORAL_ADDRESS: '-',
    SIGNING_KEY_FILE: '-',
    SECRETS_DIR: home.secretsDir,
    ...Object.fromEntries(
      Object.entries(env).filter(([name]) => name === 'SECRETS_DIR' || name.startsWith('REELKEEP_SECRET_')),
    ),
  })
  const checks: Check[] = []
  for (const accountId of await listAccountIds(db)) {
    const stores = await db.asAccount(accountId, (tx) =>
      tx.selectFrom('stores').select(['name', 'role', 'site', 'url']).execute(),
    )
    for (const store of stores) {
      checks.push(
        await check(`store ${store.name}`, async () => {
          const opened = openStore(store.url, (name) => config.resolveSecret(name))
          try {
            await opened.check()
            return ok(`${store.role} in ${store.site}: ${opened.label} can be written, read and deleted from`)
          } finally {
            await opened.close()
          }
        }),
      )
    }
  }
  return checks
}
