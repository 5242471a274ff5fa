import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Rendition } from '../domain/encode.ts'
import { fitsM4a } from '../domain/encode.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { listFeatures } from './check-tools.ts'
import type { EncodeOptions, MediaOptions } from './encoder.ts'
import type { MediaTools } from './ffmpeg.ts'
import type { Derivation, SpriteLayout } from './ffmpeg-args.ts'
import { deriveCommand, layOutSprite, makeCommand } from './ffmpeg-args.ts'
import {
  checkEncodedStreams,
  checkHls,
  checkMedia,
  checkPicture,
  checkRungs,
  type CheckedMedia,
} from './output-check.ts'
import { partOf } from './progress.ts'
import { emptyDirectory, explainFullScratch, sizeOf } from './scratch.ts'
import { makeFromSlices } from './slices.ts'
import { runOrThrow, type EncodeOrder, type MakeOrder } from './work.ts'

/** Shares of the work, as fractions of its end: making, checking, deriving. */
const shares = { made: 0.88, checked: 0.92, derived: 0.97 }

/**
 * Makes and checks everything the plan names: one process decodes once and makes all rungs, one derives HLS, poster,
 * sprite and sound from them. All or nothing: whatever fails, `outDir` is left empty, so that trying again starts clean.
 * @throws encode_failed, encode_incomplete, encode_timeout, encoder_missing, scratch_full, cancelled
 */
export async function makeRenditions(
  tools: MediaTools,
  order: EncodeOrder,
  options: EncodeOptions,
): Promise<readonly Rendition[]> {
  try {
    return order.plan.kind === 'audio' ? await makeAudio(tools, order, options) : await makeVideo(tools, order, options)
  } catch (error) {
    await emptyDirectory(order.outDir)
    // Our own small writes meet a full disk as well.
    throw explainFullScratch(error, 'The scratch disk is full. Free space there; the encode is retried.')
  }
}

async function makeAudio(tools: MediaTools, order: EncodeOrder, options: MediaOptions): Promise<readonly Rendition[]> {
  if (!order.plan.audioOnly) throw new ReelkeepError('encode_failed', 'There is neither picture nor sound to encode.')
  const part = partOf(options.onProgress)
  await make(tools, { ...order, toneMap: false }, options, part(0, shares.made))
  const made = await checkMedia(
    tools,
    join(order.outDir, 'audio.m4a'),
    { video: false, audio: true },
    order.facts,
    options,
  )
  await checkEncodedStreams(tools, made, { video: false, audio: true }, options)
  part(shares.derived, 1)(1)
  return [audioRendition(order.outDir, made)]
}

async function makeVideo(tools: MediaTools, order: EncodeOrder, options: EncodeOptions): Promise<readonly Rendition[]> {
  const { plan } = order
  const part = partOf(options.onProgress)
  const toneMap = await wantsToneMap(tools, order)
  const checked =
    (await makeFromSlices(tools, { ...order, toneMap }, options, part(0, shares.made))) ??
    (await makeWhole(tools, { ...order, toneMap }, options, part(0, shares.made)))
  const smallest = checked.at(-1)
  const smallestRung = plan.rungs.at(-1)
  if (smallest === undefined || smallestRung === undefined) {
    throw new ReelkeepError(
      'encode_failed',
      'The encode plan has a picture but no rendition of it. Plan the encode again.',
    )
  }
  // All rungs come from one decode and one encoder build: the smallest stands for the others, at a fraction of the cost.
  // Copied streams were decoded as the source; there, having read every packet is enough.
  const encoded = { video: smallestRung.video === 'encode', audio: smallestRung.audio === 'encode' }
  await checkEncodedStreams(tools, smallest, encoded, options)
  part(shares.made, shares.checked)(1)
  const derived = await derive(tools, order, smallest, options)
  part(shares.checked, 1)(1)
  return [...plan.rungs.map((rung, index) => rungRendition(rung.name, checked[index] ?? smallest)), ...derived]
}

/** One process decodes once and makes all rungs. */
async function makeWhole(
  tools: MediaTools,
  order: MakeOrder,
  options: MediaOptions,
  report: (fraction: number) => void,
): Promise<readonly CheckedMedia[]> {
  await make(tools, order, options, report)
  return checkRungs(tools, order, options)
}

async function make(
  tools: MediaTools,
  order: MakeOrder,
  options: MediaOptions,
  report: (fraction: number) => void,
): Promise<void> {
  const { path, facts, plan, outDir, toneMap } = order
  const command = makeCommand(path, facts, plan, outDir, { ...tools, toneMap })
  await runOrThrow(tools, command, outDir, 'Encoding the recording', options, (outMs) => {
    if (facts.durationMs !== null) report(outMs / facts.durationMs)
  })
}

async function wantsToneMap(tools: MediaTools, { facts, plan }: EncodeOrder): Promise<boolean> {
  const isHdr = facts.video?.hdr === true && plan.rungs.some((rung) => rung.video === 'encode')
  return isHdr && (await canToneMap(tools))
}

