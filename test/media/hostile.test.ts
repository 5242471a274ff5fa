import { mkdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { planEncode } from '../../src/domain/encode.ts'
import { isErrorCode } from '../../src/domain/errors.ts'
import {
  codeOf,
  cut,
  encoderWith,
  examine,
  ffmpeg,
  ffmpegPath,
  newDirectory,
  portOf,
  picture,
  removeDirectory,
  sound,
  x264,
} from './fixtures.ts'

const encoder = encoderWith()
const patient = encoderWith({ maxWallMs: 150_000 })
let dir = ''
let server: Server
let requests = 0
let url = ''
let canary = ''
let canaryReadAt = 0
const at = (name: string) => join(dir, name)
/** An access time two days old is renewed by the next read, also under `relatime`. */
const forgetReads = async () => {
  await utimes(canary, new Date(Date.now() - 2 * 86_400_000), new Date())
  canaryReadAt = await accessTime(canary)
}
const accessTime = async (path: string) => (await stat(path)).atimeMs

beforeAll(async () => {
  dir = await newDirectory()
  server = createServer((_request, response) => {
    requests += 1
    response.end('canary')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${portOf(server)}`
  await mkdir(at('other-account'))
  canary = at('other-account/secret.mp4')
  await generateSmall(canary, { ffmpegPath, seed: 1, codec: 'h264-aac' })
  await forgetReads()
  const clips: [string, number, string[]][] = [
    ['good.mp4', 2, [...x264, '-c:a', 'aac', '-movflags', '+faststart']],
    ['good.mkv', 2, [...x264, '-g', '5', '-c:a', 'aac']],
    ['silent.mp4', 1, [...x264, '-an']],
    ['sound.mp4', 1, ['-vn', '-c:a', 'aac']],
  ]
  await ffmpeg(
    ...picture('96x64', 2),
    ...sound(2),
    ...clips.flatMap(([name, seconds, options]) => [...options, '-t', String(seconds), at(name)]),
  )
}, 30_000)
afterAll(async () => {
  server.close()
  await removeDirectory(dir)
})

/** Nothing outside was asked for and the other account's file was not read. */
const expectUntouched = async () => {
  expect(requests).toBe(0)
  expect(await accessTime(canary)).toBe(canaryReadAt)
}

const dash = (target: string) => `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
  mediaPresentationDuration="PT1.5S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">
  <Representation id="1" bandwidth="1000" width="192" height="108" codecs="avc1.42c00a"><BaseURL>${target}</BaseURL>
  <SegmentBase indexRange="0-100"/></Representation></AdaptationSet></Period></MPD>`

describe('manifests, lists and tricks', () => {
  const tricks = (): [string, string | Buffer][] => [
    ['HLS to http', `#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n${url}/x.ts\n#EXT-X-ENDLIST\n`],
    ['HLS to a file', `#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://${canary}\n#EXT-X-ENDLIST\n`],
    ['HLS with a key', `#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="${url}/key"\n#EXTINF:5,\nx.ts\n#EXT-X-ENDLIST\n`],
    ['DASH to a file', dash(canary)],
    ['DASH to http', dash(`${url}/x.mp4`)],
    ['ffconcat with a sibling', `ffconcat version 1.0\nfile other-account/secret.mp4\n`],
    ['ffconcat with a path', `ffconcat version 1.0\nfile ${canary}\n`],
    [
      'SDP',
      'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n',
    ],
    ['RTSP reference', `RTSPtextRTSP://127.0.0.1/x\n`],
    ['PLS', `[playlist]\nFile1=${url}/x\nNumberOfEntries=1\n`],
    ['HLS of other playlists', `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n${url}/low.m3u8\n`],
    ['HLS with an init part', `#EXTM3U\n#EXT-X-MAP:URI="${url}/init.mp4"\n#EXTINF:5,\nx.m4s\n#EXT-X-ENDLIST\n`],
    ['HLS behind a byte order mark', `\uFEFF#EXTM3U\n#EXTINF:5,\n${url}/x.ts\n#EXT-X-ENDLIST\n`],
    ['HLS behind blank lines', `\n\n#EXTM3U\n#EXTINF:5,\n${url}/x.ts\n#EXT-X-ENDLIST\n`],
    ['a bare list of addresses', `${url}/x.mp4\n`],
    [
      'XSPF',
      `<?xml version="1.0"?><playlist version="1"><trackList><track><location>${url}/x</location></track></trackList></playlist>`,
    ],
    ['ASX', `<asx version="3.0"><entry><ref href="${url}/x"/></entry></asx>`],
    ['SMIL', `<smil><body><video src="${url}/x"/></body></smil>`],
    ['Smooth Streaming', `<SmoothStreamingMedia><StreamIndex Url="${url}/x"/></SmoothStreamingMedia>`],
    ['SVG with a picture', `<svg xmlns="http://www.w3.org/2000/svg"><image href="${url}/x.png"/></svg>`],
    ['a script of AviSynth', `AviSource("${canary}")\n`],
    ['concat of the older kind', `# ffconcat\nfile '${canary}'\n`],
    [
      'IMF',
      `<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><a>${canary}</a></CompositionPlaylist>`,
    ],
  ]

  it('are refused by their first bytes, and by ffprobe on its own', async () => {
    for (const [name, content] of tricks()) {
      await writeFile(at('x.mp4'), content)
      expect(await codeOf(encoder.checkStructure(at('x.mp4'), 'mp4')), name).toBe('type_mismatch')
      expect(await codeOf(encoder.probe(at('x.mp4'))), name).toMatch(/type_mismatch|undecodable|truncated/)
    }
    await expectUntouched()
  }, 20_000)

  it('both canaries are touched where ffmpeg runs without the guard: the tests above can fail', async () => {
    await writeFile(at('x.m3u8'), `#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n${url}/x.ts\n#EXT-X-ENDLIST\n`)
    await ffmpeg('-protocol_whitelist', 'file,http,tcp,crypto,data', '-i', at('x.m3u8'), '-f', 'null', '-').catch(
      () => undefined,
    )
    expect(requests).toBeGreaterThan(0)
    requests = 0
    await writeFile(at('x.mp4'), dash(canary))
    await ffmpeg('-i', at('x.mp4'), '-f', 'null', '-').catch(() => undefined)
    expect(await accessTime(canary)).toBeGreaterThan(canaryReadAt)
    await forgetReads()
  })

  const playlist = () => `#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n${url}/x\n#EXT-X-ENDLIST\n`
  it.each<[string, () => string]>([
    ['a playlist to http', playlist],
    ['a playlist to a file', () => playlist().replace(`${url}/x`, `file://${canary}`)],
    ['a list of files', () => `ffconcat version 1.0\nfile ${canary}\n`],
    ['a DASH manifest', () => dash(canary)],
    ['what belongs there', () => '1\n00:00:00,000 --> 00:00:00,500\nhello\n\n'],
  ])(
    'a good AVI whose GAB2 subtitle holds %s plays without it',
    async (_, text) => {
      await writeFile(at('gab2.avi'), gab2Avi(text(), await jpegFrames(25)))
      const facts = await examine(encoder, at('gab2.avi'), 'avi')
      expect(facts).toMatchObject({ durationMs: 1000, video: { codec: 'mjpeg', widthPx: 64, heightPx: 48 } })
      expect(facts.notes).toEqual(['dropped 1 subtitle stream'])
      const out = join(dir, 'gab2-out')
      await mkdir(out)
      const renditions = await encoder.encode(at('gab2.avi'), facts, planEncode(facts), out)
      expect(renditions.length).toBeGreaterThan(0)
      await removeDirectory(out)
      await expectUntouched()
    },
    30_000,
  )

  it('an AVI without one frame behind such a subtitle is refused', async () => {
    await writeFile(at('gab2.avi'), gab2Avi(playlist(), [Buffer.alloc(100)]))
    expect(await codeOf(examine(encoder, at('gab2.avi'), 'avi'))).toBe('undecodable')
    await expectUntouched()
  })

  it('a QuickTime file that says its bytes are in another file is read from itself alone', async () => {
    await ffmpeg('-i', at('good.mp4'), '-c', 'copy', '-movflags', '-faststart', '-f', 'mov', at('own.mov'))
    await writeFile(at('elsewhere.mov'), pointElsewhere(await readFile(at('own.mov')), canary))
    expect((await examine(encoder, at('elsewhere.mov'), 'mov')).durationMs).toBe(2000)
    await expectUntouched()
  })

  it.each([
    'http://127.0.0.1:PORT/x',
    'subfile,,start,0,end,0,,:good.mp4',
    '-y.mp4',
    '-i',
    'concat:good.mp4',
    "a'b %d $(id).mp4",
  ])('a file named %s is only a file', async (name) => {
    const path = join(dir, 'names', name.replace('PORT', new URL(url).port))
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(path, await readFile(at('good.mp4')))
    expect((await examine(encoder, path, 'mp4')).durationMs).toBe(2000)
    await expectUntouched()
  })
})

describe('lies', () => {
  it('a frame of 16000x16000 is refused in under a second', async () => {
    await ffmpeg(...picture('64x48', 0.2), '-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p', at('flood.mov'))
    const bytes = await readFile(at('flood.mov'))
    const widen = (offset: number) => bytes.writeUInt32BE(16_000 * 65_537, offset)
    for (let frame = bytes.indexOf('ffc0', 0, 'hex'); frame >= 0; frame = bytes.indexOf('ffc0', frame + 1, 'hex'))
      widen(frame + 5)
    widen(bytes.indexOf('jpeg', bytes.indexOf('stsd')) + 28)
    await writeFile(at('flood.mov'), bytes)
    const begun = performance.now()
    expect(await codeOf(encoder.probe(at('flood.mov')))).toBe('too_many_pixels')
    expect(performance.now() - begun).toBeLessThan(1000)
    const marks = ['-map', '0', '-map', '1', '-c', 'copy', '-disposition:v:1', 'attached_pic']
    await ffmpeg('-i', at('good.mp4'), '-i', at('flood.mov'), ...marks, at('cover.mp4'))
    const facts = await examine(encoder, at('cover.mp4'), 'mp4')
    expect(facts).toMatchObject({ video: { widthPx: 96 }, notes: ['dropped 1 cover picture'] })
    expect(await codeOf(encoderWith({ maxPixels: 96 * 64 - 1 }).probe(at('good.mp4')))).toBe('too_many_pixels')
    expect(await codeOf(encoderWith({ maxPixels: 96 * 64 }).probe(at('good.mp4')))).toBe('ok')
  })

  it('a small file that claims 10^9 seconds is refused', async () => {
    const bytes = await readFile(at('silent.mp4'))
    for (const box of ['mvhd', 'mdhd']) bytes.writeUInt32BE(1, bytes.indexOf(box) + 4 + 12)
    for (const box of ['mvhd', 'mdhd']) bytes.writeUInt32BE(1_000_000_000, bytes.indexOf(box) + 4 + 16)
    await writeFile(at('forever.mp4'), bytes)
    expect(await codeOf(encoder.probe(at('forever.mp4')))).toBe('implausible_duration')
  })

  it('more streams than allowed are refused', async () => {
    const many = encoderWith({ maxStreams: 1 })
    expect(await codeOf(many.probe(at('good.mp4')))).toMatch(/undecodable/)
  })

  it('a file without streams has none', async () => {
    await ffmpeg('-f', 'lavfi', '-i', 'anullsrc=d=1', '-c:a', 'aac', '-f', 'mp4', at('x.mp4'))
    await writeFile(at('subs.srt'), '1\n00:00:00,000 --> 00:00:01,000\nhello\n')
    await ffmpeg('-i', at('subs.srt'), '-c:s', 'srt', at('subs.mkv'))
    expect(await codeOf(encoder.probe(at('subs.mkv')))).toBe('no_streams')
  })

  it('attachments are dropped with a note, and never reach a rendition', async () => {
    await writeFile(at('evil.exe'), 'MZ evil')
    await ffmpeg(
      '-i',
      at('good.mkv'),
      '-c',
      'copy',
      '-attach',
      at('evil.exe'),
      '-metadata:s:t',
      'mimetype=application/x-msdownload',
      at('attached.mkv'),
    )
    const facts = await examine(encoder, at('attached.mkv'), 'mkv')
    expect(facts.notes).toContain('dropped 1 attachment')
    expect(facts.streamCount).toBe(3)
    await mkdir(at('attached'))
    const renditions = await encoder.encode(at('attached.mkv'), facts, planEncode(facts), at('attached'))
    for (const { path } of renditions) expect((await readFile(path)).includes('MZ evil')).toBe(false)
  })

  it('a cover picture is no video', async () => {
    await ffmpeg('-f', 'lavfi', '-i', 'color=s=64x64:d=0.1', '-frames:v', '1', at('cover.png'))
    await ffmpeg(
      '-i',
      at('sound.mp4'),
      '-i',
      at('cover.png'),
      '-map',
      '0',
      '-map',
      '1',
      '-c',
      'copy',
      '-disposition:v:0',
      'attached_pic',
      at('cover.m4a'),
    )
    const facts = await examine(encoder, at('cover.m4a'), 'm4a')
    expect(facts.video).toBeNull()
    expect(facts.notes).toContain('dropped 1 cover picture')
  })

  it.each<[string, number, string, number | null]>([
    ['good.mp4', 1, 'mp4', 96],
    ['sound.mp4', 1, 'm4a', null],
    ['sound.mp4', 2, 'm4a', null],
    ['good.mkv', 1, 'mkv', 96],
  ])(
    '%s with %i PNG of 30000x30000 as cover is good, and the cover is dropped',
    async (name, count, extension, widthPx) => {
      // ffmpeg itself would not write it: a small one of as many bytes makes room.
      const huge = blackPng(30_000)
      const small = blackPng(64, huge.length)
      await writeFile(at('small.png'), small)
      const covered = at(`covered.${extension}`)
      const covers = Array.from({ length: count }, (_, index) => index)
      const inputs =
        extension === 'mkv'
          ? ['-i', at(name), '-attach', at('small.png'), '-metadata:s:t', 'mimetype=image/png']
          : [at(name), ...covers.map(() => at('small.png'))].flatMap((path) => ['-i', path])
      const first = widthPx === null ? 0 : 1
      const maps =
        extension === 'mkv' ? [] : [0, ...covers.map((index) => index + 1)].flatMap((n) => ['-map', String(n)])
      const marks =
        extension === 'mkv' ? [] : covers.flatMap((index) => [`-disposition:v:${first + index}`, 'attached_pic'])
      await ffmpeg(...inputs, ...maps, '-c', 'copy', ...marks, ...(extension === 'mkv' ? [] : ['-f', 'mp4']), covered)
      const bytes = await readFile(covered)
      let swapped = 0
      for (let start = bytes.indexOf(small); start >= 0; start = bytes.indexOf(small, start + 1), swapped++)
        huge.copy(bytes, start)
      expect(swapped).toBe(count)
      await writeFile(covered, bytes)
      const facts = await examine(encoder, covered, extension)
      expect(facts.video?.widthPx ?? null).toBe(widthPx)
      expect(facts.notes).toEqual([count === 1 ? 'dropped 1 cover picture' : `dropped ${count} cover pictures`])
      const out = join(dir, 'covered-out')
      await mkdir(out)
      const renditions = await encoder.encode(covered, facts, planEncode(facts), out)
      for (const { path } of renditions) expect((await stat(path)).size).toBeLessThan(100_000)
      await removeDirectory(out)
    },
    60_000,
  )

  it('a PNG of 30000x30000 as a recording is no recording', async () => {
    await writeFile(at('huge.mp4'), blackPng(30_000))
    expect(await codeOf(encoder.checkStructure(at('huge.mp4'), 'mp4'))).toBe('type_mismatch')
  })

  it.each([
    ['mkv', 1_000_000, 'copy'],
    ['mp4', 50_000, 'mov_text'],
  ])(
    'in .%s, %i subtitle events are dropped with a note',
    async (extension, count, codec) => {
      // No two are alike: the reader of the text file leaves repetitions out.
      const event = (index: number) => {
        const ms = String(Math.floor((1999 * index) / count)).padStart(4, '0')
        return `${index}\n00:00:0${ms[0]},${ms.slice(1)} --> 00:00:02,000\n${index}\n`
      }
      await writeFile(at('many.srt'), Array.from({ length: count }, (_, index) => event(index)).join('\n'))
      const target = at(`many.${extension}`)
      await ffmpeg(
        '-i',
        at('good.mkv'),
        '-i',
        at('many.srt'),
        '-map',
        '0',
        '-map',
        '1',
        '-c',
        'copy',
        '-c:s',
        codec,
        target,
      )
      expect((await stat(target)).size).toBeGreaterThan(10 * count)
      const facts = await examine(patient, target, extension)
      expect(facts).toMatchObject({ streamCount: 3, notes: ['dropped 1 subtitle stream'] })
      expect(Math.abs((facts.durationMs ?? 0) - 2000)).toBeLessThan(100)
      const out = join(dir, 'many-out')
      await mkdir(out)
      const renditions = await patient.encode(target, facts, planEncode(facts), out)
      for (const { path } of renditions) expect((await stat(path)).size).toBeLessThan(200_000)
      await removeDirectory(out)
    },
    180_000,
  )

  it.each<[string, string, string]>([
    ['no UTF-8', 'ffc3fe4142', 'AB'],
    ['a NUL in the middle', '4100420043', 'A'],
    ['CR and LF', '410d0a4243', 'A BC'],
    ['right to left', '41e280ae42', 'A B'],
    ['half of an emoji', '41424344f09f', 'ABCD'],
    ['an escape of the terminal', '1b5b316d41', '[1mA'],
  ])('a title with %s is shown clean, and the bytes stay as they are', async (_, hex, shown) => {
    await ffmpeg(
      '-i',
      at('silent.mp4'),
      '-c',
      'copy',
      '-metadata',
      `title=${'T'.repeat(hex.length / 2)}`,
      at('odd.mp4'),
    )
    const bytes = await readFile(at('odd.mp4'))
    Buffer.from(hex, 'hex').copy(bytes, bytes.lastIndexOf('T'.repeat(hex.length / 2)))
    await writeFile(at('odd.mp4'), bytes)
    expect((await examine(encoder, at('odd.mp4'), 'mp4')).title).toBe(shown)
    expect((await readFile(at('odd.mp4'))).equals(bytes)).toBe(true)
  })

  it('titles are cut and cleaned, megabytes of tags are left out', async () => {
    const title = `evil\u202E\u0007<script>${'x'.repeat(300)}`
    await ffmpeg('-i', at('good.mp4'), '-c', 'copy', '-metadata', `title=${title}`, at('title.mp4'))
    const facts = await encoder.probe(at('title.mp4'))
    expect(facts.title).toMatch(/^evil <script>x+$/)
    expect(facts.title).toHaveLength(200)
    expect(facts.notes).toContain('the title was cut or cleaned')
    await writeFile(at('meta.txt'), `;FFMETADATA1\ntitle=${'y'.repeat(5_000_000)}\n`)
    await ffmpeg('-i', at('good.mp4'), '-i', at('meta.txt'), '-map_metadata', '1', '-c', 'copy', at('long.mp4'))
    const long = await encoder.probe(at('long.mp4'))
    expect(long).toMatchObject({ title: null, notes: ['tags were too long and are left out'] })
  }, 20_000)
})

describe('cut and damaged files', () => {
  it.each([
    ['silent.mp4', 'mp4'],
    ['sound.mp4', 'mp4'],
    ['good.mp4', 'mp4'],
    ['good.mkv', 'mkv'],
  ])('%s is good', async (name, extension) => {
    const facts = await examine(encoder, at(name), extension)
    expect([facts.video === null, facts.audio === null]).toEqual([name === 'sound.mp4', name === 'silent.mp4'])
  })

  it('a faststart MP4 cut at 50 % passes the probe with its full duration, but not structure and decode', async () => {
    await cut(at('good.mp4'), at('half.mp4'), 0.5)
    expect(await codeOf(encoder.checkStructure(at('half.mp4'), 'mp4'))).toBe('truncated')
    const facts = await encoder.probe(at('half.mp4'))
    expect(facts.durationMs).toBe(2000)
    expect(await codeOf(encoder.decodeAll(at('half.mp4'), facts))).toMatch(/truncated|undecodable/)
  })

  it('a cut Matroska file decodes without a complaint and is found by its last packet', async () => {
    await cut(at('good.mkv'), at('half.mkv'), 0.5)
    expect(await codeOf(encoder.checkStructure(at('half.mkv'), 'mkv'))).toBe('truncated')
    const facts = await encoder.probe(at('half.mkv'))
    expect(await codeOf(encoder.decodeAll(at('half.mkv'), facts))).toBe('truncated')
  })

  it('a preallocated file whose writer died has the right size and boxes: only the decode finds it', async () => {
    const path = await cut(at('good.mp4'), at('pre.mp4'), 0.5)
    await truncate(path, (await stat(at('good.mp4'))).size)
    await encoder.checkStructure(path, 'mp4')
    expect(await codeOf(examine(encoder, path, 'mp4'))).toBe('truncated')
  })

  it('a lenient encode of a damaged file does not pass for the recording', async () => {
    await cut(at('good.mkv'), at('half2.mkv'), 0.5)
    const facts = await encoder.probe(at('half2.mkv'))
    await mkdir(at('half-out'))
    expect(await codeOf(encoder.encode(at('half2.mkv'), facts, planEncode(facts), at('half-out')))).toBe(
      'encode_incomplete',
    )
  })

  it('a file that grew since it was probed is not the file that was probed', async () => {
    const facts = await encoder.probe(at('good.mp4'))
    expect(await codeOf(encoder.decodeAll(at('good.mp4'), { ...facts, sizeBytes: facts.sizeBytes - 1 }))).toBe(
      'changed_while_read',
    )
  })

  it('60 seeded mutations end in a verdict, never in a crash or a hang', async () => {
    const good = await readFile(at('good.mp4'))
    const quick = encoderWith({ maxWallMs: 10_000 })
    const verdicts = new Map<string, number>()
    const one = async (seed: number) => {
      const bytes = Buffer.from(good)
      let state = seed * 2_654_435_761
      const random = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0)
      // Half of them hit the index (first 3 KB), half of them anything.
      const range = seed % 2 === 0 ? 3000 : bytes.length
      for (let flips = 0; flips < 1 + (seed % 12); flips++) bytes[random() % range] = random() & 0xff
      await writeFile(at(`mutant-${seed}.mp4`), bytes)
      const code = await codeOf(examine(quick, at(`mutant-${seed}.mp4`), 'mp4'))
      expect(code === 'ok' || isErrorCode(code), `SEED=${seed}`).toBe(true)
      expect(code, `SEED=${seed}`).not.toMatch(/timeout|missing|internal/)
      verdicts.set(code, (verdicts.get(code) ?? 0) + 1)
    }
    for (let seed = 1; seed <= 60; seed += 3) await Promise.all([seed, seed + 1, seed + 2].map(one))
    expect([...verdicts.values()].reduce((sum, count) => sum + count, 0)).toBe(60)
    expect(verdicts.size).toBeGreaterThan(1)
  }, 60_000)
})

/** A black PNG, one bit a pixel, padded to this many bytes with a chunk that nobody reads. */
function blackPng(sidePx: number, paddedTo = 0): Buffer {
  const chunk = (type: string, body: Buffer) => {
    const named = Buffer.concat([Buffer.from(type), body])
    const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)]
    length.writeUInt32BE(body.length)
    crc.writeUInt32BE(crc32(named))
    return Buffer.concat([length, named, crc])
  }
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
  header.writeUInt32BE(sidePx, 0)
  header.writeUInt32BE(sidePx, 4)
  const rows = chunk('IDAT', deflateSync(Buffer.alloc(sidePx * (1 + Math.ceil(sidePx / 8)))))
  const parts = [Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', header), rows]
  const end = chunk('IEND', Buffer.alloc(0))
  const missing = paddedTo - Buffer.concat([...parts, end]).length - 12
  return Buffer.concat([...parts, ...(missing > 0 ? [chunk('paDd', Buffer.alloc(missing))] : []), end])
}

