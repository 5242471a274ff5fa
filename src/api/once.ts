import { createHash, randomUUID } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import {
  claimIdempotencyKey,
  idempotencyBeatMs,
  releaseIdempotencyKey,
  storeIdempotentAnswer,
  touchIdempotencyKey,
} from '../db/idempotency.ts'
import { ReelkeepError } from '../domain/errors.ts'
import type { Actor } from '../domain/permissions.ts'
import type { ApiDeps, AppEnv } from './env.ts'

/**
 * Carries out a POST with an `Idempotency-Key` once: the same request again gets the stored answer, another one under
 * the same key is refused. What came to nothing (5xx) is not stored and may be repeated.
 * @throws idempotency_key_reused, idempotency_in_progress, invalid_request
 */
export function onlyOnce(deps: Pick<ApiDeps, 'db'>): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const key = c.req.method === 'POST' ? readKey(c) : null
    if (key === null) return next()
    const { accountId, personId } = c.get('actor')
    const sha256 = hash(personId, c.req.method, new URL(c.req.url).pathname, await c.req.text())
    const claim = await deps.db.asAccount(accountId, (tx) => claimIdempotencyKey(tx, { accountId, key, sha256 }))
    if (claim.kind === 'reused')
      throw new ReelkeepError(
        'idempotency_key_reused',
        'This Idempotency-Key was used for another request; take a new one for each request.',
      )
    if (claim.kind === 'running')
      throw new ReelkeepError(
        'idempotency_in_progress',
        'The first request with this Idempotency-Key is still running; repeat this in a moment.',
      )
    if (claim.kind === 'answered') return replay(c, claim.status, claim.body)
    const beat = setInterval(() => {
      // A beat that fails is followed by the next one; only a minute without any gives the key to others.
      void deps.db.asAccount(accountId, (tx) => touchIdempotencyKey(tx, key)).catch(() => undefined)
    }, idempotencyBeatMs)
    await next().finally(() => clearInterval(beat))
    const { status } = c.res
    const answer = status >= 500 ? null : (c.get('storedAnswer') ?? (await readAnswer(c.res)))
    await deps.db.asAccount(accountId, (tx) =>
      status >= 500 ? releaseIdempotencyKey(tx, key) : storeIdempotentAnswer(tx, key, status, answer),
    )
  }
}

/** The id that makes a command count once: derived from the Idempotency-Key where there is one, else new. */
export function requestIdOf(c: Context<AppEnv>): string {
  const key = readKey(c)
  return key === null ? randomUUID() : ownRequestId(c.get('actor'), key)
}

/** What a client calls its request, made this person's own: two people who say the same mean two requests. */
export function ownRequestId(actor: Actor, said: string): string {
  return hash(actor.accountId, actor.personId, said)
}

function readKey(c: Context<AppEnv>): string | null {
  const key = c.req.header('Idempotency-Key')
  if (key === undefined) return null
  if (!/^[\x21-\x7e]{1,200}$/.test(key))
    throw new ReelkeepError(
      'invalid_request',
      'An Idempotency-Key has 1 to 200 printable ASCII characters; a UUID is a good one.',
    )
  return key
}

function replay(c: Context<AppEnv>, status: number, body: unknown): Response {
  c.header('Idempotency-Replayed', 'true')
  if (status === 204 || body === null) return c.body(null, 204)
  const contentType = status >= 400 ? 'application/problem+json' : 'application/json'
  return c.body(JSON.stringify(body), asStatus(status), { 'Content-Type': contentType })
}

/** Only statuses that came out of this API go in. */
function asStatus(status: number): ContentfulStatusCode {
  return ([200, 201, 202, 400, 403, 404, 409, 412, 422, 428] as const).find((known) => known === status) ?? 400
}

async function readAnswer(response: Response): Promise<unknown> {
  const text = await response.clone().text()
  return text === '' ? null : JSON.parse(text)
}

function hash(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
