import { describe, expect, it } from 'vitest'
import type { AudioFacts, FrameTimes, MediaFacts, VideoFacts } from '../../src/domain/encode.ts'
import { maySlice, planEncode, planSlices, rungSize } from '../../src/domain/encode.ts'

const video: VideoFacts = {
  codec: 'h264',
  profile: 'High',
  level: 40,
  pixelFormat: 'yuv420p',
  widthPx: 1280,
  heightPx: 720,
  framesPerSecond: 25,
  interlaced: false,
  hdr: false,
  rotationDegrees: 0,
}
const audio: AudioFacts = { codec: 'aac', profile: 'LC', channels: 2, sampleRateHz: 48_000 }
const base: MediaFacts = {
  container: 'mov,mp4,m4a,3gp,3g2,mj2',
  durationMs: 60_000,
  sizeBytes: 5_000_000,
  video,
  audio,
  streamCount: 2,
  title: null,
  notes: [],
}

const withVideo = (part: Partial<VideoFacts>): MediaFacts => ({ ...base, video: { ...video, ...part } })
const withAudio = (part: Partial<AudioFacts>): MediaFacts => ({ ...base, audio: { ...audio, ...part } })
/** `remux source:copy/copy` */
const outline = (facts: MediaFacts): string => {
  const plan = planEncode(facts)
  return [plan.kind, ...plan.rungs.map((rung) => `${rung.name}:${rung.video}/${rung.audio}`)].join(' ')
}

