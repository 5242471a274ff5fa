import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Hono } from 'hono'
import { ReelkeepError } from '../domain/errors.ts'
import { authenticate, requireAdmin } from './auth.ts'
import type { ApiDeps, AppEnv } from './env.ts'

/** Published as it is, never compiled: beside the sources, or one folder further up from the compiled ones. */
const verifier = ['../../', '../../../']
  .map((up) => new URL(`${up}scripts/verify-certificate.mjs`, import.meta.url))
  .find((file) => existsSync(file))

/** What machines and strangers ask: is it alive, is it ready, which keys sign, how is a certificate checked. */
export function systemRoutes(deps: ApiDeps): Hono<AppEnv> {
  return new Hono<AppEnv>()
    .get('/healthz', (c) => c.json({ status: 'ok' }, 200, noStore))
    .get('/readyz', async (c) => {
      const [database, temporal] = await Promise.all([answers(deps.db), answers(deps.pipeline)])
      const ready = database && temporal
      const status = { status: ready ? 'ready' : 'waiting', database: word(database), temporal: word(temporal) }
      return c.json(status, ready ? 200 : 503, ready ? noStore : { ...noStore, 'Retry-After': '5' })
    })
    .get('/metrics', authenticate(deps), async (c) => {
      const actor = c.get('actor')
      requireAdmin(actor)
      const text = await deps.metrics.render(deps.db, actor.accountId)
      return c.body(text, 200, { ...noStore, 'Content-Type': deps.metrics.contentType })
    })
    .get('/.well-known/reelkeep-keys.json', (c) => c.json({ keys: deps.signingKeys }))
    .get('/verify.mjs', async (c) => {
      if (verifier === undefined)
        throw new ReelkeepError('not_found', 'This installation came without the verifier; take it from the sources.')
      return c.body(await readFile(verifier, 'utf8'), 200, { 'Content-Type': 'text/javascript; charset=utf-8' })
    })
}

const noStore = { 'Cache-Control': 'no-store' }

async function answers(dependency: { ping(): Promise<void> }): Promise<boolean> {
  return dependency.ping().then(
    () => true,
    () => false,
  )
}

function word(answered: boolean): string {
  return answered ? 'answers' : 'does not answer'
}
