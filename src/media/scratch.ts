import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ReelkeepError } from '../domain/errors.ts'

/** A file's size in bytes. */
export async function sizeOf(path: string): Promise<number> {
  return (await stat(path)).size
}

/** Leaves a directory in place and empty. Doing it again changes nothing. */
export async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true })
}

/** A write that failed because the scratch disk, or its quota, is used up, in the product's words; any other failure stays as it is. */
export function explainFullScratch(error: unknown, message: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return code === 'ENOSPC' || code === 'EDQUOT' ? new ReelkeepError('scratch_full', message, { cause: error }) : error
}
