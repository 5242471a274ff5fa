import { randomBytes } from 'node:crypto'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkStructure } from '../../src/media/container.ts'
import { defaultPackageLimits } from '../../src/media/package-limits.ts'
import { readZip } from '../../src/media/zip-package.ts'
import { castFiles, mode, unicodeName, zipOf } from './archives.ts'
import type { ZipSpec } from './archives.ts'
import { codeOf, newDirectory, removeDirectory } from './fixtures.ts'

let dir = ''
beforeAll(async () => {
  dir = await newDirectory()
})
afterAll(() => removeDirectory(dir))

const written = async (bytes: Buffer): Promise<string> => {
  const path = join(dir, 'source')
  await writeFile(path, bytes)
  return path
}
const judge = async (bytes: Buffer) => codeOf(readZip(await written(bytes)))

const good: ZipSpec = { name: 'good.txt', data: 'good' }
const one = (spec: Partial<ZipSpec>) => () => zipOf([good, { name: 'x.bin', data: 'some bytes', ...spec }])
const named = (name: string | Buffer, more: Partial<ZipSpec> = {}) => one({ name, ...more })
const zeros = deflateRawSync(Buffer.alloc(200 * 1024 ** 2))
const many = (count: number) => Array.from({ length: count }, (_, at) => ({ name: `e${String(at).padStart(6, '0')}` }))
const damaged = (offsetFromEnd: number) => () => {
  const bytes = zipOf([{ name: 'x.bin', data: randomBytes(10_000), method: 8 }, good])
  bytes.fill(0xff, bytes.length - offsetFromEnd, bytes.length - offsetFromEnd + 40)
  return bytes
}
/** Entries of the directory over the very same packed bytes, as the best of bombs have them. */
const shared =
  (...names: string[]) =>
  () =>
    zipOf(names.map((name) => ({ name, localName: 'a.bin', data: 'aaaa', headerAt: 0 })))
/** A second entry whose header and bytes lie within the bytes of the first. */
const quoted = () => {
  const inner = zipOf([{ name: 'b.bin', data: 'inner' }])
  const outer = zipOf([
    { name: 'a.bin', data: Buffer.concat([Buffer.alloc(1), inner]) },
    { name: 'b.bin', data: 'inner', headerAt: 36 },
  ])
  return outer
}

