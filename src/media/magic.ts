/** Container families: what the first bytes can tell apart, and what the structure checks know how to add up. */
export type Family =
  | 'mp4'
  | 'matroska'
  | 'avi'
  | 'wav'
  | 'mpegts'
  | 'mpegps'
  | 'flv'
  | 'asf'
  | 'mp3'
  | 'adts'
  | 'ogg'
  | 'flac'
  | 'zip'
  | 'gzip'

/**
 * Which families a file extension may hold, most expected first. Recorders write transport streams into `.mpg`, and
 * DivX is AVI under another name; everything else must be what it says.
 */
export const familiesByExtension: Readonly<Record<string, readonly Family[]>> = {
  mp4: ['mp4'],
  m4v: ['mp4'],
  m4a: ['mp4'],
  mov: ['mp4'],
  '3gp': ['mp4'],
  '3g2': ['mp4'],
  mkv: ['matroska'],
  mka: ['matroska'],
  webm: ['matroska'],
  avi: ['avi'],
  divx: ['avi'],
  wav: ['wav'],
  ts: ['mpegts'],
  mts: ['mpegts'],
  m2ts: ['mpegts'],
  mpg: ['mpegps', 'mpegts'],
  mpeg: ['mpegps', 'mpegts'],
  m2p: ['mpegps', 'mpegts'],
  flv: ['flv'],
  wmv: ['asf'],
  wma: ['asf'],
  asf: ['asf'],
  mp3: ['mp3'],
  aac: ['adts'],
  ogg: ['ogg'],
  oga: ['ogg'],
  ogv: ['ogg'],
  opus: ['ogg'],
  flac: ['flac'],
  zip: ['zip'],
  'tar.gz': ['gzip'],
  tgz: ['gzip'],
}

/** How many bytes from the start `sniffFamily` and `describeForeign` want to see. */
export const sniffBytes = 1024

/** First box of a file of the MP4 family; QuickTime files may begin with any of these. */
const firstBoxes = new Set(['ftyp', 'styp', 'moov', 'mdat', 'free', 'skip', 'wide', 'pnot', 'uuid'])
/** Brands that share the MP4 box format but hold still pictures. */
const pictureBrands = /^(?:avif|avis|crx |he[imv][cfsx]|mif1|msf1|jp2 )$/
const asfHeaderId = '3026b2758e66cf11a6d900aa0062ce6c'

/** The family the first bytes belong to, or `null` where they are none of ours. */
export function sniffFamily(head: Buffer): Family | null {
  const tag = head.toString('latin1', 0, 4)
  const second = head.toString('latin1', 4, 8)
  const third = head.toString('latin1', 8, 12)
  if (firstBoxes.has(second)) return second === 'ftyp' && pictureBrands.test(third) ? null : 'mp4'
  if (head.toString('hex', 0, 4) === '1a45dfa3') return 'matroska'
  if (tag === 'RIFF' || tag === 'RF64') return third === 'AVI ' ? 'avi' : third === 'WAVE' ? 'wav' : null
  if (tag === 'OggS') return 'ogg'
  if (tag === 'fLaC') return 'flac'
  if (tag.startsWith('FLV')) return 'flv'
  if (head.toString('hex', 0, 16) === asfHeaderId) return 'asf'
  if (tag === 'PK\u0003\u0004' || tag === 'PK\u0005\u0006') return 'zip'
  if (head[0] === 0x1f && head[1] === 0x8b && head[2] === 8) return 'gzip'
  if (tsPacketSize(head) !== null) return 'mpegts'
  if (/^000001(?:ba|b3|e[0-9a-f]|c[0-9a-f])/.test(head.toString('hex', 0, 4))) return 'mpegps'
  return sniffAudioFrames(head)
}

/** 188 or, with the time codes of Blu-ray and AVCHD, 192 bytes; `null` where the sync bytes are not where they belong. */
export function tsPacketSize(head: Buffer): 188 | 192 | null {
  const synced = (start: number, size: number): boolean => {
    let packets = 0
    for (let at = start; at < head.length; at += size, packets++) if (head[at] !== 0x47) return false
    return packets > 0
  }
  if (synced(0, 188)) return 188
  return synced(4, 192) ? 192 : null
}

/** ADTS has layer bits 0, MPEG audio has not; both begin with a sync word. An ID3 tag announces MP3. */
function sniffAudioFrames(head: Buffer): Family | null {
  if (head.toString('latin1', 0, 3) === 'ID3') return 'mp3'
  const [first, second = 0, third = 0] = head
  if (first !== 0xff || (second & 0xe0) !== 0xe0 || head.length < 4) return null
  if ((second & 0xf6) === 0xf0) return 'adts'
  const reserved =
    (second & 0x18) === 0x08 || (second & 0x06) === 0 || (third & 0xf0) === 0xf0 || (third & 0x0c) === 0x0c
  return reserved || (second === 0xff && third === 0xff) ? null : 'mp3'
}

/** Things that turn up under a video's name, for a message that says what was found. */
const foreign: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['a JPEG picture', /^\xff\xd8\xff/],
  ['a PNG picture', /^\x89PNG/],
  ['a GIF picture', /^GIF8/],
  ['a still picture', /^[^]{4}(?:ftyp|jP {2})/],
  ['a PDF document', /^%PDF/],
  ['a Linux program', /^\x7fELF/],
  ['a Windows program', /^MZ/],
  ['a 7-Zip archive', /^7z\xbc\xaf/],
  ['a RAR archive', /^Rar!/],
  ['an HLS playlist', /^(?:\xef\xbb\xbf)?\s*#EXTM3U/],
  ['an ffconcat list', /^ffconcat /],
  ['a PLS playlist', /^\s*\[playlist\]/i],
  ['an SDP session description', /^v=0\r?\n/],
  ['a DASH manifest', /^[^]*<MPD[\s/>]/],
  ['an IMF composition', /^[^]*<CompositionPlaylist[\s/>]/],
  ['an HTML page', /^\s*<(?:!doctype html|html|head|body|script)/i],
  ['an XML document', /^(?:\xef\xbb\xbf)?\s*<\?xml/],
  ['a script', /^#!/],
  ['text', /^[\t\n\r\x20-\x7e\x80-\xff]+$/],
]

/** What a file that is not media looks like, in words: "a PDF document". */
export function describeForeign(head: Buffer): string {
  const text = head.toString('latin1', 0, sniffBytes)
  return foreign.find(([, pattern]) => pattern.test(text))?.[0] ?? 'something unknown'
}