/** Rewrites every data reference of a QuickTime file whose index is at its end: from "in this file" to another one. */
function pointElsewhere(bytes: Buffer, path: string): Buffer {
  const parents = new Set(['moov', 'trak', 'mdia', 'minf', 'dinf'])
  const rewrite = (part: Buffer): Buffer => {
    const boxes: Buffer[] = []
    for (let start = 0; start < part.length; start += part.readUInt32BE(start)) {
      const box = part.subarray(start, start + part.readUInt32BE(start))
      const type = box.toString('latin1', 4, 8)
      if (parents.has(type)) boxes.push(sized(Buffer.concat([box.subarray(0, 8), rewrite(box.subarray(8))])))
      else if (type === 'dref') {
        const target = Buffer.concat([Buffer.from('\0\0\0\0url \0\0\0\0', 'latin1'), Buffer.from(`file://${path}\0`)])
        boxes.push(sized(Buffer.concat([box.subarray(0, 16), sized(target)])))
      } else boxes.push(box)
    }
    return Buffer.concat(boxes)
  }
  return rewrite(bytes)
}

function sized(box: Buffer): Buffer {
  box.writeUInt32BE(box.length, 0)
  return box
}

/** Frames of a moving picture, as JPEGs. */
async function jpegFrames(count: number): Promise<Buffer[]> {
  await ffmpeg('-f', 'lavfi', '-i', 'testsrc2=s=64x48:r=25', '-frames:v', String(count), at('frame-%03d.jpg'))
  return Promise.all(
    Array.from({ length: count }, (_, index) => readFile(at(`frame-${String(index + 1).padStart(3, '0')}.jpg`))),
  )
}

