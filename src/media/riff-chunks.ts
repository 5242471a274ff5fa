import type { ByteSource } from './byte-source.ts'
import { slidingWindow, truncated } from './byte-source.ts'

/** Some three hours of frames. Holes in what comes after are left to the full decode. */
const mostChunks = 500_000
/** Lists of frames. */
const frameLists = new Set(['movi', 'rec '])

/**
 * RIFF chunks of the whole file add up to its size; big AVIs continue with further RIFF `AVIX` chunks (OpenDML).
 * @throws truncated
 * @source an AVI with a hole in its frames, or without its last second, decodes without a complaint
 */
export async function checkRiff(source: ByteSource): Promise<void> {
  const walk = chunkWalk(source)
  let at = 0
  for (let chunks = 0; at + 8 <= source.sizeBytes && chunks < 100_000; chunks++) {
    const head = await source.read(at, 8)
    const tag = head.toString('latin1', 0, 4)
    if (tag !== 'RIFF' && !(at === 0 && tag === 'RF64')) return
    const size = head.readUInt32LE(4)
    // A writer that cannot seek back leaves the length at its maximum and ends where it ends.
    if (size === 0xffff_ffff) return
    if (size < 4) throw truncated('its header was never finished')
    if (at + 8 + size > source.sizeBytes) {
      throw truncated(`it should be ${at + 8 + size} bytes long and is ${source.sizeBytes}`)
    }
    if (tag === 'RIFF') await walk(at + 12, at + 8 + size)
    at += 8 + size + (size % 2)
  }
}

/**
 * Walks the chunks inside a RIFF: where a header should be and zeros are, the space was reserved or skipped and never
 * written. Anything else that is no chunk is left to the full decode. (The samples of a WAV may be zeros: silence.)
 */
function chunkWalk(source: ByteSource): (start: number, end: number) => Promise<void> {
  const window = slidingWindow(source)
  let chunks = 0
  const walk = async (start: number, end: number): Promise<void> => {
    for (let at = start; at + 8 <= end && chunks < mostChunks; chunks++) {
      const head = await window(at)
      if (head.subarray(0, 8).every((byte) => byte === 0)) throw truncated(`its structure breaks off at byte ${at}`)
      const id = head.toString('latin1', 0, 4)
      const size = head.readUInt32LE(4)
      const next = at + 8 + size + (size % 2)
      if (id === 'LIST' && next <= end + 1 && frameLists.has(head.toString('latin1', 8, 12))) await walk(at + 12, next)
      if (id === 'idx1' && size >= 16 && next <= end + 1) {
        const lastEntry = await source.read(at + 8 + size - 16, 4)
        if (lastEntry.every((byte) => byte === 0)) throw truncated('its index ends in zeros')
      }
      at = next
    }
  }
  return walk
}
