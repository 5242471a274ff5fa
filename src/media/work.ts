import type { EncodePlan, MediaFacts } from '../domain/encode.ts'
import { ReelkeepError } from '../domain/errors.ts'
import type { MediaOptions } from './encoder.ts'
import { lastComplaint, machineFailure } from './failures.ts'
import type { MediaTools } from './ffmpeg.ts'
import type { MediaCommand } from './ffmpeg-args.ts'

/** One encode: from this file, by this plan, into this empty directory. */
export interface EncodeOrder {
  readonly path: string
  readonly facts: MediaFacts
  readonly plan: EncodePlan
  readonly outDir: string
}

/** The same, with what this machine's ffmpeg can do. */
export interface MakeOrder extends EncodeOrder {
  readonly toneMap: boolean
}

/** Runs one command of an encode. @throws encode_failed, encode_timeout, encoder_missing, scratch_full, cancelled */
export async function runOrThrow(
  tools: MediaTools,
  command: MediaCommand,
  outDir: string,
  doing: string,
  options: MediaOptions,
  onOutMs: (outMs: number) => void = () => undefined,
): Promise<void> {
  const finished = await tools.run(command, {
    outDir,
    signal: options.signal,
    onProgress: ({ outMs }) => onOutMs(outMs ?? 0),
  })
  const machine = machineFailure(finished, doing, tools.limits.maxWallMs)
  if (machine !== null) throw machine
  if (finished.code === 0) return
  const message = `${doing} failed (${lastComplaint(finished)}). Check the original in a player; retry or replace it.`
  throw new ReelkeepError('encode_failed', message)
}
