import { ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'

const meanings: Readonly<Record<string, { code: ErrorCode; next: string }>> = {
  ENOENT: { code: 'object_missing', next: 'Check the key, and that the disk is mounted.' },
  ENOTDIR: { code: 'object_missing', next: 'A file stands where a directory is needed.' },
  ELOOP: { code: 'special_file', next: 'It is a symbolic link. Put the file itself there.' },
  ENXIO: { code: 'special_file', next: 'It is a socket or a pipe. Put a plain file there.' },
  ENAMETOOLONG: { code: 'unsafe_name', next: 'The name is too long for this file system. Shorten it.' },
  ENOSPC: { code: 'store_full', next: 'Free space there; it is retried.' },
  EDQUOT: { code: 'store_full', next: 'The disk quota is used up. Raise it or free space; it is retried.' },
  EFBIG: { code: 'store_full', next: 'The file is larger than this file system allows.' },
  EACCES: { code: 'store_denied', next: 'Give the user that runs Reelkeep access to it.' },
  EPERM: {
    code: 'store_denied',
    next: 'Give the user that runs Reelkeep access; the file system must know hard links.',
  },
  EROFS: { code: 'store_denied', next: 'The file system is mounted read-only.' },
  ENOTSUP: { code: 'store_misconfigured', next: 'The file system must know hard links. Use another one.' },
}

/**
 * A file system error in the product's words. An error that already is the product's, or an abort reason, stays as it is.
 */
export function explainLocalError(label: string, key: string, error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  if (error instanceof ReelkeepError || !('syscall' in error) || !('code' in error)) return error
  const meaning = meanings[String(error.code)] ?? { code: 'store_unavailable', next: 'Check the disk; it is retried.' }
  const message = `${key} in ${label} could not be used (${String(error.code)}). ${meaning.next}`
  return new ReelkeepError(meaning.code, message, { cause: error, details: { key } })
}
