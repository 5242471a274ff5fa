import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ReelkeepError, type ErrorCode } from '../../src/domain/errors.ts'
import type { MediaLimits } from '../../src/media/encoder.ts'
import { defaultMediaLimits } from '../../src/media/encoder.ts'
import { createEncoder } from '../../src/media/ffmpeg.ts'

export const ffmpegPath = process.env.FFMPEG_PATH ?? 'ffmpeg'
export const ffprobePath = process.env.FFPROBE_PATH ?? 'ffprobe'

export const encoderWith = (limits: Partial<MediaLimits> = {}) =>
  createEncoder({ ffmpegPath, ffprobePath, limits: { ...defaultMediaLimits, maxWallMs: 30_000, ...limits } })

export const newDirectory = () => mkdtemp(join(tmpdir(), 'reelkeep-test-'))
export const removeDirectory = (path: string) => rm(path, { recursive: true, force: true })

/** Runs the machine's ffmpeg without any jail, to make what the tests feed on. */
export const ffmpeg = async (...args: string[]): Promise<void> => {
  await promisify(execFile)(ffmpegPath, ['-nostdin', '-hide_banner', '-v', 'error', '-y', '-threads', '1', ...args])
}

export const picture = (size: string, seconds: number) => ['-f', 'lavfi', '-i', `testsrc2=s=${size}:r=10:d=${seconds}`]
export const sound = (seconds: number) => ['-f', 'lavfi', '-i', `sine=f=440:r=48000:d=${seconds}`]
export const x264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p']

/** The code a promise fails with; `ok` where it does not fail. Anything but one of our errors is thrown on. */
export const codeOf = async (work: Promise<unknown>): Promise<ErrorCode | 'ok'> => {
  try {
    await work
    return 'ok'
  } catch (error) {
    if (error instanceof ReelkeepError) return error.code
    throw error
  }
}

/** Structure, probe, full decode: what a deposit goes through before it is accepted. */
export const examine = async (encoder: ReturnType<typeof encoderWith>, path: string, extension: string) => {
  await encoder.checkStructure(path, extension)
  const facts = await encoder.probe(path)
  await encoder.decodeAll(path, facts)
  return facts
}

/** Copies the first `fraction` of a file. */
export const cut = async (from: string, to: string, fraction: number): Promise<string> => {
  const bytes = await readFile(from)
  await writeFile(to, bytes.subarray(0, Math.floor(bytes.length * fraction)))
  return to
}

/** The port a server listens on. */
export const portOf = (server: Server): number => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return address.port
}

/** Command lines of running processes that mention `needle`. */
export const processesWith = async (needle: string): Promise<string[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
  return lines.filter((line) => line.includes(needle)).map((line) => line.replaceAll('\0', ' '))
}
