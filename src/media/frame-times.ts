import type { FrameTimes } from '../domain/encode.ts'
import type { MediaOptions } from './encoder.ts'
import { machineFailure } from './failures.ts'
import { guardArgs } from './ffmpeg-args.ts'
import type { Prober } from './ffprobe.ts'

/** A day of 60 frames per second is a tenth of this. */
const maxAnswerBytes = 1 << 30

/**
 * Reads when every frame of the picture is shown, without decoding one (half a percent of an encode). `null` where the file does not
 * say: it is then encoded in one piece. @throws encode_timeout, encoder_missing, cancelled
 */
export async function readFrameTimes(prober: Prober, path: string, options: MediaOptions): Promise<FrameTimes | null> {
  const { limits } = prober
  const reader = frameTimesReader()
  const entries = 'format=start_time:stream=time_base:packet=pts,flags'
  const show = ['-select_streams', 'V:0', '-show_entries', entries, '-of', 'compact=nokey=1:print_section=1']
  const started = await prober.jail.start({
    binary: prober.ffprobePath,
    args: ['-v', 'error', '-hide_banner', ...show, ...guardArgs(limits), '-i', `file:${path}`],
    readable: [path],
    writable: [],
    wallMs: limits.maxWallMs,
    maxStdoutBytes: maxAnswerBytes,
    onStdout: reader.read,
    signal: options.signal,
  })
  const finished = await started.finished
  const machine = machineFailure(finished, 'Reading the times of the frames', limits.maxWallMs)
  if (machine !== null) throw machine
  return finished.code === 0 && finished.stopped === null ? reader.result() : null
}

/** Collects ffprobe's lines (`packet|3320|K_`, `stream|1/1000`, `format|3.320000`), however they are cut into chunks. */
export function frameTimesReader(): {
  readonly read: (text: string) => void
  readonly result: () => FrameTimes | null
} {
  const ticks: (number | null)[] = []
  const keyTicks: number[] = []
  let tickSeconds: FrameTimes['tickSeconds'] | null = null
  let startUs: number | null = null
  let rest = ''
  const line = (text: string): void => {
    const [section, value = '', flags = ''] = text.split('|')
    // Frames that an edit list hides are decoded but not shown.
    if (section === 'packet' && !flags.includes('D')) {
      const tick = /^-?\d+$/.test(value) ? Number(value) : null
      ticks.push(tick)
      if (tick !== null && flags.includes('K')) keyTicks.push(tick)
    }
    const [over = 0, under = 0] = section === 'stream' ? value.split('/').map(Number) : []
    if (over > 0 && under > 0) tickSeconds = { over, under }
    if (section === 'format' && Number.isFinite(Number(value))) startUs = Math.round(Number(value) * 1_000_000)
  }
  return {
    read: (text) => {
      const lines = (rest + text).split('\n')
      rest = (lines.pop() ?? '').slice(-1000)
      for (const one of lines) line(one)
    },
    result: () => (tickSeconds === null || startUs === null ? null : { tickSeconds, startUs, ticks, keyTicks }),
  }
}
