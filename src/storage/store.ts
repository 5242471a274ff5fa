import type { Readable } from 'node:stream'

/** What is known of one object without reading it. */
export interface ObjectInfo {
  /** Relative to the store's root, `/`-separated, no leading slash. */
  readonly key: string
  readonly sizeBytes: number
  /** As the far end reports it; clients set it freely, so it proves change but never age. */
  readonly modifiedAtMs: number
  /** Identity of this very object: inode and device (local), ETag (S3), empty where the protocol has none (SFTP). */
  readonly fileId: string
  /** Storage class where the store has one, else `null`. */
  readonly tier: 'hot' | 'cold' | null
  /** Anything that is not one plain file with one link: directories never appear, symlinks, fifos, hard links do. */
  readonly special: 'symlink' | 'fifo' | 'socket' | 'device' | 'hard_link' | 'unreadable' | null
}

/** What a finished `put` left in the store. */
export interface PutResult {
  readonly sizeBytes: number
  /** Lower-case hex SHA-256 of the bytes that were sent, computed on the way. */
  readonly sha256: string
}

/** Called with the running total of bytes; cheap, may be called often. */
export type OnProgress = (doneBytes: number) => void

/** Options every long store call takes. */
export interface TransferOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

/** Options of {@link Store.put}. */
export interface PutOptions extends TransferOptions {
  /** Exact size of the source. A store that counts another number throws `changed_while_read` and publishes nothing. */
  readonly sizeBytes: number
  /** When known, the store compares while sending and publishes nothing on a difference (`copy_mismatch`). */
  readonly sha256?: string
  /** MIME type, for stores that keep one. */
  readonly contentType?: string
}

/**
 * A source of bytes that can be opened more than once, from any offset: what makes uploads resumable.
 * `open` may be called again after a failure.
 */
export interface ByteSource {
  open(fromByte: number, signal?: AbortSignal): Promise<Readable>
  /** All of it, where it can be read as {@link Store.blocks} says: for targets that are done with a block at once. */
  blocks?(signal?: AbortSignal): Promise<AsyncIterable<Buffer>>
}

/**
 * A place that keeps files. Inbox, primary, backup are *roles* that configuration gives to a store.
 *
 * Promises of every implementation (held by `test/storage/contract.ts` on real servers):
 * - a reader sees the old object, no object, or the whole new one, never a part;
 * - `put` never overwrites: same key and same bytes is success (second run), other bytes is `object_exists`;
 * - `delete` of a missing key succeeds; after it, `stat` says null or the call throws `delete_ineffective`;
 * - keys are refused as `unsafe_name` when they are empty, absolute, contain `..`, a NUL, a backslash or an empty segment;
 * - failures are the product's errors (`store_*`, `object_*`), never a vendor's.
 */
export interface Store {
  /** For messages: scheme and host or path, without credentials. */
  readonly label: string
  /** True where `list` costs a network round trip: looks are rarer and the quiet period longer. */
  readonly remote: boolean
  /** What this store can do beyond the contract. */
  readonly can: {
    /** It can report `fileId`s that change when a file is replaced. */
    readonly fileIds: boolean
    /** An interrupted `put` of the same key and bytes continues instead of starting over. */
    readonly resume: boolean
  }
  /** Absolute path of an object, for stores on this machine's disks (lets ffmpeg and the media route read in place). */
  localPath?(key: string): string

  /**
   * Every object under the prefix (all depths), in no promised order. The prefix names a directory, with or without its
   * trailing slash: `rec1` never lists `rec10/x`. One that does not exist is empty. The store's own unfinished puts never
   * appear; everybody else's temporary and dot names do.
   */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>
  /** The object, or `null` when there is none. */
  stat(key: string): Promise<ObjectInfo | null>
  /**
   * Bytes `[start, end]` (inclusive, like HTTP; an end past the last byte means the last byte) or all of it.
   * @throws object_missing, object_cold, special_file, range_not_satisfiable for a start past the end, store_*
   */
  read(key: string, range?: { start: number; end?: number }, signal?: AbortSignal): Promise<Readable>
  /**
   * All of it as blocks, each valid only until the next one is asked for. Offered where that is faster than `read`.
   * @throws as `read`
   */
  blocks?(key: string, signal?: AbortSignal): Promise<AsyncIterable<Buffer>>
  /** Writes one object, whole or not at all. @throws object_exists, copy_mismatch, changed_while_read, store_* */
  put(key: string, source: ByteSource, options: PutOptions): Promise<PutResult>
  /** Removes one object and makes sure that it is gone. @throws delete_ineffective, store_* */
  delete(key: string): Promise<void>
  /** Removes left-overs of `put`s that were interrupted longer ago than this. Returns how many. */
  sweepUnfinished(olderThanMs: number): Promise<number>
  /** Proves access by writing, reading and deleting a tiny object. @throws store_* with the next step */
  check(): Promise<void>
  /** Drops connections; the store can be used again afterwards. */
  close(): Promise<void>
}

/**
 * True where a key can be used: relative, no empty, `.` or `..` segment, no NUL, no backslash, at most 1,024 bytes
 * and 255 a segment. Line feeds, quotes and emoji are fine: recorders do write them. Bytes that are no UTF-8 appear
 * in keys as U+F780..U+F7FF (one per byte), reversibly, so that every name on a disk can be said in JSON.
 */
export function isSafeKey(key: string): boolean {
  if (key === '' || Buffer.byteLength(key) > 1024) return false
  // Half a surrogate pair has no bytes of its own: two such keys could mean one file.
  if (/\p{Surrogate}/u.test(key)) return false
  if (key.startsWith('/') || key.includes('\\') || key.includes('\u0000')) return false
  return key.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && Buffer.byteLength(part) <= 255)
}