const refused: [string, () => Buffer, string][] = [
  ['../../evil', named('../../evil'), 'zip_path'],
  ['/etc/evil', named('/etc/evil'), 'zip_path'],
  ['C:/evil', named('C:/evil'), 'zip_path'],
  ['a backslash', named('a\\..\\evil'), 'zip_path'],
  ['.. in the middle', named('a/../../evil'), 'zip_path'],
  ['.. at the end', named('a/..'), 'zip_path'],
  ['a drive without a slash', named('c:evil'), 'zip_path'],
  ['a share', named('//host/share/x'), 'zip_path'],
  ['a NUL in a name', named('x.mp4\0.txt'), 'zip_path'],
  ['no name', named(''), 'zip_path'],
  ['a name of dots alone', named('.'), 'zip_path'],
  ['a name of 2,000 bytes', named('x'.repeat(2000)), 'zip_path'],
  ['100 folders deep', named('a/'.repeat(100)), 'zip_path'],
  ['a Unicode twin that leads out', named('x.bin', { extra: unicodeName('x.bin', '../evil') }), 'zip_path'],
  ['a raw name that leads out behind a Unicode one', named('../x', { extra: unicodeName('../x', 'x') }), 'zip_path'],
  ['a symlink', named('x', { attributes: mode.symlink, data: '/etc/passwd' }), 'zip_special'],
  ['a device', named('x', { attributes: mode.device }), 'zip_special'],
  ['a pipe', named('x', { attributes: mode.fifo }), 'zip_special'],
  ['one name twice', named('good.txt'), 'zip_ambiguous'],
  ['case twins', named('GOOD.txt'), 'zip_ambiguous'],
  ['one name in NFC and NFD', () => zipOf([{ name: '\u00e9.mp3' }, { name: 'e\u0301.mp3' }]), 'zip_ambiguous'],
  ['one name written ./ and plain', named('./good.txt'), 'zip_ambiguous'],
  ['folders that are case twins', () => zipOf([{ name: 'A/x' }, { name: 'a/y' }]), 'zip_ambiguous'],
  ['a file that is a folder', named('good.txt/x'), 'zip_ambiguous'],
  ['another name where it lies', named('x.bin', { localName: 'y.bin' }), 'zip_ambiguous'],
  ['200 MB of zeros', one({ packed: zeros, method: 8, size: 200 * 1024 ** 2 }), 'zip_ratio'],
  ['a gigabyte in 100 bytes, as it says', one({ packed: Buffer.alloc(100), method: 8, size: 1024 ** 3 }), 'zip_ratio'],
  ['10 bytes that are 200 MB', one({ packed: zeros, method: 8, size: 10 }), 'zip_size'],
  ['10 bytes that are 9', one({ data: '123456789', method: 8, size: 10 }), 'zip_size'],
  ['stored in another size', one({ size: 5 }), 'zip_size'],
  [
    'bytes behind the packed ones',
    one({ method: 8, data: 'x', packed: Buffer.concat([deflateRawSync('x'), Buffer.alloc(9)]) }),
    'zip_size',
  ],
  [
    '5 MB behind the packed ones',
    one({ method: 8, data: 'x', packed: Buffer.concat([deflateRawSync('x'), randomBytes(5_000_000)]) }),
    'zip_size',
  ],
  [
    'zeros behind the packed ones',
    one({ method: 8, data: 'x', packed: Buffer.concat([deflateRawSync('x'), Buffer.alloc(5_000_000)]) }),
    'zip_size',
  ],
  ['a folder that holds bytes', named('x/'), 'zip_size'],
  ['an entry that contains another', quoted, 'zip_overlap'],
  ['the same bytes under two names', shared('a.bin', 'b.bin'), 'zip_overlap'],
  ['the same bytes under a thousand names', shared(...many(1000).map(({ name }) => name)), 'zip_overlap'],
  ['the same bytes under one name twice', shared('a.bin', 'a.bin'), 'zip_ambiguous'],
  [
    'an entry that reaches into the directory',
    one({ packed: Buffer.from('abc'), packedSize: 40, size: 40, data: 'abc' }),
    'zip_overlap',
  ],
  ['70,000 entries, with the ZIP64 count', () => zipOf(many(70_000), { zip64End: true }), 'zip_entries'],
  ['70,000 entries, the count wrapped around', () => zipOf(many(70_000), { count: 70_000 % 65_536 }), 'zip_entries'],
  ['10,001 entries', () => zipOf(many(10_001)), 'zip_entries'],
  ['more entries than counted', () => zipOf(many(10), { count: 9 }), 'zip_structure'],
  ['fewer entries than counted', () => zipOf(many(10), { count: 11 }), 'zip_structure'],
  ['a wrong CRC', one({ crc: 1 }), 'zip_crc'],
  ['a wrong CRC of a folder', named('x/', { data: '', crc: 7 }), 'zip_crc'],
  [
    'packed bytes that are damaged',
    one({ method: 8, packed: Buffer.from('ffffffffffff', 'hex'), size: 100 }),
    'zip_crc',
  ],
  [
    'packed bytes that break off',
    one({ method: 8, packed: deflateRawSync(randomBytes(100)).subarray(0, 50), size: 100 }),
    'zip_crc',
  ],
  ['no end record', () => zipOf([good]).subarray(0, -22), 'zip_structure'],
  ['cut in half', () => zipOf(castFiles()).subarray(0, 300), 'zip_structure'],
  ['its last byte missing', () => zipOf([good], { comment: Buffer.from('bye') }).subarray(0, -1), 'zip_structure'],
  ['bytes behind its end', () => Buffer.concat([zipOf([good]), Buffer.alloc(10)]), 'zip_structure'],
  ['nothing at all', () => Buffer.alloc(0), 'zip_structure'],
  ['zeros', () => Buffer.alloc(100_000), 'zip_structure'],
  [
    'junk in front that its offsets do not count',
    () => zipOf([good], { prepended: Buffer.alloc(50, 1) }),
    'zip_structure',
  ],
  ['a directory outside the file', () => zipOf([good], { directoryAt: 0xffff_fff0 }), 'zip_structure'],
  ['a damaged directory', damaged(110), 'zip_structure'],
  ['an entry outside the file', one({ headerAt: 0x7fff_ffff }), 'zip_structure'],
  [
    'a ZIP64 entry beyond all files',
    () => {
      const bytes = zipOf([{ ...good, zip64: true }])
      bytes.writeBigUInt64LE(2n ** 64n - 1n, bytes.length - 22 - 8)
      return bytes
    },
    'zip_structure',
  ],
  [
    'a ZIP64 end record beyond all files',
    () => zipOf([good], { zip64End: true, zip64EndAt: 2n ** 63n }),
    'zip_structure',
  ],
  ['a ZIP64 end record that is none', () => zipOf([good], { zip64End: true, zip64EndAt: 0n }), 'zip_structure'],
  [
    'two end records that contradict each other',
    () => {
      const bytes = zipOf([good], { zip64End: true })
      bytes.writeUInt16LE(7, bytes.length - 22 + 10)
      return bytes
    },
    'zip_structure',
  ],
  ['a part of several disks', () => zipOf([good], { disk: 1 }), 'zip_structure'],
  ['an extra field longer than its place', one({ extra: Buffer.from([1, 2, 255, 0]) }), 'zip_structure'],
  ['one method here, another there', one({ localMethod: 8 }), 'zip_structure'],
  ['an encrypted entry', one({ flags: 1 }), 'zip_method'],
  ['strong encryption', one({ flags: 0x41 }), 'zip_method'],
  ['an encrypted directory', one({ flags: 0x2000 }), 'zip_method'],
  ['method 99', one({ method: 99 }), 'zip_method'],
  ['bzip2', one({ method: 12 }), 'zip_method'],
]

