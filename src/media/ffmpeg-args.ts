import type { EncodePlan, MediaFacts, Rung } from '../domain/encode.ts'
import { fitsM4a, rungSize } from '../domain/encode.ts'
import type { MediaLimits } from './encoder.ts'

/** One ffmpeg invocation as data. Paths are absolute; every one is passed on with the `file:` protocol. */
export interface MediaCommand {
  readonly inputs: readonly { readonly options: readonly string[]; readonly path: string }[]
  readonly filter: string | null
  /** `path` is `null` where the result is thrown away. */
  readonly outputs: readonly { readonly options: readonly string[]; readonly path: string | null }[]
}

/** What all commands of one encoder share. */
export interface ArgSettings {
  readonly limits: MediaLimits
  /** Per decoder and encoder; 1 where slots = cores (13 % less wall time, half the memory), 0 = ffmpeg's own choice. */
  readonly threads: number
}

/** Demuxers a recording may need. Playlists, manifests and lists of files are not among them. */
const formats = 'mov,matroska,webm,mpegts,mp3,ogg,wav,flac,avi,asf,mpeg,mpegvideo,flv,h264,hevc,aac'

/** Decoders of recorders, gateways and cameras; those of subtitles and covers because ffprobe opens what it lists. */
const codecs = [
  'h264,hevc,vp8,vp9,libvpx,libvpx-vp9,av1,libdav1d,libaom-av1,mpeg1video,mpeg2video,mpeg4,h263,h263i,flv,vp6,vp6f,vp6a',
  'msmpeg4,msmpeg4v1,msmpeg4v2,wmv1,wmv2,wmv3,vc1,mjpeg,theora,prores,dnxhd,dvvideo,png,bmp,rawvideo,ffv1,huffyuv,svq1,svq3',
  'aac,aac_latm,aac_fixed,mp3,mp3float,mp2,mp2float,ac3,eac3,opus,libopus,vorbis,libvorbis,flac,alac,speex,libspeex',
  'pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f64le,pcm_u8,pcm_s8,pcm_alaw,pcm_mulaw',
  'pcm_bluray,pcm_dvd,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_g722,adpcm_g726,g729,nellymoser,wmav1,wmav2,wmapro',
  'amrnb,amrwb,amr_nb,amr_wb,libopencore_amrnb,libopencore_amrwb,gsm,gsm_ms,libgsm,libgsm_ms',
  'subrip,srt,ass,ssa,mov_text,webvtt,text,dvbsub,dvdsub,pgssub,xsub,cc_dec,libzvbi_teletextdec',
].join(',')

/** Read at most this much to find out what a file is. */
const probeLimits = ['-probesize', '20000000', '-analyzeduration', '20000000']

/**
 * The options before every `-i` of a file that is not ours, for ffprobe and ffmpeg alike.
 * @source a DASH manifest named `x.mp4` made stock ffmpeg copy another account's file in spite of `-protocol_whitelist file`
 */
export function guardArgs(limits: MediaLimits): readonly string[] {
  const whitelists = ['-protocol_whitelist', 'file', '-format_whitelist', formats, '-codec_whitelist', codecs]
  const caps = ['-max_pixels', String(limits.maxPixels), '-max_streams', String(limits.maxStreams)]
  return [...whitelists, ...caps, ...probeLimits]
}

/** What comes before the first input: no questions, errors only, progress on standard output. */
export function globalArgs({ limits }: ArgSettings): readonly string[] {
  const quiet = ['-nostdin', '-hide_banner', '-v', 'error', '-nostats']
  const progress = ['-progress', 'pipe:1', '-stats_period', '0.5']
  return [...quiet, ...progress, '-max_alloc', String(limits.maxMemoryBytes), '-filter_complex_threads', '1']
}

function threadArgs({ threads }: ArgSettings): readonly string[] {
  return threads === 0 ? [] : ['-threads', String(threads)]
}

/** What comes before every input. `-t` ends what a lying time stamp would stretch. */
export function inputArgs(settings: ArgSettings): readonly string[] {
  const longest = String(Math.ceil(settings.limits.maxDurationMs / 1000))
  return [...threadArgs(settings), ...guardArgs(settings.limits), '-t', longest]
}

