import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ReelkeepError } from '../domain/errors.ts'
import { exists, lastLines, runCommand } from './commands.ts'
import type { RunAs, Say } from './commands.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { choosePorts, endProcess, markProcess, writeWhole } from './processes.ts'
import { startService } from './supervisor.ts'
import type { Service } from './supervisor.ts'

/** A Postgres of our own on 127.0.0.1, with the product's two roles. */
export interface LocalPostgres extends Service {
  /** Owns the database and migrates it; no superuser. */
  readonly ownerUrl: string
  /** What the product runs as: row-level security binds it. */
  readonly appUrl: string
  /** May create databases: for tests. The product never uses it. */
  readonly adminUrl: string
  readonly port: number
  readonly dataDir: string
}

/** Where the local Postgres lives and listens. */
export interface LocalPostgresOptions {
  readonly home: string
  readonly cacheDir: string
  /** Preferred; another one is taken when it is in use. */
  readonly port?: number
  readonly say: Say
  /** Server settings besides the house's own, e.g. `{ fsync: 'off' }` for tests. */
  readonly settings?: Readonly<Record<string, string>>
}

const passwordFile = z.object({ admin: z.string(), owner: z.string(), app: z.string() })
type Passwords = Readonly<z.infer<typeof passwordFile>>

const database = 'reelkeep'

/**
 * Starts (or adopts) the Postgres of this home, creating it on first use. It survives a killed supervisor: the next start
 * finds the running server, or the data of the dead one. Started by root it runs as `nobody`, and its data lies outside a
 * home that user cannot reach; the file `postgres.location` in the home then names the place.
 * @throws missing_tool, invalid_config when the data belongs to another Postgres version or its passwords are gone
 */
export async function startPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const { home, say } = options
  const runAs = await findServerUser()
  await mkdir(home, { recursive: true })
  const place = await findPlace(home, runAs, say)
  const binaries = await findPostgresBinaries(options.cacheDir, place, runAs)
  const dataDir = join(place, 'data')
  const passwords = await readPasswords(home, dataDir)
  await createCluster(binaries, dataDir, passwords, runAs, say)
  await checkVersion(binaries, dataDir)
  const runDir = join(home, 'run')
  const [port = 0] = await choosePorts(runDir, 'postgres', [options.port])
  const service = await startService({
    name: 'postgres',
    command: binaries.postgres,
    args: serverArgs(dataDir, port, options.settings ?? {}),
    env: { LANG: 'C', TZ: 'UTC' },
    ...(runAs && { runAs }),
    ports: [port],
    runDir,
    logFile: join(home, 'logs', 'postgres.log'),
    prepare: () => settlePidFile(dataDir),
    ready: async (pid) => {
      const lines = await readPidFile(dataDir)
      return lines[0] === String(pid) && lines[7]?.trim() === 'ready'
    },
    // Fast shutdown: clients are disconnected, everything is written.
    stopSignal: 'SIGINT',
    graceMs: 20_000,
    say,
  })
  const url = (user: string, password: string) => `postgres://${user}:${password}@127.0.0.1:${port}/${database}`
  return {
    ownerUrl: url('reelkeep_owner', passwords.owner),
    appUrl: url('reelkeep_app', passwords.app),
    adminUrl: url('postgres', passwords.admin),
    port,
    dataDir,
    adopted: service.adopted,
    get pid() {
      return service.pid
    },
    stop: () => service.stop(),
  }
}

/** Postgres refuses to run as root; then it runs as `nobody`. */
async function findServerUser(): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const uid = Number((await runCommand('id', ['-u', 'nobody'])).stdout)
  const gid = Number((await runCommand('id', ['-g', 'nobody'])).stdout)
  if (uid > 0 && gid > 0) return { uid, gid }
  throw new ReelkeepError(
    'missing_tool',
    'Postgres does not run as root and there is no user `nobody`. Start Reelkeep as another user, or set DATABASE_URL.',
  )
}

/** The folder the server's files lie in: in the home, or, where its user cannot get there, a private one elsewhere. */
async function findPlace(home: string, runAs: RunAs | undefined, say: Say): Promise<string> {
  const pointer = join(home, 'postgres.location')
  const known = (await readFile(pointer, 'utf8').catch(() => '')).trim()
  if (known !== '') {
    if (await exists(known)) return known
    throw new ReelkeepError(
      'invalid_config',
      `The database folder ${known} (named in ${pointer}) is gone. Restore it, or remove ${home} to start empty.`,
    )
  }
  const inside = join(home, 'postgres')
  await mkdir(inside, { recursive: true, mode: 0o711 })
  if (runAs === undefined || (await canReach(inside, runAs))) return inside
  // A new random name: a folder somebody else prepared under a guessable one is never used.
  const outside = await mkdtemp('/var/tmp/reelkeep-')
  await chmod(outside, 0o711)
  await writeWhole(pointer, `${outside}\n`)
  await rm(inside, { recursive: true })
  say(`Postgres runs as the user nobody, who cannot reach ${home}: its data is in ${outside}`)
  return outside
}

async function canReach(folder: string, runAs: RunAs): Promise<boolean> {
  return (await runCommand('/bin/sh', ['-c', 'cd "$0"', folder], { cwd: '/', runAs })).code === 0
}

