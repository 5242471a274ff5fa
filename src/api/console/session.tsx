import type { Hono, MiddlewareHandler } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import {
  findActor,
  refuseForeignOrigin,
  requireScope,
  sessionCookie,
  sessionCookieOptions,
  signIn,
  signOut,
} from '../auth.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { formOf, readSignIn } from './forms.ts'
import { Bounce } from './layout.tsx'
import { safeReturn } from './links.ts'
import { SignInPage } from './sign-in.tsx'

/** Pages show one person's view of one moment: no cache keeps them. (What every answer carries is set in `app.ts`.) */
export const neverStored: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next()
  c.header('Cache-Control', 'no-store')
}

/** Lets signed-in people through; everybody else is sent to sign in and comes back to the page they asked for. */
export function requireSession(deps: ApiDeps): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const actor = await findActor(c, deps)
    if (actor !== null) {
      requireScope(actor, c.req.method === 'GET' ? 'read' : 'write')
      c.set('actor', actor)
      return next()
    }
    const url = new URL(c.req.url)
    const asked = c.req.method === 'GET' ? `${url.pathname}${url.search}` : '/'
    const signInUrl = `/sign-in?next=${encodeURIComponent(asked)}`
    // A refreshing part cannot follow to another page by itself.
    if (c.req.header('HX-Request') !== undefined) return c.body(null, 204, { 'HX-Redirect': '/sign-in' })
    // Browsers hold a strict cookie back when a link in a mail was clicked; asked again by this site, they send it.
    if (c.req.header('Sec-Fetch-Site') === 'cross-site' && c.req.method === 'GET') return c.html(<Bounce to={asked} />)
    return c.redirect(signInUrl, 303)
  }
}

/** Signing in with an API key, and out again. */
export function addSession(app: Hono<AppEnv>, deps: ApiDeps): void {
  app.use('/sign-in', neverStored)
  app.use('/sign-out', neverStored)
  app.get('/sign-in', (c) => c.html(<SignInPage next={safeReturn(c.req.query('next'))} message={null} />))
  app.post('/sign-in', async (c) => {
    refuseForeignOrigin(c, deps.config)
    const { key, next } = readSignIn(await formOf(c))
    const session = await signIn(deps.db, key)
    if (session === null) {
      const message =
        'This key is not known, or it was revoked. Check that all of it was pasted, or ask an administrator for a new one.'
      return c.html(<SignInPage next={safeReturn(next)} message={message} />, 401)
    }
    setCookie(c, sessionCookie, session.token, sessionCookieOptions(deps.config, session.expiresAt))
    return c.redirect(safeReturn(next), 303)
  })
  app.post('/sign-out', async (c) => {
    refuseForeignOrigin(c, deps.config)
    const token = getCookie(c, sessionCookie)
    if (token !== undefined) await signOut(deps.db, token)
    deleteCookie(c, sessionCookie, { path: '/' })
    return c.redirect('/sign-in', 303)
  })
}
