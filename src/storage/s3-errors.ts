import { ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'

/** What can be learnt from an S3 client's error without importing the client. */
export interface S3Failure {
  readonly name: string
  readonly status: number | null
  /** The server's clock when it answered, as its answer says. */
  readonly serverTimeMs: number | null
}

/** The error's S3 code and HTTP status, by shape. */
export function s3Failure(error: unknown): S3Failure {
  if (!(error instanceof Error)) return { name: '', status: null, serverTimeMs: null }
  const metadata: unknown = '$metadata' in error ? error.$metadata : null
  const status =
    typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata ? metadata.httpStatusCode : null
  return { name: error.name, status: typeof status === 'number' ? status : null, serverTimeMs: serverTimeOf(error) }
}

function serverTimeOf(error: Error): number | null {
  const response: unknown = '$response' in error ? error.$response : null
  const headers: unknown =
    typeof response === 'object' && response !== null && 'headers' in response ? response.headers : null
  const date: unknown = typeof headers === 'object' && headers !== null && 'date' in headers ? headers.date : null
  const ms = typeof date === 'string' ? Date.parse(date) : Number.NaN
  return Number.isNaN(ms) ? null : ms
}

/** S3 refuses what was signed more than 15 minutes ago or hence; its client counts from 4 minutes. */
const skewToleratedMs = 4 * msPer.minute

/**
 * True for a refusal that a wrong clock explains: what was signed with one correction, in milliseconds, while another is known by now. The client learns from refusals how wrong this machine's clock is, but it does not
 * try again by itself where a correction is no longer needed, nor where the clock was set while the request was under way.
 */
export function wasClockWrong(error: unknown, signedWithMs: number, knownMs: number): boolean {
  const { status, serverTimeMs } = s3Failure(error)
  if (status !== 403) return false
  const wrongByMs = serverTimeMs === null ? 0 : serverTimeMs - (Date.now() + signedWithMs)
  return Math.max(Math.abs(knownMs - signedWithMs), Math.abs(wrongByMs)) > skewToleratedMs
}

const meaningOfName: Readonly<Record<string, { code: ErrorCode; next: string }>> = {
  NoSuchBucket: { code: 'store_misconfigured', next: 'The bucket does not exist. Create it or correct the store URL.' },
  PermanentRedirect: { code: 'store_misconfigured', next: 'The bucket is in another region. Set region= in the URL.' },
  InvalidObjectState: { code: 'object_cold', next: 'It is archived. Restore it first.' },
  QuotaExceeded: { code: 'store_full', next: 'Free space there or raise the quota; it is retried.' },
  InvalidRange: { code: 'range_not_satisfiable', next: 'Ask for bytes that the object has.' },
  EntityTooLarge: { code: 'store_misconfigured', next: 'The object is larger than this store allows.' },
  NotImplemented: { code: 'store_misconfigured', next: 'The server lacks a needed S3 operation. Use another one.' },
  InvalidPart: { code: 'store_unavailable', next: 'The parts did not fit together; it is retried from the start.' },
  NoSuchUpload: { code: 'store_unavailable', next: 'The upload was ended by another; it is retried from the start.' },
  RequestTimeTooSkewed: { code: 'store_unavailable', next: "This machine's clock is wrong: set it. It is retried." },
  NoSuchKey: { code: 'object_missing', next: 'Check the key.' },
  NotFound: { code: 'object_missing', next: 'Check the key.' },
}

/** An S3 error in the product's words. The product's own errors pass unchanged. */
export function explainS3Error(label: string, key: string, error: unknown): Error {
  if (error instanceof ReelkeepError) return error
  const { name, status } = s3Failure(error)
  const meaning = meaningOfName[name] ?? meaningOfStatus(status)
  const reason = [status, name].filter(Boolean).join(' ')
  const what = key === '' ? label : `${key} in ${label}`
  return new ReelkeepError(meaning.code, `${what} could not be used (${reason}). ${meaning.next}`, {
    cause: error,
    details: { key, ...(status === null ? {} : { status }) },
  })
}

function meaningOfStatus(status: number | null): { code: ErrorCode; next: string } {
  if (status === 401 || status === 403) {
    return { code: 'store_denied', next: 'Check the key pair and that it may list, read, write and delete there.' }
  }
  if (status === 507) return { code: 'store_full', next: 'Free space there; it is retried.' }
  if (status === 416) return { code: 'range_not_satisfiable', next: 'Ask for bytes that the object has.' }
  if (status === 404) return { code: 'object_missing', next: 'Check the key.' }
  if (status === 301 || status === 400 || status === 405 || status === 501) {
    return { code: 'store_misconfigured', next: 'Check endpoint, region and options in the store URL.' }
  }
  return { code: 'store_unavailable', next: 'It did not answer as it should; it is retried.' }
}
