import { dirname, join } from 'node:path'
import { ReelkeepError } from '../domain/errors.ts'
import { canInstallPackages, exists, findOnPath, installPackages, lastLines, runCommand } from './commands.ts'
import type { Say } from './commands.ts'

/** Both programs and the version they report. */
export interface FfmpegPrograms {
  readonly ffmpegPath: string
  readonly ffprobePath: string
  /** "5.1.6"; a build from a repository may call itself something else, like "N-112233". */
  readonly version: string
}

/** What the look-up is told. */
export interface FfmpegLookup {
  /** Path of the `ffmpeg` program from the settings; `ffprobe` is expected beside it. Null looks further. */
  readonly configured: string | null
  /** May packages be installed (as root on Debian)? */
  readonly install: boolean
  readonly say: Say
}

const installLine = 'sudo apt-get install -y --no-install-recommends ffmpeg   (macOS: brew install ffmpeg)'

/**
 * Finds ffmpeg and ffprobe >= 5.1: the configured one, else on PATH, else installed with apt-get where that is allowed.
 * @throws missing_tool with the exact line to run; invalid_config when the configured one does not work
 */
export async function resolveFfmpeg({ configured, install, say }: FfmpegLookup): Promise<FfmpegPrograms> {
  if (configured !== null) return check(configured, join(dirname(configured), 'ffprobe'), 'invalid_config')
  if (install && !(await bothOnPath()) && (await canInstallPackages())) await installPackages(['ffmpeg'], say)
  const found = await bothOnPath()
  if (found === null)
    throw new ReelkeepError('missing_tool', `ffmpeg and ffprobe are not on PATH. Install them: ${installLine}`)
  return check(found.ffmpeg, found.ffprobe, 'missing_tool')
}

async function bothOnPath(): Promise<{ ffmpeg: string; ffprobe: string } | null> {
  const [ffmpeg, ffprobe] = [await findOnPath('ffmpeg'), await findOnPath('ffprobe')]
  return ffmpeg === null || ffprobe === null ? null : { ffmpeg, ffprobe }
}

async function check(
  ffmpegPath: string,
  ffprobePath: string,
  code: 'missing_tool' | 'invalid_config',
): Promise<FfmpegPrograms> {
  for (const path of [ffmpegPath, ffprobePath]) {
    if (!(await exists(path)))
      throw new ReelkeepError(code, `${path} does not exist. Install ffmpeg with ffprobe: ${installLine}`)
  }
  const result = await runCommand(ffmpegPath, ['-version'], { timeoutMs: 20_000 })
  const version = /^ffmpeg version n?(\S+)/.exec(result.stdout)?.[1]
  if (version === undefined)
    throw new ReelkeepError(
      code,
      `${ffmpegPath} does not run: ${lastLines(result.stderr, 2)}. Reinstall it: ${installLine}`,
    )
  if (!isRecentFfmpeg(version)) {
    throw new ReelkeepError(
      code,
      `${ffmpegPath} is version ${version}; 5.1 or newer is needed. Install it: ${installLine}`,
    )
  }
  return { ffmpegPath, ffprobePath, version }
}

/** Is this version at least 5.1? Builds from a repository carry no number and count as new. */
export function isRecentFfmpeg(version: string): boolean {
  const [, major, minor] = (/^(\d+)\.(\d+)/.exec(version) ?? []).map(Number)
  if (major === undefined || minor === undefined) return !/^\d/.test(version)
  return major > 5 || (major === 5 && minor >= 1)
}
