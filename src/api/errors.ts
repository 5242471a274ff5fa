import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { errorKinds, ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode, ErrorKind } from '../domain/errors.ts'
import type { ApiDeps, AppEnv } from './env.ts'

/** Kind -> HTTP status and what a client does next: the one table. */
const answers: Readonly<Record<ErrorKind, { readonly status: ContentfulStatusCode; readonly next: string }>> = {
  rejected: { status: 400, next: 'Change the request; sending it again unchanged gives the same answer.' },
  forbidden: { status: 403, next: 'Use a key with the scope and role that this needs, or ask an administrator.' },
  not_found: { status: 404, next: 'Check the id; what belongs to another account looks the same.' },
  conflict: { status: 409, next: 'Read the thing again, then decide anew.' },
  unavailable: { status: 503, next: 'Repeat the request with the same Idempotency-Key after the time in Retry-After.' },
  misconfigured: { status: 500, next: 'The operator has to change a setting; give them the reference.' },
  corrupt: { status: 500, next: 'The operator has to look at the stored bytes; give them the reference.' },
}

const statusOfCode: Readonly<Partial<Record<ErrorCode, ContentfulStatusCode>>> = {
  unauthenticated: 401,
  precondition_failed: 412,
  body_too_large: 413,
  unsupported_media_type: 415,
  range_not_satisfiable: 416,
  idempotency_key_reused: 422,
  precondition_required: 428,
}

const retryAfterSeconds = 5

/** The HTTP status of a code. */
export function statusOf(code: ErrorCode): ContentfulStatusCode {
  return statusOfCode[code] ?? answers[errorKinds[code]].status
}

/** Turns whatever a handler threw into problem+json (RFC 9457); what nobody expected is logged under its reference. */
export function answerProblem(error: unknown, c: Context<AppEnv>, deps: Pick<ApiDeps, 'log'>): Response {
  const known = asKnown(error)
  const status = known === null ? 500 : statusOf(known.code)
  const reference = c.get('requestId')
  if (status >= 500) deps.log.error({ err: error, reference, path: c.req.path }, 'request failed')
  const detail =
    known === null
      ? `Something went wrong that nobody expected. Give the operator the reference ${reference}; it is in the log.`
      : known.message
  return c.body(
    JSON.stringify({
      type: `urn:reelkeep:error:${known?.code ?? 'internal'}`,
      title: titleOf(known?.code ?? 'internal'),
      status,
      code: known?.code ?? 'internal',
      detail,
      next: answers[known?.kind ?? 'corrupt'].next,
      instance: `urn:uuid:${reference}`,
      ...(known === null || Object.keys(known.details).length === 0 ? {} : { details: known.details }),
    }),
    status,
    {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...(status === 401 ? { 'WWW-Authenticate': 'Bearer realm="reelkeep"' } : {}),
      ...(status === 503 ? { 'Retry-After': String(retryAfterSeconds) } : {}),
      ...(known?.code === 'range_not_satisfiable'
        ? { 'Content-Range': `bytes */${known.details['sizeBytes'] ?? '*'}` }
        : {}),
    },
  )
}

/** `null` for what is a bug or a surprise: its text is not for strangers. `internal` says no more than a bug does. */
function asKnown(error: unknown): ReelkeepError | null {
  if (error instanceof ReelkeepError) return error.code === 'internal' ? null : error
  if (error instanceof HTTPException && error.status === 413)
    return new ReelkeepError('body_too_large', error.message, { cause: error })
  if (error instanceof HTTPException && error.status < 500)
    return new ReelkeepError('invalid_request', `${error.message || 'The request cannot be read'}.`, { cause: error })
  return null
}

function titleOf(code: ErrorCode): string {
  const words = code.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
