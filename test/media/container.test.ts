import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkStructure } from '../../src/media/container.ts'
import { codeOf, cut, ffmpeg, newDirectory, picture, removeDirectory, sound, x264 } from './fixtures.ts'

let dir = ''
const at = (name: string) => join(dir, name)

/** Every container we accept, made by the real muxer. */
const made: Record<string, string[]> = {
  'a.mp4': [...x264, '-c:a', 'aac', '-movflags', '+faststart'],
  'late.mp4': [...x264, '-c:a', 'aac'],
  'fragmented.mp4': [...x264, '-c:a', 'aac', '-movflags', '+frag_keyframe+empty_moov', '-g', '5'],
  'a.mov': [...x264, '-c:a', 'aac'],
  'a.m4v': [...x264, '-an', '-f', 'mp4'],
  'a.3gp': ['-c:v', 'mpeg4', '-c:a', 'aac'],
  'a.mkv': [...x264, '-c:a', 'aac'],
  'live.mkv': [...x264, '-c:a', 'aac', '-f', 'matroska', '-live', '1'],
  'reserved-index.mkv': [...x264, '-c:a', 'aac', '-reserve_index_space', '4096'],
  'a.webm': ['-c:v', 'libvpx', '-deadline', 'realtime', '-c:a', 'libopus'],
  'a.avi': ['-c:v', 'mpeg4', '-c:a', 'libmp3lame'],
  'a.divx': ['-c:v', 'mpeg4', '-c:a', 'libmp3lame', '-f', 'avi'],
  'a.mts': [...x264, '-c:a', 'aac', '-f', 'mpegts'],
  'blu.m2ts': [...x264, '-c:a', 'aac', '-f', 'mpegts', '-mpegts_m2ts_mode', '1'],
  'a.mpg': ['-c:v', 'mpeg2video', '-r', '25', '-c:a', 'mp2'],
  'ts.mpg': [...x264, '-c:a', 'aac', '-f', 'mpegts'],
  'a.m2p': ['-c:v', 'mpeg2video', '-r', '25', '-c:a', 'mp2', '-f', 'mpeg'],
  'a.flv': [...x264, '-c:a', 'aac'],
  'a.wmv': ['-c:v', 'wmv2', '-c:a', 'wmav2'],
  'a.mp3': ['-vn', '-c:a', 'libmp3lame'],
  'bare.mp3': ['-vn', '-c:a', 'libmp3lame', '-id3v2_version', '0', '-write_xing', '0'],
  'a.ogg': ['-vn', '-c:a', 'libopus'],
  'a.wav': ['-vn'],
  'a.flac': ['-vn'],
  'a.m4a': ['-vn', '-c:a', 'aac'],
}

beforeAll(async () => {
  dir = await newDirectory()
  await ffmpeg(
    ...picture('64x48', 1),
    ...sound(1),
    ...Object.entries(made).flatMap(([name, options]) => [...options, at(name)]),
  )
}, 30_000)
afterAll(() => removeDirectory(dir))

describe('whole files', () => {
  it.each(Object.keys(made))('%s is what it says', async (name) => {
    await checkStructure(at(name), name.slice(name.lastIndexOf('.')))
    await checkStructure(at(name), name.slice(name.lastIndexOf('.') + 1).toUpperCase())
  })

  it('accepts zeros after a complete MP4 (padding of some recorders)', async () => {
    await writeFile(at('padded.mp4'), Buffer.concat([await readFile(at('late.mp4')), Buffer.alloc(5000)]))
    expect(await codeOf(checkStructure(at('padded.mp4'), 'mp4'))).toBe('ok')
  })

  it('walks a sparse MP4 of 200 GB in milliseconds', async () => {
    const bytes = await readFile(at('a.mp4'))
    const big = Buffer.alloc(16)
    big.writeUInt32BE(1, 0)
    big.write('free', 4)
    big.writeBigUInt64BE(200n * 1024n ** 3n, 8)
    await writeFile(at('big.mp4'), Buffer.concat([bytes, big]))
    await truncate(at('big.mp4'), bytes.length + 200 * 1024 ** 3)
    const begun = performance.now()
    await checkStructure(at('big.mp4'), 'mp4')
    expect(performance.now() - begun).toBeLessThan(500)
  })
})

