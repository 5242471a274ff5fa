import { Hono } from 'hono'
import type { Context } from 'hono'
import { ReelkeepError } from '../../domain/errors.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { statusOf } from '../errors.ts'
import { createAssets } from './assets.ts'
import { addChanges } from './changes.ts'
import { ErrorPage } from './layout.tsx'
import { safeReturn } from './links.ts'
import { addLists } from './lists.tsx'
import { addRecordingPage } from './recording-page.tsx'
import { addSession, neverStored, requireSession } from './session.tsx'

/** Everything behind a session. The console is mounted at the root, so it names its paths and catches no others. */
const paths = [
  '/',
  '/recordings/*',
  '/claims',
  '/attention',
  '/deposits',
  '/recorders',
  '/record/add_recording/',
  '/record/add_recording',
  '/mediacourses_add/',
  '/mediacourses_add',
]

/**
 * The console: pages rendered here, forms that work without JavaScript, parts that stay up to date where there is
 * some. It reads Postgres, and gives commands the way the API does.
 */
export function createConsole(deps: ApiDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.onError((error, c) => answerPage(error, c, deps))
  app.route('/assets', createAssets())
  addSession(app, deps)
  for (const path of paths) app.use(path, neverStored, requireSession(deps))
  addLists(app, deps)
  addRecordingPage(app, deps)
  addChanges(app, deps)
  return app
}

/** A page that says what failed and what to do; what nobody expected is logged under its reference and not shown. */
function answerPage(error: Error, c: Context<AppEnv>, deps: Pick<ApiDeps, 'log'>): Response | Promise<Response> {
  const known = error instanceof ReelkeepError && error.code !== 'internal' ? error : null
  const status = known === null ? 500 : statusOf(known.code)
  const reference = c.get('requestId')
  if (status >= 500) deps.log.error({ err: error, reference, path: c.req.path }, 'page failed')
  const message =
    known?.message ??
    `Something went wrong that nobody expected. Give the operator the reference ${reference}; it is in the log.`
  const actor: AppEnv['Variables']['actor'] | undefined = c.get('actor')
  return c.html(
    <ErrorPage
      shell={{ title: headings[status] ?? 'That did not work', actor: actor ?? null, path: '' }}
      heading={headings[status] ?? 'That did not work'}
      message={message}
      code={known?.code ?? 'internal'}
      back={c.req.method === 'GET' ? '/' : cameFrom(c)}
    />,
    status,
    { 'Cache-Control': 'no-store' },
  )
}

const headings: Readonly<Record<number, string>> = {
  403: 'You may not do this',
  404: 'There is nothing here',
  409: 'Not now',
  503: 'Not reachable at the moment',
}

function cameFrom(c: Context<AppEnv>): string {
  const referer = c.req.header('Referer')
  if (referer === undefined || !URL.canParse(referer)) return '/'
  const url = new URL(referer)
  return safeReturn(`${url.pathname}${url.search}`)
}
