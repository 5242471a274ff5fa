import type { ByteSource } from './byte-source.ts'
import { slidingWindow, truncated } from './byte-source.ts'

/** A day of one-second fragments has 350,000 boxes; more is a file built to keep the reader busy. */
const mostBoxes = 500_000

interface Box {
  readonly type: string
  /** Header and payload; `null` = up to the end of the file. */
  readonly sizeBytes: number | null
}

/**
 * Walks the top-level boxes: they must add up to the file's size, and both an index (`moov`) and media (`mdat`) must be
 * there. Trailing zeros after a complete file are padding some recorders leave and are accepted, unless the index
 * before them ends in a zero too: then nobody can say where writing stopped.
 * @throws truncated
 * @source a faststart MP4 cut in half passes ffprobe with its full duration, and an encode with exit code 0
 */
export async function checkMp4(source: ByteSource): Promise<void> {
  const seen = new Set<string>()
  const window = slidingWindow(source)
  let at = 0
  let endsUnwritten = false
  for (let boxes = 0; at < source.sizeBytes; boxes++) {
    if (boxes === mostBoxes) throw truncated(`it has more than ${mostBoxes} boxes`)
    const head = await window(at)
    const box = readBox(head)
    if (box === 'padding' && seen.has('moov') && seen.has('mdat') && !endsUnwritten) return
    if (box === null || box === 'padding') throw truncated(`its structure breaks off at byte ${at}`)
    seen.add(box.type)
    const end = at + (box.sizeBytes ?? source.sizeBytes - at)
    if (end > source.sizeBytes) {
      throw truncated(`it should be at least ${end} bytes long and is ${source.sizeBytes}`)
    }
    if (box.type === 'moov') {
      await checkIndex(source, window, at, end)
      endsUnwritten = ((await source.read(end - 1, 1))[0] ?? 0) === 0
    }
    at = end
  }
  if (!seen.has('moov')) throw truncated('its index (moov) is missing')
  if (!seen.has('mdat')) throw truncated('it has an index but no media (mdat)')
}

/** Boxes of the index that hold other boxes; `meta` begins with four bytes of its own. */
const containers = new Set(['moov', 'trak', 'edts', 'mdia', 'minf', 'dinf', 'stbl', 'udta', 'meta', 'ilst'])

/**
 * Walks the index to its leaves: where space was reserved for the whole file and its writer died inside the index,
 * the top level adds up, players may even play it, and only a child made of zeros tells.
 */
async function checkIndex(
  source: ByteSource,
  window: (at: number) => Promise<Buffer>,
  start: number,
  end: number,
): Promise<void> {
  let boxes = 0
  const walk = async (from: number, to: number): Promise<void> => {
    let at = from
    while (at < to) {
      const box = readBox(await window(at))
      // QuickTime ends a udta with four zero bytes.
      if (box === 'padding' && to - at === 4) return
      if (box === null || box === 'padding' || box.sizeBytes === null || at + box.sizeBytes > to)
        throw truncated(`its index breaks off at byte ${at} of ${source.sizeBytes}`)
      if (++boxes > mostBoxes) throw truncated(`its index has more than ${mostBoxes} boxes`)
      if (containers.has(box.type))
        await walk(at + (box.type === 'meta' ? await metaHeader(window, at) : 8), at + box.sizeBytes)
      at += box.sizeBytes
    }
  }
  await walk(start + 8, end)
}

/** QuickTime's `meta` has no version field; ISO's has. */
async function metaHeader(window: (at: number) => Promise<Buffer>, at: number): Promise<number> {
  return (await window(at + 8)).toString('latin1', 4, 8) === 'hdlr' ? 8 : 12
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
