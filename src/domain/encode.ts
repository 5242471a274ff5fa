/** What the prober found in a media file: plain data, small, safe to log, store and send through Temporal. */
export interface MediaFacts {
  /** ffprobe's format name, e.g. `mov,mp4,m4a,3gp,3g2,mj2`. */
  readonly container: string
  /** `null` where the file does not say and decoding did not tell either. */
  readonly durationMs: number | null
  readonly sizeBytes: number
  readonly video: VideoFacts | null
  readonly audio: AudioFacts | null
  /** Number of streams of every kind, attachments and covers included. */
  readonly streamCount: number
  /** Title from the file's own tags: cut to 200 characters, control characters removed; never trusted as markup. */
  readonly title: string | null
  /** Remarks a person should see: "dropped 3 attachments", "tags cut". */
  readonly notes: readonly string[]
}

/** The first real video stream (cover pictures do not count). Sizes are as displayed, rotation applied. */
export interface VideoFacts {
  readonly codec: string
  readonly profile: string | null
  readonly level: number | null
  readonly pixelFormat: string
  readonly widthPx: number
  readonly heightPx: number
  readonly framesPerSecond: number | null
  readonly interlaced: boolean
  readonly hdr: boolean
  readonly rotationDegrees: number
}

/** The first audio stream. */
export interface AudioFacts {
  readonly codec: string
  readonly profile: string | null
  readonly channels: number
  readonly sampleRateHz: number
}

/** How the picture or the sound gets into a rendition. */
export type StreamAction = 'copy' | 'encode' | 'none'

/** One MP4 of the ladder. */
export interface Rung {
  /** `1080p`, `source`: part of the key. */
  readonly name: string
  /** Short side in pixels; `null` = the source's own size. */
  readonly heightPx: number | null
  readonly video: StreamAction
  readonly audio: StreamAction
}

/**
 * What will be made from a file and why: the probe's decision as data.
 * The same facts give the same plan.
 */
export interface EncodePlan {
  /** `remux` = no frame is encoded; `audio` = there is no picture. */
  readonly kind: 'remux' | 'ladder' | 'audio'
  readonly rungs: readonly Rung[]
  readonly hls: boolean
  readonly poster: boolean
  readonly sprite: boolean
  /** An audio-only rendition (`audio.m4a`). */
  readonly audioOnly: boolean
  /** One sentence a person can read: "H.264 High + AAC plays in browsers as it is: copied, not encoded". */
  readonly reason: string
}

/** One derived file on local scratch, checked (streams, duration, decodes), ready to be stored. */
export interface Rendition {
  /** Path below `renditions/`, e.g. `720p.mp4`, `hls/master.m3u8`, `poster.jpg`, `sprite.vtt`. */
  readonly name: string
  readonly kind: 'video' | 'hls' | 'poster' | 'sprite' | 'audio'
  readonly contentType: string
  /** Absolute path on this machine's scratch disk. */
  readonly path: string
  readonly sizeBytes: number
  readonly widthPx: number | null
  readonly heightPx: number | null
  readonly durationMs: number | null
}

/** Short sides the ladder offers, in pixels; a smaller source gets its own size as the top rung instead. */
const ladderHeightsPx = [1080, 720, 360] as const
/** A rung is only worth its CPU when it is clearly smaller than the top one. */
const largestRungBelowTop = 0.8
const copyableProfiles = new Set(['Baseline', 'Constrained Baseline', 'Main', 'High'])
const copyablePixelFormats = new Set(['yuv420p', 'yuvj420p'])
/** Containers whose packets carry usable timestamps for both picture and sound (AVI has none for B-frames). */
const copyableContainers = new Set(['mov', 'matroska', 'mpegts', 'flv'])
const highestCopyableLevel = 51
const highestCopyableSampleRateHz = 48_000

/**
 * Decides what is made from a file: copies what browsers already play (0.3 % of an encode's CPU), encodes the rest
 * into a ladder that never upscales. Rungs come largest first. Total: any facts give a plan, the same facts the same one.
 */
export function planEncode(facts: MediaFacts): EncodePlan {
  const audio = planAudio(facts.audio)
  if (facts.video === null) return audioPlan(facts.audio)
  const obstacle = whyVideoCannotBeCopied(facts.video, facts.container)
  const extras = { hls: true, poster: true, sprite: true, audioOnly: facts.audio !== null }
  const topPx = evenFloor(shortSidePx(facts.video))
  const source: Rung = { name: 'source', heightPx: null, video: 'copy', audio }
  if (obstacle === null && topPx <= ladderHeightsPx[0]) {
    return { kind: 'remux', rungs: [source], ...extras, reason: remuxReason(facts.video, facts.audio, audio) }
  }
  const encoded = ladderHeights(topPx).map((px): Rung => ({ name: `${px}p`, heightPx: px, video: 'encode', audio }))
  const names = encoded.map((rung) => rung.name).join(', ')
  if (obstacle === null) {
    const reason = `${facts.video.codec} plays in browsers but is ${topPx} pixels high: copied, with ${names} for slower lines`
    return { kind: 'ladder', rungs: [source, ...encoded], ...extras, reason }
  }
  return { kind: 'ladder', rungs: encoded, ...extras, reason: `${obstacle}: encoded to H.264 (${names})` }
}

