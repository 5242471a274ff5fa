import type { MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import { sql } from 'kysely'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Database } from '../db/connect.ts'
import { recordingStates } from '../domain/recording.ts'
import type { AppEnv } from './env.ts'

/** What the API counts about itself. One per process: two apps in one process each make their own. */
export interface ApiMetrics {
  readonly contentType: string
  /** Counts requests and their time by the route that answered, never by path: ids would make a series each. */
  observe(): MiddlewareHandler<AppEnv>
  /**
   * What this process uses, and the requests and the stock of one account, in Prometheus' text format. Requests of
   * other accounts, and of callers without one, are nobody's business here.
   */
  render(db: Database, accountId: string): Promise<string>
}

/** Makes the counters of one API process. */
export function createMetrics(): ApiMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const requestsOf = new Map<string, RequestCounters>()
  const countersOf = (accountId: string): RequestCounters => {
    const counters = requestsOf.get(accountId) ?? createRequestCounters()
    requestsOf.set(accountId, counters)
    return counters
  }
  return {
    contentType: registry.contentType,
    observe: () => async (c, next) => {
      const begun = performance.now()
      await next()
      const actor: AppEnv['Variables']['actor'] | undefined = c.get('actor')
      if (actor === undefined) return
      const route = c.res.status === 404 ? 'none' : routePath(c, -1)
      const labels = { method: knownMethod(c.req.method), route, status: String(c.res.status) }
      const { requests, seconds } = countersOf(actor.accountId)
      requests.inc(labels)
      seconds.observe(labels, (performance.now() - begun) / 1000)
    },
    render: async (db, accountId) =>
      [await registry.metrics(), await countersOf(accountId).registry.metrics(), await renderStock(db, accountId)].join(
        '\n',
      ),
  }
}

type RequestCounters = ReturnType<typeof createRequestCounters>

function createRequestCounters() {
  const registry = new Registry()
  const labelNames = ['method', 'route', 'status'] as const
  const registers = [registry]
  const requests = new Counter({
    name: 'reelkeep_http_requests_total',
    help: 'Answered requests of this account',
    labelNames,
    registers,
  })
  const seconds = new Histogram({
    name: 'reelkeep_http_request_duration_seconds',
    help: 'Time until the answer began',
    labelNames,
    registers,
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
  })
  return { registry, requests, seconds }
}

const methods = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS']

/** Anybody may invent methods; a series for each would fill the memory. */
function knownMethod(method: string): string {
  return methods.includes(method) ? method : 'other'
}

async function renderStock(db: Database, accountId: string): Promise<string> {
  const registry = new Registry()
  const registers = [registry]
  const labelNames = ['state'] as const
  const recordings = new Gauge({
    name: 'reelkeep_recordings',
    help: 'Recordings of this account by state',
    labelNames,
    registers,
  })
  const bytes = new Gauge({ name: 'reelkeep_recording_bytes', help: 'Bytes of their originals', labelNames, registers })
  const problems = new Gauge({
    name: 'reelkeep_problems_open',
    help: 'What needs attention in this account',
    registers,
  })
  const stock = await db.asAccount(accountId, async (tx) => ({
    counts: await tx.selectFrom('state_counts').selectAll().execute(),
    open: await tx
      .selectFrom('problems')
      .select(sql<number>`count(*)::integer`.as('problems'))
      .where('resolved_at', 'is', null)
      .executeTakeFirstOrThrow(),
  }))
  for (const state of recordingStates) {
    const row = stock.counts.find((count) => count.state === state)
    recordings.set({ state }, row?.recordings ?? 0)
    bytes.set({ state }, Number(row?.bytes ?? 0))
  }
  problems.set(stock.open.problems)
  return registry.metrics()
}
