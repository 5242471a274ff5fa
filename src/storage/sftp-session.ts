import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2'
import { ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'

/** One SFTP connection: requests with a time limit each, and the product's errors. */
export interface SftpSession {
  /** True once the connection is gone; the session is then of no more use. */
  isLost(): boolean
  end(): void
  /** The entries of a directory, or `null` where there is none. */
  list(path: string): Promise<readonly FileEntryWithStats[] | null>
  lstat(path: string): Promise<Stats | null>
  realPath(path: string): Promise<string | null>
  /** `r` to read, `r+` to continue, `wx` to create; never one that empties an existing file. */
  open(path: string, flags: 'r' | 'r+' | 'wx'): Promise<Buffer>
  close(handle: Buffer): Promise<void>
  /** Exactly this many bytes, or fewer only at the end of the file. */
  read(handle: Buffer, position: number, length: number): Promise<Buffer>
  write(handle: Buffer, position: number, bytes: Buffer): Promise<void>
  /** Makes written bytes durable where the server can (`fsync@openssh.com`). */
  sync(handle: Buffer): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** False where there was nothing. */
  unlink(path: string): Promise<boolean>
  mkdir(path: string): Promise<void>
  /** Bytes free where the path is, or `null` where the server does not tell (`statvfs@openssh.com`). */
  freeBytes(path: string): Promise<number | null>
}

/** The connection under a session. */
export interface SftpConnection {
  isLost(): boolean
  destroy(): void
  /** When the server last answered anything, on the clock of `performance.now()`. */
  heardAtMs: number
}

/** One request's payload; servers must accept it, and larger ones gain nothing. */
export const requestBytes = 32 * bytesPer.kib
/** Requests under way on one connection: 2 MiB for each round trip. */
export const requestsInFlight = 64

/** A request that is passed over again and again is given up after this many time limits, whatever else is answered. */
const longestWaits = 20

/** The part of `statvfs@openssh.com` that is used, under the protocol's names. */
interface FileSystemFacts {
  readonly f_bavail: number
  readonly f_frsize: number
}

type Callback<T> = (error: Error | null | undefined, value?: T) => void
type Request = <T>(what: string, send: (done: Callback<T>) => void) => Promise<T>

/** Status codes of draft-ietf-secsh-filexfer that mean one thing; `4` (failure) means anything. */
const meaningOfStatus: Readonly<Record<number, { code: ErrorCode; next: string }>> = {
  2: { code: 'object_missing', next: 'Check the key.' },
  3: { code: 'store_denied', next: 'Give the SFTP user access to it.' },
  8: { code: 'store_misconfigured', next: 'The server lacks a needed operation.' },
  14: { code: 'store_full', next: 'Free space there; it is retried.' },
  15: { code: 'store_full', next: 'The quota is used up. Raise it or free space; it is retried.' },
}

/**
 * Wraps a raw connection. It is asked directly, not through its convenience layer, because that reports every general
 * failure of an `lstat` as "no such file", which would turn a sick disk into a proven deletion.
 * @source ssh2-sftp-client 12.1.1, `_xstat`: status 4 is treated like 2
 */
export function wrapSession(
  label: string,
  raw: SFTPWrapper,
  timeoutMs: number,
  connection: SftpConnection,
): SftpSession {
  const request: Request = (what, send) => askWithin(label, what, timeoutMs, connection, send)
  const orNull = async <T>(answer: Promise<T>): Promise<T | null> =>
    answer.catch((error: unknown) => {
      if (error instanceof ReelkeepError && error.code === 'object_missing') return null
      throw error
    })
  const order = async (what: string, send: (done: (error?: Error | null) => void) => void): Promise<void> => {
    await request<true>(what, (done) => send((error) => done(error, true)))
  }
  return {
    isLost: () => connection.isLost(),
    end: () => connection.destroy(),
    list: (path) => orNull(request<FileEntryWithStats[]>(path, (done) => raw.readdir(path, done))),
    lstat: (path) => orNull(request<Stats>(path, (done) => raw.lstat(path, done))),
    realPath: (path) => orNull(request<string>(path, (done) => raw.realpath(path, done))),
    open: (path, flags) => request<Buffer>(path, (done) => raw.open(path, flags, done)),
    close: (handle) => order('a file', (done) => raw.close(handle, done)),
    read: (handle, position, length) => readExactly(raw, request, handle, position, length),
    write: (handle, position, bytes) =>
      order('a file', (done) => raw.write(handle, bytes, 0, bytes.length, position, done)),
    sync: (handle) => syncWhereKnown(raw, request, handle),
    rename: (from, to) => order(to, (done) => raw.rename(from, to, done)),
    unlink: async (path) =>
      (await orNull(request<true>(path, (done) => raw.unlink(path, (error) => done(error, true))))) ?? false,
    mkdir: (path) => order(path, (done) => raw.mkdir(path, done)),
    freeBytes: (path) =>
      request<FileSystemFacts>(path, (done) => raw.ext_openssh_statvfs(path, done)).then(
        ({ f_bavail, f_frsize }) => f_bavail * f_frsize,
        () => null,
      ),
  }
}

async function askWithin<T>(
  label: string,
  what: string,
  timeoutMs: number,
  connection: SftpConnection,
  send: (done: Callback<T>) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (connection.isLost()) {
      reject(unavailable(label, 'the connection was lost'))
      return
    }
    const sentAtMs = performance.now()
    const giveUp = () => {
      const nowMs = performance.now()
      const silentMs = nowMs - Math.max(sentAtMs, connection.heardAtMs)
      // On a slow line a request waits behind many others: as long as those are answered, the server is there.
      if (silentMs < timeoutMs && nowMs - sentAtMs < longestWaits * timeoutMs) {
        timer = setTimeout(giveUp, timeoutMs - silentMs)
        return
      }
      // A half-open connection must not be used again.
      connection.destroy()
      reject(unavailable(label, `no answer for ${timeoutMs} ms`))
    }
    let timer = setTimeout(giveUp, timeoutMs)
    const done: Callback<T> = (error, value) => {
      clearTimeout(timer)
      connection.heardAtMs = performance.now()
      if (error || value === undefined) reject(explainSftpError(label, what, error ?? new Error('an empty answer')))
      else resolve(value)
    }
    try {
      send(done)
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)))
    }
  })
}

