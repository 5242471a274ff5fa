import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateLecture, generateSmall, type SmallCodec } from '../../src/dev/sample.ts'
import { planEncode, type EncodePlan, type Rendition } from '../../src/domain/encode.ts'
import { checkTools } from '../../src/media/check-tools.ts'
import { progressReader } from '../../src/media/progress.ts'
import { spriteIndex } from '../../src/media/renditions.ts'
import { layOutSprite } from '../../src/media/ffmpeg-args.ts'
import {
  codeOf,
  encoderWith,
  examine,
  ffmpeg,
  ffmpegPath,
  ffprobePath,
  newDirectory,
  picture,
  processesWith,
  removeDirectory,
  sound,
  x264,
} from './fixtures.ts'

const encoder = encoderWith()
let dir = ''
const at = (name: string) => join(dir, name)
let outputs = 0
const newOut = async () => {
  const out = at(`out-${++outputs}`)
  await mkdir(out)
  return out
}
const encodeWhole = async (path: string, extension: string, change: Partial<EncodePlan> = {}) => {
  const facts = await examine(encoder, path, extension)
  const plan = { ...planEncode(facts), ...change }
  const seen: number[] = []
  const out = await newOut()
  const renditions = await encoder.encode(path, facts, plan, out, { onProgress: (fraction) => seen.push(fraction) })
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
  expect(seen.at(-1)).toBe(1)
  await expectEverythingListed(out, renditions)
  return { facts, plan, renditions, out, names: renditions.map(({ name }) => name).sort() }
}
const expectEverythingListed = async (out: string, renditions: readonly Rendition[]) => {
  const files = (await readdir(out, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  expect(files.map((file) => join(file.parentPath, file.name)).sort()).toEqual(
    renditions.map(({ path }) => path).sort(),
  )
  for (const { path, sizeBytes } of renditions) expect((await stat(path)).size).toBe(sizeBytes)
}

beforeAll(async () => {
  dir = await newDirectory()
})
afterAll(() => removeDirectory(dir))

const pictures = ['poster.jpg', 'sprite.jpg', 'sprite.vtt']
const hls = (...names: string[]) => [
  'hls/master.m3u8',
  ...names.flatMap((name) => [`hls/${name}.m3u8`, `hls/${name}.m4s`]),
]

describe('every kind of source', () => {
  it.each<[SmallCodec, string, string, string[]]>([
    ['h264-aac', 'mp4', 'remux', ['source.mp4', 'audio.m4a', ...hls('source'), ...pictures]],
    ['mkv', 'mkv', 'remux', ['source.mp4', 'audio.m4a', ...hls('source'), ...pictures]],
    ['vp8-webm', 'webm', 'ladder', ['108p.mp4', 'audio.m4a', ...hls('108p'), ...pictures]],
    ['mpeg4-avi', 'avi', 'ladder', ['108p.mp4', 'audio.m4a', ...hls('108p'), ...pictures]],
    ['audio-mp3', 'mp3', 'audio', ['audio.m4a']],
  ])(
    '%s',
    async (codec, extension, kind, names) => {
      const path = at(`${codec}.${extension}`)
      await generateSmall(path, { ffmpegPath, seed: 7, codec })
      const made = await encodeWhole(path, extension)
      expect(made.plan.kind).toBe(kind)
      expect(made.names).toEqual([...names].sort())
      for (const { path: file, contentType, name } of made.renditions.filter(
        (one) => one.contentType.startsWith('video/mp4') && one.kind === 'video',
      )) {
        const again = await examine(encoder, file, 'mp4')
        expect([contentType, again.video?.codec, again.audio?.codec], name).toEqual([
          'video/mp4',
          'h264',
          codec === 'mpeg4-avi' ? 'mp3' : 'aac',
        ])
      }
    },
    20_000,
  )

  it('a picture without sound', async () => {
    await ffmpeg(...picture('96x64', 1), ...x264, at('mute.mp4'))
    expect((await encodeWhole(at('mute.mp4'), 'mp4')).names).toEqual(
      ['source.mp4', ...hls('source'), ...pictures].sort(),
    )
  })

  it('MP3 in MP4 is kept in the MP4 and becomes AAC in audio.m4a', async () => {
    await ffmpeg(...picture('96x64', 1), ...sound(1), ...x264, '-c:a', 'libmp3lame', at('mp3.mp4'))
    const made = await encodeWhole(at('mp3.mp4'), 'mp4')
    expect((await encoder.probe(join(made.out, 'source.mp4'))).audio?.codec).toBe('mp3')
    expect((await encoder.probe(join(made.out, 'audio.m4a'))).audio?.codec).toBe('aac')
  })

  it('a ladder is made in one decode, even, upright and never larger than the source', async () => {
    await ffmpeg(...picture('360x640', 1), ...sound(1), '-c:v', 'mpeg4', '-c:a', 'aac', at('portrait.mp4'))
    const plan = {
      rungs: [360, 180, 90].map((px) => ({ name: `${px}p`, heightPx: px, video: 'encode', audio: 'copy' }) as const),
    }
    const made = await encodeWhole(at('portrait.mp4'), 'mp4', plan)
    const sizes = made.renditions.filter((one) => one.kind === 'video').map((one) => `${one.widthPx}x${one.heightPx}`)
    expect(sizes).toEqual(['360x640', '180x320', '90x160'])
    expect(made.renditions.find((one) => one.name === 'sprite.jpg')).toMatchObject({ widthPx: 90, heightPx: 160 })
    const master = await readFile(join(made.out, 'hls/master.m3u8'), 'utf8')
    expect(master.match(/^\d+p\.m3u8$/gm)).toEqual(['360p.m3u8', '180p.m3u8', '90p.m3u8'])
    await ffmpeg('-xerror', '-i', join(made.out, 'hls/master.m3u8'), '-map', '0:v', '-f', 'null', '-')
  }, 20_000)

  it('a copied top rung beside encoded ones', async () => {
    await generateSmall(at('top.mp4'), { ffmpegPath, seed: 9, codec: 'h264-aac' })
    const rungs = [
      { name: 'source', heightPx: null, video: 'copy', audio: 'copy' },
      { name: '54p', heightPx: 54, video: 'encode', audio: 'copy' },
    ] as const
    const made = await encodeWhole(at('top.mp4'), 'mp4', { kind: 'ladder', rungs })
    expect(made.names).toEqual(['source.mp4', '54p.mp4', 'audio.m4a', ...hls('source', '54p'), ...pictures].sort())
  })

  it('odd sizes, rotation, oblong pixels and 5.1 come out even, upright, square and stereo', async () => {
    await ffmpeg(
      ...picture('99x77', 1),
      '-f',
      'lavfi',
      '-i',
      'sine=d=1',
      '-ac',
      '6',
      '-c:v',
      'libx264',
      '-pix_fmt',
      'yuv444p',
      '-c:a',
      'aac',
      at('odd.mp4'),
    )
    const odd = await encodeWhole(at('odd.mp4'), 'mp4')
    const oddFacts = await encoder.probe(join(odd.out, '76p.mp4'))
    expect(oddFacts).toMatchObject({
      video: { widthPx: 98, heightPx: 76, pixelFormat: 'yuv420p' },
      audio: { channels: 2 },
    })
    await ffmpeg(...picture('128x96', 1), ...x264, at('flat.mp4'))
    await ffmpeg('-i', at('flat.mp4'), '-c', 'copy', '-metadata:s:v', 'rotate=90', at('turned.mp4'))
    const turned = await encodeWhole(at('turned.mp4'), 'mp4')
    expect(turned.facts.video).toMatchObject({ widthPx: 96, heightPx: 128 })
    expect(turned.renditions[0]).toMatchObject({ name: '96p.mp4', widthPx: 96, heightPx: 128 })
    await ffmpeg(...picture('72x58', 1), '-vf', 'setsar=16/9', '-c:v', 'mpeg4', at('oblong.avi'))
    const oblong = await encodeWhole(at('oblong.avi'), 'avi')
    expect(oblong.renditions[0]).toMatchObject({ widthPx: oblong.facts.video?.widthPx, heightPx: 58 })
    expect(oblong.facts.video?.widthPx).toBe(128)
  }, 20_000)

  it('HDR becomes standard range', async () => {
    const hdr = [
      '-color_trc',
      'smpte2084',
      '-color_primaries',
      'bt2020',
      '-colorspace',
      'bt2020nc',
      '-pix_fmt',
      'yuv420p10le',
    ]
    await ffmpeg(...picture('96x64', 0.5), '-c:v', 'libx264', '-preset', 'ultrafast', ...hdr, at('hdr.mp4'))
    const made = await encodeWhole(at('hdr.mp4'), 'mp4')
    expect(made.facts.video?.hdr).toBe(true)
    expect((await encoder.probe(join(made.out, '64p.mp4'))).video).toMatchObject({ hdr: false, pixelFormat: 'yuv420p' })
  })

  it('interlaced video from a transport stream', async () => {
    await ffmpeg(
      ...picture('96x64', 1),
      ...sound(1),
      '-vf',
      'interlace',
      ...x264,
      '-flags',
      '+ilme+ildct',
      '-x264opts',
      'tff=1',
      '-c:a',
      'aac',
      at('field.ts'),
    )
    const made = await encodeWhole(at('field.ts'), 'ts')
    expect(made.facts.video?.interlaced).toBe(true)
    expect((await encoder.probe(join(made.out, '64p.mp4'))).video?.interlaced).toBe(false)
  })

  it('gives the same bytes for the same source', async () => {
    await generateSmall(at('twice.mp4'), { ffmpegPath, seed: 3, codec: 'h264-aac' })
    const [one, two] = [await encodeWhole(at('twice.mp4'), 'mp4'), await encodeWhole(at('twice.mp4'), 'mp4')]
    for (const [index, { path }] of one.renditions.entries()) {
      expect((await readFile(path)).equals(await readFile(two.renditions[index]?.path ?? '')), path).toBe(true)
    }
  })
})

describe('cancel, limits and failures', () => {
  it('a cancelled encode kills its process group within 2 s, leaves no process and no file', async () => {
    await ffmpeg(...picture('320x180', 2), '-c:v', 'mpeg4', at('long.avi'))
    await ffmpeg('-stream_loop', '400', '-i', at('long.avi'), '-c', 'copy', at('longer.avi'))
    const facts = await encoder.probe(at('longer.avi'))
    const out = await newOut()
    const controller = new AbortController()
    const seen: number[] = []
    const work = codeOf(
      encoder.encode(at('longer.avi'), facts, planEncode(facts), out, {
        signal: controller.signal,
        onProgress: (f) => seen.push(f),
      }),
    )
    while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 20))
    expect((await processesWith('longer.avi')).length).toBeGreaterThan(0)
    const begun = performance.now()
    controller.abort()
    expect(await work).toBe('cancelled')
    expect(performance.now() - begun).toBeLessThan(2000)
    expect(await processesWith('longer.avi')).toEqual([])
    expect(await readdir(out)).toEqual([])
    expect(seen.at(-1)).toBeGreaterThan(seen[0] ?? 1)
    const already = encoder.decodeAll(at('longer.avi'), facts, { signal: AbortSignal.abort() })
    expect(await codeOf(already)).toBe('cancelled')
    const short = encoderWith({ maxWallMs: 300 })
    expect(await codeOf(short.encode(at('longer.avi'), facts, planEncode(facts), out))).toBe('encode_timeout')
    const small = encoderWith({ maxOutputBytes: 20_000 })
    expect(await codeOf(small.encode(at('longer.avi'), facts, planEncode(facts), out))).toBe('encode_failed')
    expect(await readdir(out)).toEqual([])
    expect(await processesWith('longer.avi')).toEqual([])
  }, 30_000)

  it('a missing ffmpeg is the operator’s fault', async () => {
    const { createEncoder } = await import('../../src/media/ffmpeg.ts')
    const { defaultMediaLimits } = await import('../../src/media/encoder.ts')
    const none = createEncoder({
      ffmpegPath: '/nonexistent/ffmpeg',
      ffprobePath: '/nonexistent/ffprobe',
      limits: defaultMediaLimits,
    })
    await generateSmall(at('x.mp4'), { ffmpegPath, seed: 1, codec: 'h264-aac' })
    expect(await codeOf(none.probe(at('x.mp4')))).toBe('encoder_missing')
    const facts = await encoder.probe(at('x.mp4'))
    expect(await codeOf(none.encode(at('x.mp4'), facts, planEncode(facts), await newOut()))).toBe('encoder_missing')
  })
})

