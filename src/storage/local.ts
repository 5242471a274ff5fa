import type { Stats } from 'node:fs'
import { constants } from 'node:fs'
import { lstat, open, readdir, rmdir, stat, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import { diskIdleMs, readBlocks, silentDisk } from './blocks.ts'
import { chunkBytes, guardStream } from './bytes.ts'
import { proveAccess } from './check.ts'
import { directoryOfPrefix, joinKey, nameFromBytes, requireSafeKey, splitKey, unfinishedDirectory } from './keys.ts'
import { ignore, inDirectory, isErrno, pathOf } from './local-directory.ts'
import { explainLocalError } from './local-errors.ts'
import { putObject } from './local-put.ts'
import type { ObjectInfo, Store } from './store.ts'
import { walkTree } from './tree.ts'
import type { DirectoryLook } from './tree.ts'

/** Where a directory store is and how it behaves. */
export interface LocalStoreOptions {
  /** Absolute path. It is never created: a disk that is not mounted must look like an outage, not like an empty store. */
  readonly root: string
  /** Removes directories that a `delete` emptied, never the root. Off where recorders own the directories. */
  readonly pruneEmptyDirectories?: boolean
}

const lookFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const statsAtOnce = 512

/**
 * A directory on this machine (or mounted on it) as a store. Writes go to `.tmp/<uuid>`, are synced and then linked to
 * their final name, which fails where something is: no reader sees a part, no put overwrites.
 */
export function openLocalStore(options: LocalStoreOptions): Store {
  const { root } = options
  const label = `local:${root}`
  const explain = (error: unknown, key: string) => explainLocalError(label, key, error)
  const explained = async <T>(key: string, job: () => Promise<T>): Promise<T> => {
    try {
      return await job()
    } catch (error) {
      throw isErrno(error, 'ENOENT') ? ((await rootMissing(root, label)) ?? explain(error, key)) : explain(error, key)
    }
  }
  const guarded = async <T>(key: string, job: () => Promise<T>): Promise<T> => {
    requireSafeKey(label, key)
    return explained(key, job)
  }
  const store: Store = {
    label,
    remote: false,
    can: { fileIds: true, resume: false },
    localPath(key) {
      requireSafeKey(label, key)
      return join(root, key)
    },
    async *list(prefix, signal) {
      const directory = directoryOfPrefix(label, prefix)
      yield* walkTree(directory, (at) => explained(at, () => look(root, at, at === directory)), signal)
    },
    stat: (key) => guarded(key, () => statObject(root, key)),
    read: (key, range, signal) =>
      guarded(key, async () =>
        openRange(await openRegular(root, label, key), key, range, signal, (e) => explain(e, key)),
      ),
    blocks: (key, signal) =>
      guarded(key, async () => {
        const handle = await openRegular(root, label, key)
        return explainBlocks(handle, signal, (error) => explain(error, key))
      }),
    put: (key, source, put) => guarded(key, () => putObject(store, root, key, source, put)),
    delete: (key) => guarded(key, () => deleteObject(root, key, options.pruneEmptyDirectories ?? false)),
    sweepUnfinished: (olderThanMs) => explained(unfinishedDirectory, () => sweep(root, olderThanMs)),
    check: () => proveAccess(store),
    close: async () => {},
  }
  return store
}

/** The error for a root that is gone, or `null` where it is there. */
async function rootMissing(root: string, label: string): Promise<ReelkeepError | null> {
  if ((await lstat(root).catch(ignore('ENOENT'))) !== null) return null
  const message = `${label} does not exist. Create the directory or mount the disk; it is never created by itself.`
  return new ReelkeepError('store_misconfigured', message)
}

async function statObject(root: string, key: string): Promise<ObjectInfo | null> {
  const { directory, name } = splitKey(key)
  const stats = await inDirectory(root, directory, (held) => lstat(held.entry(name))).catch(missingBelow(root))
  return stats === null || stats.isDirectory() ? null : describe(root, key, stats)
}

/** A missing directory means a missing object, but a missing root is a disk that is not mounted: the caller must know. */
function missingBelow(root: string): (error: unknown) => Promise<null> {
  return async (error) => {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error
    if ((await stat(root)).isDirectory()) return null
    throw error
  }
}

async function describe(root: string, key: string, stats: Stats): Promise<ObjectInfo> {
  return {
    key,
    sizeBytes: stats.size,
    modifiedAtMs: stats.mtimeMs,
    fileId: `${stats.dev}:${stats.ino}`,
    tier: null,
    special: stats.isFile() && stats.nlink > 1 ? await foreignLink(root, stats) : kindOf(stats),
  }
}

function kindOf(stats: Stats): ObjectInfo['special'] {
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isFIFO()) return 'fifo'
  if (stats.isSocket()) return 'socket'
  return stats.isFile() ? null : 'device'
}

/** Between `link` and the removal of the temporary name an object of our own has two names; that is no foreign link. */
async function foreignLink(root: string, stats: Stats): Promise<'hard_link' | null> {
  let own = 0
  for (const name of (await readdir(join(root, unfinishedDirectory)).catch(ignore('ENOENT'))) ?? []) {
    const other = await lstat(join(root, unfinishedDirectory, name)).catch(ignore('ENOENT'))
    if (other?.ino === stats.ino && other.dev === stats.dev) own += 1
  }
  return stats.nlink - own > 1 ? 'hard_link' : null
}

