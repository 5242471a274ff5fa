import { randomUUID } from 'node:crypto'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import { ReelkeepError } from '../domain/errors.ts'
import { authenticate } from './auth.ts'
import { limitBody, readStrictJson } from './body.ts'
import { podRoutes } from './compat/pod.ts'
import { createConsole } from './console/index.tsx'
import { docsRoutes } from './docs.ts'
import type { ApiDeps, AppEnv } from './env.ts'
import { answerProblem } from './errors.ts'
import { onlyOnce } from './once.ts'
import { createRoutes } from './requests.ts'
import { accountRoutes } from './routes/account.ts'
import { commandRoutes } from './routes/commands.ts'
import { depositRoutes } from './routes/deposits.ts'
import { fixityRoutes } from './routes/fixity.ts'
import { mediaRoutes } from './routes/media.ts'
import { recorderRoutes } from './routes/recorders.ts'
import { recordingRoutes } from './routes/recordings.ts'
import { systemRoutes } from './system.ts'

/** API, console and everything else that answers HTTP, on these dependencies. Listens nowhere by itself. */
export function createApp(deps: ApiDeps): OpenAPIHono<AppEnv> {
  const app = createRoutes()
  app.onError((error, c) => answerProblem(error, c, deps))
  app.notFound((c) =>
    answerProblem(new ReelkeepError('not_found', 'There is nothing at this address; see /docs.'), c, deps),
  )
  app.use('*', nameRequest, secureAnswer, deps.metrics.observe(), limitBody)
  app.route('/', systemRoutes(deps))
  app.route('/', podRoutes(deps))
  app.route('/', docsRoutes())
  app.route('/api/v1', createApi(deps))
  app.openAPIRegistry.registerComponent('securitySchemes', 'key', { type: 'http', scheme: 'bearer' })
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'Reelkeep', version: '1', description: apiText },
    servers: [{ url: deps.config.api.baseUrl }],
    security: [{ key: [] }],
  })
  app.route('/', createConsole(deps))
  return app
}

const apiText = [
  'Recordings from the first uploaded byte until the day their deletion is proven.',
  'Sizes are decimal strings; instants are milliseconds since 1970 (UTC). Errors are problem+json with a stable `code`.',
  'Send an `Idempotency-Key` with every POST, and repeat the request with the same key when no answer came.',
].join(' ')

function createApi(deps: ApiDeps): OpenAPIHono<AppEnv> {
  const api = createRoutes()
  api.use('*', authenticate(deps), readStrictJson, onlyOnce(deps))
  for (const routes of [
    recordingRoutes,
    commandRoutes,
    mediaRoutes,
    depositRoutes,
    recorderRoutes,
    accountRoutes,
    fixityRoutes,
  ])
    api.route('/', routes(deps))
  return api
}

const nameRequest: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.set('requestId', randomUUID())
  await next()
  c.header('X-Request-Id', c.get('requestId'))
}

const securityHeaders = {
  'Content-Security-Policy':
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
}

/** Every answer carries these; a route that needs others has set its own. */
const secureAnswer: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next()
  for (const [name, value] of Object.entries(securityHeaders)) if (!c.res.headers.has(name)) c.header(name, value)
}
