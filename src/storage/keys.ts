import { ReelkeepError } from '../domain/errors.ts'
import { isSafeKey } from './store.ts'

/** The directory at a store's root where unfinished puts live; no key may lie in it and no listing shows it. */
export const unfinishedDirectory = '.tmp'

/**
 * Refuses a key that could leave the store's root or touch unfinished puts.
 * @throws unsafe_name
 */
export function requireSafeKey(storeLabel: string, key: string): void {
  if (isSafeKey(key) && key !== unfinishedDirectory && !key.startsWith(`${unfinishedDirectory}/`)) return
  throw new ReelkeepError(
    'unsafe_name',
    `${storeLabel} cannot use the key ${JSON.stringify(key)}: it is empty, too long, absolute, reserved or leaves the ` +
      'store. Rename the file.',
    { details: { key: key.slice(0, 1024) } },
  )
}

/**
 * The directory that a list prefix names, without its trailing slash; empty for the whole store.
 * @throws unsafe_name
 */
export function directoryOfPrefix(storeLabel: string, prefix: string): string {
  const directory = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  if (directory !== '') requireSafeKey(storeLabel, directory)
  return directory
}

/** A key in a directory, where the empty directory is the root. */
export function joinKey(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`
}

/** Splits a key into its directory (empty for the root) and its last segment. */
export function splitKey(key: string): { directory: string; name: string } {
  const slash = key.lastIndexOf('/')
  return { directory: key.slice(0, Math.max(slash, 0)), name: key.slice(slash + 1) }
}

/**
 * The name of a directory entry as text: UTF-8, and each byte that is none (or that would read as one of the stand-ins)
 * as U+F700 + byte, so that {@link nameToBytes} finds the very same file again.
 */
export function nameFromBytes(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  if (!/[\uFFFD\uF780-\uF7FF]/.test(text)) return text
  let name = ''
  for (let at = 0; at < bytes.length;) {
    const piece = characterAt(bytes, at)
    name += piece ?? String.fromCharCode(0xf700 + (bytes[at] ?? 0))
    at += piece === null ? 1 : Buffer.byteLength(piece)
  }
  return name
}

/** The bytes on disk of a name or a whole key that {@link nameFromBytes} made. */
export function nameToBytes(name: string): Buffer {
  if (!/[\uF780-\uF7FF]/.test(name)) return Buffer.from(name)
  const pieces = name.split(/([\uF780-\uF7FF])/).map((piece) => {
    const code = piece.charCodeAt(0)
    return piece.length === 1 && code >= 0xf780 && code <= 0xf7ff ? Buffer.from([code - 0xf700]) : Buffer.from(piece)
  })
  return Buffer.concat(pieces)
}

/** The one UTF-8 character that starts here, or `null` where there is none or it is a stand-in itself. */
function characterAt(bytes: Buffer, at: number): string | null {
  const first = bytes[at] ?? 0
  const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
  const slice = bytes.subarray(at, at + length)
  const text = slice.toString('utf8')
  return Buffer.from(text).equals(slice) && !/[\uF780-\uF7FF]/.test(text) ? text : null
}
