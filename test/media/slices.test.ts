import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EncodePlan } from '../../src/domain/encode.ts'
import { planEncode } from '../../src/domain/encode.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import { defaultMediaLimits } from '../../src/media/encoder.ts'
import type { EncodePart, PartShelf } from '../../src/media/encoder.ts'
import { createEncoder } from '../../src/media/ffmpeg.ts'
import { codeOf, examine, ffmpeg, ffmpegPath, ffprobePath, newDirectory, removeDirectory, x264 } from './fixtures.ts'

const encoder = createEncoder({
  ffmpegPath,
  ffprobePath,
  sliceMs: 3000,
  limits: { ...defaultMediaLimits, maxWallMs: 300_000 },
})
let dir = ''
let outputs = 0
const at = (name: string) => join(dir, name)
const newOut = async () => {
  const out = at(`out-${++outputs}`)
  await mkdir(out)
  return out
}

beforeAll(async () => {
  dir = await newDirectory()
})
afterAll(() => removeDirectory(dir))

/** A shelf in a folder, with a diary. */
const newShelf = async () => {
  const folder = await newOut()
  const kept: number[] = []
  const fetched: number[] = []
  const place = (part: EncodePart, rung: string) => join(folder, `${part.planHash}-${part.number}-${rung}`)
  const shelf: PartShelf = {
    async fetch(part) {
      const there = await readdir(folder)
      if (!part.files.every(({ rung }) => there.some((name) => join(folder, name) === place(part, rung)))) return false
      for (const { rung, path } of part.files) await copyFile(place(part, rung), path)
      fetched.push(part.number)
      return true
    },
    async keep(part) {
      for (const { rung, path } of part.files) await copyFile(path, place(part, rung))
      kept.push(part.number)
    },
  }
  return { shelf, kept, fetched, folder }
}

const ask = async (path: string, ...args: string[]) =>
  (await promisify(execFile)(ffprobePath, ['-v', 'error', ...args, path], { maxBuffer: 1 << 26 })).stdout

/** Shown times of every packet of one stream, in order, and what decoding gives. */
const measure = async (path: string) => {
  const times = async (stream: string) => {
    const text = await ask(path, '-select_streams', stream, '-show_entries', 'packet=pts_time', '-of', 'csv=p=0')
    return [...text.matchAll(/-?\d+\.\d+/g)].map(([time]) => Number(time)).sort((a, b) => a - b)
  }
  const decode = await ask(
    path,
    '-select_streams',
    'v',
    '-count_frames',
    '-show_entries',
    'stream=nb_read_frames,duration',
  )
  const dts = await ask(path, '-select_streams', 'v', '-show_entries', 'packet=dts', '-of', 'csv=p=0')
  return {
    video: await times('v'),
    audio: await times('a'),
    decoded: Number(/nb_read_frames=(\d+)/.exec(decode)?.[1]),
    durationS: Number(/duration=([\d.]+)/.exec(decode)?.[1]),
    dts: dts
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => Number.parseInt(line, 10)),
  }
}

/** The worst likeness of two frames with the same number, in dB. Neighbouring frames of the test picture are below 25 dB. */
const likeness = async (one: string, two: string) => {
  const number = 'settb=1/90000,setpts=N*100'
  const graph = `[0:v]${number}[a];[1:v]${number}[b];[a][b]psnr=f=-`
  const args = ['-v', 'fatal', '-i', one, '-i', two, '-lavfi', graph, '-f', 'null', '/dev/null']
  const { stdout } = await promisify(execFile)(ffmpegPath, args, { maxBuffer: 1 << 26 })
  return Math.min(...[...stdout.matchAll(/psnr_avg:([\d.]+)/g)].map(([, db]) => Number(db)))
}

const seconds = 12
const counter = (rate: string, size = '160x90') => ['-f', 'lavfi', '-i', `testsrc2=s=${size}:r=${rate}:d=${seconds}`]
const tone = (length = seconds) => ['-f', 'lavfi', '-i', `sine=f=440:r=48000:d=${length}`]
/** H.264 that browsers do not play, so that it is encoded. */
const foreign = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv444p']
const webcam =
  "select='not(between(t,3.05,5.4))*not(between(t,7,9.1))*not(eq(mod(n*7919,11),3))',setpts='PTS+mod(N*37,5)*0.004/TB'"
const vp8 = ['-c:v', 'libvpx', '-b:v', '400k', '-deadline', 'realtime', '-cpu-used', '8', '-auto-alt-ref', '0']

