import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { MediaFacts, Rendition, Rung, Slice } from '../domain/encode.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { withByteSource } from './byte-source.ts'
import { checkStructure } from './container.ts'
import type { MediaOptions } from './encoder.ts'
import { lastComplaint, machineFailure } from './failures.ts'
import type { MediaTools } from './ffmpeg.ts'
import { decodeCommand, rungPath } from './ffmpeg-args.ts'
import { countPackets } from './ffprobe.ts'
import { sizeOf } from './scratch.ts'
import { sliceLengthMs, sliceStartMs, type SliceOrder } from './slice-args.ts'
import type { EncodeOrder } from './work.ts'

/** An output that holds what it should, as long as it should. */
export interface CheckedMedia {
  readonly path: string
  readonly sizeBytes: number
  readonly durationMs: number
  /** 0 where there is no picture. */
  readonly widthPx: number
  readonly heightPx: number
  /** How many frames it has. */
  readonly frames: number
}

/** Which kinds of stream are meant. */
export interface StreamKinds {
  readonly video: boolean
  readonly audio: boolean
}

/** 2 % as promised; a quarter second at least, because a frame of a short clip is more than 2 % of it. */
function shortestMs(sourceMs: number): number {
  return Math.min(sourceMs * 0.98, sourceMs - 250)
}

/**
 * Reads every packet of an output and compares streams and duration with the source's: a lenient encode of a damaged file
 * ends with exit code 0 and half the recording. @throws encode_incomplete
 */
export async function checkMedia(
  tools: MediaTools,
  path: string,
  expected: StreamKinds,
  facts: MediaFacts,
  options: MediaOptions,
): Promise<CheckedMedia> {
  const name = path.slice(path.lastIndexOf('/') + 1)
  await checkStructure(path, 'mp4').catch((cause: unknown) => {
    throw incomplete(name, 'its structure is broken', cause)
  })
  const { streams } = await countPackets(tools, path, options)
  const video = streams.find((stream) => stream.kind === 'video')
  const audio = streams.find((stream) => stream.kind === 'audio')
  if (expected.video && (video?.packets ?? 0) === 0) throw incomplete(name, 'it has no picture')
  if (expected.audio && (audio?.packets ?? 0) === 0) throw incomplete(name, 'it has no sound')
  if (!expected.video && video !== undefined) throw incomplete(name, 'it has a picture and should not')
  const durationMs = Math.max(video?.durationMs ?? 0, audio?.durationMs ?? 0)
  // A picture may be shorter than the sound and the other way round; what `audio.m4a` should last nobody knows then.
  const soundAlone = !expected.video && facts.video !== null
  if (facts.durationMs !== null && !soundAlone && durationMs < shortestMs(facts.durationMs)) {
    throw incomplete(name, `it lasts ${durationMs} ms instead of ${facts.durationMs} ms`)
  }
  const { codedWidthPx: widthPx, codedHeightPx: heightPx } = video ?? { codedWidthPx: 0, codedHeightPx: 0 }
  return { path, sizeBytes: await sizeOf(path), durationMs, widthPx, heightPx, frames: video?.packets ?? 0 }
}

/** Every rung's MP4, largest first. @throws encode_incomplete */
export async function checkRungs(
  tools: MediaTools,
  { plan, facts, outDir }: Pick<EncodeOrder, 'plan' | 'facts' | 'outDir'>,
  options: MediaOptions,
): Promise<readonly CheckedMedia[]> {
  return Promise.all(
    plan.rungs.map((rung) => {
      const expected = { video: true, audio: rung.audio !== 'none' }
      return checkMedia(tools, rungPath(outDir, rung), expected, facts, options)
    }),
  )
}

/** How far the container's word for the end of a slice may be from its last frame. */
const sliceEndToleranceMs = 1000

/**
 * Reads every packet of a slice: it begins with the frame it should, ends with the last one, and what lies between is neither doubled nor
 * missing (some codecs have frames that are not shown). Returns how many frames it has. @throws encode_incomplete
 */
export async function checkSlice(
  tools: MediaTools,
  path: string,
  { cut, facts }: Pick<SliceOrder, 'cut' | 'facts'>,
  slice: Slice,
  options: MediaOptions,
): Promise<number> {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const { startMs, streams } = await countPackets(tools, path, options)
  const video = streams.find((stream) => stream.kind === 'video')
  const frames = video?.packets ?? 0
  // A deinterlaced picture has a frame for every field.
  const most = facts.video?.interlaced === true ? 2 * slice.frames : slice.frames
  if (frames > most || frames < 0.8 * slice.frames) throw incomplete(name, `it has ${frames} frames instead of ${most}`)
  const fromMs = sliceStartMs(cut, slice)
  if (Math.abs(startMs - fromMs) > 1) throw incomplete(name, `it begins at ${startMs} ms instead of ${fromMs} ms`)
  const lengthMs = sliceLengthMs(cut, slice)
  if ((video?.durationMs ?? 0) < lengthMs - sliceEndToleranceMs)
    throw incomplete(name, `it lasts ${video?.durationMs ?? 0} ms instead of ${lengthMs} ms`)
  return frames
}

/** The sound by itself: there, and readable from beginning to end. How long it should be is asked once it stands beside the picture. @throws encode_incomplete */
export async function checkSound(tools: MediaTools, path: string, options: MediaOptions): Promise<void> {
  const { streams } = await countPackets(tools, path, options)
  if (!streams.some((stream) => stream.kind === 'audio' && (stream.packets ?? 0) > 0))
    throw incomplete('sound', 'it has no sound')
}

