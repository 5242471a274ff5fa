import type { Context, Hono } from 'hono'
import { listDeposits } from '../../db/deposits.ts'
import { listPeople } from '../../db/people.ts'
import { listRecorders } from '../../db/recorders.ts'
import { findRecording, listRecordings } from '../../db/recordings.ts'
import { listStores } from '../../db/stores.ts'
import type { AccountTx } from '../../db/connect.ts'
import { depositStates } from '../../domain/deposit.ts'
import { recordingStates } from '../../domain/recording.ts'
import type { RecordingDetail, RecordingSummary } from '../../domain/recording.ts'
import { msPer } from '../../domain/units.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { readCursor, writeCursor } from '../requests.ts'
import { AttentionList, AttentionPage } from './attention.tsx'
import { ClaimsPage } from './claims.tsx'
import { DepositList, DepositsPage } from './deposits.tsx'
import { RecordersPage } from './recorders.tsx'
import { RecordingList, RecordingsPage } from './recordings.tsx'
import { nameOfContent } from './seen.ts'

const perPage = 25
const claimsPerPage = 12
const longestSearch = 200

/** The pages that list things. */
export function addLists(app: Hono<AppEnv>, deps: ApiDeps): void {
  app.get('/', (c) => recordings(c, deps))
  app.get('/claims', (c) => claims(c, deps))
  app.get('/attention', (c) => attention(c, deps))
  app.get('/deposits', (c) => deposits(c, deps))
  app.get('/recorders', async (c) => {
    const actor = c.get('actor')
    const view = await deps.db.asAccount(actor.accountId, async (tx) => ({
      recorders: await listRecorders(tx),
      inboxes: (await listStores(tx)).filter((store) => store.role === 'inbox'),
      people: await listPeople(tx),
    }))
    return c.html(<RecordersPage view={{ actor, ...view, done: c.req.query('done') }} />)
  })
}

async function recordings(c: Context<AppEnv>, deps: ApiDeps) {
  const actor = c.get('actor')
  const state = recordingStates.find((known) => known === c.req.query('state')) ?? null
  const text = (c.req.query('text') ?? '').trim().replaceAll('\u0000', '').slice(0, longestSearch)
  const rows = await deps.db.asAccount(actor.accountId, (tx) =>
    listRecordings(tx, {
      limit: perPage + 1,
      ...beforeOf(c),
      ...(state === null ? {} : { state }),
      ...(text === '' ? {} : { text }),
    }),
  )
  const page = pageOf(rows, perPage)
  const view = {
    actor,
    recordings: page.items,
    state,
    text,
    olderUrl:
      page.last === null
        ? null
        : urlWith(c, { before: writeCursor({ atMs: page.last.createdAtMs, id: page.last.id }) }),
    url: urlWith(c, {}),
    ...freshness(page.items),
    done: c.req.query('done'),
  }
  return refreshed(c, view.seen) ?? c.html(isPart(c) ? <RecordingList view={view} /> : <RecordingsPage view={view} />)
}

async function claims(c: Context<AppEnv>, deps: ApiDeps) {
  const actor = c.get('actor')
  const { page, recordings, people } = await deps.db.asAccount(actor.accountId, async (tx) => {
    const rows = await listRecordings(tx, { state: 'awaiting_claim', limit: claimsPerPage + 1, ...beforeOf(c) })
    const page = pageOf(rows, claimsPerPage)
    return { page, recordings: await wholeOf(tx, page.items), people: await listPeople(tx) }
  })
  const olderUrl =
    page.last === null ? null : urlWith(c, { before: writeCursor({ atMs: page.last.createdAtMs, id: page.last.id }) })
  return c.html(
    <ClaimsPage view={{ actor, recordings, people, olderUrl, nowMs: Date.now(), done: c.req.query('done') }} />,
  )
}

async function attention(c: Context<AppEnv>, deps: ApiDeps) {
  const actor = c.get('actor')
  const { page, recordings, quarantined } = await deps.db.asAccount(actor.accountId, async (tx) => {
    const page = pageOf(await listRecordings(tx, { problem: true, limit: perPage + 1 }), perPage)
    const quarantined = await listDeposits(tx, { state: 'quarantined', limit: perPage })
    return { page, recordings: await wholeOf(tx, page.items), quarantined }
  })
  const shown = freshness([recordings.map(({ facts, problem }) => [facts, problem]), quarantined])
  const view = {
    actor,
    recordings,
    deposits: quarantined,
    more: page.last !== null,
    ...shown,
    done: c.req.query('done'),
  }
  return refreshed(c, view.seen) ?? c.html(isPart(c) ? <AttentionList view={view} /> : <AttentionPage view={view} />)
}

async function deposits(c: Context<AppEnv>, deps: ApiDeps) {
  const actor = c.get('actor')
  const state = depositStates.find((known) => known === c.req.query('state')) ?? null
  const rows = await deps.db.asAccount(actor.accountId, (tx) =>
    listDeposits(tx, { limit: perPage + 1, ...beforeOf(c), ...(state === null ? {} : { state }) }),
  )
  const page = pageOf(rows, perPage)
  const view = {
    actor,
    deposits: page.items,
    state,
    olderUrl:
      page.last === null
        ? null
        : urlWith(c, { before: writeCursor({ atMs: page.last.firstSeenAtMs, id: page.last.id }) }),
    url: urlWith(c, {}),
    ...freshness(page.items),
  }
  return refreshed(c, view.seen) ?? c.html(isPart(c) ? <DepositList view={view} /> : <DepositsPage view={view} />)
}

async function wholeOf(tx: AccountTx, summaries: readonly RecordingSummary[]): Promise<readonly RecordingDetail[]> {
  const whole: RecordingDetail[] = []
  for (const { id } of summaries) {
    const recording = await findRecording(tx, id)
    if (recording !== null) whole.push(recording)
  }
  return whole
}

function beforeOf(c: Context<AppEnv>) {
  const before = c.req.query('before')
  if (before === undefined) return {}
  const { atMs, id } = readCursor(before)
  return { before: { createdAtMs: atMs, firstSeenAtMs: atMs, id } }
}

/** One more was asked for than is shown: where it came, there is an older page. */
function pageOf<T>(rows: readonly T[], size: number): { readonly items: readonly T[]; readonly last: T | null } {
  const items = rows.slice(0, size)
  return { items, last: rows.length > size ? (items.at(-1) ?? null) : null }
}

/** This page's address with other parameters; what belongs to one answer only (part, seen, done) is left out. */
function urlWith(c: Context<AppEnv>, changed: Readonly<Record<string, string>>): string {
  const kept = ['state', 'text', 'before'].flatMap((name) => {
    const value = changed[name] ?? c.req.query(name) ?? ''
    return value === '' ? [] : [[name, value] satisfies [string, string]]
  })
  const query = new URLSearchParams(kept).toString()
  return query === '' ? c.req.path : `${c.req.path}?${query}`
}

/** What is shown, by name; distances ("in 3 min") change by the minute. */
function freshness(content: unknown): { readonly seen: string; readonly nowMs: number } {
  const nowMs = Date.now()
  return { seen: nameOfContent([content, Math.floor(nowMs / msPer.minute)]), nowMs }
}

/** True where a refreshing part asks for itself. */
function isPart(c: Context<AppEnv>): boolean {
  return c.req.header('HX-Request') !== undefined && c.req.query('part') !== undefined
}

/** The empty answer to a part that shows everything already. */
function refreshed(c: Context<AppEnv>, seen: string): Response | null {
  return isPart(c) && c.req.query('seen') === seen ? c.body(null, 204) : null
}
