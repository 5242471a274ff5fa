import { Readable } from 'node:stream'
import type { FileEntryWithStats, Stats } from 'ssh2'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { chunkBytes, guardStream } from './bytes.ts'
import { settleExisting } from './existing.ts'
import { joinKey, splitKey, unfinishedDirectory } from './keys.ts'
import type { Pool } from './pool.ts'
import { explainSftpError, requestBytes, requestsInFlight, unavailable } from './sftp-session.ts'
import type { SftpSession } from './sftp-session.ts'
import { isBeingSent, sendPart } from './sftp-upload.ts'
import type { ByteSource, ObjectInfo, PutOptions, PutResult, Store } from './store.ts'
import type { DirectoryLook } from './tree.ts'

/** One SFTP store as its operations see it. */
export interface SftpPlace {
  readonly label: string
  readonly root: string
  readonly timeoutMs: number
  readonly pool: Pool<SftpSession>
  path(key: string): string
}

/** Looks into one directory: its objects, and the directories below it. */
export async function look(
  place: SftpPlace,
  session: SftpSession,
  directory: string,
  isStart: boolean,
): Promise<DirectoryLook> {
  const path = directory === '' ? place.root || '/' : place.path(directory)
  const entries = await session.list(path).catch((error: unknown) => {
    if (isStart || !(error instanceof ReelkeepError) || error.code !== 'store_denied') throw error
    return 'unreadable' as const
  })
  if (entries === 'unreadable') return { objects: [unreadable(directory)], directories: [] }
  if (entries === null && isStart) await requireRoot(place, session)
  const objects: ObjectInfo[] = []
  const directories: string[] = []
  for (const entry of entries ?? []) {
    if (directory === '' && entry.filename === unfinishedDirectory) continue
    const key = joinKey(directory, entry.filename)
    if (entry.attrs.isDirectory()) directories.push(key)
    else objects.push(saysItsName(entry) ? describe(key, entry.attrs) : unreadable(key))
  }
  return { objects, directories }
}

function saysItsName({ filename }: FileEntryWithStats): boolean {
  return !filename.includes('\uFFFD')
}

function unreadable(key: string): ObjectInfo {
  return { key, sizeBytes: 0, modifiedAtMs: 0, fileId: '', tier: null, special: 'unreadable' }
}

/** A missing root is a server that changed, not an empty store. */
async function requireRoot(place: SftpPlace, session: SftpSession): Promise<void> {
  if ((await session.lstat(place.root || '/')) !== null) return
  const message = `${place.label} does not exist on the server. Create the directory; it is never created by itself.`
  throw new ReelkeepError('store_misconfigured', message)
}

function describe(key: string, stats: Stats): ObjectInfo {
  return {
    key,
    sizeBytes: stats.size,
    modifiedAtMs: stats.mtime * 1000,
    fileId: '',
    tier: null,
    special: kindOf(stats),
  }
}

function kindOf(stats: Stats): ObjectInfo['special'] {
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isFIFO()) return 'fifo'
  if (stats.isSocket()) return 'socket'
  return stats.isBlockDevice() || stats.isCharacterDevice() ? 'device' : null
}

/** The object's facts, or `null` where there is none. */
export async function statObject(place: SftpPlace, session: SftpSession, key: string): Promise<ObjectInfo | null> {
  const stats = await session.lstat(place.path(key))
  if (stats === null) await requireRoot(place, session)
  return stats === null || stats.isDirectory() ? null : describe(key, stats)
}

/** Refuses a key whose directory is reached through a symlink: it leads out of the store. */
async function requireRealDirectory(place: SftpPlace, session: SftpSession, key: string): Promise<void> {
  const { directory } = splitKey(key)
  if (directory === '') return
  const [root, actual] = await Promise.all([
    session.realPath(place.root || '/'),
    session.realPath(place.path(directory)),
  ])
  const expected = `${root === '/' ? '' : root}/${directory}`
  if (root === null || actual === null || actual === expected) return
  throw special(place, key)
}

function special(place: SftpPlace, key: string): ReelkeepError {
  const message = `${key} on ${place.label} is no plain file or lies behind a symbolic link. It was not touched.`
  return new ReelkeepError('special_file', message, { details: { key } })
}

/** Opens an object for reading; the connection is given back when the stream ends. */
export async function readObject(
  place: SftpPlace,
  key: string,
  range: { start: number; end?: number } | undefined,
  signal: AbortSignal | undefined,
): Promise<Readable> {
  signal?.throwIfAborted()
  const { member: session, release } = await place.pool.acquire()
  try {
    const [found] = await Promise.all([statObject(place, session, key), requireRealDirectory(place, session, key)])
    if (found === null) {
      throw new ReelkeepError('object_missing', `There is no ${key} on ${place.label}. Check the key.`)
    }
    if (found.special !== null) throw special(place, key)
    const size = found.sizeBytes
    if (range !== undefined && range.start >= size) {
      throw new ReelkeepError('range_not_satisfiable', `${key} has ${size} bytes; byte ${range.start} is past its end.`)
    }
    const handle = await session.open(place.path(key), 'r')
    const last = Math.min(range?.end ?? size - 1, size - 1)
    const chunks = readWindow(session, handle, range?.start ?? 0, last, release)
    const explain = (error: unknown) => explainSftpError(place.label, key, error)
    const stalled = () => unavailable(place.label, `no byte of ${key} for ${place.timeoutMs} ms`)
    const inner = Readable.from(chunks, { objectMode: false, highWaterMark: chunkBytes })
    // A stream that nobody begins to read never runs the part that gives the connection back.
    inner.once('close', release)
    return guardStream(inner, { idleMs: 2 * place.timeoutMs, signal, explain, stalled })
  } catch (error) {
    release()
    throw error
  }
}

