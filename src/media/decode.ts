import type { MediaFacts } from '../domain/encode.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { endsInZeros, truncated } from './byte-source.ts'
import type { MediaOptions } from './encoder.ts'
import { lastComplaint, machineFailure } from './failures.ts'
import type { MediaTools } from './ffmpeg.ts'
import { decodeCommand } from './ffmpeg-args.ts'
import { partOf, type Progress } from './progress.ts'
import { sizeOf } from './scratch.ts'

/**
 * Formats in which a broken frame is damage. The others may begin in the middle of a frame (transport streams) or end in
 * tags (MP3), so that a first broken frame says nothing; their declared durations are estimates as well.
 */
const exactFormats = ['mov', 'matroska', 'avi', 'asf', 'wav', 'ogg', 'flac', 'flv']

/** Up to this much may be missing at the end: 2 %, or half a second of a short file. */
function toleranceMs(durationMs: number): number {
  return Math.max(500, durationMs * 0.02)
}

/**
 * Decodes every frame and throws the result away, then compares the end with the declared duration: a cut Matroska file
 * decodes without a complaint. Returns the decoded duration in ms.
 * @throws truncated, undecodable, encode_timeout, encoder_missing, cancelled
 */
export async function decodeFile(
  tools: MediaTools,
  path: string,
  facts: MediaFacts,
  options: MediaOptions,
): Promise<number> {
  const exact = facts.container.split(',').some((name) => exactFormats.includes(name))
  const report = partOf(options.onProgress)(0, 1)
  let last: Progress = { outMs: null, frames: 0 }
  const streams = { video: facts.video !== null, audio: facts.audio !== null }
  const finished = await tools.run(decodeCommand(path, { ...streams, strict: exact, keyframesOnly: false }, tools), {
    outDir: null,
    signal: options.signal,
    onProgress: (progress) => {
      last = progress
      if (facts.durationMs !== null) report((progress.outMs ?? 0) / facts.durationMs)
    },
  })
  const machine = machineFailure(finished, 'Decoding the file', tools.limits.maxWallMs)
  if (machine !== null) throw machine
  const decodedMs = last.outMs ?? 0
  if (finished.code !== 0) throw await damage(path, lastComplaint(finished), decodedMs, finished.stderr)
  if (decodedMs === 0 || (streams.video && last.frames === 0)) {
    throw new ReelkeepError(
      'undecodable',
      `Not one ${streams.video ? 'frame' : 'sound'} of the file can be decoded. Export it again.`,
    )
  }
  if (exact && facts.durationMs !== null && decodedMs < facts.durationMs - toleranceMs(facts.durationMs)) {
    throw truncated(`it should last ${seconds(facts.durationMs)} and ends after ${seconds(decodedMs)}`)
  }
  await refuseOtherSize(path, facts)
  report(1)
  return decodedMs
}

async function damage(path: string, complaint: string, decodedMs: number, stderr: string): Promise<ReelkeepError> {
  const details = { decodedMs }
  if (await endsInZeros(path))
    return truncated(`it ends in zeros; the upload stopped after about ${seconds(decodedMs)}`)
  if (/partial file|End of file|ended prematurely|stream \d+, offset/.test(stderr)) return truncated(complaint)
  const message = `The file is damaged after about ${seconds(decodedMs)} (${complaint}). Upload it again; the source is kept.`
  return new ReelkeepError('undecodable', message, { details })
}

/** A file that grew or shrank while it was decoded was not the file that was probed. */
async function refuseOtherSize(path: string, facts: MediaFacts): Promise<void> {
  if ((await sizeOf(path)) === facts.sizeBytes) return
  throw new ReelkeepError('changed_while_read', 'The file changed while it was decoded. It is looked at again.')
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
