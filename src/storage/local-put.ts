import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { link, open, unlink } from 'node:fs/promises'
import { failpoint } from '../failpoints/failpoint.ts'
import { measureSource } from './bytes.ts'
import { settleExisting, taken } from './existing.ts'
import { splitKey, unfinishedDirectory } from './keys.ts'
import { inDirectory, isErrno, makeDirectory } from './local-directory.ts'
import type { ByteSource, PutOptions, PutResult, Store } from './store.ts'

const writeFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/**
 * As `Store.put`: written under a name of its own, synced, and linked to its final name, which fails where something is.
 * @throws object_exists, copy_mismatch, changed_while_read, store_*
 */
export async function putObject(
  store: Store,
  root: string,
  key: string,
  source: ByteSource,
  options: PutOptions,
): Promise<PutResult> {
  options.signal?.throwIfAborted()
  const settled = await settleExisting(store, key, source, options)
  if (settled !== null) return settled
  const temporary = randomUUID()
  await makeDirectory(root, unfinishedDirectory)
  const result = await inDirectory(root, unfinishedDirectory, async (unfinished) => {
    const from = unfinished.entry(temporary)
    try {
      const written = await writeSynced(from, key, source, options)
      await failpoint('local.after-write', from)
      return (await publish(root, key, from)) ? written : null
    } finally {
      // Losing the temporary name is no failure of the put: the sweep removes what stays.
      await unlink(from).catch(() => {})
    }
  })
  if (result !== null) return result
  const raced = await settleExisting(store, key, source, options)
  if (raced === null) throw taken(store, key, 'a directory, or something that came and went')
  return raced
}

async function writeSynced(path: Buffer, key: string, source: ByteSource, options: PutOptions): Promise<PutResult> {
  const measured = measureSource(source, key, options, { borrow: true })
  const handle = await open(path, writeFlags, 0o666)
  try {
    for await (const chunk of measured.chunks) {
      for (let at = 0; at < chunk.length;) at += (await handle.write(chunk, at)).bytesWritten
      await failpoint('local.during-write', path)
      options.onProgress?.(measured.sizeBytes)
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
  return measured.result()
}

/** Gives finished bytes their final name. False where that name is taken. */
async function publish(root: string, key: string, from: Buffer): Promise<boolean> {
  const { directory, name } = splitKey(key)
  // A pruning delete may remove the directory between making and using it: once more is enough in practice.
  for (let attempt = 0; ; attempt += 1) {
    await makeDirectory(root, directory)
    try {
      await inDirectory(root, directory, async (held) => {
        await link(from, held.entry(name))
        await held.sync()
        await failpoint('local.after-link', held.entry(name))
      })
      return true
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false
      if (!isErrno(error, 'ENOENT') || attempt === 2) throw error
    }
  }
}
