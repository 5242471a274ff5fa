import type { ErrorCode } from './errors.ts'
import { depositExtensions, extensionOf, packageExtensions } from './inbox-names.ts'
import { cleanPath, shownPath } from './package-paths.ts'
import { judgeSmil, smilName } from './smil.ts'
import type { SmallText } from './xml.ts'

/** One entry of a package that was read to its end and found sound. */
export interface PackageEntry {
  readonly path: string
  readonly directory: boolean
  readonly sizeBytes: number
  /** What the entry says, where `isPackageText` asked for it. */
  readonly text: SmallText | null
}

/**
 * What a sound archive is: a whole package of a kind that is known, something else, or a package that may not be used or
 * lacks a part.
 */
export type PackageVerdict =
  | { readonly kind: 'whole'; readonly what: 'session' | 'audiovideocast'; readonly files: number }
  | { readonly kind: 'unknown'; readonly files: number }
  | { readonly kind: 'unfit'; readonly code: ErrorCode; readonly message: string }

/** True for the small entries that say what a package is: the info of a session, the SMIL of an AudioVideoCast. */
export function isPackageText(path: string): boolean {
  return ['json', 'smil'].includes(extensionOf(path))
}

/**
 * Decides what a package is and whether it is whole, by the names of its entries and by its info file or SMIL alone. Entries
 * that packing programs add by themselves are passed over.
 */
export function decidePackage(entries: readonly PackageEntry[]): PackageVerdict {
  const files = new Map<string, PackageEntry>()
  for (const entry of entries) if (!entry.directory && !isForeign(entry.path)) files.set(keyOf(entry.path), entry)
  if (files.size === 0) return incomplete('The package holds no files.')
  const smils = [...files].filter(([path]) => baseName(path) === smilName)
  const session = smils.length > 0 ? null : findSession(files)
  if (smils.length === 0 && session === null) return isCastWithoutSmil(files) ? castWithoutSmil : unknown(files.size)
  const verdict = session === null ? judgeCasts(smils, files) : judgeSession(session, files)
  return verdict ?? { kind: 'whole', what: session === null ? 'audiovideocast' : 'session', files: files.size }
}

/** What people read about a package that nothing is wrong with. No kind of package is processed by this version. */
export function describeUnprocessed(verdict: Exclude<PackageVerdict, { kind: 'unfit' }>): string {
  const files = `${verdict.files} ${verdict.files === 1 ? 'file' : 'files'}`
  if (verdict.kind === 'unknown') {
    return `The archive is whole (${files}), but it is neither an AudioVideoCast nor a session package. The source is kept; upload the recording itself as one media file.`
  }
  const what = verdict.what === 'session' ? 'a session package' : 'an AudioVideoCast package'
  return `It is ${what} and it is whole (${files}), but packages of this kind are not processed yet. The source is kept; upload the recording as one media file to have it taken in now.`
}

function isForeign(path: string): boolean {
  const parts = path.split('/')
  return parts.includes('__MACOSX') || parts.at(-1) === '.DS_Store'
}

function incomplete(problem: string): PackageVerdict {
  const message = `${problem} Upload the whole package again; the source is kept.`
  return { kind: 'unfit', code: 'incomplete_package', message }
}

function unknown(files: number): PackageVerdict {
  return { kind: 'unknown', files }
}

type Files = ReadonlyMap<string, PackageEntry>

const castWithoutSmil = incomplete(`The AudioVideoCast package is not whole. Missing: ${smilName}.`)

/** Media with slides, or one folder with either, and nothing that speaks of a session. */
function isCastWithoutSmil(files: Files): boolean {
  const paths = [...files.keys()]
  const folders = new Set(paths.map((path) => (path.includes('/') ? path.slice(0, path.indexOf('/')) : null)))
  const [hasMedia, hasSlides] = [paths.some(isMedia), paths.some(isSlide)]
  return (hasMedia && hasSlides) || (folders.size === 1 && !folders.has(null) && (hasMedia || hasSlides))
}

function judgeCasts(smils: readonly (readonly [string, PackageEntry])[], files: Files): PackageVerdict | null {
  for (const [path, { text }] of smils) {
    const folder = path.slice(0, -smilName.length)
    const problem = judgeSmil(text, (src) => isPresent(files, folder + src))
    if (problem === null) continue
    if (problem.code === 'incomplete_package') return incomplete(problem.reason)
    const message = `${problem.reason} Pack it again without that; the source is kept.`
    return { kind: 'unfit', code: problem.code, message }
  }
  return null
}

function isPresent(files: Files, path: string): boolean {
  return (files.get(keyOf(path))?.sizeBytes ?? 0) > 0
}

/** An accent may be written in two ways: one by the program that packs, another by the one that writes the SMIL. */
function keyOf(path: string): string {
  return cleanPath(path).normalize('NFC')
}

