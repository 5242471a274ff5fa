import type { ByteSource } from './byte-source.ts'
import { truncated } from './byte-source.ts'

/** A day of one-second fragments has 350,000 boxes; more is a file built to keep the reader busy. */
const mostBoxes = 500_000
const windowBytes = 4096

interface Box {
  readonly type: string
  /** Header and payload; `null` = up to the end of the file. */
  readonly sizeBytes: number | null
}

/**
 * Walks the top-level boxes: they must add up to the file's size, and both an index (`moov`) and media (`mdat`) must be
 * there. Trailing zeros after a complete file are padding some recorders leave and are accepted.
 * @throws truncated
 * @source a faststart MP4 cut in half passes ffprobe with its full duration, and an encode with exit code 0
 */
export async function checkMp4(source: ByteSource): Promise<void> {
  const seen = new Set<string>()
  const window = slidingWindow(source)
  let at = 0
  for (let boxes = 0; at < source.sizeBytes; boxes++) {
    if (boxes === mostBoxes) throw truncated(`it has more than ${mostBoxes} boxes`)
    const head = await window(at)
    const box = readBox(head)
    if (box === 'padding' && seen.has('moov') && seen.has('mdat')) return
    if (box === null || box === 'padding') throw truncated(`its structure breaks off at byte ${at}`)
    seen.add(box.type)
    const end = at + (box.sizeBytes ?? source.sizeBytes - at)
    if (end > source.sizeBytes) {
      throw truncated(`it should be at least ${end} bytes long and is ${source.sizeBytes}`)
    }
    at = end
  }
  if (!seen.has('moov')) throw truncated('its index (moov) is missing')
  if (!seen.has('mdat')) throw truncated('it has an index but no media (mdat)')
}

/** A box header of 8 or 16 bytes; `padding` for zeros; `null` for what cannot be one. */
function readBox(head: Buffer): Box | 'padding' | null {
  if (head.every((byte) => byte === 0)) return 'padding'
  if (head.length < 8) return null
  const type = head.toString('latin1', 4, 8)
  const size = head.readUInt32BE(0)
  if (!/^[\x20-\x7e\xa9]{4}$/.test(type)) return null
  if (size === 0) return { type, sizeBytes: null }
  if (size !== 1) return size < 8 ? null : { type, sizeBytes: size }
  const large = head.length < 16 ? 0n : head.readBigUInt64BE(8)
  return large < 16n ? null : { type, sizeBytes: Number(large) }
}

/** Returns the 16 bytes at an offset; reads ahead, so that thousands of tiny boxes cost few reads. */
function slidingWindow(source: ByteSource): (at: number) => Promise<Buffer> {
  let start = 0
  let bytes: Buffer = Buffer.alloc(0)
  return async (at) => {
    const covered = at >= start && Math.min(at + 16, source.sizeBytes) <= start + bytes.length
    if (!covered) {
      start = at
      bytes = await source.read(at, windowBytes)
    }
    return bytes.subarray(at - start, at - start + 16)
  }
}
