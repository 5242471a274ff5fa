import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createGzip, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultPackageLimits } from '../../src/media/package-limits.ts'
import { readPax } from '../../src/media/pax.ts'
import { readTarGz } from '../../src/media/tar-package.ts'
import { gnuName, pax, sessionFiles, tarBlock, tarEnd, tarGzOf, tarOf } from './archives.ts'
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

const good = { name: 'good.txt', data: 'good' }
const special =
  (type: string, link = '') =>
  () =>
    tarGzOf(good, { name: 'x', type, link })
const named = (name: string) => () => tarGzOf(good, { name, data: 'evil' })
const noise = randomBytes(300_000)
const many = (count: number) => Array.from({ length: count }, (_, at) => ({ name: `e${String(at).padStart(6, '0')}` }))
/** 200 MB of zeros as one file. */
const bomb = () =>
  gzipSync(Buffer.concat([tarBlock({ name: 'zeros', size: 200 * 1024 ** 2 }), Buffer.alloc(200 * 1024 ** 2), tarEnd]))

describe('a tar.gz with', () => {
  it.each<[string, () => Buffer, string]>([
    ['../', named('../evil'), 'archive_unsafe'],
    ['../ in the middle', named('a/../../evil'), 'archive_unsafe'],
    ['an absolute path', named('/etc/evil'), 'archive_unsafe'],
    ['a drive letter', named('C:/evil'), 'archive_unsafe'],
    ['a backslash', named('..\\evil'), 'archive_unsafe'],
    ['an absolute path by its prefix', () => tarGzOf({ ...good, prefix: '/etc' }), 'archive_unsafe'],
    ['a pax header with path=../', () => tarGzOf(pax({ path: '../evil' }), good), 'archive_unsafe'],
    ['a pax header that hides ../', () => tarGzOf(pax({ path: 'fine' }), { ...good, name: '../x' }), 'archive_unsafe'],
    ['a pax header with a NUL', () => tarGzOf(pax({ path: 'x\0../y' }), good), 'archive_unsafe'],
    ['a GNU name with ../', () => tarGzOf(gnuName(`${'a/'.repeat(5)}${'../'.repeat(9)}evil`), good), 'archive_unsafe'],
    ['a GNU name of 5,000 bytes', () => tarGzOf(gnuName('x'.repeat(5000)), good), 'archive_unsafe'],
    ['a header of 2 MB', () => tarGzOf(gnuName('x'.repeat(2_000_000)), good), 'archive_unsafe'],
    ['a symlink out', special('2', '/etc/passwd'), 'archive_unsafe'],
    ['a symlink inside', special('2', 'good.txt'), 'archive_unsafe'],
    ['a hard link out', special('1', '../../etc/passwd'), 'archive_unsafe'],
    ['a hard link inside', special('1', 'good.txt'), 'archive_unsafe'],
    ['a character device', special('3'), 'archive_unsafe'],
    ['a block device', special('4'), 'archive_unsafe'],
    ['a fifo', special('6'), 'archive_unsafe'],
    ['a sparse file', special('S'), 'archive_unsafe'],
    ['a volume label', special('V'), 'archive_unsafe'],
    ['a type nobody knows', special('Z'), 'archive_unsafe'],
    ['a GNU link name', () => tarGzOf({ name: 'l', type: 'K', data: '/etc/passwd\0' }, good), 'archive_unsafe'],
    ['a pax link', () => tarGzOf(pax({ linkpath: '/etc/passwd' }), good), 'archive_unsafe'],
    ['a pax header for all entries that names them', () => tarGzOf(pax({ path: 'x' }, 'g'), good), 'archive_unsafe'],
    ['a pax size that is none', () => tarGzOf(pax({ size: '-1' }), good), 'archive_unsafe'],
    ['a pax size beyond all numbers', () => tarGzOf(pax({ size: '9'.repeat(30) }), good), 'archive_unsafe'],
    ['a pax size that skips an entry', () => tarGzOf(pax({ size: '512' }), { name: 'a' }, good), 'archive_unsafe'],
    ['a pax header that is cut', () => tarGzOf({ name: 'p', type: 'x', data: '99 path=x\n' }, good), 'archive_unsafe'],
    ['a pax header for nothing', () => tarGzOf(good, pax({ path: 'x' })), 'archive_unsafe'],
    ['one name twice', () => tarGzOf(good, good), 'archive_unsafe'],
    ['case twins', () => tarGzOf(good, { name: 'GOOD.txt' }), 'archive_unsafe'],
    ['a file that is a folder', () => tarGzOf(good, { name: 'good.txt/x' }), 'archive_unsafe'],
    ['no name', () => tarGzOf({ name: '' }), 'archive_unsafe'],
    ['a damaged second header', () => tarGzOf(good, { name: 'x', checksum: 1 }), 'archive_unsafe'],
    ['a second tar behind its end', () => gzipSync(Buffer.concat([tarOf(good), tarOf(good)])), 'archive_unsafe'],
    [
      'a lone empty block in the middle',
      () => gzipSync(Buffer.concat([tarBlock(good), Buffer.alloc(512), tarOf(good)])),
      'archive_unsafe',
    ],
    ['10,001 entries', () => tarGzOf(...many(10_001)), 'archive_unsafe'],
    ['headers without end', () => tarGzOf(...Array.from({ length: 40_001 }, () => pax({ a: 'b' }))), 'archive_unsafe'],
    ['200 MB of zeros', bomb, 'archive_unsafe'],
    [
      '200 MB of zeros behind its end',
      () => gzipSync(Buffer.concat([tarOf(good), Buffer.alloc(200 * 1024 ** 2)])),
      'archive_unsafe',
    ],
    [
      '2 TiB by its word',
      () => tarGzOf({ name: 'x', sizeField: Buffer.from('80000000000002000000000000'.slice(0, 24), 'hex') }),
      'archive_unsafe',
    ],
    [
      'a size below zero',
      () => tarGzOf({ name: 'x', sizeField: Buffer.from('ff'.repeat(12), 'hex') }),
      'archive_unsafe',
    ],
    ['its gzip cut', () => tarGzOf({ name: 'x', data: noise }).subarray(0, -4000), 'truncated'],
    ['its last byte missing', () => tarGzOf(good).subarray(0, -1), 'truncated'],
    ['its beginning alone', () => tarGzOf(good).subarray(0, 12), 'truncated'],
    ['nothing at all', () => Buffer.alloc(0), 'truncated'],
    [
      'a flipped bit',
      () => {
        const bytes = tarGzOf({ name: 'x', data: noise })
        bytes[150_000]! ^= 1
        return bytes
      },
      'truncated',
    ],
    [
      'a wrong gzip checksum',
      () => {
        const bytes = tarGzOf(good)
        bytes[bytes.length - 8]! ^= 1
        return bytes
      },
      'truncated',
    ],
    ['junk behind its gzip', () => Buffer.concat([tarGzOf(good), Buffer.from('junk')]), 'truncated'],
    ['its tar cut inside a file', () => gzipSync(tarOf({ name: 'x', data: noise }).subarray(0, 5000)), 'truncated'],
    ['its tar cut inside a header', () => gzipSync(tarOf(good, good).subarray(0, 1500)), 'truncated'],
    ['its tar cut between two files', () => gzipSync(tarBlock(good)), 'truncated'],
    ['one block at its end', () => gzipSync(Buffer.concat([tarBlock(good), Buffer.alloc(512)])), 'truncated'],
    ['something else in the gzip', () => gzipSync('<!doctype html>'.repeat(100)), 'type_mismatch'],
    ['another gzip in the gzip', () => gzipSync(tarGzOf({ name: 'x', data: noise })), 'type_mismatch'],
    ['less than a block in the gzip', () => gzipSync('hello'), 'type_mismatch'],
    ['a session', () => tarGzOf(...sessionFiles()), 'ok'],
    ['nothing in it', () => gzipSync(tarEnd), 'ok'],
    ['padding behind its end', () => gzipSync(Buffer.concat([tarOf(good), Buffer.alloc(20 * 512)])), 'ok'],
    [
      'several gzip members',
      () => {
        const bytes = tarOf({ name: 'x', data: noise })
        return Buffer.concat([gzipSync(bytes.subarray(0, 1000)), gzipSync(bytes.subarray(1000))])
      },
      'ok',
    ],
    ['zeros behind its gzip', () => Buffer.concat([tarGzOf(good), Buffer.alloc(5000)]), 'ok'],
    ['a comment for all entries', () => tarGzOf(pax({ comment: 'from git' }, 'g'), good), 'ok'],
    ['./ in front of everything', () => tarGzOf({ name: './', type: '5' }, { ...good, name: './good.txt' }), 'ok'],
    ['10 MB of zeros', () => tarGzOf({ name: 'x', data: Buffer.alloc(10 * 1024 ** 2 - 4096) }), 'ok'],
    ['a package in it', () => tarGzOf({ name: 'x.tar.gz', data: tarGzOf(good) }), 'ok'],
  ])(
    '%s: %#',
    async (_name, bytes, code) => {
      expect(await codeOf(readTarGz(await written(bytes())))).toBe(code)
    },
    60_000,
  )
})