/** The shorter side of the displayed picture: what "720p" means for portrait and landscape alike. */
export function shortSidePx(video: VideoFacts): number {
  return Math.min(video.widthPx, video.heightPx)
}

/** The encoded picture's size for a short side of `shortPx`: the source's aspect, both sides even (4:2:0 needs it). */
export function rungSize(video: VideoFacts, shortPx: number): { readonly widthPx: number; readonly heightPx: number } {
  const long = Math.max(video.widthPx, video.heightPx) / Math.max(1, shortSidePx(video))
  const longPx = Math.max(2, 2 * Math.round((shortPx * long) / 2))
  return video.widthPx >= video.heightPx
    ? { widthPx: longPx, heightPx: shortPx }
    : { widthPx: shortPx, heightPx: longPx }
}

/** True where the sound goes into `audio.m4a` as it is. */
export function fitsM4a(audio: AudioFacts): boolean {
  return audio.codec === 'aac' && planAudio(audio) === 'copy'
}

function audioPlan(audio: AudioFacts | null): EncodePlan {
  const none = { rungs: [], hls: false, poster: false, sprite: false } as const
  if (audio === null) return { kind: 'audio', ...none, audioOnly: false, reason: 'there is neither picture nor sound' }
  const how = fitsM4a(audio) ? 'copied, not encoded' : 'encoded to AAC'
  return { kind: 'audio', ...none, audioOnly: true, reason: `sound only (${audioName(audio)}): ${how}` }
}

function planAudio(audio: AudioFacts | null): StreamAction {
  if (audio === null) return 'none'
  const codecPlays = audio.codec === 'mp3' || (audio.codec === 'aac' && audio.profile === 'LC')
  return codecPlays && audio.channels <= 2 && audio.sampleRateHz <= highestCopyableSampleRateHz ? 'copy' : 'encode'
}

/** Why this picture has to be encoded, in words, or `null` where browsers play it as it is. */
function whyVideoCannotBeCopied(video: VideoFacts, container: string): string | null {
  if (video.codec !== 'h264') return `browsers do not play ${video.codec} everywhere`
  if (!container.split(',').some((name) => copyableContainers.has(name))) {
    return `H.264 in ${container} has no reliable frame times`
  }
  if (video.profile === null || !copyableProfiles.has(video.profile)) {
    return `H.264 profile ${video.profile ?? 'unknown'} is not playable in browsers`
  }
  if (!copyablePixelFormats.has(video.pixelFormat))
    return `pixel format ${video.pixelFormat} is not playable in browsers`
  if (video.level === null || video.level > highestCopyableLevel) {
    return `H.264 level ${video.level === null ? 'unknown' : video.level / 10} is above ${highestCopyableLevel / 10}`
  }
  if (video.interlaced) return 'the picture is interlaced'
  if (video.hdr) return 'the picture is HDR'
  if (video.rotationDegrees !== 0) return `the picture is rotated by ${video.rotationDegrees} degrees`
  if (video.widthPx % 2 === 1 || video.heightPx % 2 === 1) return `${video.widthPx}x${video.heightPx} is an odd size`
  return null
}

function remuxReason(video: VideoFacts, audio: AudioFacts | null, action: StreamAction): string {
  const picture = `H.264 ${video.profile ?? ''}`.trim()
  if (audio === null) return `${picture} without sound plays in browsers as it is: copied, not encoded`
  if (action === 'copy') return `${picture} + ${audioName(audio)} plays in browsers as it is: copied, not encoded`
  return `${picture} plays in browsers, ${audioName(audio)} does not: picture copied, sound encoded to AAC`
}

function audioName(audio: AudioFacts): string {
  const codec = audio.codec === 'aac' && audio.profile === 'LC' ? 'AAC' : audio.codec.toUpperCase()
  return audio.channels > 2 ? `${codec} with ${audio.channels} channels` : codec
}

function ladderHeights(sourcePx: number): readonly number[] {
  const topPx = Math.min(sourcePx, ladderHeightsPx[0])
  return [topPx, ...ladderHeightsPx.filter((px) => px <= topPx * largestRungBelowTop)]
}

function evenFloor(px: number): number {
  return Math.max(2, px - (px % 2))
}