async function readExactly(
  raw: SFTPWrapper,
  request: Request,
  handle: Buffer,
  position: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const count = await request<number>('a file', (done) =>
      raw.read(handle, buffer, filled, length - filled, position + filled, (error, bytesRead) => {
        // Status 1 is the end of the file, which is no failure.
        if (error && 'code' in error && error.code === 1) done(undefined, 0)
        else done(error, bytesRead)
      }),
    )
    if (count === 0) break
    filled += count
  }
  return buffer.subarray(0, filled)
}

async function syncWhereKnown(raw: SFTPWrapper, request: Request, handle: Buffer): Promise<void> {
  try {
    await request<true>('a file', (done) => raw.ext_openssh_fsync(handle, (error?: Error | null) => done(error, true)))
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    const unknown = cause instanceof Error && cause.message.includes('does not support this extended request')
    if (!unknown && !(error instanceof ReelkeepError && error.code === 'store_misconfigured')) throw error
  }
}

/** An error of an SFTP request in the product's words; the product's own pass unchanged. */
export function explainSftpError(label: string, what: string, error: unknown): ReelkeepError {
  if (error instanceof ReelkeepError) return error
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const known = typeof code === 'number' ? meaningOfStatus[code] : undefined
  const full = /no space|disk full|quota/i.test(message)
    ? ({ code: 'store_full', next: 'Free space there; it is retried.' } as const)
    : undefined
  const meaning = known ?? full ?? { code: 'store_unavailable', next: 'Check the server; it is retried.' }
  return new ReelkeepError(meaning.code, `${what} on ${label} could not be used (${message}). ${meaning.next}`, {
    cause: error,
  })
}

/** The error for a server that is not there or no longer answers. */
export function unavailable(label: string, why: string, cause?: unknown): ReelkeepError {
  return new ReelkeepError('store_unavailable', `${label} is not reachable: ${why}. It is retried.`, { cause })
}