it('reads long names of both kinds, sizes and texts', async () => {
  const long = `${'folder/'.repeat(20)}info.json`
  const entries = await readTarGz(
    await written(
      tarGzOf(
        gnuName(long),
        { name: 'cut', data: '{"a":1}' },
        pax({ path: `x/${long}`, size: '3' }),
        {
          name: 'cut',
          data: 'abc',
          size: 0,
        },
        { name: 'folder/empty', type: '5' },
      ),
    ),
  )
  expect(entries).toEqual([
    { path: long, directory: false, sizeBytes: 7, text: { text: '{"a":1}', cut: false } },
    { path: `x/${long}`, directory: false, sizeBytes: 3, text: { text: 'abc', cut: false } },
    { path: 'folder/empty/', directory: true, sizeBytes: 0, text: null },
  ])
})

it.each([['ustar'], ['gnu'], ['pax']])("reads what the machine's own tar writes (%s)", async (format) => {
  const folder = join(dir, `made-${format}`)
  const name = `${'x'.repeat(format === 'ustar' ? 60 : 120)} \u00e9.json`
  await mkdir(join(folder, 's'), { recursive: true })
  await writeFile(join(folder, 's', name), '{}')
  await writeFile(join(folder, 's', 'user-video.webm'), noise)
  const target = join(dir, `${format}.tar.gz`)
  await promisify(execFile)('tar', ['-c', '-z', `--format=${format}`, '-f', target, '-C', folder, './s'])
  const entries = await readTarGz(target)
  expect(Object.fromEntries(entries.map(({ path, sizeBytes }) => [path, sizeBytes]))).toEqual({
    './s/': 0,
    './s/user-video.webm': noise.length,
    [`./s/${name}`]: 2,
  })
})