describe('cut files', () => {
  it.each([
    ['a.mp4', 0.5],
    ['a.mp4', 0.99],
    ['late.mp4', 0.5],
    ['late.mp4', 0.99],
    ['a.mov', 0.7],
    ['a.mkv', 0.5],
    ['a.webm', 0.9],
    ['a.avi', 0.5],
    ['a.wav', 0.5],
    ['a.mts', 0.501],
    ['a.flv', 0.5],
    ['a.wmv', 0.5],
    ['a.ogg', 0.5],
    ['a.mp3', 0.5],
    ['a.mp3', 0.999],
  ] as const)('%s at %d is truncated', async (name, fraction) => {
    const path = await cut(at(name), at(`cut-${name}`), fraction)
    expect(await codeOf(checkStructure(path, name.slice(name.lastIndexOf('.'))))).toBe('truncated')
  })

  it('finds an MP4 cut exactly before its moov, though its boxes add up', async () => {
    const bytes = await readFile(at('late.mp4'))
    await writeFile(at('no-moov.mp4'), bytes.subarray(0, bytes.lastIndexOf('moov') - 4))
    expect(await codeOf(checkStructure(at('no-moov.mp4'), 'mp4'))).toBe('truncated')
  })

  it('finds an index without media', async () => {
    const bytes = await readFile(at('a.mp4'))
    await writeFile(at('no-mdat.mp4'), bytes.subarray(0, bytes.lastIndexOf('mdat') - 4))
    expect(await codeOf(checkStructure(at('no-mdat.mp4'), 'mp4'))).toBe('truncated')
  })
})

describe('not what the name says', () => {
  const html = '<!DOCTYPE html><html><body>502 Bad Gateway</body></html>'
  it.each([
    ['mp4', 'a JPEG picture', Buffer.from('ffd8ffe000104a46494600', 'hex')],
    ['mp4', 'an HTML page', html],
    ['mp4', 'a Linux program', '\u007fELF\u0002\u0001\u0001'],
    ['mp4', 'a PDF document', '%PDF-1.7\n'],
    ['mp4', 'an HLS playlist', '#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1/x.ts\n'],
    ['mp4', 'a DASH manifest', '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'],
    ['mp4', 'an ffconcat list', 'ffconcat version 1.0\nfile other.mp4\n'],
    ['mp4', 'an SDP session description', 'v=0\no=- 0 0 IN IP4 127.0.0.1\n'],
    ['mp4', 'a PLS playlist', '[playlist]\nFile1=http://127.0.0.1/x\n'],
    ['mp4', 'an IMF composition', '<?xml version="1.0"?><CompositionPlaylist/>'],
    ['mp4', 'a still picture', '\0\0\0\u0018ftypheic\0\0\0\0'],
    ['mkv', 'a script', '#!/bin/sh\nrm -rf /\n'],
    ['mp3', 'something unknown', Buffer.from('ffffffffffff00', 'hex')],
    ['m3u8', 'not an extension', '#EXTM3U\n'],
    ['constructor', 'not an extension', 'x'],
    ['', 'not an extension', 'x'],
  ])('.%s with %s', async (extension, words, content) => {
    await writeFile(at('other'), content)
    await expect(checkStructure(at('other'), extension)).rejects.toMatchObject({
      code: 'type_mismatch',
      message: expect.stringContaining(words),
    })
  })

  it('is a mismatch, too, where one kind of media is named like another', async () => {
    await expect(checkStructure(at('a.mkv'), 'mp4')).rejects.toMatchObject({
      code: 'type_mismatch',
      details: { extension: 'mp4', found: 'matroska' },
    })
  })

  it('an empty file is empty, whatever it is called', async () => {
    await writeFile(at('empty'), '')
    for (const extension of ['mp4', 'mkv', 'xyz'])
      expect(await codeOf(checkStructure(at('empty'), extension))).toBe('empty_file')
  })
})