/**
 * Decodes what was encoded, strictly: all sound and the keyframe of every five seconds. Every frame would cost 3 to 10 % of the
 * encode to learn that an encoder which ended well, and whose packets are all there, wrote what it meant. Nothing to do where
 * everything was copied. @throws encode_incomplete
 */
export async function checkEncodedStreams(
  tools: MediaTools,
  media: CheckedMedia,
  encoded: StreamKinds,
  options: MediaOptions,
): Promise<void> {
  if (!encoded.video && !encoded.audio) return
  const command = decodeCommand(media.path, { ...encoded, strict: true, keyframesOnly: true }, tools)
  const finished = await tools.run(command, { outDir: null, signal: options.signal })
  const machine = machineFailure(finished, 'Checking the encoded recording', tools.limits.maxWallMs)
  if (machine !== null) throw machine
  if (finished.code !== 0) throw incomplete(media.path.slice(media.path.lastIndexOf('/') + 1), lastComplaint(finished))
}

/** Every variant is listed, ended, as long as its MP4, and its byte ranges end where its media file ends. */
export async function checkHls(
  outDir: string,
  rungs: readonly Rung[],
  durationMs: number,
): Promise<readonly Rendition[]> {
  const directory = join(outDir, 'hls')
  const master = await readFile(join(directory, 'master.m3u8'), 'utf8').catch(() => '')
  const made = [await hlsRendition(directory, 'master.m3u8', 'application/vnd.apple.mpegurl', null)]
  for (const { name } of rungs) {
    const text = await readFile(join(directory, `${name}.m3u8`), 'utf8').catch(() => '')
    const playlist = readPlaylist(text)
    if (!master.split('\n').includes(`${name}.m3u8`)) throw incomplete('hls/master.m3u8', `it does not list ${name}`)
    if (!playlist.ended) throw incomplete(`hls/${name}.m3u8`, 'it has no end')
    if (playlist.durationMs < shortestMs(durationMs))
      throw incomplete(`hls/${name}.m3u8`, `it lasts ${playlist.durationMs} ms`)
    const media = await hlsRendition(directory, `${name}.m4s`, 'video/mp4', durationMs)
    if (playlist.endByte !== media.sizeBytes)
      throw incomplete(`hls/${name}.m4s`, 'its segments do not add up to its size')
    made.push(await hlsRendition(directory, `${name}.m3u8`, 'application/vnd.apple.mpegurl', durationMs), media)
  }
  return made
}

async function hlsRendition(
  directory: string,
  file: string,
  contentType: string,
  durationMs: number | null,
): Promise<Rendition> {
  const path = join(directory, file)
  const sizeBytes = await sizeOf(path).catch((cause: unknown) => {
    throw incomplete(`hls/${file}`, 'it was not made', cause)
  })
  return { name: `hls/${file}`, kind: 'hls', contentType, path, sizeBytes, widthPx: null, heightPx: null, durationMs }
}

/** What the lines of a media playlist with byte ranges add up to. */
export function readPlaylist(text: string): {
  readonly ended: boolean
  readonly durationMs: number
  readonly endByte: number
} {
  let durationMs = 0
  let endByte = 0
  for (const line of text.split('\n')) {
    if (line.startsWith('#EXTINF:')) durationMs += Number.parseFloat(line.slice(8)) * 1000
    const range = /^#EXT-X-BYTERANGE:(\d+)@(\d+)$/.exec(line)
    if (range !== null) endByte = Math.max(endByte, Number(range[1]) + Number(range[2]))
  }
  return { ended: text.includes('#EXT-X-ENDLIST'), durationMs: Math.round(durationMs), endByte }
}

/** A whole JPEG: from its first marker to its last. */
export async function checkPicture(outDir: string, name: string, kind: 'poster' | 'sprite'): Promise<Rendition> {
  const path = join(outDir, name)
  const checked = await withByteSource(path, async (source) => {
    const { sizeBytes } = source
    const head = await source.read(0, 64 * 1024)
    const tail = await source.read(Math.max(0, sizeBytes - 2), 2)
    const isWhole = head.toString('hex', 0, 2) === 'ffd8' && tail.toString('hex') === 'ffd9'
    return { sizeBytes, size: isWhole ? jpegSize(head) : null }
  }).catch((cause: unknown) => {
    throw incomplete(name, 'it was not made', cause)
  })
  if (checked.size === null) throw incomplete(name, 'it is not a whole JPEG')
  return {
    name,
    kind,
    contentType: 'image/jpeg',
    path,
    sizeBytes: checked.sizeBytes,
    ...checked.size,
    durationMs: null,
  }
}

/** Width and height from the frame header. */
function jpegSize(head: Buffer): { readonly widthPx: number; readonly heightPx: number } | null {
  for (let at = 2; at + 9 <= head.length && head[at] === 0xff; at += 2 + head.readUInt16BE(at + 2)) {
    const marker = head[at + 1] ?? 0
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
    if (isFrame) return { heightPx: head.readUInt16BE(at + 5), widthPx: head.readUInt16BE(at + 7) }
  }
  return null
}

/** What is said of an output that is not what it should be. */
export function incomplete(name: string, detail: string, cause?: unknown): ReelkeepError {
  return new ReelkeepError(
    'encode_incomplete',
    `The encoded ${name} does not match the recording: ${detail}. It is made again.`,
    {
      cause,
      details: { rendition: name },
    },
  )
}
