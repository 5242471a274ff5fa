import { constants } from 'node:fs'
import { mkdir, open, readlink, realpath } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { ReelkeepError } from '../domain/errors.ts'
import { joinKey, nameToBytes, splitKey } from './keys.ts'

/** A directory under a store's root that was opened and found to be where its name says. */
export interface HeldDirectory {
  /** Path of an entry; on Linux it goes through the open descriptor, so nobody can swap the directory meanwhile. */
  entry(name: string): Buffer
  /** Makes additions and removals of entries durable. */
  sync(): Promise<void>
}

/** The path of a key below a root, in the bytes that the disk knows it by. */
export function pathOf(root: string, key: string): Buffer {
  return Buffer.concat([Buffer.from(root), Buffer.from(key === '' ? '' : '/'), nameToBytes(key)])
}

/**
 * Does a job in a directory without ever following a symlink below the root: recorders may write into inboxes, and a
 * link `2026 -> /etc` must not make the store read or remove what is elsewhere.
 * @throws special_file when a part of the path is a symlink; the file system's own error otherwise
 */
export async function inDirectory<T>(
  root: string,
  directory: string,
  job: (held: HeldDirectory) => Promise<T>,
): Promise<T> {
  const path = pathOf(root, directory)
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    const byDescriptor = process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : null
    const expected = pathOf(await realpath(root), directory)
    const actual = await (byDescriptor === null
      ? realpath(path, { encoding: 'buffer' })
      : readlink(byDescriptor, { encoding: 'buffer' }))
    if (!actual.equals(expected)) throw behindLink(root, directory)
    const base = byDescriptor === null ? path : Buffer.from(byDescriptor)
    return await job({
      entry: (name) => Buffer.concat([base, Buffer.from('/'), nameToBytes(name)]),
      sync: () => syncDirectory(handle),
    })
  } finally {
    await handle.close()
  }
}

/** Makes a directory and those above it, below the root, and makes their names durable. The second run changes nothing. */
export async function makeDirectory(root: string, directory: string): Promise<void> {
  if (directory === '') return
  const { directory: parent, name } = splitKey(directory)
  const create = async () =>
    inDirectory(root, parent, async (held) => {
      await mkdir(held.entry(name)).catch(ignore('EEXIST'))
      await held.sync()
    })
  await create().catch(async (error: unknown) => {
    if (!isErrno(error, 'ENOENT') || parent === '') throw error
    await makeDirectory(root, parent)
    await create()
  })
}

/** True for a file system error with one of these codes. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
}

/** A catch handler that lets exactly these file system errors pass as `null`. */
export function ignore(...codes: string[]): (error: unknown) => null {
  return (error) => {
    if (isErrno(error, ...codes)) return null
    throw error
  }
}

async function syncDirectory(handle: FileHandle): Promise<void> {
  // Some network file systems cannot sync a directory; they answer EINVAL and order the writes themselves.
  await handle.sync().catch(ignore('EINVAL', 'ENOTSUP'))
}

function behindLink(root: string, directory: string): ReelkeepError {
  return new ReelkeepError(
    'special_file',
    `${joinKey(root, directory)} leads through a symbolic link; it was not touched. Put a real directory there.`,
    { details: { directory } },
  )
}