async function look(root: string, directory: string, isStart: boolean): Promise<DirectoryLook> {
  const objects: ObjectInfo[] = []
  const directories: string[] = []
  const entries = await readdir(pathOf(root, directory), { withFileTypes: true, encoding: 'buffer' }).catch(
    async (error: unknown) => {
      if (isErrno(error, 'EACCES', 'EPERM') && !isStart) objects.push(unreadable(directory))
      else await missingBelow(root)(error)
      return []
    },
  )
  // The walk itself never enters a symlink; only the start could be one.
  if (isStart && entries.length > 0) await inDirectory(root, directory, async () => {})
  const names: string[] = []
  for (const entry of entries) {
    const name = nameFromBytes(entry.name)
    if (directory === '' && name === unfinishedDirectory) continue
    if (entry.isDirectory()) directories.push(joinKey(directory, name))
    else names.push(joinKey(directory, name))
  }
  for (let at = 0; at < names.length; at += statsAtOnce) {
    const infos = await Promise.all(names.slice(at, at + statsAtOnce).map((key) => lookAt(root, key)))
    for (const info of infos) if (info !== null) objects.push(info)
  }
  return { objects, directories }
}

/** One listed name; `null` when it vanished (or became a directory) between the two looks. */
async function lookAt(root: string, key: string): Promise<ObjectInfo | null> {
  try {
    const stats = await lstat(pathOf(root, key))
    return stats.isDirectory() ? null : await describe(root, key, stats)
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM')) return unreadable(key)
    return ignore('ENOENT', 'ENOTDIR')(error)
  }
}

function unreadable(key: string): ObjectInfo {
  return { key, sizeBytes: 0, modifiedAtMs: 0, fileId: '', tier: null, special: 'unreadable' }
}

async function openRegular(root: string, label: string, key: string): Promise<FileHandle> {
  const { directory, name } = splitKey(key)
  const handle = await inDirectory(root, directory, (held) => open(held.entry(name), lookFlags))
  const stats = await handle.stat()
  if (stats.isFile()) return handle
  await handle.close()
  const code = stats.isDirectory() ? 'object_missing' : 'special_file'
  throw new ReelkeepError(code, `${key} in ${label} is no plain file. Put the file itself there.`, { details: { key } })
}

async function openRange(
  handle: FileHandle,
  key: string,
  range: { start: number; end?: number } | undefined,
  signal: AbortSignal | undefined,
  explain: (error: unknown) => Error,
): Promise<Readable> {
  const { size } = await handle.stat()
  if (range !== undefined && range.start >= size) {
    await handle.close()
    throw new ReelkeepError('range_not_satisfiable', `${key} has ${size} bytes; byte ${range.start} is past its end.`)
  }
  const inner = handle.createReadStream({ ...range, highWaterMark: chunkBytes })
  const stalled = () => explain(silentDisk())
  return guardStream(inner, { idleMs: diskIdleMs, signal, explain, stalled })
}

async function* explainBlocks(
  handle: FileHandle,
  signal: AbortSignal | undefined,
  explain: (error: unknown) => Error,
): AsyncGenerator<Buffer> {
  try {
    yield* readBlocks(handle, signal)
  } catch (error) {
    signal?.throwIfAborted()
    throw explain(error)
  }
}

async function deleteObject(root: string, key: string, prune: boolean): Promise<void> {
  const { directory, name } = splitKey(key)
  await inDirectory(root, directory, async (held) => {
    const stats = await lstat(held.entry(name)).catch(ignore('ENOENT'))
    if (stats === null || stats.isDirectory()) return
    await unlink(held.entry(name)).catch(ignore('ENOENT'))
    await failpoint('local.after-unlink')
    await held.sync()
    if ((await lstat(held.entry(name)).catch(ignore('ENOENT'))) === null) return
    const message = `${key} is still in ${root} after its removal. Check who writes there, then retry.`
    throw new ReelkeepError('delete_ineffective', message, { details: { key } })
  }).catch(missingBelow(root))
  if (prune) await pruneUpwards(root, directory)
}

async function pruneUpwards(root: string, emptied: string): Promise<void> {
  for (let at = emptied; at !== ''; at = splitKey(at).directory) {
    const parent = splitKey(at)
    const removed = await inDirectory(root, parent.directory, async (held) => {
      await rmdir(held.entry(parent.name))
      return true
    }).catch(ignore('ENOTEMPTY', 'EEXIST', 'ENOENT', 'EBUSY'))
    if (removed === null) return
  }
}

async function sweep(root: string, olderThanMs: number): Promise<number> {
  const removed = await inDirectory(root, unfinishedDirectory, async (held) => {
    let count = 0
    for (const name of await readdir(join(root, unfinishedDirectory))) {
      const stats = await lstat(held.entry(name)).catch(ignore('ENOENT'))
      if (stats === null || stats.isDirectory() || Date.now() - stats.mtimeMs < olderThanMs) continue
      await unlink(held.entry(name)).catch(ignore('ENOENT'))
      count += 1
    }
    return count
  }).catch(missingBelow(root))
  return removed ?? 0
}