describe('archives', () => {
  const zip = Buffer.from(
    '504b03040a00000000000000000000000000000000000000000001000000' +
      '61' +
      '504b01021e030a000000000000000000000000000000000000000000010000000000000000000000a48100000000' +
      '61' +
      '504b050600000000010001002f0000001f0000000000',
    'hex',
  )
  it.each([
    ['whole', zip, 'ok'],
    ['cut', zip.subarray(0, -30), 'zip_structure'],
    ['without its beginning', Buffer.concat([zip.subarray(0, 4), zip.subarray(-22)]), 'zip_structure'],
  ])('a zip that is %s', async (_name, bytes, code) => {
    await writeFile(at('a.zip'), bytes)
    expect(await codeOf(checkStructure(at('a.zip'), 'zip'))).toBe(code)
  })

  it('knows tar.gz by its magic', async () => {
    await writeFile(at('a.tgz'), Buffer.from('1f8b08000000000000ff', 'hex'))
    expect(await codeOf(checkStructure(at('a.tgz'), 'tar.gz'))).toBe('ok')
    expect(await codeOf(checkStructure(at('a.mp4'), 'tar.gz'))).toBe('type_mismatch')
  })
})

describe('space reserved for a whole file whose writer died', () => {
  it.each(['a.mkv', 'a.webm', 'a.avi', 'a.mp3'])('%s, at many places', async (name) => {
    const whole = await readFile(at(name))
    const extension = name.slice(name.lastIndexOf('.'))
    for (const part of [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]) {
      const holed = Buffer.from(whole).fill(0, Math.floor(part * (whole.length - 500)))
      await writeFile(at('reserved'), holed)
      expect([part, await codeOf(checkStructure(at('reserved'), extension))]).toEqual([part, 'truncated'])
    }
  })

  it.each(['a.mkv', 'a.webm', 'a.avi'])('%s with a hole between its frames', async (name) => {
    const whole = await readFile(at(name))
    const extension = name.slice(name.lastIndexOf('.'))
    for (const part of [0.3, 0.4, 0.5]) {
      const from = Math.floor(part * whole.length)
      await writeFile(at('reserved'), Buffer.from(whole).fill(0, from, from + (whole.length >> 2)))
      expect([part, await codeOf(checkStructure(at('reserved'), extension))]).toEqual([part, 'truncated'])
    }
  })

  it('an MP3 with a hole longer than a frame, wherever it begins', async () => {
    const whole = await readFile(at('a.mp3'))
    for (let from = 2000; from < 2420; from++) {
      await writeFile(at('reserved'), Buffer.from(whole).fill(0, from, from + 500))
      expect([from, await codeOf(checkStructure(at('reserved'), 'mp3'))]).toEqual([from, 'truncated'])
    }
  })

  it('a beginning that was not written yet is missing, not foreign', async () => {
    const whole = await readFile(at('a.mkv'))
    await writeFile(at('reserved'), whole.fill(0, 0, whole.length / 2))
    expect(await codeOf(checkStructure(at('reserved'), 'mkv'))).toBe('truncated')
  })

  it('an MP3 that ends in a silent frame, or in a tag of zeros, is whole', async () => {
    await ffmpeg('-f', 'lavfi', '-i', 'anullsrc=d=1', '-c:a', 'libmp3lame', '-b:a', '320k', at('silent.mp3'))
    const silent = await readFile(at('silent.mp3'))
    const tag = Buffer.alloc(128)
    tag.write('TAG')
    for (const bytes of [silent, Buffer.concat([silent, tag])]) {
      await writeFile(at('silent.mp3'), bytes)
      expect(await codeOf(checkStructure(at('silent.mp3'), 'mp3'))).toBe('ok')
    }
  })
})

describe('space reserved for a whole file whose writer died inside the index', () => {
  const free = Buffer.concat([Buffer.from([0, 0, 0, 32]), Buffer.from('free'), Buffer.alloc(24, 7)])
  it.each([1, 2, 10, 20, 40, 80, 200])('%i bytes before its end', async (missing) => {
    const whole = Buffer.concat([await readFile(at('late.mp4')), free])
    await writeFile(at('reserved.mp4'), whole)
    expect(await codeOf(checkStructure(at('reserved.mp4'), 'mp4'))).toBe('ok')
    whole.fill(0, whole.length - free.length - missing)
    await writeFile(at('reserved.mp4'), whole)
    expect(await codeOf(checkStructure(at('reserved.mp4'), 'mp4'))).toBe('truncated')
  })
})
