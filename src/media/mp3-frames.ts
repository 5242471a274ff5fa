import type { ByteSource } from './byte-source.ts'
import { truncated } from './byte-source.ts'

/** Longer than two of the longest frames. */
const tailBytes = 4096
const xingBytes = 400

/**
 * An MP3 has no end of its own, but nearly every encoder writes its length into the first frame (Xing, Info or VBRI).
 * Checks that these bytes are there, and that they end in a frame instead of in zeros that were only reserved. A file
 * without such a frame passes: nothing in it tells where it should end.
 * @throws truncated
 * @source an MP3 cut anywhere plays, and decodes to its end without a complaint
 */
export async function checkMp3(source: ByteSource): Promise<void> {
  const start = await behindTags(source)
  const head = await source.read(start, xingBytes)
  const first = readFrame(head, 0)
  if (first === null) return
  const declared = declaredBytes(head, first)
  if (declared === null) return
  const end = start + declared
  if (end > source.sizeBytes) throw truncated(`it should be at least ${end} bytes long and is ${source.sizeBytes}`)
  const from = Math.max(start, end - tailBytes)
  const tail = await source.read(from, end - from)
  if (tail.subarray(-4).every((byte) => byte === 0) && !endsInFrame(tail, first))
    throw truncated('it ends in zeros; the upload stopped before its end')
}

/** Where the first frame should be: behind any ID3v2 tags, which carry their length. */
async function behindTags(source: ByteSource): Promise<number> {
  let at = 0
  for (let tags = 0; tags < 16; tags++) {
    const head = await source.read(at, 10)
    if (head.length < 10 || head.toString('latin1', 0, 3) !== 'ID3') return at
    const length = head.subarray(6).reduce((sum, byte) => sum * 128 + (byte & 0x7f), 0)
    const footer = ((head[5] ?? 0) & 0x10) === 0 ? 0 : 10
    at += 10 + length + footer
    if (at > source.sizeBytes) throw truncated(`its tag alone is ${at} bytes long and the file ${source.sizeBytes}`)
  }
  return at
}

interface Frame {
  readonly sizeBytes: number
  /** Version, layer and sampling rate: what all frames of one file share. */
  readonly kind: number
  /** Bytes between header and main data, where Xing stands. */
  readonly sideBytes: number
}

const kbps = {
  mpeg1: [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  mpeg2: [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
} as const
const samplingRates = [44_100, 48_000, 32_000] as const

/** The header of a Layer III frame, or `null`. */
function readFrame(bytes: Buffer, at: number): Frame | null {
  if (at + 4 > bytes.length) return null
  const header = bytes.readUInt32BE(at)
  const version = (header >>> 19) & 3
  const rate = samplingRates[(header >>> 10) & 3]
  const isLayer3 = header >>> 21 === 0x7ff && ((header >>> 17) & 3) === 1
  if (!isLayer3 || version === 1 || rate === undefined) return null
  const isMpeg1 = version === 3
  const rateKbps = kbps[isMpeg1 ? 'mpeg1' : 'mpeg2'][(header >>> 12) & 15] ?? 0
  if (rateKbps === 0) return null
  const samplingRate = isMpeg1 ? rate : version === 2 ? rate / 2 : rate / 4
  const padding = (header >>> 9) & 1
  const isMono = ((header >>> 6) & 3) === 3
  return {
    sizeBytes: Math.floor(((isMpeg1 ? 144_000 : 72_000) * rateKbps) / samplingRate) + padding,
    kind: header & 0xfffe0c00,
    sideBytes: isMpeg1 ? (isMono ? 17 : 32) : isMono ? 9 : 17,
  }
}

/** The number of bytes from the first frame's beginning, as its encoder wrote it down at the end of its work. */
function declaredBytes(head: Buffer, { sideBytes }: Frame): number | null {
  const at = 4 + sideBytes
  const tag = head.toString('latin1', at, at + 4)
  if (tag === 'Xing' || tag === 'Info') {
    const flags = head.readUInt32BE(at + 4)
    return (flags & 2) === 0 ? null : head.readUInt32BE(at + 8 + (flags & 1) * 4) || null
  }
  return head.toString('latin1', 36, 40) === 'VBRI' ? head.readUInt32BE(46) || null : null
}

/** True where frames of this kind follow each other up to the last byte. */
function endsInFrame(tail: Buffer, { kind }: Frame): boolean {
  for (let start = 0; start < tail.length; start++) {
    let at = start
    for (let frame = readFrame(tail, at); frame?.kind === kind; frame = readFrame(tail, at)) at += frame.sizeBytes
    if (at > start && at === tail.length) return true
  }
  return false
}