describe('planEncode', () => {
  it.each([
    ['H.264 High + AAC', base, 'remux source:copy/copy'],
    ['Constrained Baseline', withVideo({ profile: 'Constrained Baseline' }), 'remux source:copy/copy'],
    ['full range yuvj420p', withVideo({ pixelFormat: 'yuvj420p' }), 'remux source:copy/copy'],
    ['level 5.1', withVideo({ level: 51 }), 'remux source:copy/copy'],
    ['in Matroska', { ...base, container: 'matroska,webm' }, 'remux source:copy/copy'],
    ['in MPEG-TS', { ...base, container: 'mpegts' }, 'remux source:copy/copy'],
    ['MP3 sound', withAudio({ codec: 'mp3', profile: null }), 'remux source:copy/copy'],
    ['no sound', { ...base, audio: null }, 'remux source:copy/none'],
    ['HE-AAC sound', withAudio({ profile: 'HE-AAC' }), 'remux source:copy/encode'],
    ['Opus sound', withAudio({ codec: 'opus', profile: null }), 'remux source:copy/encode'],
    ['5.1 AAC', withAudio({ channels: 6 }), 'remux source:copy/encode'],
    ['96 kHz AAC', withAudio({ sampleRateHz: 96_000 }), 'remux source:copy/encode'],
    ['level 5.2', withVideo({ level: 52 }), 'ladder 720p:encode/copy 360p:encode/copy'],
    ['level unknown', withVideo({ level: null }), 'ladder 720p:encode/copy 360p:encode/copy'],
    [
      'High 10',
      withVideo({ profile: 'High 10', pixelFormat: 'yuv420p10le' }),
      'ladder 720p:encode/copy 360p:encode/copy',
    ],
    ['4:4:4', withVideo({ pixelFormat: 'yuv444p' }), 'ladder 720p:encode/copy 360p:encode/copy'],
    ['interlaced', withVideo({ interlaced: true }), 'ladder 720p:encode/copy 360p:encode/copy'],
    ['HDR', withVideo({ hdr: true }), 'ladder 720p:encode/copy 360p:encode/copy'],
    [
      'rotated',
      withVideo({ rotationDegrees: 90, widthPx: 720, heightPx: 1280 }),
      'ladder 720p:encode/copy 360p:encode/copy',
    ],
    ['odd size', withVideo({ widthPx: 641, heightPx: 361 }), 'ladder 360p:encode/copy'],
    ['H.264 in AVI', { ...base, container: 'avi' }, 'ladder 720p:encode/copy 360p:encode/copy'],
    [
      'VP8 + Opus',
      { ...withVideo({ codec: 'vp8', profile: null }), audio: { ...audio, codec: 'opus', profile: null } },
      'ladder 720p:encode/encode 360p:encode/encode',
    ],
    [
      '1080p VP9',
      withVideo({ codec: 'vp9', widthPx: 1920, heightPx: 1080 }),
      'ladder 1080p:encode/copy 720p:encode/copy 360p:encode/copy',
    ],
    [
      '4K VP9 never above 1080',
      withVideo({ codec: 'vp9', widthPx: 3840, heightPx: 2160 }),
      'ladder 1080p:encode/copy 720p:encode/copy 360p:encode/copy',
    ],
    [
      '4K H.264 keeps its own size by copy',
      withVideo({ level: 51, widthPx: 3840, heightPx: 2160 }),
      'ladder source:copy/copy 1080p:encode/copy 720p:encode/copy 360p:encode/copy',
    ],
    ['480p', withVideo({ codec: 'vp8', widthPx: 640, heightPx: 480 }), 'ladder 480p:encode/copy 360p:encode/copy'],
    [
      '400 lines: 360 would add nothing',
      withVideo({ codec: 'vp8', widthPx: 600, heightPx: 400 }),
      'ladder 400p:encode/copy',
    ],
    ['tiny, never upscaled', withVideo({ codec: 'vp8', widthPx: 160, heightPx: 91 }), 'ladder 90p:encode/copy'],
    ['one pixel', withVideo({ codec: 'vp8', widthPx: 1, heightPx: 1 }), 'ladder 2p:encode/copy'],
    [
      'portrait by its short side',
      withVideo({ codec: 'vp9', widthPx: 1080, heightPx: 1920 }),
      'ladder 1080p:encode/copy 720p:encode/copy 360p:encode/copy',
    ],
    ['portrait H.264', withVideo({ widthPx: 1080, heightPx: 1920 }), 'remux source:copy/copy'],
    ['sound only', { ...base, video: null }, 'audio'],
    ['nothing at all', { ...base, video: null, audio: null }, 'audio'],
  ] as const)('%s', (_name, facts, expected) => {
    expect(outline(facts)).toBe(expected)
  })

  it('names pictures and sound only where there are any', () => {
    expect(planEncode({ ...base, video: null })).toMatchObject({
      hls: false,
      poster: false,
      sprite: false,
      audioOnly: true,
    })
    expect(planEncode({ ...base, audio: null })).toMatchObject({
      hls: true,
      poster: true,
      sprite: true,
      audioOnly: false,
    })
    expect(planEncode({ ...base, video: null, audio: null }).audioOnly).toBe(false)
  })

  it('gives its reason in one sentence', () => {
    expect(planEncode(base).reason).toBe('H.264 High + AAC plays in browsers as it is: copied, not encoded')
    expect(planEncode(withAudio({ codec: 'opus', profile: null })).reason).toContain('picture copied, sound encoded')
    expect(planEncode(withVideo({ codec: 'vp8' })).reason).toContain('vp8')
    expect(planEncode(withVideo({ level: 52 })).reason).toContain('level 5.2 is above 5.1')
  })

  it('is data that survives JSON and never changes for the same facts', () => {
    const plan = planEncode(base)
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(planEncode(structuredClone(base))).toEqual(plan)
  })
})

describe('rungSize', () => {
  it.each([
    [1920, 1080, 720, 1280, 720],
    [1080, 1920, 720, 720, 1280],
    [1366, 768, 360, 640, 360],
    [641, 361, 360, 640, 360],
    [4000, 10, 10, 4000, 10],
    [1, 1, 2, 2, 2],
  ])('%ix%i with short side %i is %ix%i', (widthPx, heightPx, shortPx, outWidth, outHeight) => {
    expect(rungSize({ ...video, widthPx, heightPx }, shortPx)).toEqual({ widthPx: outWidth, heightPx: outHeight })
  })
})