/** Keeps a window of requests under way and yields their answers in order; a file that shrank ends early. */
async function* readWindow(
  session: SftpSession,
  handle: Buffer,
  first: number,
  last: number,
  release: () => void,
): AsyncGenerator<Buffer> {
  const flying: { wanted: number; bytes: Promise<Buffer> }[] = []
  let next = first
  try {
    while (next <= last || flying.length > 0) {
      while (next <= last && flying.length < requestsInFlight) {
        const wanted = Math.min(requestBytes, last - next + 1)
        const bytes = session.read(handle, next, wanted)
        bytes.catch(() => {})
        flying.push({ wanted, bytes })
        next += wanted
      }
      const oldest = flying.shift()
      if (oldest === undefined) return
      const bytes = await oldest.bytes
      if (bytes.length > 0) yield bytes
      if (bytes.length < oldest.wanted) return
    }
  } finally {
    await Promise.allSettled(flying.map(({ bytes }) => bytes))
    await session.close(handle).catch(() => {})
    release()
  }
}

/** Sends, then renames: see {@link Store.put}. */
export async function putObject(
  store: Store,
  place: SftpPlace,
  key: string,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult> {
  options.signal?.throwIfAborted()
  const settled = await settleExisting(store, key, source, options)
  if (settled !== null) return settled
  const { member: session, release } = await place.pool.acquire()
  try {
    await makeDirectory(place, session, unfinishedDirectory)
    const unfinished = place.path(unfinishedDirectory)
    const published = await sendPart(session, unfinished, key, source, options, async ({ path, result }) => {
      await makeDirectory(place, session, splitKey(key).directory)
      if (await publish(place, session, path, key, options.sizeBytes)) return result
      await session.unlink(path)
      return null
    })
    if (published !== null) return published
  } finally {
    release()
  }
  const raced = await settleExisting(store, key, source, options)
  if (raced !== null) return raced
  throw unavailable(place.label, `the name ${key} was taken and given up again meanwhile`)
}

/** Gives finished bytes their final name; false where that name is taken. */
async function publish(
  place: SftpPlace,
  session: SftpSession,
  from: string,
  key: string,
  sizeBytes: number,
): Promise<boolean> {
  const sent = await session.lstat(from)
  if (sent === null) throw unavailable(place.label, `another attempt took over the upload of ${key}`)
  if (sent.size !== sizeBytes) throw unavailable(place.label, `it kept ${sent.size} of ${sizeBytes} bytes of ${key}`)
  if ((await session.lstat(place.path(key))) !== null) return false
  try {
    await session.rename(from, place.path(key))
    await failpoint('sftp.after-rename')
    return true
  } catch (error) {
    if ((await session.lstat(place.path(key))) !== null) return false
    if (hasCode(error, 'object_missing'))
      throw unavailable(place.label, `another attempt took over the upload of ${key}`, error)
    throw error
  }
}

async function makeDirectory(place: SftpPlace, session: SftpSession, directory: string): Promise<void> {
  if (directory === '') return
  const isThere = async () => (await session.lstat(place.path(directory)))?.isDirectory() === true
  if (await isThere()) return
  await requireRoot(place, session)
  await makeDirectory(place, session, splitKey(directory).directory)
  await session.mkdir(place.path(directory)).catch(async (error: unknown) => {
    // Somebody else may have made it; the protocol has no code that says so.
    if (!(await isThere())) throw error
  })
}

/** Removes one object and looks whether it is gone. */
export async function deleteObject(place: SftpPlace, session: SftpSession, key: string): Promise<void> {
  const [found] = await Promise.all([statObject(place, session, key), requireRealDirectory(place, session, key)])
  if (found === null) return
  await session.unlink(place.path(key))
  await failpoint('sftp.after-delete')
  if ((await session.lstat(place.path(key))) === null) return
  const message = `${key} is still on ${place.label} after its removal. Check who writes there, then retry.`
  throw new ReelkeepError('delete_ineffective', message, { details: { key } })
}

/** Removes unfinished puts that nobody has written to for this long. Returns how many. */
export async function sweep(place: SftpPlace, session: SftpSession, olderThanMs: number): Promise<number> {
  let count = 0
  for (const { filename, attrs } of (await session.list(place.path(unfinishedDirectory))) ?? []) {
    if (!attrs.isFile() || isBeingSent(filename) || Date.now() - attrs.mtime * 1000 < olderThanMs) continue
    if (await session.unlink(place.path(`${unfinishedDirectory}/${filename}`))) count += 1
  }
  return count
}
