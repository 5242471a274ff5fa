import { crc32, deflateRawSync, gzipSync } from 'node:zlib'

/** One entry of a ZIP, byte for byte as a hostile writer would put it. What is not given is right. */
export interface ZipSpec {
  name: string | Buffer
  data?: Buffer | string
  /** The packed bytes, where they are not `data` packed by `method`. */
  packed?: Buffer
  method?: number
  flags?: number
  crc?: number
  size?: number
  packedSize?: number
  attributes?: number
  extra?: Buffer
  localName?: string | Buffer
  localMethod?: number
  /** Where the directory says it lies, instead of where it does. */
  headerAt?: number
  /** Sizes and place in a ZIP64 field. */
  zip64?: boolean
  /** Zeros in the local header, sizes and CRC behind the data. */
  descriptor?: boolean
}

/** What is odd about the ZIP as a whole. */
export interface ZipShape {
  comment?: Buffer
  count?: number
  zip64End?: boolean
  zip64EndAt?: bigint
  prepended?: Buffer
  /** Prepended bytes are counted in its offsets. */
  adjusted?: boolean
  directoryAt?: number
  disk?: number
}

const fields = (...pairs: [2 | 4 | 8, number | bigint][]): Buffer =>
  Buffer.concat(
    pairs.map(([length, value]) => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64LE(BigInt(value))
      return bytes.subarray(0, length)
    }),
  )

const unix = (mode: number) => (mode << 16) >>> 0
export const mode = { file: unix(0o100_644), symlink: unix(0o120_777), fifo: unix(0o010_644), device: unix(0o060_644) }

export function zipOf(specs: readonly ZipSpec[], shape: ZipShape = {}): Buffer {
  const base = shape.adjusted === true ? (shape.prepended?.length ?? 0) : 0
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let at = base
  for (const spec of specs) {
    const name = Buffer.from(spec.name as string)
    const data = Buffer.from((spec.data ?? '') as string)
    const method = spec.method ?? 0
    const packed = spec.packed ?? (method === 8 ? deflateRawSync(data) : data)
    const [crc, size] = [spec.crc ?? crc32(data), spec.size ?? data.length]
    const packedSize = spec.packedSize ?? packed.length
    const flags = (spec.flags ?? 0x800) | (spec.descriptor === true ? 8 : 0)
    const localName = Buffer.from((spec.localName ?? spec.name) as string)
    const own = spec.descriptor === true ? ([0, 0, 0] as const) : ([crc, packedSize, size] as const)
    const local = Buffer.concat([
      fields([4, 0x04034b50], [2, 20], [2, flags], [2, spec.localMethod ?? method], [2, 0], [2, 33]),
      fields([4, own[0]], [4, own[1] % 2 ** 32], [4, own[2] % 2 ** 32], [2, localName.length], [2, 0]),
      localName,
      packed,
      spec.descriptor === true ? fields([4, 0x08074b50], [4, crc], [4, packedSize], [4, size]) : Buffer.alloc(0),
    ])
    const headerAt = spec.headerAt ?? at
    const big = spec.zip64 === true
    const bigField = big ? fields([2, 1], [2, 24], [8, size], [8, packedSize], [8, headerAt]) : Buffer.alloc(0)
    const extra = Buffer.concat([bigField, spec.extra ?? Buffer.alloc(0)])
    const max = 0xffff_ffff
    directory.push(
      fields([4, 0x02014b50], [2, 0x031e], [2, 20], [2, flags], [2, method], [2, 0], [2, 33], [4, crc]),
      fields([4, big ? max : packedSize], [4, big ? max : size], [2, name.length], [2, extra.length]),
      fields([2, 0], [2, 0], [2, 0], [4, spec.attributes ?? mode.file], [4, big ? max : headerAt]),
      name,
      extra,
    )
    parts.push(local)
    at += local.length
  }
  const central = Buffer.concat(directory)
  const count = shape.count ?? specs.length
  const directoryAt = shape.directoryAt ?? at
  const zip64 = Buffer.concat([
    fields([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count]),
    fields([8, central.length], [8, directoryAt]),
    fields([4, 0x07064b50], [4, 0], [8, shape.zip64EndAt ?? at + central.length], [4, 1]),
  ])
  const comment = shape.comment ?? Buffer.alloc(0)
  const end = Buffer.concat([
    fields([4, 0x06054b50], [2, shape.disk ?? 0], [2, shape.disk ?? 0], [2, Math.min(count, 0xffff)]),
    fields([2, Math.min(count, 0xffff)], [4, central.length], [4, directoryAt], [2, comment.length]),
    comment,
  ])
  return Buffer.concat([
    shape.prepended ?? Buffer.alloc(0),
    ...parts,
    central,
    shape.zip64End === true ? zip64 : Buffer.alloc(0),
    end,
  ])
}