async function readPasswords(home: string, dataDir: string): Promise<Passwords> {
  const path = join(home, 'secrets', 'postgres.json')
  const text = await readFile(path, 'utf8').catch(() => '')
  if (text !== '') return passwordFile.parse(JSON.parse(text))
  if (await exists(dataDir)) {
    throw new ReelkeepError(
      'invalid_config',
      `The database passwords ${path} are gone. Restore that file, or remove ${home} to start empty.`,
    )
  }
  const fresh = () => randomBytes(24).toString('hex')
  const passwords = { admin: fresh(), owner: fresh(), app: fresh() }
  await mkdir(join(home, 'secrets'), { recursive: true, mode: 0o700 })
  await writeWhole(path, JSON.stringify(passwords))
  return passwords
}

/** All or nothing: roles and database are made in a draft folder before it gets its name. */
async function createCluster(
  binaries: PostgresBinaries,
  dataDir: string,
  passwords: Passwords,
  runAs: RunAs | undefined,
  say: Say,
): Promise<void> {
  if (await exists(dataDir)) return
  say('Creating the database…')
  const draft = `${dataDir}.draft`
  await rm(draft, { recursive: true, force: true })
  await mkdir(draft, { mode: 0o700 })
  const handover = `${dataDir}.password`
  await writeFile(handover, passwords.admin, { mode: 0o600 })
  if (runAs) for (const path of [draft, handover]) await chown(path, runAs.uid, runAs.gid)
  try {
    const locale = ['--encoding=UTF8', '--locale=C', '--text-search-config=simple']
    const access = ['--username=postgres', `--pwfile=${handover}`, '--auth=scram-sha-256']
    const surroundings = { cwd: '/', env: { LANG: 'C', TZ: 'UTC' }, ...(runAs && { runAs }) }
    const made = await runCommand(binaries.initdb, [`--pgdata=${draft}`, ...locale, ...access], surroundings)
    if (made.code !== 0)
      throw new ReelkeepError('missing_tool', `Creating the database in ${dataDir} failed: ${lastLines(made.stderr)}`)
    const single = ['--single', '-D', draft, '-c', 'log_statement=none', 'postgres']
    const roles = await runCommand(binaries.postgres, single, { ...surroundings, input: roleStatements(passwords) })
    if (roles.code !== 0 || /^.*(ERROR|FATAL|PANIC):/m.test(roles.stderr)) {
      throw new ReelkeepError(
        'missing_tool',
        `Creating the database roles in ${dataDir} failed (initdb worked). Remove it and start again.`,
      )
    }
    await rename(draft, dataDir)
  } finally {
    await rm(handover, { force: true })
    await rm(draft, { recursive: true, force: true })
  }
}

/** One statement per line: that is how a server in single-user mode reads. */
function roleStatements({ owner, app }: Passwords): string {
  const powerless = 'NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS'
  return [
    `CREATE ROLE reelkeep_owner LOGIN ${powerless} PASSWORD '${owner}'`,
    `CREATE ROLE reelkeep_app LOGIN ${powerless} PASSWORD '${app}'`,
    `CREATE DATABASE ${database} OWNER reelkeep_owner`,
    `REVOKE ALL ON DATABASE ${database} FROM PUBLIC`,
    `GRANT CONNECT ON DATABASE ${database} TO reelkeep_app`,
    '',
  ].join('\n')
}

async function checkVersion(binaries: PostgresBinaries, dataDir: string): Promise<void> {
  const found = (await readFile(join(dataDir, 'PG_VERSION'), 'utf8')).trim()
  if (found === binaries.major) return
  const message = `The data in ${dataDir} belongs to Postgres ${found}; this Reelkeep brings Postgres ${binaries.major}. Start the older Reelkeep and dump the database, or set DATABASE_URL to a Postgres ${found}.`
  throw new ReelkeepError('invalid_config', message)
}

function serverArgs(dataDir: string, port: number, settings: Readonly<Record<string, string>>): string[] {
  const all = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    max_connections: '100',
    ...settings,
  }
  return ['-D', dataDir, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
}

async function readPidFile(dataDir: string): Promise<string[]> {
  return (await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
}

/** No process ever has this pid. */
const nobodysPid = '2000000000'

/**
 * Makes the pid file of a server that died fit for a new start. A server that still runs on this data without our record
 * of it is ended. Where the pid now belongs to an unrelated process, Postgres would refuse to start for ever: the pid is
 * replaced, not the file, because Postgres finds surviving children of the dead server by its other lines.
 */
async function settlePidFile(dataDir: string): Promise<void> {
  const lines = await readPidFile(dataDir)
  const pid = Number(lines[0] ?? 0)
  if (!answers(pid)) return
  // A dead server whose parent died too may stay behind as a zombie: it does not run, and yet its pid is taken.
  const mark = await markProcess(pid)
  if (mark !== null && (await commandOf(mark.pid)).includes(dataDir)) {
    await endProcess(mark, 'SIGINT', 20_000)
    return
  }
  const path = join(dataDir, 'postmaster.pid')
  await writeFile(path, [nobodysPid, ...lines.slice(1)].join('\n'))
}

function answers(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch {
    return false
  }
}

async function commandOf(pid: number): Promise<string> {
  if (process.platform !== 'linux') return (await runCommand('ps', ['-o', 'args=', '-p', String(pid)])).stdout
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ')
}