/** What to decode and how. */
export interface DecodeOrder {
  readonly video: boolean
  readonly audio: boolean
  /** End at the first broken frame. */
  readonly strict: boolean
  readonly keyframesOnly: boolean
}

/** Decodes the first picture and sound and throws them away. */
export function decodeCommand(path: string, order: DecodeOrder, settings: ArgSettings): MediaCommand {
  const maps = [...(order.video ? ['-map', '0:V:0'] : []), ...(order.audio ? ['-map', '0:a:0'] : [])]
  const care = [...(order.strict ? ['-xerror'] : []), ...(order.keyframesOnly ? ['-skip_frame', 'nokey'] : [])]
  return {
    inputs: [{ options: [...globalArgs(settings), ...care, ...inputArgs(settings)], path }],
    filter: null,
    outputs: [{ options: [...maps, '-fps_mode', 'passthrough', '-f', 'null'], path: null }],
  }
}

/** Where a rung's MP4 lies. */
export function rungPath(outDir: string, rung: Rung): string {
  return `${outDir}/${rung.name}.mp4`
}

/**
 * The one decode that makes every rung (or `audio.m4a` where there is no picture): split and cascaded scale, from the
 * largest to the smallest.
 */
export function makeCommand(
  path: string,
  facts: MediaFacts,
  plan: EncodePlan,
  outDir: string,
  settings: ArgSettings & { readonly toneMap: boolean },
): MediaCommand {
  const input = { options: [...globalArgs(settings), ...inputArgs(settings)], path }
  if (plan.kind === 'audio') {
    const action = facts.audio !== null && fitsM4a(facts.audio) ? 'copy' : 'encode'
    const options = ['-map', '0:a:0', ...soundArgs(facts, action, settings), ...m4aArgs]
    return { inputs: [input], filter: null, outputs: [{ options, path: `${outDir}/audio.m4a` }] }
  }
  const encoded = plan.rungs.filter((rung) => rung.video === 'encode')
  const outputs = plan.rungs.map((rung) => {
    const label = `[v${encoded.indexOf(rung)}]`
    const picture =
      rung.video === 'encode' ? ['-map', label, ...pictureArgs(facts, settings)] : ['-map', '0:V:0', '-c:v', 'copy']
    const sound = rung.audio === 'none' ? ['-an'] : ['-map', '0:a:0', ...soundArgs(facts, rung.audio, settings)]
    return { options: [...picture, ...sound, ...mp4Args], path: rungPath(outDir, rung) }
  })
  return { inputs: [input], filter: ladderFilter(facts, encoded, settings.toneMap), outputs }
}

/** No tags of the source (they may name people) and no dates: the same source gives the same bytes. */
export const cleanArgs = ['-map_metadata', '-1', '-map_chapters', '-1', '-fflags', '+bitexact']
const playable = ['-movflags', '+faststart', '-f', 'mp4']
/** How a rung's MP4 is written: playable before it is all there. */
export const mp4Args = ['-sn', '-dn', '-max_muxing_queue_size', '4096', ...cleanArgs, ...playable]
/** How a file of sound alone is written. */
export const m4aArgs = ['-vn', '-sn', '-dn', ...cleanArgs, '-movflags', '+faststart', '-f', 'ipod']
const keyframeSeconds = 5

/** The clock of encoded pictures. Fine enough that every frame keeps its own time, whatever the source's frame rate is said to be. */
export const pictureTicksPerSecond = 90_000

/** Keyframes at the same instants in every rung, so that players can switch; 2 s instead of 5 s costs slides 74 %. */
export function pictureArgs(facts: MediaFacts, settings: ArgSettings): readonly string[] {
  const framesPerSecond = Math.min(60, Math.max(1, Math.ceil(facts.video?.framesPerSecond ?? 25)))
  const codec = ['-c:v', 'libx264', ...threadArgs(settings), '-preset', 'veryfast', '-crf', '23', '-pix_fmt', 'yuv420p']
  const keyframes = ['-force_key_frames', `expr:gte(t,n_forced*${keyframeSeconds})`, '-sc_threshold', '0']
  const times = ['-fps_mode', 'vfr', '-enc_time_base', `1/${pictureTicksPerSecond}`]
  return [...codec, ...keyframes, '-g', String(2 * keyframeSeconds * framesPerSecond), ...times]
}

