import { createHash, randomBytes } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { getCookie } from 'hono/cookie'
import type { CookieOptions } from 'hono/utils/cookie'
import type { Database } from '../db/connect.ts'
import { deleteSession, findActorByKey, findActorBySession, insertSession } from '../db/keys.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { hasRole } from '../domain/permissions.ts'
import type { Actor, Role, Scope } from '../domain/permissions.ts'
import { msPer } from '../domain/units.ts'
import type { ApiDeps, AppEnv } from './env.ts'

/** The cookie that carries a console session. */
export const sessionCookie = 'reelkeep_session'

const sessionMs = 12 * msPer.hour
/** Longer than any key we make; a header of megabytes is not hashed. */
const longestSecret = 200

/** A new secret for a key: 256 random bits, recognisable in logs and by secret scanners. */
export function makeKey(): string {
  return `rk_${randomBytes(32).toString('base64url')}`
}

/** What is stored of a key or session token: its SHA-256, lower-case hex. The secrets are random, so no salt is needed. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** Begins a session of 12 hours with a key; `null` for a key that is unknown or revoked. Each call begins another one. */
export async function signIn(db: Database, key: string): Promise<{ token: string; expiresAt: Date } | null> {
  const found = key.length > longestSecret ? null : await findActorByKey(db, hashSecret(key.trim()))
  if (found === null) return null
  const token = randomBytes(32).toString('base64url')
  const expiresAt = new Date(Date.now() + sessionMs)
  const session = { accountId: found.actor.accountId, keyId: found.keyId, tokenSha256: hashSecret(token), expiresAt }
  await insertSession(db, session)
  return { token, expiresAt }
}

/** Ends a session. Ending one that is over changes nothing. */
export async function signOut(db: Database, token: string): Promise<void> {
  if (token.length <= longestSecret) await deleteSession(db, hashSecret(token))
}

/** How the session cookie is set: `Secure` wherever people reach the console by https. */
export function sessionCookieOptions(config: ApiDeps['config'], expires: Date): CookieOptions {
  return { httpOnly: true, sameSite: 'Strict', path: '/', secure: config.api.baseUrl.startsWith('https:'), expires }
}

/**
 * Who asks, by `Authorization: Bearer <key>` or by session cookie; `null` where there is neither, or it is not valid (any more).
 * @throws forbidden where a cookie comes with an unsafe method from another site
 */
export async function findActor(c: Context<AppEnv>, deps: Pick<ApiDeps, 'db' | 'config'>): Promise<Actor | null> {
  const header = c.req.header('Authorization')
  if (header !== undefined) {
    const key = /^Bearer +([\x21-\x7e]{1,200})$/i.exec(header)?.[1]
    return key === undefined ? null : ((await findActorByKey(deps.db, hashSecret(key)))?.actor ?? null)
  }
  const token = getCookie(c, sessionCookie)
  if (token === undefined || token.length > longestSecret) return null
  const actor = await findActorBySession(deps.db, hashSecret(token))
  if (actor !== null) refuseForeignOrigin(c, deps.config)
  return actor
}

/** Lets only people in who can prove who they are, and puts them into the context as `actor`. @throws unauthenticated, forbidden */
export function authenticate(deps: Pick<ApiDeps, 'db' | 'config'>): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const actor = await findActor(c, deps)
    if (actor === null)
      throw new ReelkeepError(
        'unauthenticated',
        'This needs a valid key: send "Authorization: Bearer <key>", or sign in to the console.',
      )
    c.set('actor', actor)
    requireScope(actor, isSafe(c.req.method) ? 'read' : 'write')
    await next()
  }
}

/**
 * Refuses an unsafe request that a page of another site made: browsers send cookies along, so the cookie alone proves nothing.
 * @throws forbidden
 */
export function refuseForeignOrigin(c: Context, config: ApiDeps['config']): void {
  if (isSafe(c.req.method)) return
  const site = c.req.header('Sec-Fetch-Site')
  const sameOrigin =
    site === undefined ? c.req.header('Origin') === new URL(config.api.baseUrl).origin : site === 'same-origin'
  if (!sameOrigin)
    throw new ReelkeepError(
      'forbidden',
      'This request came from another site. Use the console itself, or an API key instead of the session.',
    )
}

/** @throws forbidden where the actor's key lacks this scope */
export function requireScope(actor: Actor, scope: Scope): void {
  if (!actor.scopes.includes(scope))
    throw new ReelkeepError(
      'forbidden',
      `This needs a key with the scope "${scope}"; this one has ${actor.scopes.join(', ') || 'none'}.`,
    )
}

/** @throws forbidden where the actor has none of these roles (an admin counts as an operator) */
export function requireRole(actor: Actor, ...wanted: Role[]): void {
  if (!hasRole(actor, ...wanted))
    throw new ReelkeepError('forbidden', `This needs one of the roles ${wanted.join(', ')}; ask an administrator.`)
}

/** For what only administrators do: the role and a key with the scope. @throws forbidden */
export function requireAdmin(actor: Actor): void {
  requireRole(actor, 'admin')
  requireScope(actor, 'admin')
}

function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}
