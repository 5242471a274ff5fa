import type { Store } from '../../src/storage/store.ts'

/** What a protocol lets an uploader do. */
export interface Abilities {
  /** Bytes stand under their name while they come; without it nothing is seen before the end. */
  readonly visible: boolean
  /** Space can be reserved before the bytes come, and bytes can come in any order. */
  readonly anywhere: boolean
  /** The file's time can be set. */
  readonly times: boolean
  /** A name can be changed without sending the bytes again. */
  readonly rename: boolean
}

/** One client of a protocol with at most one transfer under way. Paths are below the inbox. */
export interface Uploader {
  /** Sends a stretch of a file into the transfer; where none runs, one begins that goes on in place. */
  send(path: string, bytes: Buffer, from: number, to: number): Promise<void>
  /** Begins a transfer that replaces whatever stands there. */
  restart(path: string): Promise<void>
  /** Makes the file as long as it will be. */
  reserve(path: string, sizeBytes: number): Promise<void>
  /** The client dies: no goodbye, nothing is closed in order. */
  cut(): Promise<void>
  /** The transfer ends as its client wanted. */
  finish(): Promise<void>
  /** A small file, whole. */
  put(path: string, bytes: Buffer): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Leaves the first bytes of what stands there. */
  truncate(path: string, bytes: Buffer, sizeBytes: number): Promise<void>
  setTime(path: string, at: Date): Promise<void>
  remove(path: string): Promise<void>
  close(): Promise<void>
}

/** An inbox that is uploaded into, seen from both sides. */
export interface Place {
  readonly abilities: Abilities
  /** The inbox as the product sees it. */
  readonly inbox: Store
  /** True where every upload needs a directory of its own. */
  readonly ownDirectories: boolean
  connect(): Uploader
  /** What stands under a name, read past the product; null where nothing does. */
  read(path: string): Promise<Buffer | null>
  /** Lets a file's time follow the story's clock: the server's own stands still, compared with it. */
  stamp(path: string, at: Date): Promise<void>
  makeDirectory(path: string): Promise<void>
}