/** A tiny AVI of these JPEGs, with a text track whose only chunk is a GAB2 block holding `text`. */
function gab2Avi(text: string, frames: readonly Buffer[]): Buffer {
  const chunk = (id: string, body: Buffer) => {
    const head = Buffer.alloc(8)
    head.write(id, 0, 'latin1')
    head.writeUInt32LE(body.length, 4)
    return Buffer.concat([head, body, Buffer.alloc(body.length % 2)])
  }
  const list = (type: string, ...parts: Buffer[]) => chunk('LIST', Buffer.concat([Buffer.from(type), ...parts]))
  const header = (type: string, handler: string) => {
    const body = Buffer.alloc(56)
    body.write(type, 0, 'latin1')
    body.write(handler, 4, 'latin1')
    body.writeUInt32LE(1, 20)
    body.writeUInt32LE(25, 24)
    body.writeUInt32LE(type === 'vids' ? frames.length : 1, 32)
    return chunk('strh', body)
  }
  const bitmap = Buffer.alloc(40)
  bitmap.writeUInt32LE(40, 0)
  bitmap.writeUInt32LE(64, 4)
  bitmap.writeUInt32LE(48, 8)
  bitmap.write('MJPG', 16)
  const avih = Buffer.alloc(56)
  avih.writeUInt32LE(40_000, 0)
  avih.writeUInt32LE(frames.length, 16)
  avih.writeUInt32LE(2, 24)
  const subtitle = Buffer.concat([
    Buffer.from('GAB2\0\x02\0', 'latin1'),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([4, 0]),
    Buffer.alloc(4),
    Buffer.from(text),
  ])
  subtitle.writeUInt32LE(text.length, 13)
  const body = Buffer.concat([
    Buffer.from('AVI '),
    list(
      'hdrl',
      chunk('avih', avih),
      list('strl', header('vids', 'MJPG'), chunk('strf', bitmap)),
      list('strl', header('txts', '\0\0\0\0'), chunk('strf', Buffer.alloc(0))),
    ),
    list('movi', chunk('01tx', subtitle), ...frames.map((frame) => chunk('00dc', frame))),
  ])
  const riff = Buffer.alloc(8)
  riff.write('RIFF')
  riff.writeUInt32LE(body.length, 4)
  return Buffer.concat([riff, body])
}