const streamRoles = ['agent video', 'agent audio', 'user video', 'user audio'] as const
type StreamRole = (typeof streamRoles)[number]

/** What speaks of a call session: its info, and the streams that are there. */
interface Session {
  readonly info: { readonly path: string; readonly value: JsonObject } | null
  readonly unreadable: string | null
  readonly streams: ReadonlySet<StreamRole>
}

function findSession(files: Files): Session | null {
  const paths = [...files.keys()].filter((path) => isStream(path) && isPresent(files, path))
  const streams = new Set(paths.flatMap((path) => roleIn(baseName(path))))
  let info: Session['info'] = null
  let unreadable: string | null = null
  for (const [path, entry] of files) {
    if (extensionOf(path) !== 'json') continue
    const value = readInfo(entry.text)
    if (value === null) unreadable ??= path
    else if (namesSession(value, streams.size > 0)) info ??= { path, value }
  }
  return info === null && streams.size === 0 ? null : { info, unreadable, streams }
}

/** Everything the info lists, and the four streams by name or by what the info says of them. */
function judgeSession({ info, unreadable, streams }: Session, files: Files): PackageVerdict | null {
  const listed = info === null ? [] : listedFiles(info.value)
  const folder = info === null ? '' : info.path.slice(0, -baseName(info.path).length)
  const missing = listed.filter(({ name }) => !isPresent(files, folder + name)).map(({ name }) => shownPath(name))
  // Recorders that list files of their own naming keep sound and picture together, in as many files as there were people.
  if (info === null || listed.length === 0 || !Object.hasOwn(info.value, 'files')) {
    const known = new Set([...streams, ...listed.flatMap(({ words }) => roleIn(words))])
    missing.push(...streamRoles.filter((role) => !known.has(role)))
  }
  if (info === null) missing.unshift(infoName(unreadable))
  if (missing.length === 0) return null
  const more = missing.length > 10 ? ` and ${missing.length - 10} more` : ''
  return incomplete(`The session package is not whole. Missing: ${missing.slice(0, 10).join(', ')}${more}.`)
}

function infoName(unreadable: string | null): string {
  const what = 'info file (a .json that names the session)'
  return unreadable === null ? what : `${what}; ${shownPath(unreadable)} cannot be read as one`
}

function isStream(path: string): boolean {
  return isMedia(path) || ['mjr', 'raw', 'ivf'].includes(extensionOf(path))
}

/** Which of the four streams a name or a description speaks of: `agent-video.webm`, `8812_User_Audio.mka`. */
function roleIn(words: string): readonly StreamRole[] {
  const lower = words.toLowerCase()
  const roles = streamRoles.filter((role) => role.split(' ').every((word) => lower.includes(word)))
  return roles.length === 1 ? roles : []
}

function readInfo(text: SmallText | null): JsonObject | null {
  if (text === null || text.cut) return null
  try {
    const value: unknown = JSON.parse(text.text.replace(/^\uFEFF/, ''))
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

/** @param besideStreams a plain `id` says enough then */
function namesSession(value: JsonObject, besideStreams: boolean): boolean {
  const keys = ['sessionId', 'sessionID', 'session_id', 'session', ...(besideStreams ? ['id'] : [])]
  return keys.some((key) => {
    const id = ownValue(value, key)
    const plain = isObject(id) ? ownValue(id, 'id') : id
    return typeof plain === 'number' || (typeof plain === 'string' && plain.trim() !== '')
  })
}

/** A file that the info lists, and everything the info says of it. */
interface Listed {
  readonly name: string
  readonly words: string
}

/** @source Vonage/OpenTok archives: `{id, sessionId, files: [{filename, streamId, ...}]}` */
function listedFiles(value: JsonObject): readonly Listed[] {
  const lists = [ownValue(value, 'files'), ownValue(value, 'streams')].filter((list) => typeof list === 'object')
  return lists.flatMap((list) =>
    Object.entries(list ?? {}).flatMap(([key, file]: [string, unknown]) => {
      const name = isObject(file) ? (ownValue(file, 'filename') ?? ownValue(file, 'file')) : file
      const words = isObject(file) ? Object.values(file).filter((word) => typeof word === 'string') : []
      return typeof name === 'string' && name !== '' ? [{ name, words: [key, name, ...words].join(' ') }] : []
    }),
  )
}

function ownValue(value: JsonObject, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : null
}

type JsonObject = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isMedia(path: string): boolean {
  const extension = extensionOf(path)
  return depositExtensions.has(extension) && !packageExtensions.has(extension)
}

function isSlide(path: string): boolean {
  return ['jpg', 'jpeg', 'png', 'gif', 'bmp', 'webp'].includes(extensionOf(path))
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
