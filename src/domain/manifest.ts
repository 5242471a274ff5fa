import { manifestKey, originalKey, recordingPrefix } from './archive.ts'
import type { Manifest, ManifestFile } from './archive.ts'
import type { AudioFacts, MediaFacts, VideoFacts } from './encode.ts'
import { brief, isRecord, readFields } from './manifest-fields.ts'
import type { Fields } from './manifest-fields.ts'
import type { FileView } from './recording.ts'

/** A manifest that may be believed, or the first reason why not. */
export type ManifestReading =
  { readonly ok: true; readonly manifest: ReadManifest } | { readonly ok: false; readonly reason: string }

/** A file as a manifest that was checked names it. */
export interface ReadFile extends ManifestFile {
  readonly kind: FileKind
}

/** A manifest as it was read back: every field checked. */
export interface ReadManifest extends Manifest {
  readonly media: MediaFacts
  readonly files: readonly ReadFile[]
  readonly original: ReadFile
  readonly acceptedAtMs: number
  readonly retainUntilMs: number | null
}

/** Where a manifest stands: what it says of itself must agree. */
export interface ManifestPlace {
  readonly accountId: string
  readonly recordingId: string
}

/** No manifest of ours comes near it (some 300 bytes a file, a dozen files); what is larger is not read. */
export const largestManifestBytes = 1024 * 1024

/** The kinds of files a manifest may name: all but itself. */
type FileKind = Exclude<FileView['kind'], 'manifest'>
const fileKinds: Readonly<Record<FileKind, true>> = {
  original: true,
  video: true,
  hls: true,
  poster: true,
  sprite: true,
  audio: true,
}
const mostFiles = 10_000
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The package that a key belongs to, or null where the key is none of ours: `<account>/<recording>/...`. */
export function packageOf(key: string): ManifestPlace | null {
  const [accountId = '', recordingId = '', ...rest] = key.split('/')
  const ours = uuidPattern.test(accountId) && uuidPattern.test(recordingId) && rest.length > 0
  return ours ? { accountId, recordingId } : null
}

/**
 * Reads a manifest that somebody may have written to do harm: every field has its type and size, its ids are those of its
 * place, every key lies below it, nothing is named twice, and there is nothing else in it. Total: never throws.
 */