const sources: Record<string, { file: string; args: () => string[] }> = {
  '25 fps with B-frames': {
    file: 'b25.mp4',
    args: () => [...counter('25'), ...tone(), ...foreign, '-g', '25', '-bf', '3', '-c:a', 'ac3'],
  },
  '30 fps with MP3, copied': {
    file: 'p30.mkv',
    args: () => [...counter('30'), ...tone(), ...foreign, '-g', '30', '-c:a', 'libmp3lame'],
  },
  '29.97 fps, open groups of pictures, Opus': {
    file: 'open.mkv',
    args: () => {
      const open = ['-preset', 'veryfast', '-x264-params', 'open-gop=1:keyint=30:bframes=3']
      return [...counter('30000/1001'), ...tone(), ...foreign, ...open, '-c:a', 'libopus']
    },
  },
  'a webcam: irregular times, pauses of more than 2 s': {
    file: 'cam.webm',
    args: () => [
      ...counter('30'),
      '-vf',
      webcam,
      '-fps_mode',
      'passthrough',
      '-enc_time_base',
      '1/1000',
      ...vp8,
      '-g',
      '40',
    ],
  },
  'VP9 with hidden frames': {
    file: 'vp9.webm',
    args: () => {
      const codec = [
        '-c:v',
        'libvpx-vp9',
        '-b:v',
        '300k',
        '-cpu-used',
        '8',
        '-lag-in-frames',
        '16',
        '-auto-alt-ref',
        '1',
      ]
      return [...counter('25'), ...tone(), ...codec, '-g', '25', '-c:a', 'libopus']
    },
  },
  'a clock that begins at 100.123 s': {
    file: 'late.mkv',
    args: () => {
      const clock = ['-output_ts_offset', '100.123']
      return [...counter('25'), ...tone(), ...foreign, '-g', '25', '-bf', '2', '-c:a', 'aac', ...clock]
    },
  },
  'sound that begins 1.7 s late and ends 2.3 s early': {
    file: 'short.mkv',
    args: () => [...counter('25'), '-itsoffset', '1.7', ...tone(8), ...foreign, '-g', '25', '-c:a', 'aac'],
  },
  'a picture that begins 2.48 s after the sound': {
    file: 'early.mp4',
    args: () => [
      ...counter('25'),
      ...tone(),
      '-vf',
      'setpts=PTS+2.48/TB',
      '-c:v',
      'mpeg4',
      '-g',
      '25',
      '-bf',
      '2',
      '-c:a',
      'aac',
    ],
  },
  'interlaced, in Matroska': {
    file: 'fields.mkv',
    args: () => {
      const fields = ['-vf', 'interlace', ...x264, '-flags', '+ilme+ildct', '-x264opts', 'tff=1']
      return [...counter('50', '160x96'), ...tone(), ...fields, '-g', '25', '-c:a', 'aac']
    },
  },
  'a transport stream': {
    file: 'mpeg2.ts',
    args: () => [
      ...counter('25'),
      ...tone(),
      '-c:v',
      'mpeg2video',
      '-b:v',
      '1M',
      '-g',
      '15',
      '-bf',
      '2',
      '-c:a',
      'mp2',
    ],
  },
  'keyframes only': {
    file: 'intra.mkv',
    args: () => [...counter('25'), ...tone(), '-c:v', 'mjpeg', '-q:v', '5', '-c:a', 'aac'],
  },
}

const makeBoth = async (path: string, change: Partial<EncodePlan> = {}) => {
  const facts = await examine(encoder, path, path.slice(path.lastIndexOf('.') + 1))
  const plan = { ...planEncode(facts), ...change }
  const [whole, sliced] = [await newOut(), await newOut()]
  const diary = await newShelf()
  const seen: number[] = []
  await encoder.encode(path, facts, plan, whole)
  const { shelf } = diary
  const renditions = await encoder.encode(path, facts, plan, sliced, { shelf, onProgress: (done) => seen.push(done) })
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
  expect(seen.at(-1)).toBe(1)
  expect(await readdir(sliced)).not.toContain('parts')
  return { facts, plan, whole, sliced, diary, renditions }
}

