import type { ObjectInfo } from './store.ts'

/** What one directory holds: its objects, and the keys of the directories right below it. */
export interface DirectoryLook {
  readonly objects: readonly ObjectInfo[]
  readonly directories: readonly string[]
}

/** Directories looked at side by side: over a network each look costs several round trips. */
const looksAtOnce = 8

/** Walks a directory tree and yields every object, for stores whose far end lists one directory at a time. */
export async function* walkTree(
  start: string,
  look: (directory: string) => Promise<DirectoryLook>,
  signal?: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const waiting = [start]
  while (waiting.length > 0) {
    signal?.throwIfAborted()
    // The newest first: depth before breadth keeps the waiting list short.
    for (const { objects, directories } of await Promise.all(waiting.splice(-looksAtOnce).map(look))) {
      yield* objects
      for (const directory of directories) waiting.push(directory)
    }
  }
}