/** An Info-ZIP field that gives an entry another name in Unicode. */
export const unicodeName = (rawName: string, name: string): Buffer => {
  const bytes = Buffer.from(name)
  return Buffer.concat([
    fields([2, 0x7075], [2, bytes.length + 5]),
    Buffer.from([1]),
    fields([4, crc32(rawName)]),
    bytes,
  ])
}

/** One block of a tar and its content. What is not given is right. */
export interface TarSpec {
  name: string
  data?: Buffer | string
  type?: string
  link?: string
  prefix?: string
  size?: number
  sizeField?: Buffer
  checksum?: number
}

export function tarBlock(spec: TarSpec): Buffer {
  const data = Buffer.from((spec.data ?? '') as string)
  const header = Buffer.alloc(512)
  header.write(spec.name, 0, 100)
  header.write('0000644\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${(spec.size ?? data.length).toString(8).padStart(11, '0')}\0`, 124)
  spec.sizeField?.copy(header, 124)
  header.write('00000000000\0', 136)
  header.write('        ', 148)
  header.write(spec.type ?? '0', 156)
  header.write(spec.link ?? '', 157, 100)
  header.write('ustar\u000000', 257, 'latin1')
  header.write(spec.prefix ?? '', 345, 155)
  const sum = spec.checksum ?? header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

export const tarEnd = Buffer.alloc(1024)
export const tarOf = (...specs: TarSpec[]): Buffer => Buffer.concat([...specs.map(tarBlock), tarEnd])
export const tarGzOf = (...specs: TarSpec[]): Buffer => gzipSync(tarOf(...specs))

/** A pax header for the block behind it, its records' lengths counted right. */
export const pax = (records: Record<string, string>, type = 'x'): TarSpec => ({
  name: 'PaxHeader',
  type,
  data: Object.entries(records)
    .map(([key, value]) => {
      const rest = Buffer.byteLength(` ${key}=${value}\n`)
      let length = rest + 1
      while (String(length).length + rest !== length) length += 1
      return `${length} ${key}=${value}\n`
    })
    .join(''),
})

/** A GNU header that gives the block behind it a long name. */
export const gnuName = (name: string): TarSpec => ({ name: '././@LongLink', type: 'L', data: `${name}\0` })

export const smilOf = (body: string, before = ''): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n${before}<smil><head><layout/></head><body>${body}</body></smil>\n`

/** A whole AudioVideoCast, as its recorder packs one. */
export const castFiles = (): ZipSpec[] => [
  { name: 'cours/', data: '' },
  {
    name: 'cours/cours.smil',
    data: smilOf(
      '<par><audio src="audio.mp3"/><img src="slides/1.png" begin="0"/><img src="slides/2.png" begin="7.5"/></par>',
      '<!DOCTYPE smil PUBLIC "-//W3C//DTD SMIL 2.0//EN" "http://127.0.0.1:9/SMIL20.dtd">\n',
    ),
    method: 8,
  },
  { name: 'cours/audio.mp3', data: 'sound' },
  { name: 'cours/slides/1.png', data: 'one' },
  { name: 'cours/slides/2.png', data: 'two' },
]

/** A whole call session. */
export const sessionFiles = (): { name: string; data: string }[] => [
  { name: '8812/info.json', data: '{"sessionId": "8812", "startedAt": 1700000000}' },
  { name: '8812/agent-video.webm', data: 'agent seen' },
  { name: '8812/agent-audio.webm', data: 'agent heard' },
  { name: '8812/user-video.webm', data: 'user seen' },
  { name: '8812/user-audio.webm', data: 'user heard' },
]
