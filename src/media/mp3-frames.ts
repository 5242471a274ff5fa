import type { ByteSource } from './byte-source.ts'
import { truncated } from './byte-source.ts'

/** A day of sound is 1 GB in 3 million frames: read in large pieces, it takes a second. */
const pieceBytes = 1024 * 1024
const xingBytes = 400

/**
 * An MP3 has no end of its own, but nearly every encoder writes its length into the first frame (Xing, Info or VBRI).
 * Checks that these bytes are there, and that frame follows frame through all of them: zeros between two frames are space
 * that was reserved or skipped and never written. A file without such a first frame passes: nothing in it tells where it
 * should end. So does one with anything but zeros between its frames; players cope with that.
 * @throws truncated
 * @source an MP3 cut anywhere, or with a hole anywhere, plays and decodes to its end without a complaint
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
  await checkFrames(source, start, end, first.kind)
}

async function checkFrames(source: ByteSource, start: number, end: number, kind: number): Promise<void> {
  let piece: Buffer = Buffer.alloc(0)
  let pieceAt = start
  for (let at = start; at + 4 <= end;) {
    if (at + 4 > pieceAt + piece.length) {
      pieceAt = at
      piece = await source.read(at, Math.min(pieceBytes, end - at))
      if (piece.length < 4) return
    }
    const frame = readFrame(piece, at - pieceAt)
    if (frame?.kind !== kind) {
      const found = await source.read(at, 16)
      // Writing can have stopped inside a header, too.
      const isUnwritten = [found.subarray(0, 4), found.subarray(4)].some((bytes) => bytes.every((byte) => byte === 0))
      if (!isUnwritten) return
      throw truncated(`it has zeros instead of sound from byte ${at} of ${source.sizeBytes} on`)
    }
    at += frame.sizeBytes
  }
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
