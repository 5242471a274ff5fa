import type { AudioFacts, MediaFacts, VideoFacts } from '../domain/encode.ts'
import { ReelkeepError } from '../domain/errors.ts'

/** One stream as ffprobe describes it; everything may be missing. */
export interface ProbedStream {
  readonly kind: string
  readonly codec: string
  readonly profile: string | null
  readonly level: number | null
  readonly pixelFormat: string
  readonly codedWidthPx: number
  readonly codedHeightPx: number
  readonly sampleAspect: number
  readonly framesPerSecond: number | null
  readonly fieldOrder: string
  readonly transfer: string
  readonly rotationDegrees: number
  readonly channels: number
  readonly sampleRateHz: number
  readonly durationMs: number | null
  readonly packets: number | null
  readonly cover: boolean
}

/** ffprobe's answer, read field by field: nothing of it is trusted to be there or to have the right type. */
export interface ProbeAnswer {
  readonly container: string
  readonly durationMs: number | null
  readonly startMs: number
  readonly title: string | null
  readonly streams: readonly ProbedStream[]
}

type Json = Readonly<Record<string, unknown>>

/** Reads ffprobe's JSON. @throws undecodable where it is not JSON */
export function parseProbe(text: string): ProbeAnswer {
  let root: Json
  try {
    root = objectOf(JSON.parse(text))
  } catch (cause) {
    throw new ReelkeepError('undecodable', 'ffprobe gave no readable answer about the file. Export it again.', {
      cause,
    })
  }
  const format = objectOf(root.format)
  return {
    container: textOf(format.format_name),
    durationMs: durationAsMs(format.duration),
    startMs: secondsAsMs(format.start_time) ?? 0,
    title: textOf(objectOf(format.tags).title) || null,
    streams: listOf(root.streams).map(streamFrom),
  }
}

/** The facts of a file as plans use them: first real picture, first sound, remarks on all that is dropped. */
export function factsFrom(answer: ProbeAnswer, sizeBytes: number, remarks: readonly string[]): MediaFacts {
  const pictures = answer.streams.filter((stream) => stream.kind === 'video' && !stream.cover)
  const sounds = answer.streams.filter((stream) => stream.kind === 'audio')
  const [picture] = pictures
  const [sound] = sounds
  const title = answer.title === null ? null : cleanTitle(answer.title)
  return {
    container: answer.container,
    durationMs: durationOf(answer, picture, sound),
    sizeBytes,
    video: picture === undefined ? null : videoFrom(picture),
    audio: sound === undefined ? null : audioFrom(sound),
    streamCount: answer.streams.length,
    title,
    notes: [
      ...remarks,
      ...(answer.title !== null && title !== answer.title.trim() ? ['the title was cut or cleaned'] : []),
      ...dropped('video stream', pictures.length - 1),
      ...dropped('audio stream', sounds.length - 1),
      ...dropped('cover picture', answer.streams.filter((stream) => stream.cover).length),
      ...dropped('subtitle stream', countKind(answer, 'subtitle')),
      ...dropped('data stream', countKind(answer, 'data')),
      ...dropped('attachment', countKind(answer, 'attachment')),
    ],
  }
}

/** The first `max` characters without control, direction and other invisible characters. */
export function cleanTitle(title: string): string | null {
  const visible = title.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\u2028\u2029\uFFFD]+/gu, ' ').replaceAll(/\s+/gu, ' ')
  return Array.from(visible.trim()).slice(0, 200).join('').trim() || null
}

function countKind(answer: ProbeAnswer, kind: string): number {
  return answer.streams.filter((stream) => stream.kind === kind).length
}

function dropped(what: string, count: number): readonly string[] {
  return count > 0 ? [`dropped ${count} ${what}${count === 1 ? '' : 's'}`] : []
}

/** The kept streams' own durations where the container has them: a time-code track may outlast the media. */
function durationOf(
  answer: ProbeAnswer,
  picture: ProbedStream | undefined,
  sound: ProbedStream | undefined,
): number | null {
  const own = [picture?.durationMs, sound?.durationMs].filter((ms) => typeof ms === 'number')
  if (own.length > 0 && own.length === [picture, sound].filter((stream) => stream !== undefined).length) {
    return Math.max(...own)
  }
  if (answer.durationMs === null) return null
  // Matroska declares the last time stamp, not the span: recordings of live calls start anywhere.
  const isMatroska = answer.container.includes('matroska')
  return isMatroska ? Math.max(0, answer.durationMs - Math.max(0, answer.startMs)) : answer.durationMs
}

function videoFrom(stream: ProbedStream): VideoFacts {
  const square = stream.sampleAspect === 1
  const width = square ? stream.codedWidthPx : 2 * Math.round((stream.codedWidthPx * stream.sampleAspect) / 2)
  const quarterTurn = Math.abs(stream.rotationDegrees) % 180 === 90
  return {
    codec: stream.codec,
    profile: stream.profile,
    level: stream.level,
    pixelFormat: stream.pixelFormat,
    widthPx: quarterTurn ? stream.codedHeightPx : width,
    heightPx: quarterTurn ? width : stream.codedHeightPx,
    framesPerSecond: stream.framesPerSecond,
    interlaced: ['tt', 'bb', 'tb', 'bt'].includes(stream.fieldOrder),
    hdr: ['smpte2084', 'arib-std-b67'].includes(stream.transfer),
    rotationDegrees: stream.rotationDegrees,
  }
}

function audioFrom(stream: ProbedStream): AudioFacts {
  return { codec: stream.codec, profile: stream.profile, channels: stream.channels, sampleRateHz: stream.sampleRateHz }
}

function streamFrom(value: unknown): ProbedStream {
  const json = objectOf(value)
  const level = numberOf(json.level)
  const rotation = listOf(json.side_data_list)
    .map((data) => numberOf(objectOf(data).rotation))
    .find((turn) => turn !== null)
  const tagged = Number(textOf(objectOf(json.tags).rotate) || 0)
  return {
    kind: textOf(json.codec_type),
    codec: textOf(json.codec_name),
    profile: textOf(json.profile) || null,
    level: level !== null && level > 0 ? level : null,
    pixelFormat: textOf(json.pix_fmt),
    codedWidthPx: numberOf(json.width) ?? 0,
    codedHeightPx: numberOf(json.height) ?? 0,
    sampleAspect: ratioOf(json.sample_aspect_ratio, ':') ?? 1,
    framesPerSecond: ratioOf(json.avg_frame_rate, '/'),
    fieldOrder: textOf(json.field_order),
    transfer: textOf(json.color_transfer),
    rotationDegrees: rotation ?? (Number.isFinite(tagged) ? tagged : 0),
    channels: numberOf(json.channels) ?? 0,
    sampleRateHz: numberOf(json.sample_rate) ?? 0,
    durationMs: durationAsMs(json.duration),
    packets: numberOf(json.nb_read_packets),
    cover: numberOf(objectOf(json.disposition).attached_pic) === 1,
  }
}

function ratioOf(value: unknown, separator: string): number | null {
  const [over = 0, under = 0] = textOf(value).split(separator).map(Number)
  const ratio = over / under
  return Number.isFinite(ratio) && ratio > 0 ? ratio : null
}

function secondsAsMs(value: unknown): number | null {
  const seconds = numberOf(value)
  return seconds === null ? null : Math.round(seconds * 1000)
}

/** A duration of zero means "does not say". */
function durationAsMs(value: unknown): number | null {
  const ms = secondsAsMs(value)
  return ms === null || ms <= 0 ? null : ms
}

function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** ffprobe writes some numbers as strings. */
function numberOf(value: unknown): number | null {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : null
}