describe('planSlices', () => {
  /** 25 frames per second for a minute, a keyframe every two seconds, beginning at 100 s. */
  const ticks = Array.from({ length: 1500 }, (_, index) => 100_000 + index * 40)
  const keyTicks = ticks.filter((_, index) => index % 50 === 0)
  const times: FrameTimes = { tickSeconds: { over: 1, under: 1000 }, startUs: 100_000_000, ticks, keyTicks }
  const facts: MediaFacts = { ...base, container: 'matroska,webm' }
  const cutsOf = (change: Partial<FrameTimes>, container = facts.container) => {
    const plan = planSlices({ ...facts, container }, { ...times, ...change }, 10_000)
    return plan.kind === 'whole' ? plan.reason : plan.slices.map(({ fromTick, frames }) => [fromTick - 100_000, frames])
  }
  const even = [0, 10, 20, 30, 40, 50].map((second) => [second * 1000, 250])

  it('cuts at the first keyframe after each length', () => {
    expect(cutsOf({})).toEqual(even)
    const sparse = keyTicks.filter((_, index) => index % 7 === 0)
    expect(cutsOf({ keyTicks: sparse })).toEqual(
      [0, 14, 28, 42, 56].slice(0, 4).map((second, index) => [second * 1000, index < 3 ? 350 : 450]),
    )
  })

  it('leaves no frame out and takes none twice, in whatever order they are stored', () => {
    const stored = ticks.map((_, index) => ticks[index ^ 1] ?? 0)
    expect(cutsOf({ ticks: stored })).toEqual(even)
    const plan = planSlices(facts, { ...times, ticks: stored }, 10_000)
    if (plan.kind === 'whole') throw new Error(plan.reason)
    expect(plan.slices.reduce((sum, { frames }) => sum + frames, 0)).toBe(ticks.length)
    for (const [index, slice] of plan.slices.entries()) {
      expect(slice.endTick).toBe(plan.slices[index + 1]?.fromTick ?? null)
      expect(slice.lastTick).toBe((slice.endTick ?? 160_000) - 40)
    }
    expect(plan.frameTicks).toBe(40)
  })

  it('a last slice of less than half a length is part of the one before', () => {
    const short = ticks.slice(0, 1350)
    expect(cutsOf({ ticks: short })).toEqual([...even.slice(0, 4), [40_000, 350]])
  })

  it.each<[string, Partial<FrameTimes>, string, RegExp]>([
    ['a frame without a time', { ticks: [...ticks, null] }, 'matroska,webm', /no time/],
    ['two frames at one time', { ticks: [...ticks, 100_040] }, 'matroska,webm', /share a time/],
    ['no keyframe but the first', { keyTicks: [100_000] }, 'matroska,webm', /too few keyframes/],
    ['no frame', { ticks: [], keyTicks: [] }, 'matroska,webm', /no frame/],
    ['ticks that no second is made of', { tickSeconds: { over: 17, under: 1000 } }, 'matroska,webm', /unusual/],
    ['a clock that jumps', { ticks: ticks.map((tick) => (tick > 130_000 ? tick + 50_000 : tick)) }, 'mpegts', /jumps/],
  ])('%s: whole', (_name, change, container, reason) => {
    expect(cutsOf(change, container)).toMatch(reason)
  })

  it('a pause is no jump where the container has one clock', () => {
    expect(cutsOf({ ticks: ticks.map((tick) => (tick > 158_000 ? tick + 50_000 : tick)) })).toHaveLength(6)
  })

  it.each([
    ['long and encoded', { ...withVideo({ codec: 'vp8' }), durationMs: 20_001 }, true],
    ['short', { ...withVideo({ codec: 'vp8' }), durationMs: 20_000 }, false],
    ['copied', { ...base, durationMs: 90_000 }, false],
    ['without a picture', { ...base, video: null, durationMs: 90_000 }, false],
    ['of unknown length', { ...withVideo({ codec: 'vp8' }), durationMs: null }, false],
    ['AVI', { ...withVideo({ codec: 'mpeg4' }), container: 'avi', durationMs: 90_000 }, false],
  ])('is worth it: %s', (_name, some, expected) => {
    expect(maySlice(some, planEncode(some), 10_000)).toBe(expected)
  })
})