describe('a ZIP with', () => {
  it.each(refused)(
    '%s is refused',
    async (_name, bytes, code) => {
      const failure = await readZip(await written(bytes())).then(
        () => null,
        (error: unknown) => error,
      )
      expect(failure).toMatchObject({ code, kind: 'rejected' })
      expect((failure as Error).message).toMatch(/^The package cannot be used: .{10,}\. Pack it again .*kept\.$/)
      expect((failure as Error).message).not.toMatch(/\p{Cc}/u)
      expect((failure as Error).message.length).toBeLessThan(500)
    },
    60_000,
  )

  it.each<[string, () => Buffer, number]>([
    ['an AudioVideoCast', () => zipOf(castFiles()), 5],
    ['nothing in it', () => zipOf([]), 0],
    ['10,000 entries', () => zipOf(many(10_000)), 10_000],
    ['ZIP64 everywhere', () => zipOf([{ ...good, zip64: true }], { zip64End: true }), 1],
    ['sizes behind the data', one({ descriptor: true, method: 8 }), 2],
    ['a comment of 65,535 bytes', () => zipOf([good], { comment: Buffer.alloc(65_535, 'c') }), 1],
    ['junk in front that its offsets count', () => zipOf([good], { prepended: Buffer.alloc(50), adjusted: true }), 1],
    ['another ZIP in it', () => zipOf([{ name: 'x.zip', data: zipOf([good]) }]), 1],
    ['10 MB of zeros', () => zipOf([{ name: 'x', data: Buffer.alloc(10 * 1024 ** 2), method: 8 }]), 1],
    ['an empty entry that is deflated', () => zipOf([{ name: 'x', data: '', method: 8 }]), 1],
    ['folders, and the folder of a file', () => zipOf([{ name: 'a/' }, { name: 'a/x' }, { name: 'b/y' }]), 3],
    ['no attributes at all', one({ attributes: 0 }), 2],
    ['a name like a device', named('con'), 2],
    ['a name with quotes, < and a line feed', named('"><img src=x>\r\n'), 2],
    ['__proto__', named('__proto__/constructor'), 2],
  ])(
    '%s is sound',
    async (_name, bytes, count) => {
      expect(await readZip(await written(bytes()))).toHaveLength(count)
    },
    60_000,
  )
})

