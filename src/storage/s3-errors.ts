import { ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'

/** What can be learnt from an S3 client's error without importing the client. */
export interface S3Failure {
  readonly name: string
  readonly status: number | null
}

/** The error's S3 code and HTTP status, by shape. */
export function s3Failure(error: unknown): S3Failure {
  if (!(error instanceof Error)) return { name: '', status: null }
  const metadata: unknown = '$metadata' in error ? error.$metadata : null
  const status =
    typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata ? metadata.httpStatusCode : null
  return { name: error.name, status: typeof status === 'number' ? status : null }
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
