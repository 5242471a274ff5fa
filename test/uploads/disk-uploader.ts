import { execFile } from 'node:child_process'
import { chmod, mkdir, open, readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Store } from '../../src/storage/store.ts'
import type { Abilities, Place, Uploader } from './uploader.ts'

/** What programs on the same machine can do. */
export const diskAbilities: Abilities = { visible: true, anywhere: true, times: true, rename: true }

/** The sides of a place whose files lie on this machine's disk, whatever they come through. */
export function diskPlace(directory: string, inbox: Store, connect: () => Uploader): Place {
  const absent = (error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
  return {
    abilities: diskAbilities,
    inbox,
    ownDirectories: false,
    connect,
    read: (path) => readFile(join(directory, path)).catch(absent),
    async stamp(path, at) {
      await utimes(join(directory, path), at, at).catch(absent)
    },
    async makeDirectory(path) {
      await mkdir(join(directory, path), { recursive: true })
      await chmod(join(directory, path), 0o777)
    },
  }
}

/** A program on the same machine that copies into the inbox, and can be killed. */
export function diskUploader(directory: string): Uploader {
  let handle: FileHandle | null = null
  const at = (path: string) => join(directory, path)
  const close = async () => {
    await handle?.close()
    handle = null
  }
  const inPlace = async (path: string) => (handle ??= await open(at(path), 'r+').catch(() => open(at(path), 'w')))
  return {
    async send(path, bytes, from, to) {
      // A whole file in one go is what `cp` does, and it gives the copy the times of its source.
      if (handle === null && from === 0 && to === bytes.length) return copyWithCp(at(path), bytes)
      await (await inPlace(path)).write(bytes, from, to - from, from)
    },
    async restart(path) {
      await close()
      handle = await open(at(path), 'w')
    },
    async reserve(path, sizeBytes) {
      await (await inPlace(path)).truncate(sizeBytes)
    },
    cut: close,
    finish: close,
    put: (path, bytes) => writeFile(at(path), bytes),
    rename: (from, to) => rename(at(from), at(to)),
    truncate: (path, _bytes, sizeBytes) => truncate(at(path), sizeBytes),
    setTime: (path, time) => utimes(at(path), time, time),
    remove: (path) => rm(at(path)),
    close,
  }
}

async function copyWithCp(target: string, bytes: Buffer): Promise<void> {
  const source = `${target}.source.tmp`
  await writeFile(source, bytes)
  await promisify(execFile)('cp', ['--preserve=timestamps', source, target])
  await rm(source)
}
