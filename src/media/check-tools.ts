import { ReelkeepError } from '../domain/errors.ts'
import { createJail, findBinary, type Jail } from './jail.ts'
import { defaultMediaLimits } from './encoder.ts'

/** The oldest ffmpeg whose options we use (`-fps_mode`). */
const oldest = [5, 1] as const
const needed = {
  encoders: ['libx264', 'aac', 'mjpeg'],
  filters: ['scale', 'split', 'setsar', 'format', 'fps', 'tile', 'tpad', 'aresample', 'bwdif'],
  muxers: ['mp4', 'ipod', 'hls', 'image2', 'null'],
} as const
const installLine = 'Debian: apt-get install ffmpeg'

/** What `reelkeep doctor` says about the machine's media software. */
export interface ToolReport {
  /** `5.1.9-0+deb12u1`, or `''` where ffmpeg does not start. */
  readonly version: string
  /** Whole sentences, each naming one missing thing and the way to get it; empty = everything is there. */
  readonly problems: readonly string[]
  /** The layers media processes run in, for information: "nice, prlimit, setpriv, bubblewrap without network". */
  readonly jail: string
}

/** Looks at ffmpeg and ffprobe: version, encoders, filters, muxers. Never throws; changes nothing. */
export async function checkTools(ffmpegPath: string, ffprobePath: string): Promise<ToolReport> {
  const jail = createJail(defaultMediaLimits)
  const problems: string[] = []
  for (const [name, path] of [
    ['ffmpeg', ffmpegPath],
    ['ffprobe', ffprobePath],
  ] as const) {
    const found = await versionOf(jail, path)
    if (found === null) problems.push(`${name} (${path}) is missing or does not start. ${installLine}`)
    else if (!isNewEnough(found)) problems.push(`${name} ${found} is older than ${oldest.join('.')}. ${installLine}`)
  }
  const version = (await versionOf(jail, ffmpegPath)) ?? ''
  if (version === '') return { version, problems, jail: 'unknown' }
  for (const [kind, names] of Object.entries(needed)) {
    const found = await listFeatures(jail, ffmpegPath, kind)
    for (const name of names) {
      if (!found.has(name))
        problems.push(`ffmpeg has no ${kind.slice(0, -1)} ${name}. Install a full build; ${installLine}`)
    }
  }
  return { version, problems, jail: await jail.describe(ffmpegPath) }
}

/** The names ffmpeg lists for `-encoders`, `-filters` or `-muxers`. @throws encoder_missing */
export async function listFeatures(jail: Jail, ffmpegPath: string, kind: string): Promise<ReadonlySet<string>> {
  const text = await ask(jail, ffmpegPath, ['-hide_banner', `-${kind}`])
  const names = text.split('\n').flatMap((line) => /^ [A-Z.|\s]{1,6} (\S+)\s/.exec(line)?.[1]?.split(',') ?? [])
  return new Set(names)
}

async function versionOf(jail: Jail, path: string): Promise<string | null> {
  try {
    return /version (\S+)/.exec(await ask(jail, path, ['-version']))?.[1] ?? null
  } catch {
    return null
  }
}

/** Builds from git have no number in front; they are newer than any release we would refuse. */
function isNewEnough(version: string): boolean {
  const [, major, minor] = /^n?(\d+)\.(\d+)/.exec(version) ?? []
  if (major === undefined || minor === undefined) return true
  return Number(major) > oldest[0] || (Number(major) === oldest[0] && Number(minor) >= oldest[1])
}

async function ask(jail: Jail, binary: string, args: readonly string[]): Promise<string> {
  const empty = { readable: [], writable: [] }
  const { finished } = await jail.start({ binary, args, ...empty, wallMs: 20_000, maxStdoutBytes: 1 << 20 })
  const { code, stdout } = await finished
  if (code === 0) return stdout
  const binaryName = await findBinary(binary)
  throw new ReelkeepError('encoder_missing', `${binaryName} does not run on this machine. ${installLine}`)
}
