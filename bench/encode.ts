import { createReadStream } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { exists } from '../src/dev/commands.ts'
import { generateLecture, generateSmall } from '../src/dev/sample.ts'
import { fitsM4a, planEncode, rungSize } from '../src/domain/encode.ts'
import type { EncodePlan, MediaFacts } from '../src/domain/encode.ts'
import { defaultMediaLimits } from '../src/media/encoder.ts'
import type { Encoder, PartShelf } from '../src/media/encoder.ts'
import { deriveCommand, layOutSprite, makeCommand } from '../src/media/ffmpeg-args.ts'
import type { MediaCommand } from '../src/media/ffmpeg-args.ts'
import { createEncoder } from '../src/media/ffmpeg.ts'
import { hashStream } from '../src/storage/bytes.ts'
import { openLocalStore } from '../src/storage/local.ts'
import { runBare } from './bare.ts'
import type { BenchContext } from './context.ts'
import { pairRow, runPairs } from './measure.ts'
import type { BenchResult, Row } from './measure.ts'

const threads = 1
const budget = '<= 1.05x'
/** Text for players that our side writes itself; ffmpeg makes everything else. */
const writtenByUs = 'sprite.vtt'

/** A ladder, one in slices, and two remuxes, beside the very same ffmpeg commands run by hand. */
export async function benchEncode(context: BenchContext): Promise<BenchResult> {
  const { ffmpegPath, ffprobePath } = context.ffmpeg
  const settings = { ffmpegPath, ffprobePath, limits: defaultMediaLimits, threads }
  const encoder = createEncoder(settings)
  const minute = context.quick ? 5 : 60
  const copies = context.quick ? 5 : 60
  const foreign = join(context.folder, 'foreign.avi')
  const lecture = join(context.folder, 'lecture.mp4')
  const long = join(context.folder, 'long.mp4')
  const uncut = join(context.folder, 'uncut.avi')
  const cut = join(context.folder, 'cut.mkv')
  const sliceMs = minute * 2000
  context.say('  sources…')
  const size = { widthPx: 1280, heightPx: 720 }
  await generateSmall(foreign, { ffmpegPath, seed: 1, codec: 'mpeg4-avi', seconds: minute, ...size })
  await generateLecture(lecture, { ffmpegPath, seconds: minute, title: 'Benchmark', seed: 1 })
  const repeat = ['-v', 'error', '-stream_loop', String(copies - 1), '-i', lecture, '-c', 'copy', long]
  await runBare(ffmpegPath, repeat, context)
  const slices = 4
  const seconds = 2 * slices * minute
  await generateSmall(uncut, { ffmpegPath, seed: 2, codec: 'mpeg4-avi', seconds, ...size })
  await runBare(ffmpegPath, ['-v', 'error', '-i', uncut, '-c', 'copy', cut], context)
  const rows: Row[] = []
  const sources = [
    { path: foreign, kind: 'ladder', seconds: minute, how: '' },
    { path: cut, kind: 'ladder', seconds, how: ` in ${slices} slices, kept on disk` },
    { path: lecture, kind: 'remux', seconds: minute, how: '' },
    { path: long, kind: 'remux', seconds: minute * copies, how: '' },
  ] as const
  for (const { path, kind, seconds, how } of sources) {
    const facts = await encoder.probe(path, context)
    const plan = planEncode(facts)
    if (plan.kind !== kind) throw new Error(`The source of the ${kind} benchmark became a ${plan.kind}: ${plan.reason}`)
    const rungs = plan.rungs.map((rung) => rung.name).join(', ')
    const what = `${kind} of ${seconds} s in 720p (${rungs})${how}`
    const slicing = path === cut ? createEncoder({ ...settings, sliceMs }) : encoder
    rows.push(pairRow(what, await pair(context, slicing, { path, facts, plan }), budget))
  }
  return {
    rows,
    notes: [
      'Both make the MP4s, HLS, poster, sprite and sound in two ffmpeg processes with one thread per codec, from the same arguments. Ours also runs them in the jail and probes, demuxes and decodes what came out.',
      'What that costs is the same for a short and a long recording of one kind, so short remuxes show it most.',
    ],
  }
}

