import { ReelkeepError } from '../domain/errors.ts'
import type { ByteSource } from './byte-source.ts'
import { truncated, withByteSource } from './byte-source.ts'
import type { Family } from './magic.ts'
import { describeForeign, familiesByExtension, sniffBytes, sniffFamily, tsPacketSize } from './magic.ts'
import { checkMatroska } from './matroska-elements.ts'
import { checkMp3 } from './mp3-frames.ts'
import { checkMp4 } from './mp4-boxes.ts'
import { checkRiff } from './riff-chunks.ts'
import { readZipEnd } from './zip-end.ts'

/**
 * Is the file what its extension says, and whole? Looks at magic bytes, then at the container's own arithmetic. Reads a
 * bounded number of small windows (only an MP3 is read through) and starts no process: milliseconds even for 100 GB.
 * Whether a package extension (`zip`, `tar.gz`) is accepted at all is decided elsewhere.
 * @param extension with or without a leading dot, any case
 * @throws empty_file, type_mismatch, truncated, zip_structure
 */
export function checkStructure(path: string, extension: string): Promise<void> {
  return withByteSource(path, async (source) => {
    if (source.sizeBytes === 0) {
      throw new ReelkeepError('empty_file', 'The file is empty: nothing was uploaded. Upload it again.')
    }
    await checks[await familyOf(source, extension)](source)
  })
}

async function familyOf(source: ByteSource, extension: string): Promise<Family> {
  const wanted = extension.replace(/^\./, '').toLowerCase()
  const allowed = Object.hasOwn(familiesByExtension, wanted) ? familiesByExtension[wanted] : undefined
  if (allowed === undefined) {
    throw new ReelkeepError(
      'type_mismatch',
      `".${wanted.slice(0, 20)}" is not an extension of a recording. Known: ${Object.keys(familiesByExtension).join(', ')}.`,
    )
  }
  const head = await source.read(0, sniffBytes)
  const found = sniffFamily(head)
  if (found !== null && allowed.includes(found)) return found
  if (found === null && head.every((byte) => byte === 0))
    throw truncated('its beginning is zeros: nothing was written there')
  const looksLike = found === null ? describeForeign(head) : `a ${found} file`
  const nextStep = found === null ? 'Upload the recording itself.' : 'Upload it again with the extension of its format.'
  throw new ReelkeepError('type_mismatch', `The file is named .${wanted} but holds ${looksLike}. ${nextStep}`, {
    details: { extension: wanted, found: found ?? looksLike },
  })
}

/** One check per family. Formats without an end or a length (MPEG-PS, ADTS, FLAC) are left to the full decode. */
const checks: Readonly<Record<Family, (source: ByteSource) => Promise<void>>> = {
  mp4: checkMp4,
  matroska: checkMatroska,
  avi: checkRiff,
  wav: checkRiff,
  mpegts: checkTransportStream,
  flv: checkFlv,
  asf: checkAsf,
  ogg: checkOgg,
  zip: checkZip,
  mpegps: notChecked,
  mp3: checkMp3,
  adts: notChecked,
  flac: notChecked,
  gzip: notChecked,
}

async function notChecked(): Promise<void> {}

async function checkTransportStream(source: ByteSource): Promise<void> {
  const packet = tsPacketSize(await source.read(0, sniffBytes)) ?? 188
  const rest = source.sizeBytes % packet
  if (rest !== 0) throw truncated(`its last packet has ${rest} of ${packet} bytes`)
}

/** The last four bytes repeat the length of the tag before them. */
async function checkFlv(source: ByteSource): Promise<void> {
  const size = source.sizeBytes
  if (size < 13 + 11 + 4) throw truncated('it ends after its header')
  const last = (await source.read(size - 4, 4)).readUInt32BE(0)
  const tag = last >= 11 && last + 4 < size ? await source.read(size - 4 - last, 4) : Buffer.alloc(4)
  if (tag.readUIntBE(1, 3) + 11 !== last) throw truncated('it does not end with a whole tag')
}

const asfFilePropertiesId = 'a1dcab8c47a9cf118ee400c00c205365'

/** The File Properties object carries the file's length, except in broadcasts. */
async function checkAsf(source: ByteSource): Promise<void> {
  const head = await source.read(0, 64 * 1024)
  const at = head.indexOf(Buffer.from(asfFilePropertiesId, 'hex'))
  if (at < 0 || at + 92 > head.length) throw truncated('its header is not whole')
  const declared = Number(head.readBigUInt64LE(at + 40))
  const broadcast = (head.readUInt32LE(at + 88) & 1) === 1
  if (!broadcast && declared > source.sizeBytes) {
    throw truncated(`it should be ${declared} bytes long and is ${source.sizeBytes}`)
  }
}

const largestOggPage = 27 + 255 + 255 * 255

/** The last page must end where the file ends. */
async function checkOgg(source: ByteSource): Promise<void> {
  const tail = await source.read(Math.max(0, source.sizeBytes - largestOggPage), largestOggPage)
  for (let at = tail.lastIndexOf('OggS'); at >= 0; at = at === 0 ? -1 : tail.lastIndexOf('OggS', at - 1)) {
    const segments = tail[at + 26]
    if (segments === undefined || at + 27 + segments > tail.length) continue
    const body = tail.subarray(at + 27, at + 27 + segments).reduce((sum, length) => sum + length, 0)
    if (at + 27 + segments + body === tail.length) return
  }
  throw truncated('it does not end with a whole page')
}

/** The cheap part of a ZIP alone; its entries are read by `readPackage`. */
async function checkZip(source: ByteSource): Promise<void> {
  await readZipEnd(source)
}
