import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** A file's size in bytes. */
export async function sizeOf(path: string): Promise<number> {
  return (await stat(path)).size
}

/** Leaves a directory in place and empty. Doing it again changes nothing. */
export async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true })
}