describe('check of the tools', () => {
  it('finds this machine fit', async () => {
    const report = await checkTools(ffmpegPath, ffprobePath)
    expect(report.problems).toEqual([])
    expect(report.version).toMatch(/\d/)
  })

  it('names everything a poor ffmpeg lacks', async () => {
    const fake = at('poor-ffmpeg')
    await writeFile(fake, '#!/bin/sh\ncase "$*" in *version*) echo "ffmpeg version 4.4.2-0ubuntu" ;; esac\n', {
      mode: 0o755,
    })
    const { problems } = await checkTools(fake, '/nonexistent/ffprobe')
    expect(problems.join('\n')).toMatch(/ffmpeg 4\.4\.2\S* is older than 5\.1/)
    expect(problems.join('\n')).toMatch(/ffprobe \(\/nonexistent\/ffprobe\) is missing/)
    for (const name of ['libx264', 'aac', 'tile', 'hls']) expect(problems.join('\n')).toContain(name)
  })
})

describe('samples', () => {
  it('a lecture plays as it is and says its title, however odd', async () => {
    const title = `It's 100% "real": a;b,c\\d [x] %{pts}`
    await generateLecture(at('lecture.mp4'), { ffmpegPath, seconds: 3, title, seed: 4 })
    const facts = await examine(encoder, at('lecture.mp4'), 'mp4')
    expect(planEncode(facts).kind).toBe('remux')
    expect(facts).toMatchObject({ durationMs: 3000, title })
  })

  it('every seed gives other bytes, the same seed the same', async () => {
    const bytes = async (seed: number) => {
      await generateSmall(at('seed.mp4'), { ffmpegPath, seed, codec: 'h264-aac' })
      return (await readFile(at('seed.mp4'))).toString('base64')
    }
    const [one, two, again] = [await bytes(1), await bytes(2), await bytes(1)]
    expect(one).not.toBe(two)
    expect(one).toBe(again)
  })
})

describe('small parts', () => {
  it('progress is read however it is cut into chunks', () => {
    const text =
      'frame=10\nout_time_us=N/A\nprogress=continue\nframe=20\nout_time_us=1500000\nout_time_ms=1500000\nprogress=end\n'
    for (const size of [1, 7, 1000]) {
      const seen: unknown[] = []
      const read = progressReader((progress) => seen.push(progress))
      for (let at = 0; at < text.length; at += size) read(text.slice(at, at + size))
      expect(seen).toEqual([
        { outMs: null, frames: 10 },
        { outMs: 1500, frames: 20 },
      ])
    }
  })

  it('a day of lecture still fits one sprite', () => {
    const layout = layOutSprite(86_400_000, 1920, 1080)
    expect(layout).toMatchObject({ columns: 10, rows: 20, count: 200, intervalSeconds: 432 })
    const index = spriteIndex(layout, 86_400_000)
    expect(index).toContain('23:52:48.000 --> 24:00:00.000\nsprite.jpg#xywh=1440,1710,160,90')
    expect(index.startsWith('WEBVTT\n\n00:00:00.000 --> 00:07:12.000\nsprite.jpg#xywh=0,0,160,90\n')).toBe(true)
  })
})