interface Source {
  readonly path: string
  readonly facts: MediaFacts
  readonly plan: EncodePlan
}

async function pair(context: BenchContext, encoder: Encoder, { path, facts, plan }: Source) {
  const oursDir = join(context.folder, 'ours')
  const bareDir = join(context.folder, 'bare')
  const commands = bareCommands({ path, facts, plan }, bareDir)
  const fresh = async (directory: string) => {
    await rm(directory, { recursive: true, force: true })
    await mkdir(directory)
  }
  const ours = {
    prepare: () => fresh(oursDir),
    run: async () => {
      const shelf = createBenchShelf(join(context.folder, 'shelf'))
      await encoder.encode(path, facts, plan, oursDir, { ...context, shelf })
    },
  }
  const bare = {
    prepare: async () => {
      await fresh(bareDir)
      // ffmpeg makes no directories.
      await mkdir(join(bareDir, 'hls'))
    },
    run: async () => {
      for (const args of commands.all) await runBare(context.ffmpeg.ffmpegPath, args, context)
      if (!(await exists(join(bareDir, 'poster.jpg'))))
        await runBare(context.ffmpeg.ffmpegPath, commands.posterAgain, context)
    },
  }
  const measured = await runPairs(context.pairs, ours, bare, context.signal)
  await requireSameOutputs(oursDir, bareDir)
  return measured
}

/** Keeps parts as a worker does in a local store: hashed, and synced to the disk. What it kept before is forgotten. */
function createBenchShelf(directory: string): PartShelf {
  const store = openLocalStore({ root: directory })
  const emptied = rm(directory, { recursive: true, force: true }).then(() => mkdir(directory))
  return {
    fetch: () => emptied.then(() => false),
    async keep({ number, files }) {
      for (const { rung, path } of files) {
        const open = async (start: number) => createReadStream(path, { start, highWaterMark: 1 << 20 })
        const { sha256, sizeBytes } = await hashStream(await open(0))
        await store.put(`${number}-${rung}`, { open }, { sizeBytes, sha256 })
      }
    },
  }
}

/** The commands, and the one that draws a poster where the cheap way found no frame for it. */
function bareCommands({ path, facts, plan }: Source, outDir: string) {
  const settings = { limits: defaultMediaLimits, threads, toneMap: false }
  const video = facts.video
  const smallest = plan.rungs.at(-1)
  if (video === null || smallest === undefined || facts.durationMs === null)
    throw new Error(`${path} has no picture or no duration`)
  const { widthPx, heightPx } = smallest.heightPx === null ? video : rungSize(video, smallest.heightPx)
  const hasAac = plan.rungs[0]?.audio === 'encode' || (facts.audio !== null && fitsM4a(facts.audio))
  const work = {
    ...plan,
    durationMs: facts.durationMs,
    sprite: layOutSprite(facts.durationMs, widthPx, heightPx),
    audio: !plan.audioOnly ? 'none' : hasAac ? 'copy' : 'encode',
    keyframesOnly: true,
  } as const
  const poster = { ...work, hls: false, audio: 'none', sprite: null, keyframesOnly: false } as const
  return {
    all: [makeCommand(path, facts, plan, outDir, settings), deriveCommand(outDir, facts, work, settings)].map(argvOf),
    posterAgain: argvOf(deriveCommand(outDir, facts, poster, settings)),
  }
}

function argvOf({ inputs, filter, outputs }: MediaCommand): readonly string[] {
  return [
    '-y',
    ...inputs.flatMap(({ options, path }) => [...options, '-i', `file:${path}`]),
    ...(filter === null ? [] : ['-filter_complex', filter]),
    ...outputs.flatMap(({ options, path }) => [...options, path === null ? 'pipe:1' : `file:${path}`]),
  ]
}

/** A comparison of unequal work would say nothing. */
async function requireSameOutputs(oursDir: string, bareDir: string): Promise<void> {
  const list = async (directory: string) => {
    const entries = await readdir(directory, { recursive: true })
    return entries.filter((name) => name !== writtenByUs).sort()
  }
  const [ours, bare] = [(await list(oursDir)).join(), (await list(bareDir)).join()]
  if (ours !== bare) throw new Error(`The outputs differ: ${ours} here, ${bare} from the bare commands`)
}
