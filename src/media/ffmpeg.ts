import { dirname } from 'node:path'
import fluent from 'fluent-ffmpeg'
import type { EncodePlan, MediaFacts } from '../domain/encode.ts'
import { msPer } from '../domain/units.ts'
import { checkStructure } from './container.ts'
import { decodeFile } from './decode.ts'
import type { Encoder, EncodeOptions, MediaLimits, MediaOptions } from './encoder.ts'
import type { MediaCommand } from './ffmpeg-args.ts'
import { probeFile } from './ffprobe.ts'
import type { Finished, Jail } from './jail.ts'
import { createJail } from './jail.ts'
import { readPackage } from './package-reader.ts'
import { progressReader, type Progress } from './progress.ts'
import { makeRenditions } from './renditions.ts'
import { sizeOf } from './scratch.ts'

/** Runs one ffmpeg command to its end; whether that end was good is for the caller to judge. */
export type RunFfmpeg = (command: MediaCommand, run: FfmpegRun) => Promise<Finished>

/** What surrounds a command: where it may write, and who listens. */
export interface FfmpegRun {
  readonly outDir: string | null
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: (progress: Progress) => void
}

/** Everything the media modules need to work with. */
export interface MediaTools {
  readonly jail: Jail
  readonly ffmpegPath: string
  readonly ffprobePath: string
  readonly limits: MediaLimits
  readonly threads: number
  readonly sliceMs: number
  readonly run: RunFfmpeg
}

/** Where ffmpeg is and what its processes may use. */
export interface EncoderSettings {
  readonly ffmpegPath: string
  readonly ffprobePath: string
  readonly limits: MediaLimits
  /** Per decoder and encoder. Default 1: run as many encodes as there are cores. 0 = all cores for one urgent file. */
  readonly threads?: number
  /** How much of the picture a lost worker can cost at most; tests take less. */
  readonly sliceMs?: number
}

/** Ten minutes take a core about a minute; what a slice costs besides (a process, two checks) is below a percent of that. */
const defaultSliceMs = 10 * msPer.minute

/** The product's encoder on the machine's own ffmpeg. Starts nothing until it is asked to. */
export function createEncoder(settings: EncoderSettings): Encoder {
  const jail = createJail(settings.limits)
  const { threads = 1, sliceMs = defaultSliceMs } = settings
  const tools: MediaTools = { ...settings, threads, sliceMs, jail, run: fluentRunner(settings, jail) }
  return {
    checkStructure,
    readPackage,
    probe: async (path: string, options: MediaOptions = {}) => probeFile(tools, path, await sizeOf(path), options),
    decodeAll: (path: string, facts: MediaFacts, options: MediaOptions = {}) => decodeFile(tools, path, facts, options),
    encode: (path: string, facts: MediaFacts, plan: EncodePlan, outDir: string, options: EncodeOptions = {}) =>
      makeRenditions(tools, { path, facts, plan, outDir }, options),
  }
}

interface Ring {
  get(): string
  callback(): void
}

/** The three private methods of fluent-ffmpeg 2.1.3 we replace; the rest (order and shape of arguments, events) stays. */
interface FluentSeams {
  _checkCapabilities(done: (error: null) => void): void
  availableEncoders(done: (error: null, encoders: Readonly<Record<string, never>>) => void): void
  _spawnFfmpeg(
    args: readonly string[],
    options: unknown,
    started: (child: unknown, stdout: Ring, stderr: Ring) => void,
    ended: (error: Error | null, stdout: Ring, stderr: Ring) => void,
  ): void
}

/**
 * fluent-ffmpeg as builder and event source, our jail as the way a process starts. Its capability check is passed by: it
 * starts ffmpeg outside the jail and cannot read ffmpeg 7. Its percentages are, too: they need its own ffprobe.
 */
function fluentRunner(settings: EncoderSettings, jail: Jail): RunFfmpeg {
  return (media, run) =>
    new Promise<Finished>((resolve, reject) => {
      const command = fluent()
      let result: Finished | null = null
      const spawn: FluentSeams['_spawnFfmpeg'] = (args, _options, started, ended) => {
        const follow = async (): Promise<void> => {
          const { child, finished } = await jail.start({
            binary: settings.ffmpegPath,
            args,
            // Inputs that lie in `outDir` are readable by being there.
            readable: media.inputs.map(({ path }) => path).filter((path) => dirname(path) !== run.outDir),
            writable: run.outDir === null ? [] : [run.outDir],
            wallMs: settings.limits.maxWallMs,
            maxStdoutBytes: Number.MAX_SAFE_INTEGER,
            onStdout: progressReader((progress) => run.onProgress?.(progress)),
            signal: run.signal,
          })
          started(child, ringOf(''), ringOf(''))
          result = await finished
          ended(null, ringOf(''), ringOf(result.stderr))
        }
        follow().catch((error: unknown) =>
          ended(error instanceof Error ? error : new Error(String(error)), ringOf(''), ringOf('')),
        )
      }
      const seams: FluentSeams = {
        _checkCapabilities: (done) => done(null),
        availableEncoders: (done) => done(null, {}),
        _spawnFfmpeg: spawn,
      }
      Object.assign(command, seams)
      command.on('error', reject)
      command.on('end', () => (result === null ? reject(new Error('ffmpeg ended without a result')) : resolve(result)))
      fill(command, media)
      command.run()
    })
}

/** Only the varargs forms: given an array, fluent-ffmpeg splits elements at a space, and a path becomes options. */
function fill(command: fluent.FfmpegCommand, media: MediaCommand): void {
  for (const { options, path } of media.inputs) command.input(`file:${path}`).inputOptions(...options)
  if (media.filter !== null) command.complexFilter(media.filter)
  for (const { options, path } of media.outputs) {
    command.output(path === null ? 'pipe:1' : `file:${path}`).outputOptions(...options)
  }
}

function ringOf(text: string): Ring {
  return { get: () => text, callback: () => undefined }
}
