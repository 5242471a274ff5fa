import { ReelkeepError } from '../domain/errors.ts'
import type { MediaFacts } from '../domain/encode.ts'
import { truncated } from './byte-source.ts'
import type { MediaLimits, MediaOptions } from './encoder.ts'
import { lastComplaint, machineFailure } from './failures.ts'
import { guardArgs } from './ffmpeg-args.ts'
import type { Jail } from './jail.ts'
import { factsFrom, parseProbe, type ProbeAnswer } from './probe-answer.ts'

/** Where and how to run ffprobe. */
export interface Prober {
  readonly jail: Jail
  readonly ffprobePath: string
  readonly limits: MediaLimits
}

const maxAnswerBytes = 1 << 20
const probeWallMs = 60_000
const titleEntry = ':format_tags=title'
/** Explicit fields only: a file may carry megabytes of tags. */
const entries =
  'format=format_name,duration,start_time,nb_streams:' +
  'stream=index,codec_type,codec_name,profile,level,pix_fmt,width,height,sample_aspect_ratio,avg_frame_rate,' +
  'field_order,color_transfer,channels,sample_rate,duration,nb_read_packets:' +
  'stream_disposition=attached_pic:stream_tags=rotate:stream_side_data=rotation'

/**
 * Asks ffprobe what a file holds and judges the answer against the limits.
 * @throws type_mismatch, no_streams, implausible_duration, too_many_pixels, truncated, undecodable, encode_timeout,
 * encoder_missing, cancelled
 */
export async function probeFile(
  prober: Prober,
  path: string,
  sizeBytes: number,
  options: MediaOptions = {},
): Promise<MediaFacts> {
  let answer = await ask(prober, path, entries + titleEntry, [], options)
  const tooLong = answer === null
  // Only the title is of unbounded length: asked again without it, the answer is short.
  answer ??= await ask(prober, path, entries, [], options)
  if (answer === null)
    throw new ReelkeepError('undecodable', 'The file describes itself endlessly. Export it again with fewer streams.')
  const facts = factsFrom(answer, sizeBytes, tooLong ? ['tags were too long and are left out'] : [])
  judge(facts, answer.durationMs, prober.limits)
  return facts
}

/** What an output file really holds: every packet was read. */
export async function countPackets(prober: Prober, path: string, options: MediaOptions = {}): Promise<ProbeAnswer> {
  const answer = await ask(prober, path, entries, ['-count_packets'], options)
  if (answer === null)
    throw new ReelkeepError('encode_incomplete', 'An output describes itself endlessly. It is made again.')
  return answer
}

/** `null` where the answer was longer than allowed. */
async function ask(
  prober: Prober,
  path: string,
  show: string,
  extra: readonly string[],
  options: MediaOptions,
): Promise<ProbeAnswer | null> {
  const { limits } = prober
  const wallMs = extra.length === 0 ? Math.min(probeWallMs, limits.maxWallMs) : limits.maxWallMs
  const args = ['-v', 'error', '-hide_banner', '-max_alloc', String(limits.maxMemoryBytes), ...extra, '-of', 'json']
  const started = await prober.jail.start({
    binary: prober.ffprobePath,
    args: [...args, '-show_entries', show, ...guardArgs(limits), '-i', `file:${path}`],
    readable: [path],
    writable: [],
    wallMs,
    maxStdoutBytes: maxAnswerBytes,
    signal: options.signal,
  })
  const finished = await started.finished
  if (finished.stopped === 'too_much_output') return null
  const machine = machineFailure(finished, 'Probing the file', wallMs)
  if (machine !== null) throw machine
  if (finished.code !== 0) throw refusal(finished.stderr, lastComplaint(finished))
  const answer = parseProbe(finished.stdout)
  // A decoder that refuses a picture leaves its size at 0 and the exit code, too. A cover of that size does not matter.
  const picture = answer.streams.find((stream) => stream.kind === 'video' && !stream.cover)
  if (picture?.codedWidthPx === 0 && isOversized(finished.stderr)) throw oversized()
  return answer
}

function isOversized(stderr: string): boolean {
  return /Picture size \S+ (?:is invalid|exceeds)/.test(stderr)
}

function oversized(): ReelkeepError {
  return new ReelkeepError(
    'too_many_pixels',
    'The picture has more pixels than a recording may have. Export it smaller.',
  )
}

function refusal(stderr: string, complaint: string): ReelkeepError {
  if (/moov atom not found|partial file|End of file|ended prematurely/.test(stderr)) return truncated(complaint)
  if (/not on whitelist|Unknown input format/.test(stderr)) {
    return new ReelkeepError(
      'type_mismatch',
      `The file is not a recording we accept (${complaint}). Upload the recording itself.`,
    )
  }
  if (isOversized(stderr)) return oversized()
  const message = `The file cannot be read as a recording (${complaint}). Export it again and upload it.`
  return new ReelkeepError('undecodable', message)
}

/** Less than ten bytes per second over more than ten minutes is no recording, whatever its header says. */
const slowestBytesPerSecond = 10
const shortMs = 600_000

/** `declaredMs` is the container's own claim, which may differ from what its streams add up to: both must be plausible. */
function judge(facts: MediaFacts, declaredMs: number | null, limits: MediaLimits): void {
  const { video, sizeBytes } = facts
  const durationMs = facts.durationMs === null ? declaredMs : Math.max(facts.durationMs, declaredMs ?? 0)
  if (video === null && facts.audio === null) {
    throw new ReelkeepError('no_streams', 'The file holds neither picture nor sound. Upload the recording itself.')
  }
  if (durationMs !== null) {
    const empty = durationMs > shortMs && sizeBytes / (durationMs / 1000) < slowestBytesPerSecond
    if (durationMs > limits.maxDurationMs || empty) {
      const message = `The file claims to last ${Math.round(durationMs / 1000)} s with ${sizeBytes} bytes. Export it again; its header is wrong.`
      throw new ReelkeepError('implausible_duration', message, { details: { durationMs, sizeBytes } })
    }
  }
  if (video === null) return
  if (video.widthPx * video.heightPx > limits.maxPixels) {
    const message = `The picture is ${video.widthPx}x${video.heightPx}: more than ${limits.maxPixels} pixels. Export it smaller.`
    throw new ReelkeepError('too_many_pixels', message)
  }
  if (video.widthPx < 1 || video.heightPx < 1) {
    throw new ReelkeepError(
      'undecodable',
      'The file has a picture without a size: no frame of it can be decoded. Export it again.',
    )
  }
}
