import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ffmpeg, newDirectory, picture, removeDirectory, sound, x264 } from '../media/fixtures.ts'

/** What recorders deposit in these stories. `mp4` has its index in front, `mp4-end` behind the media. */
export const mediaKinds = ['mp4', 'mp4-end', 'mkv', 'webm', 'mp3', 'avi', 'wav'] as const
/** One of them. */
export type MediaKind = (typeof mediaKinds)[number]

/** The extension a kind is uploaded under. */
export const extensions: Readonly<Record<MediaKind, string>> = {
  mp4: 'mp4',
  'mp4-end': 'mp4',
  mkv: 'mkv',
  webm: 'webm',
  mp3: 'mp3',
  avi: 'avi',
  wav: 'wav',
}

const placeholder = 'REELKEEP-UPLOAD-000000'
const note = ['-metadata', `comment=${placeholder}`]
const vp8 = ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '200k']
const opus = ['-c:a', 'libopus', '-b:a', '48k']
const aac = ['-c:a', 'aac', '-b:a', '48k']
// A checksum of its own would not survive the replaced number.
const noCrc = ['-write_crc32', '0']
const recipes: Readonly<Record<MediaKind, (seconds: number) => string[]>> = {
  mp4: (seconds) => [...picture('192x108', seconds), ...sound(seconds), ...x264, ...aac, '-movflags', '+faststart'],
  'mp4-end': (seconds) => [...picture('192x108', seconds), ...sound(seconds), ...x264, ...aac],
  mkv: (seconds) => [...picture('192x108', seconds), ...sound(seconds), ...x264, ...aac, ...noCrc],
  webm: (seconds) => [...picture('192x108', seconds), ...sound(seconds), ...vp8, ...opus, ...noCrc],
  mp3: (seconds) => [...sound(seconds), '-c:a', 'libmp3lame', '-b:a', '128k'],
  avi: (seconds) => [...picture('192x108', seconds), ...sound(seconds), '-c:v', 'mpeg4', '-c:a', 'libmp3lame'],
  wav: (seconds) => [...sound(seconds), '-ac', '1', '-ar', '16000'],
}

/** Original media of every kind, from which any number of different ones is made without encoding again. */
export interface Originals {
  /** The bytes of one upload that no other one equals: the number stands in its comment tag. */
  make(kind: MediaKind, number: number, variant?: 'first' | 'second'): Buffer
}

/** Encodes the originals: two of each kind, of different length, so that one can be replaced by the other. */
export async function makeOriginals(): Promise<Originals> {
  const directory = await newDirectory()
  const made = new Map<string, Buffer>()
  try {
    for (const kind of mediaKinds) {
      for (const [variant, seconds] of [['first', 1] as const, ['second', 2] as const]) {
        const path = join(directory, `${kind}-${variant}.${extensions[kind]}`)
        await ffmpeg(...recipes[kind](seconds), ...note, path)
        made.set(`${kind}-${variant}`, await readFile(path))
      }
    }
  } finally {
    await removeDirectory(directory)
  }
  return {
    make(kind, number, variant = 'first') {
      const bytes = Buffer.from(made.get(`${kind}-${variant}`) ?? '')
      const at = bytes.indexOf(placeholder)
      if (at < 0 || bytes.includes(placeholder, at + 1)) throw new Error(`${kind} does not carry its number once`)
      bytes.write(String(number).padStart(6, '0'), at + placeholder.length - 6)
      return bytes
    },
  }
}