describe('slices, joined, are what one piece would have been', () => {
  it.each(Object.entries(sources))(
    '%s',
    async (_name, { file, args }) => {
      await ffmpeg(...args(), at(file))
      const { plan, whole, sliced, diary } = await makeBoth(at(file), {
        rungs: [90, ...(file === 'b25.mp4' || file === 'cam.webm' ? [44] : [])].map((px) => ({
          name: `${px}p`,
          heightPx: px,
          video: 'encode' as const,
          audio: file === 'cam.webm' ? 'none' : file === 'p30.mkv' ? 'copy' : 'encode',
        })),
        ...(file === 'cam.webm' ? { audioOnly: false } : {}),
      })
      expect(diary.kept.length).toBeGreaterThan(2)
      for (const rung of plan.rungs) {
        const [one, two] = [join(whole, `${rung.name}.mp4`), join(sliced, `${rung.name}.mp4`)]
        const [expected, made] = [await measure(one), await measure(two)]
        // Every frame and every sound at the very same time: nothing doubled, nothing lost, picture and sound together.
        expect(made.video).toEqual(expected.video)
        expect(made.audio).toEqual(expected.audio)
        expect(made.decoded).toBe(expected.decoded)
        expect(made.decoded).toBe(made.video.length)
        expect(made.dts.every((dts, index) => index === 0 || dts > (made.dts[index - 1] ?? 0))).toBe(true)
        expect(Math.abs(made.durationS - expected.durationS)).toBeLessThanOrEqual(0.05)
        expect(await likeness(one, two)).toBeGreaterThan(30)
      }
    },
    300_000,
  )
})

/** When the picture turns white and when the beeps begin, in seconds. */
const onsets = async (path: string) => {
  const stats = 'signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-'
  const run = (...args: string[]) =>
    promisify(execFile)(ffmpegPath, ['-hide_banner', '-nostats', '-i', path, ...args, '-f', 'null', '/dev/null'], {
      maxBuffer: 1 << 26,
    })
  const picture = (await run('-an', '-vf', stats)).stdout
  const frames = [...picture.matchAll(/pts_time:([\d.]+)\n.*YAVG=([\d.]+)/g)].map(([, at, light]) => ({
    at: Number(at),
    isWhite: Number(light) > 128,
  }))
  const sound = (await run('-vn', '-af', 'silencedetect=noise=-30dB:d=0.3')).stderr
  return {
    flashes: frames.filter(({ isWhite }, index) => isWhite && frames[index - 1]?.isWhite !== true).map(({ at }) => at),
    beeps: [...sound.matchAll(/silence_end: ([\d.]+)/g)].map(([, at]) => Number(at)),
  }
}

it('a flash and a beep at the same instant stay together, at every cut and between', async () => {
  const flashes = `color=black:s=64x36:r=25:d=${seconds},geq=lum='if(lt(mod(N+12\\,25)\\,3)\\,235\\,16)':cb=128:cr=128`
  const beeps = `aevalsrc='if(lt(mod(t+0.48,1),0.12),0.5*sin(2*PI*880*t),0)':s=48000:d=${seconds}`
  const codec = [...foreign, '-g', '25', '-c:a', 'pcm_s16le']
  await ffmpeg('-f', 'lavfi', '-i', flashes, '-f', 'lavfi', '-i', beeps, ...codec, at('flash.mkv'))
  const { sliced, diary } = await makeBoth(at('flash.mkv'))
  expect(diary.kept.length).toBeGreaterThan(2)
  const seen = await onsets(join(sliced, '36p.mp4'))
  expect(seen.flashes).toHaveLength(seconds)
  for (const [second, flash] of seen.flashes.entries()) {
    expect(Math.abs(flash - second - 0.52), `flash ${second}`).toBeLessThanOrEqual(0.001)
    expect(Math.abs((seen.beeps[second] ?? 0) - flash), `beep ${second}`).toBeLessThanOrEqual(0.02)
  }
}, 300_000)