it('reads names as their flag says: UTF-8, else code page 437, or their Unicode twin', async () => {
  const raw = Buffer.from([0x82, 0x2e, 0x6d, 0x70, 0x33])
  const entries = await readZip(
    await written(
      zipOf([
        { name: raw, flags: 0 },
        { name: '\u00e8.mp3' },
        { name: 'c.mp3', flags: 0, extra: unicodeName('c.mp3', '\u00ea.mp3') },
      ]),
    ),
  )
  expect(entries.map(({ path }) => path)).toEqual(['\u00e9.mp3', '\u00e8.mp3', '\u00ea.mp3'])
})

it('keeps the beginnings of texts, within a budget for all of them', async () => {
  const limits = { ...defaultPackageLimits, maxTextBytes: 10, maxTextsBytes: 15 }
  const path = await written(
    zipOf([
      { name: 'a.json', data: '0123456789' },
      { name: 'b.SMIL', data: '0123456789', method: 8 },
      { name: 'c.txt', data: '0123456789' },
      { name: 'd.json', data: '' },
    ]),
  )
  expect((await readZip(path, { limits })).map(({ text }) => text)).toEqual([
    { text: '0123456789', cut: false },
    { text: '01234', cut: true },
    null,
    { text: '', cut: false },
  ])
})

it('refuses more than it may unpack in all, before it unpacks anything', async () => {
  const limits = { ...defaultPackageLimits, maxUnpackedBytes: 7 }
  expect(await codeOf(readZip(await written(zipOf([good, { name: 'b', data: '1234' }])), { limits }))).toBe('zip_size')
})

it('the cheap check finds a missing end before anything is read', async () => {
  const bytes = zipOf(castFiles())
  expect(await codeOf(checkStructure(await written(bytes), 'zip'))).toBe('ok')
  expect(await codeOf(checkStructure(await written(bytes.subarray(0, -1)), 'zip'))).toBe('zip_structure')
})

it('cut at any byte, it is never taken for whole', async () => {
  const bytes = zipOf(castFiles().slice(0, 3))
  for (let length = 0; length < bytes.length; length += 7) {
    expect(await judge(bytes.subarray(0, length)), `${length} bytes`).toBe('zip_structure')
  }
})

it('whatever byte is flipped, it answers with a code', async () => {
  const bytes = zipOf(castFiles().slice(1, 3))
  for (let at = 0; at < bytes.length; at += 3) {
    for (const flip of [0x01, 0x80, 0xff]) {
      const copy = Buffer.from(bytes)
      copy[at]! ^= flip
      expect(await judge(copy), `byte ${at} ^ ${flip}`).toMatch(/^(ok|zip_\w+)$/)
    }
  }
}, 120_000)

it('stops when it is told to, with a video of 1 GiB in flat memory', async () => {
  const size = 1024 ** 3
  const path = join(dir, 'big')
  const file = await open(path, 'w')
  const [local, rest] = [
    Buffer.alloc(31),
    zipOf([{ name: 'x', zip64: true, size, packedSize: size, crc: 1 }], { zip64End: true }),
  ]
  rest.copy(local, 0, 0, 31)
  const directoryAt = 31 + size
  const end = Buffer.from(rest.subarray(31))
  const zip64At = end.indexOf(Buffer.from('PK\u0006\u0006', 'latin1'))
  end.writeBigUInt64LE(BigInt(directoryAt), zip64At + 48)
  end.writeBigUInt64LE(BigInt(directoryAt + zip64At), zip64At + 56 + 8)
  end.writeUInt32LE(0xffff_ffff, end.length - 6)
  await file.write(local, 0, 31, 0)
  await file.write(end, 0, end.length, directoryAt)
  await file.close()
  const stop = new AbortController()
  const before = process.memoryUsage().rss
  let highest = 0
  const watch = setInterval(() => {
    highest = Math.max(highest, process.memoryUsage().rss - before)
  }, 20)
  try {
    const whole = codeOf(readZip(path))
    expect(await whole).toBe('zip_crc')
    expect(highest).toBeLessThan(256 * 1024 ** 2)
    const stopped = codeOf(readZip(path, { signal: stop.signal }))
    setTimeout(() => stop.abort(), 20)
    expect(await stopped).toBe('cancelled')
    expect(await codeOf(readZip(path, { signal: AbortSignal.abort() }))).toBe('cancelled')
  } finally {
    clearInterval(watch)
  }
}, 180_000)
