import { readFile } from 'node:fs/promises'
import { sql } from 'kysely'
import { pino } from 'pino'
import { createApp } from '../src/api/app.ts'
import { hashSecret, makeKey } from '../src/api/auth.ts'
import { openStoreBook } from '../src/api/media-source.ts'
import { createMetrics } from '../src/api/metrics.ts'
import type { Pipeline } from '../src/api/pipeline.ts'
import { ensureAccount, ensureKey, ensurePerson, ensureStore } from '../src/db/accounts.ts'
import { openDatabase } from '../src/db/connect.ts'
import type { Database } from '../src/db/connect.ts'
import { startPostgres } from '../src/dev/postgres.ts'
import { defaultPolicy } from '../src/domain/policy.ts'
import { describeBytes } from '../src/domain/units.ts'
import { migrateUp } from '../src/migrate.ts'
import type { BenchContext } from './context.ts'
import { describeMs, percentile } from './measure.ts'
import type { BenchResult, Row } from './measure.ts'
import { findNames, questionsOn } from './questions.ts'
import { fillStock, measureStock } from './stock.ts'

/** Parts of the stock: what one customer has must not make another one wait. */
const accounts = [
  { name: 'Large', share: 0.8, whole: false },
  { name: 'Middle', share: 0.18, whole: false },
  { name: 'Small', share: 0.02, whole: true },
] as const
const budget = 'p95 <= 50 ms'

/** Pages of the list of recordings, filtered and searched in every way there is, out of a large stock of several accounts. */
export async function benchSearch(context: BenchContext): Promise<BenchResult> {
  const { folder, cacheDir, say, quick, signal } = context
  const [recordings, turns] = quick ? [20_000, 5] : [1_000_000, 40]
  const postgres = await startPostgres({ home: folder, cacheDir, say })
  context.onEnd(() => postgres.stop())
  await migrateUp(postgres.ownerUrl)
  // One connection, so that its server process can be asked for its CPU time.
  const db = openDatabase(postgres.appUrl, { maxConnections: 1 })
  context.onEnd(() => db.close())
  say(`  a stock of ${recordings} recordings…`)
  const stock = await openAccounts(db, recordings)
  const beganMs = performance.now()
  await fillStock(postgres.ownerUrl, stock)
  const filledMs = performance.now() - beganMs
  const bytes = [...(await measureStock(postgres.ownerUrl, stock))].toSorted((a, b) => b[1] - a[1])
  const ask = openApi(db)
  const rows: Row[] = []
  const [all, working]: [number[], number[]] = [[], []]
  for (const account of stock) {
    say(`  questions to ${account.recordings} of them…`)
    const asked = await measure(account, turns, ask, db, signal)
    all.push(...asked.flatMap(({ times }) => times))
    working.push(...asked.flatMap(({ cpu }) => cpu))
    if (account === stock[0]) rows.push(...asked.map(({ what, times }) => row(what, times)))
    else
      rows.push(
        row(
          `all of these, of ${account.recordings}`,
          asked.flatMap(({ times }) => times),
        ),
      )
  }
  return {
    rows: [
      ...rows,
      row('everything', all),
      row('everything, CPU time of API and Postgres', working),
      {
        what: 'Postgres, for one kept recording',
        ours: describeBytes(bytes.reduce((sum, [, each]) => sum + each, 0)),
        bare: '',
        ratio: '',
        budget: '<= 10 KB (9.8 KiB)',
      },
    ],
    notes: [
      `p50 and p95 of ${turns} requests each for 50 recordings, one after another, through the API in one process: key, account, query, answer. The stock: ${stock.map((one) => one.recordings).join(', ')} recordings in accounts of their own; made in ${describeMs(filledMs)}. Single lines are of the largest.`,
      `Of the bytes of one kept recording (10 files in 2 stores), with indexes: ${bytes.map(([name, each]) => `${name} ${describeBytes(each)}`).join(', ')}.`,
    ],
  }
}