export function readManifest(text: string, place: ManifestPlace): ManifestReading {
  const parsed = parse(text)
  if (!isRecord(parsed)) return { ok: false, reason: 'it is not a JSON object' }
  const problems: string[] = []
  const fields = readFields(parsed, '', problems)
  if (parsed['version'] !== 1) problems.unshift(`its version is ${brief(parsed['version'])}, and only 1 is known`)
  const files = readFiles(parsed['files'], problems)
  const manifest = {
    version: 1 as const,
    accountId: fields.text('accountId', 36),
    recordingId: fields.text('recordingId', 36),
    recorder: fields.text('recorder', 200, { filled: true }),
    owner: fields.textOrNull('owner', 320),
    title: fields.text('title', 1000),
    description: fields.text('description', 100_000),
    tags: fields.texts('tags', 1000, 1000),
    depositPath: fields.text('depositPath', 4096, { filled: true }),
    acceptedAt: fields.text('acceptedAt', 40),
    retainUntil: fields.textOrNull('retainUntil', 40),
    media: readMedia(parsed['media'], problems),
    files,
  }
  if (manifest.owner !== null && !/^[^\s\p{Cc}]+$/u.test(manifest.owner))
    problems.push(`owner is ${brief(manifest.owner)}, not an address`)
  fields.nothingElse(['version', 'files', 'media'])
  problems.push(...problemsOfPlace(manifest, place), ...problemsOfTime(manifest))
  const original = files.find((file) => file.kind === 'original')
  const [reason] = problems
  if (reason !== undefined || original === undefined) return { ok: false, reason: reason ?? 'it names no original' }
  const retainUntilMs = manifest.retainUntil === null ? null : Date.parse(manifest.retainUntil)
  return {
    ok: true,
    manifest: { ...manifest, original, acceptedAtMs: Date.parse(manifest.acceptedAt), retainUntilMs },
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function isFileKind(kind: string): kind is FileKind {
  return Object.hasOwn(fileKinds, kind)
}

/** Sound, pictures, data: nothing that a browser would run. */
function isMediaType(type: string): boolean {
  return /^(audio|video|image|text|application)\/[a-z0-9.+-]+$/.test(type) && !/html|script|svg/.test(type)
}

function readFiles(value: unknown, problems: string[]): readonly ReadFile[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > mostFiles) {
    problems.push(`files is ${brief(value)}, not a list of 1 to ${mostFiles} files`)
    return []
  }
  const items: readonly unknown[] = value
  return items.flatMap((item, index) => {
    if (!isRecord(item)) {
      problems.push(`files[${index}] is ${brief(item)}, not a file`)
      return []
    }
    const fields = readFields(item, `files[${index}].`, problems)
    const kind = fields.text('kind', 20)
    const file = {
      name: fields.text('name', 1024, { filled: true }),
      key: fields.text('key', 1024, { filled: true }),
      contentType: fields.text('contentType', 200),
      sizeBytes: fields.whole('sizeBytes'),
      sha256: fields.text('sha256', 64),
    }
    fields.nothingElse()
    if (!/^[0-9a-f]{64}$/.test(file.sha256)) problems.push(`files[${index}].sha256 is no SHA-256 in lower-case hex`)
    // It becomes a header of the API's answers, to people who are signed in there.
    if (!isMediaType(file.contentType))
      problems.push(`files[${index}].contentType is ${brief(file.contentType)}, which no file of ours has`)
    if (isFileKind(kind)) return [{ ...file, kind }]
    problems.push(`files[${index}].kind is ${brief(kind)}, which no file is`)
    return []
  })
}

function readMedia(value: unknown, problems: string[]): MediaFacts {
  const object = isRecord(value) ? value : {}
  if (!isRecord(value)) problems.push(`media is ${brief(value)}, not the facts of a media file`)
  const fields = readFields(object, 'media.', problems)
  const media = {
    container: fields.text('container', 200),
    durationMs: fields.numberOrNull('durationMs'),
    sizeBytes: fields.whole('sizeBytes'),
    video: readPart(object['video'], 'media.video', problems, readVideo),
    audio: readPart(object['audio'], 'media.audio', problems, readAudio),
    streamCount: fields.whole('streamCount'),
    title: fields.textOrNull('title', 1000),
    notes: fields.texts('notes', 100, 1000),
  }
  fields.nothingElse(['video', 'audio'])
  return media
}

function readPart<T>(value: unknown, where: string, problems: string[], read: (fields: Fields) => T): T | null {
  if (value === null) return null
  if (!isRecord(value)) {
    problems.push(`${where} is ${brief(value)}, not the facts of a stream`)
    return null
  }
  const fields = readFields(value, `${where}.`, problems)
  const part = read(fields)
  fields.nothingElse()
  return part
}

function readVideo(fields: Fields): VideoFacts {
  return {
    codec: fields.text('codec', 100),
    profile: fields.textOrNull('profile', 100),
    level: fields.numberOrNull('level'),
    pixelFormat: fields.text('pixelFormat', 100),
    widthPx: fields.whole('widthPx'),
    heightPx: fields.whole('heightPx'),
    framesPerSecond: fields.numberOrNull('framesPerSecond'),
    interlaced: fields.flag('interlaced'),
    hdr: fields.flag('hdr'),
    rotationDegrees: fields.numberOrNull('rotationDegrees') ?? 0,
  }
}

function readAudio(fields: Fields): AudioFacts {
  return {
    codec: fields.text('codec', 100),
    profile: fields.textOrNull('profile', 100),
    channels: fields.whole('channels'),
    sampleRateHz: fields.whole('sampleRateHz'),
  }
}

function problemsOfPlace({ accountId, recordingId, files }: Manifest, place: ManifestPlace): string[] {
  const problems: string[] = []
  if (accountId !== place.accountId)
    problems.push(`it says account ${brief(accountId)}, and stands in another one's folder`)
  if (recordingId !== place.recordingId)
    problems.push(`it says recording ${brief(recordingId)}, and stands in another one's folder`)
  const prefix = `${recordingPrefix(place.accountId, place.recordingId)}/`
  for (const { key, name } of files) {
    if (!isCleanPath(key) || !key.startsWith(prefix)) problems.push(`the key ${brief(key)} is not below its own folder`)
    if (!isCleanPath(name)) problems.push(`the name ${brief(name)} is no plain name`)
  }
  for (const field of ['key', 'name'] as const) {
    const seen = new Set([field === 'key' ? manifestKey(place.accountId, place.recordingId) : 'manifest.json'])
    for (const file of files) {
      if (seen.has(file[field]))
        problems.push(`the ${field} ${brief(file[field])} is named twice, or is the manifest's own`)
      seen.add(file[field])
    }
  }
  const originals = files.filter((file) => file.kind === 'original')
  if (originals.length > 1) problems.push('it names more than one original')
  for (const { name, key } of originals) {
    const expected = originalKey(place.accountId, place.recordingId, name.replace(/^original\./, ''))
    if (!/^original\.[a-z0-9]{1,20}(\.[a-z0-9]{1,20})?$/.test(name) || key !== expected)
      problems.push(`its original is ${brief(name)} at ${brief(key)}: no original has such a name and key`)
  }
  return problems
}

function isCleanPath(path: string): boolean {
  const parts = path.split('/')
  return parts.every((part) => part !== '' && part !== '.' && part !== '..') && !/[\\\p{Cc}]/u.test(path)
}

function problemsOfTime({ acceptedAt, retainUntil }: Pick<Manifest, 'acceptedAt' | 'retainUntil'>): string[] {
  return Object.entries({ acceptedAt, retainUntil }).flatMap(([name, value]) =>
    value === null || isInstant(value)
      ? []
      : [`${name} is ${brief(value)}, not an instant like 2026-11-25T10:00:00.000Z`],
  )
}

/** As `Date.toISOString` writes it, in a year that a database can hold. */
function isInstant(value: string): boolean {
  return /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/.test(value) && isSameInstant(value)
}

function isSameInstant(value: string): boolean {
  const ms = Date.parse(value)
  return Number.isFinite(ms) && new Date(ms).toISOString() === value
}