/** Gaps become silence, so that sound stays with its picture; more than two channels become stereo. */
export function soundArgs(
  facts: MediaFacts,
  action: 'copy' | 'encode' | 'none',
  settings: ArgSettings,
): readonly string[] {
  if (action === 'copy') return ['-c:a', 'copy']
  const { channels = 2, sampleRateHz = 48_000 } = facts.audio ?? {}
  const downmix = channels > 2 ? ['-ac', '2'] : []
  const rate = sampleRateHz > 48_000 ? ['-ar', '48000'] : []
  const codec = ['-c:a', 'aac', ...threadArgs(settings), '-b:a', channels === 1 ? '96k' : '128k']
  return [...codec, ...downmix, ...rate, '-af', 'aresample=async=1000']
}

const toneMapFilter =
  'zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv'

/**
 * `[0:V:0]…scale,split[v0][n0];[n0]scale…[v1]`: every rung is scaled from the next larger one. `null` without rungs. `choose`: filters
 * that choose the frames.
 */
export function ladderFilter(
  facts: MediaFacts,
  encoded: readonly Rung[],
  toneMap: boolean,
  choose: readonly string[] = [],
): string | null {
  const { video } = facts
  if (video === null || encoded.length === 0) return null
  const prepare = [...choose, ...(video.interlaced ? ['bwdif'] : []), ...(video.hdr && toneMap ? [toneMapFilter] : [])]
  return encoded
    .map((rung, index) => {
      const { widthPx, heightPx } = rungSize(video, rung.heightPx ?? Math.min(video.widthPx, video.heightPx))
      const scale = `scale=${widthPx}:${heightPx},setsar=1`
      const chain = index === 0 ? [...prepare, scale, 'format=yuv420p'] : [scale]
      const isLast = index === encoded.length - 1
      const end = isLast ? `[v${index}]` : `,split=2[v${index}][n${index}]`
      return `${index === 0 ? '[0:V:0]' : `[n${index - 1}]`}${chain.join(',')}${end}`
    })
    .join(';')
}

/** How the sprite's little pictures are laid out. */
export interface SpriteLayout {
  readonly columns: number
  readonly rows: number
  readonly count: number
  readonly intervalSeconds: number
  readonly tileWidthPx: number
  readonly tileHeightPx: number
}

const mostTiles = 200
const spriteColumns = 10
const tileShortSidePx = 90

/** One little picture per 5 s, at most 200 of them: longer recordings get longer steps. */
export function layOutSprite(durationMs: number, widthPx: number, heightPx: number): SpriteLayout {
  const intervalSeconds = Math.max(keyframeSeconds, Math.ceil(durationMs / 1000 / mostTiles))
  const count = Math.max(1, Math.ceil(durationMs / 1000 / intervalSeconds))
  const columns = Math.min(spriteColumns, count)
  const long = Math.min(
    320,
    2 * Math.round((tileShortSidePx * Math.max(widthPx, heightPx)) / Math.min(widthPx, heightPx) / 2),
  )
  const [tileWidthPx, tileHeightPx] = widthPx >= heightPx ? [long, tileShortSidePx] : [tileShortSidePx, long]
  return { columns, rows: Math.ceil(count / columns), count, intervalSeconds, tileWidthPx, tileHeightPx }
}

/** What is derived from the finished MP4s. */
export interface Derivation {
  readonly rungs: readonly Rung[]
  readonly durationMs: number
  readonly hls: boolean
  readonly poster: boolean
  readonly sprite: SpriteLayout | null
  readonly audio: 'copy' | 'encode' | 'none'
  /** Only keyframes are decoded for the pictures (32 and 5 times cheaper); `false` for the rare files that have none. */
  readonly keyframesOnly: boolean
}

/**
 * HLS and `audio.m4a` by copy, poster and sprite, from the finished MP4s in one process. From those and not from the source,
 * because they are upright, in standard colours and have bit rates, without which the HLS muxer drops a variant.
 */