describe('an encode that lost its worker', () => {
  const order = async (file = 'b25.mp4') => {
    const facts = await examine(encoder, at(file), file.slice(file.lastIndexOf('.') + 1))
    return { facts, plan: planEncode(facts) }
  }
  const bytesOf = async (out: string) => {
    const files = (await readdir(out, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    const named = files.map((file) => join(file.parentPath, file.name)).sort()
    return Promise.all(named.map(async (path) => [path.slice(out.length), (await readFile(path)).toString('base64')]))
  }

  it('goes on where it stopped, and gives the same bytes as one that did not stop', async () => {
    const { facts, plan } = await order()
    const undisturbed = await newOut()
    const all = await newShelf()
    await encoder.encode(at('b25.mp4'), facts, plan, undisturbed, { shelf: all.shelf })
    expect(all.kept).toEqual([0, 1, 2, 3, 4])

    const lost = await newShelf()
    const controller = new AbortController()
    const keep = async (part: EncodePart) => {
      await lost.shelf.keep(part)
      if (part.number === 1) controller.abort()
    }
    const first = await newOut()
    const cut = encoder.encode(at('b25.mp4'), facts, plan, first, {
      shelf: { ...lost.shelf, keep },
      signal: controller.signal,
    })
    expect(await codeOf(cut)).toBe('cancelled')
    expect(await readdir(first)).toEqual([])
    expect(lost.kept).toEqual([0, 1])

    const second = await newOut()
    await encoder.encode(at('b25.mp4'), facts, plan, second, { shelf: lost.shelf })
    expect(lost.fetched).toEqual([0, 1])
    expect(lost.kept).toEqual([0, 1, 2, 3, 4])
    expect(await bytesOf(second)).toEqual(await bytesOf(undisturbed))
  }, 300_000)

  it('does not take parts that were made by another plan', async () => {
    const { facts, plan } = await order()
    const { shelf, fetched, kept } = await newShelf()
    await encoder.encode(at('b25.mp4'), facts, plan, await newOut(), { shelf })
    const smaller = { ...plan, rungs: plan.rungs.map((rung) => ({ ...rung, name: '44p', heightPx: 44 })) }
    await encoder.encode(at('b25.mp4'), facts, smaller, await newOut(), { shelf })
    expect(fetched).toEqual([])
    expect(kept).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
  }, 300_000)

  it('is made in one piece where a part is not what it should be', async () => {
    const { facts, plan } = await order()
    const { shelf, folder, kept } = await newShelf()
    await encoder.encode(at('b25.mp4'), facts, plan, await newOut(), { shelf })
    const parts = (await readdir(folder)).sort()
    // Slice 1 in the place of slice 2: a whole file, with other frames.
    await copyFile(join(folder, parts[1] ?? ''), join(folder, parts[2] ?? ''))
    const out = await newOut()
    const names = (await encoder.encode(at('b25.mp4'), facts, plan, out, { shelf })).map(({ name }) => name)
    expect(names).toContain('90p.mp4')
    expect(kept).toEqual([0, 1, 2, 3, 4])
    expect((await measure(join(out, '90p.mp4'))).video).toHaveLength(25 * seconds)
  }, 300_000)

  it('is made in one piece where there is one keyframe, and where it is short', async () => {
    await ffmpeg(...counter('25'), ...foreign, '-g', '1000', '-sc_threshold', '0', at('one.mkv'))
    await ffmpeg(...counter('25'), '-t', '5.5', ...foreign, '-g', '25', at('short-one.mkv'))
    for (const file of ['one.mkv', 'short-one.mkv']) {
      const { facts, plan } = await order(file)
      const { shelf, kept } = await newShelf()
      await encoder.encode(at(file), facts, plan, await newOut(), { shelf })
      expect(kept, file).toEqual([])
    }
  }, 300_000)

  it('copies what is copied, beside the slices', async () => {
    await ffmpeg(...counter('25'), ...tone(), ...x264, '-bf', '2', '-g', '25', '-c:a', 'aac', at('plays.mp4'))
    const rungs = [
      { name: 'source', heightPx: null, video: 'copy', audio: 'copy' },
      { name: '44p', heightPx: 44, video: 'encode', audio: 'copy' },
    ] as const
    const { whole, sliced, diary } = await makeBoth(at('plays.mp4'), { kind: 'ladder', rungs })
    expect(diary.kept).toEqual([0, 1, 2, 3])
    for (const name of ['source.mp4', '44p.mp4'])
      expect(await measure(join(sliced, name))).toEqual(await measure(join(whole, name)))
  }, 300_000)

  it('a shelf that fails ends the encode', async () => {
    const { facts, plan } = await order()
    const { shelf } = await newShelf()
    const out = await newOut()
    const full: PartShelf = {
      ...shelf,
      keep: () => Promise.reject(new ReelkeepError('store_full', 'The store is full.')),
    }
    expect(await codeOf(encoder.encode(at('b25.mp4'), facts, plan, out, { shelf: full }))).toBe('store_full')
    expect(await readdir(out)).toEqual([])
  }, 300_000)
})