/** The times at which a file's pictures are shown, in the file's order, in ticks of its own time base. */
export interface FrameTimes {
  /** One tick in seconds, as a fraction. */
  readonly tickSeconds: { readonly over: number; readonly under: number }
  /** Where the whole file begins, in microseconds: all times of renditions are counted from there. */
  readonly startUs: number
  /** `null` where the file gives a picture no time. */
  readonly ticks: readonly (number | null)[]
  /** Those that can be decoded without the ones before. */
  readonly keyTicks: readonly number[]
}

/** A part of the picture that is encoded by itself: from one keyframe of the source to another. */
export interface Slice {
  readonly number: number
  /** The first picture's time. */
  readonly fromTick: number
  readonly lastTick: number
  /** The next slice's first picture; `null` at the end. */
  readonly endTick: number | null
  readonly frames: number
}

/** How the picture is cut, or why it is not. */
export type SlicePlan =
  | {
      readonly kind: 'slices'
      readonly slices: readonly Slice[]
      readonly tickSeconds: FrameTimes['tickSeconds']
      readonly startUs: number
      /** How long a picture usually stands. */
      readonly frameTicks: number
    }
  | { readonly kind: 'whole'; readonly reason: string }

/**
 * Slices carry times this much later than they are, so that none is negative: MPEG-TS has no negative ones. 1,001 s are a whole number
 * of ticks in every usual time base, and with 26 hours of recording they stay below the 26.5 hours after which its clock starts over.
 */
export const sliceOffsetSeconds = 1001

/** A transport stream whose clock jumps is mended while it is read from its beginning, not from somewhere in between. */
const longestGapSeconds = 10

/** True where cutting is worth looking at the frames' times: encoded, longer than two slices, with times that can be trusted. */
export function maySlice(facts: MediaFacts, plan: EncodePlan, sliceMs: number): boolean {
  return (
    plan.kind === 'ladder' &&
    plan.rungs.some((rung) => rung.video === 'encode') &&
    facts.durationMs !== null &&
    facts.durationMs > 2 * sliceMs &&
    facts.container.split(',').some((name) => copyableContainers.has(name))
  )
}

/**
 * Decides where the picture is cut: at the first keyframe after each `sliceMs`, so that every slice can be decoded from its
 * own beginning, the frames of an open group of pictures staying with the slice they are shown in. A source whose frames have no
 * times, two frames at one time, or too few keyframes is encoded whole. Total; the same times give the same slices.
 */
export function planSlices(facts: MediaFacts, times: FrameTimes, sliceMs: number): SlicePlan {
  const { tickSeconds, startUs, keyTicks } = times
  const ticks = times.ticks.filter((tick) => tick !== null).sort((a, b) => a - b)
  const seconds = (count: number): number => (count * tickSeconds.over) / tickSeconds.under
  if (ticks.length < times.ticks.length) return whole('frames of the source have no time')
  const gaps = ticks.slice(1).map((tick, index) => tick - (ticks[index] ?? tick))
  if (gaps.includes(0)) return whole('frames of the source share a time')
  if (!Number.isInteger((sliceOffsetSeconds * tickSeconds.under) / tickSeconds.over))
    return whole('its clock is unusual')
  if (facts.container.includes('mpegts') && jumps(times.ticks, seconds)) return whole('the clock of the source jumps')
  const first = ticks[0]
  const last = ticks.at(-1)
  if (first === undefined || last === undefined) return whole('there is no frame')
  const cuts = [first]
  for (const key of [...keyTicks].sort((a, b) => a - b)) {
    const isFar = seconds(key - (cuts.at(-1) ?? first)) * 1000 >= sliceMs
    if (isFar && seconds(last - key) * 2000 >= sliceMs) cuts.push(key)
  }
  if (cuts.length < 2) return whole('there are too few keyframes')
  const frameTicks = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 1
  return { kind: 'slices', slices: cutAt(ticks, cuts), tickSeconds, startUs, frameTicks }
}

function whole(reason: string): SlicePlan {
  return { kind: 'whole', reason }
}

function jumps(ticks: FrameTimes['ticks'], seconds: (count: number) => number): boolean {
  return ticks.some(
    (tick, index) => Math.abs(seconds((tick ?? 0) - (ticks[index - 1] ?? tick ?? 0))) > longestGapSeconds,
  )
}

function cutAt(ticks: readonly number[], cuts: readonly number[]): readonly Slice[] {
  const starts = cuts.map((cut) => ticks.indexOf(cut))
  return cuts.map((fromTick, number) => {
    const after = starts[number + 1] ?? ticks.length
    const lastTick = ticks[after - 1] ?? fromTick
    return { number, fromTick, lastTick, endTick: cuts[number + 1] ?? null, frames: after - (starts[number] ?? 0) }
  })
}
