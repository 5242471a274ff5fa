import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Rung, Slice } from '../domain/encode.ts'
import { maySlice, planSlices } from '../domain/encode.ts'
import { hasCode } from '../domain/errors.ts'
import type { EncodeOptions, EncodePart, MediaOptions, PartShelf } from './encoder.ts'
import type { MediaTools } from './ffmpeg.ts'
import { readFrameTimes } from './frame-times.ts'
import { checkRungs, checkSlice, checkSound, incomplete, type CheckedMedia } from './output-check.ts'
import type { SliceOrder } from './slice-args.ts'
import {
  encodedRungs,
  encodesSound,
  joinCommand,
  joinedPath,
  sliceCommand,
  sliceLengthMs,
  slicePath,
  soundCommand,
  soundPath,
} from './slice-args.ts'
import { runOrThrow, type MakeOrder } from './work.ts'

/** Everything the parts of one encode have in common. */
interface Work {
  readonly tools: MediaTools
  readonly order: SliceOrder
  readonly toneMap: boolean
  readonly planHash: string
  readonly shelf: PartShelf
  readonly options: MediaOptions
}

/**
 * Makes all rungs of a long picture slice by slice and the sound in one piece, keeps every finished part on the shelf, takes from it
 * what an earlier run left there, and joins them by copy. `null` where the picture has to be made in one piece: it is short, its
 * frames have no usable times, or a slice did not come out as it should; nothing is left then.
 * @throws encode_timeout, encoder_missing, scratch_full, cancelled, and what the shelf throws
 */
export async function makeFromSlices(
  tools: MediaTools,
  order: MakeOrder,
  options: EncodeOptions,
  report: (fraction: number) => void,
): Promise<readonly CheckedMedia[] | null> {
  const { path, facts, plan, outDir, toneMap } = order
  const { shelf } = options
  if (shelf === undefined || !maySlice(facts, plan, tools.sliceMs)) return null
  const times = await readFrameTimes(tools, path, options)
  const cut = times === null ? null : planSlices(facts, times, tools.sliceMs)
  if (cut === null || cut.kind === 'whole') return null
  const partsDir = join(outDir, 'parts')
  const sliced: SliceOrder = { path, facts, plan, cut, partsDir }
  const planHash = hashOf(tools, sliced, toneMap)
  await mkdir(partsDir)
  try {
    const frames = await makeParts({ tools, order: sliced, toneMap, planHash, shelf, options }, report)
    await runOrThrow(tools, joinCommand(sliced, outDir, tools), outDir, 'Joining the slices', options)
    const checked = await checkRungs(tools, order, options)
    for (const [index, rung] of plan.rungs.entries()) {
      const joined = checked[index]?.frames
      if (rung.video === 'encode' && joined !== frames)
        throw incomplete(`${rung.name}.mp4`, `it has ${joined} frames instead of ${frames}`)
    }
    return checked
  } catch (error) {
    // Slices are a convenience: what they cannot do, one piece may.
    if (!hasCode(error, 'encode_failed') && !hasCode(error, 'encode_incomplete')) throw error
    for (const rung of plan.rungs) await rm(join(outDir, `${rung.name}.mp4`), { force: true })
    return null
  } finally {
    await rm(partsDir, { recursive: true, force: true })
  }
}

/** The commands, with neutral paths: parts that were made otherwise (or cut elsewhere) have another hash. */
function hashOf(tools: MediaTools, order: SliceOrder, toneMap: boolean): string {
  const neutral: SliceOrder = { ...order, path: '/source', partsDir: '/parts' }
  const slices = order.cut.slices.map((slice) => sliceCommand(neutral, slice, { ...tools, toneMap }))
  const commands = [...slices, soundCommand(neutral, tools), joinCommand(neutral, '/out', tools)]
  return createHash('sha256').update(JSON.stringify(commands)).digest('hex')
}

/**
 * Every part, made or fetched, checked, and joined to the ones before. A part is kept while the next one is made. Returns how many
 * frames each rung has to have.
 */
async function makeParts(work: Work, report: (fraction: number) => void): Promise<number> {
  const { order, shelf } = work
  const { slices } = order.cut
  const rungs = encodedRungs(order.plan)
  let frames = 0
  let keeping: Promise<void> = Promise.resolve()
  /** Keeps a part beside the next one's making; `files` are let go of when both are done with them. */
  const keepBeside = async (part: EncodePart, isNew: boolean): Promise<void> => {
    await keeping
    keeping = (isNew ? shelf.keep(part) : Promise.resolve()).then(() => removeFiles(part))
    keeping.catch(() => undefined)
  }
  try {
    for (const slice of slices) {
      const part = partOf(work, slice, rungs)
      const isNew = !(await shelf.fetch(part))
      if (isNew) await makeSlice(work, slice, (done) => report((slice.number + done) / slices.length))
      frames += await checkSlices(work, slice, rungs)
      for (const rung of rungs) await append(order, slice, rung, work.options)
      await keepBeside(part, isNew)
      report((slice.number + 1) / slices.length)
    }
    if (encodesSound(order.plan)) await makeSound(work)
    await keeping
    return frames
  } catch (error) {
    await Promise.allSettled([keeping])
    throw error
  }
}

function partOf({ planHash, order }: Work, slice: Slice, rungs: readonly Rung[]): EncodePart {
  const files = rungs.map((rung) => ({ rung: rung.name, path: slicePath(order.partsDir, slice, rung) }))
  return { planHash, number: slice.number, files }
}

async function makeSlice(work: Work, slice: Slice, report: (fraction: number) => void): Promise<void> {
  const { tools, order, toneMap, options } = work
  const lengthMs = sliceLengthMs(order.cut, slice)
  const command = sliceCommand(order, slice, { ...tools, toneMap })
  const doing = `Encoding slice ${slice.number + 1} of ${order.cut.slices.length}`
  await runOrThrow(tools, command, order.partsDir, doing, options, (outMs) => report(outMs / Math.max(1, lengthMs)))
}

async function checkSlices({ tools, order, options }: Work, slice: Slice, rungs: readonly Rung[]): Promise<number> {
  const frames = await Promise.all(
    rungs.map((rung) => checkSlice(tools, slicePath(order.partsDir, slice, rung), order, slice, options)),
  )
  const [first = 0] = frames
  if (frames.some((count) => count !== first)) throw incomplete(`slice ${slice.number}`, 'its rungs differ in length')
  return first
}

/** The last part: one more after the slices. */
async function makeSound(work: Work): Promise<void> {
  const { tools, order, planHash, shelf, options } = work
  const path = soundPath(order.partsDir)
  const part: EncodePart = { planHash, number: order.cut.slices.length, files: [{ rung: 'sound', path }] }
  const isNew = !(await shelf.fetch(part))
  if (isNew) await runOrThrow(tools, soundCommand(order, tools), order.partsDir, 'Encoding the sound', options)
  await checkSound(tools, path, options)
  if (isNew) await shelf.keep(part)
}

/** MPEG-TS is made to be put one behind the other. */
async function append({ partsDir }: SliceOrder, slice: Slice, rung: Rung, { signal }: MediaOptions): Promise<void> {
  const from = createReadStream(slicePath(partsDir, slice, rung), { highWaterMark: 1 << 20 })
  await pipeline(
    from,
    createWriteStream(joinedPath(partsDir, rung), { flags: 'a' }),
    signal === undefined ? {} : { signal },
  )
}

async function removeFiles({ files }: EncodePart): Promise<void> {
  for (const { path } of files) await rm(path, { force: true })
}