/** Without these two filters an HDR recording comes out washed out, but it comes out. */
async function canToneMap(tools: MediaTools): Promise<boolean> {
  const filters = await listFeatures(tools.jail, tools.ffmpegPath, 'filters')
  return filters.has('zscale') && filters.has('tonemap')
}

/** HLS, sound, poster and sprite, from the top rung's real size and duration. */
async function derive(
  tools: MediaTools,
  order: EncodeOrder,
  smallest: CheckedMedia,
  options: MediaOptions,
): Promise<readonly Rendition[]> {
  const { plan, facts, outDir } = order
  const { durationMs } = smallest
  const sprite = plan.sprite ? layOutSprite(durationMs, smallest.widthPx, smallest.heightPx) : null
  const hasAac = plan.rungs[0]?.audio === 'encode' || (facts.audio !== null && fitsM4a(facts.audio))
  const audio = !plan.audioOnly ? 'none' : hasAac ? 'copy' : 'encode'
  const work: Derivation = { ...plan, durationMs, sprite, audio, keyframesOnly: true }
  if (plan.hls) await mkdir(join(outDir, 'hls'), { recursive: true })
  if (plan.hls || plan.poster || plan.sprite || plan.audioOnly) {
    await runOrThrow(tools, deriveCommand(outDir, facts, work, tools), outDir, 'Deriving HLS and pictures', options)
  }
  await drawMissingPictures(tools, order, work, options)
  const made: Rendition[] = []
  if (plan.hls) made.push(...(await checkHls(outDir, plan.rungs, durationMs)))
  if (plan.poster) made.push(await checkPicture(outDir, 'poster.jpg', 'poster'))
  if (sprite !== null)
    made.push(await checkPicture(outDir, 'sprite.jpg', 'sprite'), await writeSpriteIndex(outDir, sprite, durationMs))
  if (plan.audioOnly) {
    const expected = { video: false, audio: true }
    made.push(audioRendition(outDir, await checkMedia(tools, join(outDir, 'audio.m4a'), expected, facts, options)))
  }
  return made
}

/** Streams with intra refresh have no keyframes; their pictures are made by decoding everything. */
async function drawMissingPictures(
  tools: MediaTools,
  order: EncodeOrder,
  work: Derivation,
  options: MediaOptions,
): Promise<void> {
  const missing = async (name: string): Promise<boolean> =>
    (await sizeOf(join(order.outDir, name)).catch(() => 0)) === 0
  const poster = work.poster && (await missing('poster.jpg'))
  const sprite = work.sprite !== null && (await missing('sprite.jpg')) ? work.sprite : null
  if (!poster && sprite === null) return
  const again: Derivation = { ...work, hls: false, audio: 'none', poster, sprite, keyframesOnly: false }
  const command = deriveCommand(order.outDir, order.facts, again, tools)
  await runOrThrow(tools, command, order.outDir, 'Drawing poster and sprite', options)
}

function rungRendition(name: string, media: CheckedMedia): Rendition {
  const { path, sizeBytes, widthPx, heightPx, durationMs } = media
  return {
    name: `${name}.mp4`,
    kind: 'video',
    contentType: 'video/mp4',
    path,
    sizeBytes,
    widthPx,
    heightPx,
    durationMs,
  }
}

function audioRendition(outDir: string, media: CheckedMedia): Rendition {
  const path = join(outDir, 'audio.m4a')
  const { sizeBytes, durationMs } = media
  return {
    name: 'audio.m4a',
    kind: 'audio',
    contentType: 'audio/mp4',
    path,
    sizeBytes,
    widthPx: null,
    heightPx: null,
    durationMs,
  }
}

/** The WebVTT file that tells players which part of the sprite belongs to which time. */
async function writeSpriteIndex(outDir: string, sprite: SpriteLayout, durationMs: number): Promise<Rendition> {
  const path = join(outDir, 'sprite.vtt')
  await rm(path, { force: true })
  await writeFile(path, spriteIndex(sprite, durationMs))
  const sizeBytes = await sizeOf(path)
  return {
    name: 'sprite.vtt',
    kind: 'sprite',
    contentType: 'text/vtt',
    path,
    sizeBytes,
    widthPx: null,
    heightPx: null,
    durationMs: null,
  }
}

/** One cue per little picture; the last one ends with the recording. */
export function spriteIndex(sprite: SpriteLayout, durationMs: number): string {
  const cues = Array.from({ length: sprite.count }, (_, index) => {
    const fromMs = index * sprite.intervalSeconds * 1000
    const toMs = Math.min(durationMs, fromMs + sprite.intervalSeconds * 1000)
    const x = (index % sprite.columns) * sprite.tileWidthPx
    const y = Math.floor(index / sprite.columns) * sprite.tileHeightPx
    return `${vttTime(fromMs)} --> ${vttTime(toMs)}\nsprite.jpg#xywh=${x},${y},${sprite.tileWidthPx},${sprite.tileHeightPx}\n`
  })
  return ['WEBVTT\n', ...cues].join('\n')
}

function vttTime(ms: number): string {
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}.${String(Math.round(ms) % 1000).padStart(3, '0')}`
}
