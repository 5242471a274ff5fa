import type { EncodePlan, MediaFacts, Rung, Slice, SlicePlan } from '../domain/encode.ts'
import { sliceOffsetSeconds } from '../domain/encode.ts'
import type { ArgSettings, MediaCommand } from './ffmpeg-args.ts'
import {
  cleanArgs,
  globalArgs,
  inputArgs,
  ladderFilter,
  m4aArgs,
  mp4Args,
  pictureArgs,
  pictureTicksPerSecond,
  rungPath,
  soundArgs,
} from './ffmpeg-args.ts'

/** A picture that is cut. */
export type Cut = Extract<SlicePlan, { kind: 'slices' }>

/** What slices are made of and where they lie. */
export interface SliceOrder {
  readonly path: string
  readonly facts: MediaFacts
  readonly plan: EncodePlan
  readonly cut: Cut
  /** The folder of unfinished work. */
  readonly partsDir: string
}

/** The rungs whose picture is encoded, largest first: what a slice has a file of each of. */
export function encodedRungs(plan: EncodePlan): readonly Rung[] {
  return plan.rungs.filter((rung) => rung.video === 'encode')
}

/** True where the sound is encoded. Once, for all rungs. */
export function encodesSound(plan: EncodePlan): boolean {
  return plan.rungs.some((rung) => rung.audio === 'encode')
}

/** Where one slice of one rung lies while it is made. */
export function slicePath(partsDir: string, slice: Slice, rung: Rung): string {
  return `${partsDir}/${slice.number}-${rung.name}.ts`
}

/** Where all slices of a rung come together. */
export function joinedPath(partsDir: string, rung: Rung): string {
  return `${partsDir}/${rung.name}.ts`
}

/** Where the sound lies until it is joined with the picture. */
export function soundPath(partsDir: string): string {
  return `${partsDir}/sound.m4a`
}

/** The time of the slice's first picture in its file, in ms. */
export function sliceStartMs({ tickSeconds, startUs }: Cut, slice: Slice): number {
  const ticks = slice.fromTick - startTick(tickSeconds, startUs)
  return (ticks * tickSeconds.over * 1000) / tickSeconds.under + sliceOffsetSeconds * 1000
}

/** From a slice's first frame to its last, in ms. */
export function sliceLengthMs({ tickSeconds }: Cut, slice: Slice): number {
  return ((slice.lastTick - slice.fromTick) * tickSeconds.over * 1000) / tickSeconds.under
}

/** As ffmpeg rounds the start that it subtracts from every time: the same frames get the same times as in one piece. */
function startTick({ over, under }: Cut['tickSeconds'], startUs: number): number {
  const exact = (startUs * under) / (over * 1_000_000)
  return Math.sign(exact) * Math.round(Math.abs(exact))
}

/**
 * One slice of every encoded rung in one decode. Which frames belong to it is told by their own times, not by how well the
 * container seeks; the seek only has to end at the first one or before.
 */
export function sliceCommand(
  order: SliceOrder,
  slice: Slice,
  settings: ArgSettings & { readonly toneMap: boolean },
): MediaCommand {
  const { path, facts, plan, cut, partsDir } = order
  const { over, under } = cut.tickSeconds
  const seekUs = Math.ceil((slice.fromTick * over * 1_000_000) / under)
  const seek =
    slice.number === 0 ? [] : ['-seek_timestamp', '1', '-noaccurate_seek', '-ss', (seekUs / 1_000_000).toFixed(6)]
  const shift = (sliceOffsetSeconds * under) / over - startTick(cut.tickSeconds, cut.startUs)
  const end = slice.endTick === null ? '' : `:end_pts=${slice.endTick}`
  const choose = [`trim=start_pts=${slice.fromTick}${end}`, `setpts=PTS+(${shift})`]
  const rungs = encodedRungs(plan)
  return {
    inputs: [{ options: [...globalArgs(settings), '-copyts', ...inputArgs(settings), ...seek], path }],
    filter: ladderFilter(facts, rungs, settings.toneMap, choose),
    outputs: rungs.map((rung, index) => {
      const picture = ['-map', `[v${index}]`, ...pictureArgs(facts, settings), '-an', '-sn', '-dn', ...cleanArgs]
      return { options: [...picture, '-mpegts_copyts', '1', '-f', 'mpegts'], path: slicePath(partsDir, slice, rung) }
    }),
  }
}

/** All the sound in one piece: encoders of sound do not join without a click. */
export function soundCommand({ path, facts, partsDir }: SliceOrder, settings: ArgSettings): MediaCommand {
  const input = { options: [...globalArgs(settings), ...inputArgs(settings)], path }
  const options = ['-map', '0:a:0', ...soundArgs(facts, 'encode', settings), ...m4aArgs]
  return { inputs: [input], filter: null, outputs: [{ options, path: soundPath(partsDir) }] }
}

/** The joined slices, the sound and whatever is copied from the source, on one clock, into the MP4 of every rung. */
export function joinCommand(order: SliceOrder, outDir: string, settings: ArgSettings): MediaCommand {
  const { plan, facts, cut, partsDir } = order
  const rungs = encodedRungs(plan)
  const needsSource = plan.rungs.some((rung) => rung.video === 'copy' || rung.audio === 'copy')
  const at = (offsetSeconds: number): readonly string[] => ['-itsoffset', offsetSeconds.toFixed(6)]
  const inputs = [
    ...rungs.map((rung) => ({ offset: at(-sliceOffsetSeconds), path: joinedPath(partsDir, rung) })),
    ...(encodesSound(plan) ? [{ offset: [], path: soundPath(partsDir) }] : []),
    ...(needsSource ? [{ offset: at(-cut.startUs / 1_000_000), path: order.path }] : []),
  ]
  const source = inputs.length - 1
  const outputs = plan.rungs.map((rung) => {
    const picture =
      rung.video === 'encode'
        ? ['-map', `${rungs.indexOf(rung)}:V:0`, '-c:v', 'copy', '-bsf:v', standingFilter(cut, facts)]
        : ['-map', `${source}:V:0`, '-c:v', 'copy']
    const sound = rung.audio === 'copy' ? source : rungs.length
    const audio = rung.audio === 'none' ? ['-an'] : ['-map', `${sound}:a:0`, '-c:a', 'copy']
    return { options: [...picture, ...audio, ...mp4Args], path: rungPath(outDir, rung) }
  })
  const before = [...globalArgs(settings), '-copyts']
  return {
    inputs: inputs.map(({ offset, path }, index) => ({
      options: [...(index === 0 ? before : []), ...inputArgs(settings), ...offset],
      path,
    })),
    filter: null,
    outputs,
  }
}

/** MPEG-TS does not say how long a frame stands; without that the last one would stand for no time and not be shown. */
function standingFilter(cut: Cut, facts: MediaFacts): string {
  const perFrame = facts.video?.interlaced === true ? 2 : 1
  const seconds = (cut.frameTicks * cut.tickSeconds.over) / cut.tickSeconds.under / perFrame
  return `setts=pts=PTS:dts=DTS:duration=${Math.max(1, Math.round(seconds * pictureTicksPerSecond))}`
}