it('obeys its caps, and stops when it is told to', async () => {
  const path = await written(tarGzOf({ name: 'x', data: noise }))
  const limits = { ...defaultPackageLimits, maxUnpackedBytes: 1000 }
  expect(await codeOf(readTarGz(path, { limits }))).toBe('archive_unsafe')
  expect(await codeOf(readTarGz(path, { signal: AbortSignal.abort() }))).toBe('cancelled')
})

it('reads a video of 512 MiB in flat memory', async () => {
  const path = join(dir, 'big.tar.gz')
  const size = 512 * 1024 ** 2
  const chunk = randomBytes(1024 ** 2)
  await pipeline(
    function* () {
      yield tarBlock({ name: 'user-video.webm', size })
      for (let at = 0; at < size; at += chunk.length) yield chunk
      yield tarEnd
    },
    createGzip({ level: 0 }),
    createWriteStream(path),
  )
  const before = process.memoryUsage().rss
  let highest = 0
  const watch = setInterval(() => {
    highest = Math.max(highest, process.memoryUsage().rss - before)
  }, 20)
  try {
    expect(await readTarGz(path)).toMatchObject([{ sizeBytes: size }])
    expect(highest).toBeLessThan(200 * 1024 ** 2)
  } finally {
    clearInterval(watch)
  }
}, 180_000)

it('reads pax records by their length, so that a line feed in a value makes no record', () => {
  const read = (text: string) => {
    const records = readPax(Buffer.from(text))
    return records === null ? null : Object.fromEntries(records)
  }
  expect(read('20 a=x\n13 path=evil\n')).toEqual({ a: 'x\n13 path=evil' })
  expect(read('6 a=x\n7 b=\u00e9\n')).toEqual({ a: 'x', b: '\u00e9' })
  for (const bad of ['6 a=x', '5 a=x\n', '7 a=x\n', '0 a=x\n', ' a=x\n', '6  ax\n', 'x', '06 a=x\n', '99999999 a=x\n'])
    expect(read(bad), bad).toBeNull()
})

it('whatever byte of the tar is flipped, it answers with a code', async () => {
  const bytes = tarOf(pax({ path: 'long/name.json' }), { name: 'a', data: '{"x":1}' }, { name: 'b/', type: '5' })
  for (let at = 0; at < bytes.length; at += 5) {
    const copy = Buffer.from(bytes)
    copy[at]! ^= 0x81
    expect(await codeOf(readTarGz(await written(gzipSync(copy)))), `byte ${at}`).toMatch(/^[a-z_]+$/)
  }
}, 120_000)