export function deriveCommand(
  outDir: string,
  facts: MediaFacts,
  work: Derivation,
  settings: ArgSettings,
): MediaCommand {
  const top = work.rungs[0]
  const smallest = work.rungs.at(-1)
  const inputs = work.rungs.map((rung, index) => ({
    options: [...(index === 0 ? globalArgs(settings) : []), ...inputArgs(settings)],
    path: rungPath(outDir, rung),
  }))
  const outputs: { options: readonly string[]; path: string }[] = []
  let filter: string | null = null
  if (work.hls) outputs.push({ options: hlsArgs(outDir, work.rungs), path: `${outDir}/hls/%v.m3u8` })
  if (work.audio !== 'none') {
    const options = ['-map', '0:a:0', ...soundArgs(facts, work.audio, settings), ...m4aArgs]
    outputs.push({ options, path: `${outDir}/audio.m4a` })
  }
  if (work.poster && top !== undefined) {
    const seek = ['-ss', String(Math.min(60_000, work.durationMs / 10) / 1000)]
    // Beside other outputs ffmpeg decodes on after the one frame it was asked for; `-t` ends that.
    const hurry = work.keyframesOnly ? ['-noaccurate_seek', '-t', '1'] : []
    inputs.push({ options: [...inputArgs(settings), ...hurry, ...seek], path: rungPath(outDir, top) })
    const options = ['-map', `${inputs.length - 1}:V:0`, '-vf', "scale='min(1280,iw)':-2", ...stillArgs('3')]
    outputs.push({ options, path: `${outDir}/poster.jpg` })
  }
  if (work.sprite !== null && smallest !== undefined) {
    const skip = work.keyframesOnly ? ['-skip_frame', 'nokey'] : []
    inputs.push({ options: [...inputArgs(settings), ...skip], path: rungPath(outDir, smallest) })
    filter = `[${inputs.length - 1}:V:0]${spriteFilter(work.sprite)}[sprite]`
    outputs.push({ options: ['-map', '[sprite]', ...stillArgs('4')], path: `${outDir}/sprite.jpg` })
  }
  return { inputs, filter, outputs }
}

function stillArgs(quality: string): readonly string[] {
  return ['-frames:v', '1', '-q:v', quality, '-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p', '-f', 'image2', '-update', '1']
}

/**
 * `fps` picks the frame standing at each step; the last one is repeated until the sheet is full (a finite number of times: with
 * `stop=-1` and other outputs in the process, ffmpeg 5.1 repeats it for ever).
 */
function spriteFilter(sprite: SpriteLayout): string {
  const steps = `fps=1/${sprite.intervalSeconds}:start_time=0:round=up`
  const size = `scale=${sprite.tileWidthPx}:${sprite.tileHeightPx},setsar=1`
  return `${steps},${size},tpad=stop=${sprite.columns * sprite.rows}:stop_mode=clone,tile=${sprite.columns}x${sprite.rows}`
}

/** fMP4 in one file per rendition: two objects each instead of thousands of segments. */
function hlsArgs(outDir: string, rungs: readonly Rung[]): readonly string[] {
  const hasAudio = (rung: Rung): boolean => rung.audio !== 'none'
  const maps = rungs.flatMap((rung, index) => [
    '-map',
    `${index}:V:0`,
    ...(hasAudio(rung) ? ['-map', `${index}:a:0`] : []),
  ])
  const variants = rungs.map((rung, i) => `v:${i},${hasAudio(rung) ? `a:${i},` : ''}name:${rung.name}`).join(' ')
  const kind = [
    '-f',
    'hls',
    '-hls_time',
    String(keyframeSeconds),
    '-hls_playlist_type',
    'vod',
    '-hls_segment_type',
    'fmp4',
  ]
  const segments = ['-hls_flags', 'single_file', '-hls_segment_filename', `file:${outDir}/hls/%v.m4s`]
  const names = [...segments, '-master_pl_name', 'master.m3u8', '-var_stream_map', variants]
  return [...maps, '-c', 'copy', '-fflags', '+bitexact', ...kind, ...names]
}