function row(what: string, times: readonly number[]): Row {
  const ours = `${describeMs(percentile(times, 0.5))}, ${describeMs(percentile(times, 0.95))}`
  return { what, ours, bare: '', ratio: '', budget }
}

interface StockAccount {
  readonly accountId: string
  readonly inboxId: string
  readonly recordings: number
  readonly whole: boolean
  readonly key: string
}

async function openAccounts(db: Database, total: number): Promise<StockAccount[]> {
  const stock: StockAccount[] = []
  for (const { name, share, whole } of accounts) {
    const accountId = await ensureAccount(db, { name, policy: defaultPolicy })
    const key = makeKey()
    const inboxId = await db.asAccount(accountId, async (tx) => {
      const personId = await ensurePerson(tx, { name: 'Asker', email: 'asker@example.org', roles: ['viewer'] })
      await ensureKey(tx, { personId, label: 'bench', keySha256: hashSecret(key), scopes: ['read'] })
      return ensureStore(tx, { name: 'inbox', site: 'a', role: 'inbox', url: 'local:/nowhere' })
    })
    stock.push({ accountId, inboxId, recordings: Math.round(total * share), whole, key })
  }
  return stock
}

type Ask = (key: string, query: string) => Promise<void>

/** The API as a server has it, without a network in between. Reading needs no Temporal. */
function openApi(db: Database): Ask {
  const log = pino({ level: 'silent' })
  const app = createApp({
    db,
    pipeline: noPipeline,
    stores: openStoreBook({ db, log, resolveSecret: () => '' }),
    config: {
      api: { host: '127.0.0.1', port: 0, baseUrl: 'http://127.0.0.1' },
      temporal: { address: '127.0.0.1:1', namespace: 'none', uiUrl: null },
    },
    log,
    metrics: createMetrics(),
    signingKeys: [],
  })
  return async (key, query) => {
    const answer = await app.request(`/api/v1/recordings?${query}`, { headers: { Authorization: `Bearer ${key}` } })
    const text = await answer.text()
    if (answer.status !== 200) throw new Error(`${query}: ${answer.status} ${text}`)
  }
}

const away = () => Promise.reject(new Error('no Temporal here'))
const noPipeline: Pipeline = {
  command: away,
  startRecording: away,
  lookAtInbox: away,
  checkCopies: away,
  checkAllCopies: away,
  fastForward: away,
  ping: away,
  close: async () => undefined,
}

async function measure(account: StockAccount, turns: number, ask: Ask, db: Database, signal: AbortSignal) {
  const names = await findNames(db, account.accountId, account.recordings)
  const asked = questionsOn(names).map((question) => ({
    ...question,
    times: [] as number[],
    cpu: [] as number[],
  }))
  const cpuMs = await openCpuClock(db)
  // Kinds in turn: no kind has the caches, or a quiet moment of the machine, to itself. The first round warms up.
  for (let turn = 0; turn <= turns; turn += 1) {
    for (const { query, times, cpu } of asked) {
      signal.throwIfAborted()
      const spentMs = await cpuMs()
      const beganMs = performance.now()
      await ask(account.key, query(turn))
      if (turn === 0) continue
      times.push(performance.now() - beganMs)
      cpu.push((await cpuMs()) - spentMs)
    }
  }
  return asked
}

/** CPU time of this process and of its server process so far: what a busy machine adds to waiting, it does not add here. */
async function openCpuClock(db: Database): Promise<() => Promise<number>> {
  const { rows } = await db.throughDoor('', (tx) => sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx))
  const path = `/proc/${rows[0]?.pid}/schedstat`
  return async () => {
    const { user, system } = process.cpuUsage()
    const text = await readFile(path, 'utf8').catch(() => '')
    return (user + system) / 1000 + Number(text.split(' ')[0] || Number.NaN) / 1e6
  }
}
