import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A lecture to generate. The same seed gives the same pictures and sound; another seed another recording. */
export interface LectureOptions {
  readonly ffmpegPath: string
  readonly seconds: number
  readonly title: string
  readonly seed: number
}

/** What the small files of tests and benchmarks hold. */
export type SmallCodec = 'h264-aac' | 'vp8-webm' | 'mpeg4-avi' | 'audio-mp3' | 'mkv'

/** A small file to generate: a second and a half of 192x108 unless told otherwise. */
export interface SmallOptions {
  readonly ffmpegPath: string
  readonly seed: number
  readonly codec: SmallCodec
  readonly seconds?: number
  readonly widthPx?: number
  readonly heightPx?: number
}

const topics = [
  'Durable workflows',
  'Checksums and trust',
  'Retention',
  'Copies in two places',
  'Proof of deletion',
  'Questions',
]
const slideSeconds = 6

/**
 * Writes a lecture of 1280x720 slides with a speaker's box and a voice-like tone: H.264 and AAC in MP4, so browser-playable
 * as it is. Slides carry text where ffmpeg has a font to draw with. Overwrites `path`.
 */
export async function generateLecture(path: string, options: LectureOptions): Promise<void> {
  try {
    await write(path, options, slideText(options))
  } catch {
    // No drawtext in this build, or no font on this machine: slides of colour and shape are a lecture, too.
    await write(path, options, [])
  }
}

async function write(path: string, options: LectureOptions, text: readonly string[]): Promise<void> {
  const { seconds, seed } = options
  const hue = (seed * 47) % 360
  const picture = [
    `color=c=0x24344d:s=1280x720:r=15:d=${seconds}`,
    'drawbox=x=0:y=0:w=iw:h=110:color=0x101828:t=fill',
    'drawbox=x=960:y=470:w=260:h=190:color=0x3b5b8c:t=fill',
    ...Array.from({ length: slideCount(options) }, (_, slide) => {
      const width = 200 + ((seed * 31 + slide * 137) % 560)
      return `drawbox=x=80:y=${560 + (slide % 3) * 30}:w=${width}:h=18:color=0xf2b84b:t=fill:${during(slide)}`
    }),
    ...text,
    `hue=h=${hue}`,
  ].join(',')
  // A swinging fundamental with two overtones, cut into syllables: it sounds like speech behind a wall.
  const pitch = 110 + (seed % 70)
  const voice = `0.25*(sin(2*PI*${pitch}*t+2*sin(2*PI*0.7*t))+0.5*sin(4*PI*${pitch}*t)+0.2*sin(6*PI*${pitch}*t))`
  const sound = `aevalsrc='${voice}*pow(abs(sin(2*PI*1.9*t)),2)*(0.6+0.4*sin(2*PI*0.23*t))':s=44100:d=${seconds}`
  const video = ['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'stillimage', '-pix_fmt', 'yuv420p', '-g', '75']
  const audio = ['-c:a', 'aac', '-b:a', '96k', '-shortest']
  const tags = ['-metadata', `title=${options.title}`, '-metadata', `comment=sample ${seed}`]
  await ffmpeg(options.ffmpegPath, [
    ...lavfi(picture),
    ...lavfi(sound),
    ...video,
    ...audio,
    ...tags,
    '-movflags',
    '+faststart',
    '-f',
    'mp4',
    `file:${path}`,
  ])
}

function slideCount({ seconds }: LectureOptions): number {
  return Math.max(1, Math.ceil(seconds / slideSeconds))
}

function during(slide: number): string {
  return `enable='between(t,${slide * slideSeconds},${(slide + 1) * slideSeconds - 0.01})'`
}

function slideText(options: LectureOptions): readonly string[] {
  const title = drawable(options.title)
  const head = `drawtext=text='${title}':x=80:y=36:fontsize=40:fontcolor=white`
  const clock = "drawtext=text='%{pts\\:hms}':x=w-300:y=44:fontsize=26:fontcolor=0xb8c4d9"
  const slides = Array.from({ length: slideCount(options) }, (_, slide) => {
    const topic = drawable(topics[(slide + options.seed) % topics.length] ?? '')
    const number = `${slide + 1} of ${slideCount(options)}`
    return [
      `drawtext=text='${topic}':x=80:y=200:fontsize=64:fontcolor=white:${during(slide)}`,
      `drawtext=text='Slide ${number}':x=80:y=300:fontsize=32:fontcolor=0xb8c4d9:${during(slide)}`,
    ]
  })
  return [head, clock, ...slides.flat()]
}

/** Filter text has three levels of quoting; only characters that mean nothing in any of them stay. */
function drawable(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} .!?()-]/gu, ' ').slice(0, 60)
}

const smallCodecs: Readonly<Record<SmallCodec, readonly string[]>> = {
  'h264-aac': [
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-pix_fmt',
    'yuv420p',
    '-c:a',
    'aac',
    '-movflags',
    '+faststart',
    '-f',
    'mp4',
  ],
  'vp8-webm': ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-c:a', 'libopus', '-f', 'webm'],
  'mpeg4-avi': ['-c:v', 'mpeg4', '-q:v', '8', '-c:a', 'libmp3lame', '-f', 'avi'],
  'audio-mp3': ['-vn', '-c:a', 'libmp3lame', '-b:a', '64k', '-f', 'mp3'],
  mkv: [
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-pix_fmt',
    'yuv420p',
    '-g',
    '10',
    '-c:a',
    'libopus',
    '-f',
    'matroska',
  ],
}

/** Writes a small file of one kind in a fraction of a second; every seed gives other bytes. Overwrites `path`. */
export async function generateSmall(path: string, options: SmallOptions): Promise<void> {
  const { ffmpegPath, seed, codec, seconds = 1.5, widthPx = 192, heightPx = 108 } = options
  const picture = `testsrc2=s=${widthPx}x${heightPx}:r=10:d=${seconds},hue=h=${(seed * 37) % 360}`
  const sound = `sine=f=${200 + (seed % 800)}:r=48000:d=${seconds}`
  const inputs = codec === 'audio-mp3' ? ['-f', 'lavfi', '-i', sound] : [...lavfi(picture), ...lavfi(sound)]
  await ffmpeg(ffmpegPath, [
    ...inputs,
    '-metadata',
    `comment=seed ${seed}`,
    '-threads',
    '1',
    ...smallCodecs[codec],
    `file:${path}`,
  ])
}

function lavfi(source: string): readonly string[] {
  return ['-f', 'lavfi', '-i', source]
}

async function ffmpeg(ffmpegPath: string, args: readonly string[]): Promise<void> {
  await run(ffmpegPath, ['-nostdin', '-hide_banner', '-v', 'error', '-y', ...args], { maxBuffer: 1 << 20 })
}
