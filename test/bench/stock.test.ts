import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fillStock, stockTag, stockWord } from '../../bench/stock.ts'
import { ensureAccount, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import { listRecordings } from '../../src/db/recordings.ts'
import type { Database } from '../../src/db/connect.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'

/** Everything that guards and serves tables: keys, triggers, indexes. */
const guards = `
  select conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid) || convalidated as guard
    from pg_constraint where connamespace = 'public'::regnamespace
  union all select tgrelid::regclass::text || ' ' || tgname || ' ' || tgenabled::text from pg_trigger where not tgisinternal
  union all select indexdef from pg_indexes where schemaname = 'public'
  order by 1`

let database: FreshDatabase
let admin: Client
let db: Database
let before: unknown[] = []
const accounts: string[] = []

beforeAll(async () => {
  database = await freshDatabase()
  admin = new Client(database.adminUrl)
  await admin.connect()
  db = openDatabase(database.appUrl)
  const sizes = []
  for (const [name, recordings] of [
    ['many', 1500],
    ['whole', 40],
  ] as const) {
    const accountId = await ensureAccount(db, { name, policy: defaultPolicy })
    const inbox = { name: 'inbox', site: 'a', role: 'inbox', url: 'local:/nowhere' } as const
    const inboxId = await db.asAccount(accountId, (tx) => ensureStore(tx, inbox))
    sizes.push({ accountId, inboxId, recordings, whole: name === 'whole' })
    accounts.push(accountId)
  }
  before = (await admin.query(guards)).rows
  await fillStock(database.ownerUrl, sizes)
})
afterAll(async () => {
  await admin?.end()
  await db?.close()
  await database?.drop()
})

const count = async (text: string) => Number((await admin.query<{ count: string }>(text)).rows[0]!.count)

test('a stock for benchmarks leaves every key, trigger and index as it was', async () => {
  expect((await admin.query(guards)).rows).toEqual(before)
})

test('as many recordings as asked for, with everything a kept one has where asked for', async () => {
  const counts = ['recordings', 'deposits', 'files', 'copies', 'audit_events'].map((table) =>
    count(`select count(*) from ${table}`),
  )
  expect(await Promise.all(counts)).toEqual([1540, 1540, 400, 800, 240])
})

test('common words and tags are common', async () => {
  const found = (filter: { text: string } | { tag: string }) =>
    db.asAccount(accounts[0]!, (tx) => listRecordings(tx, { limit: 200, ...filter }))
  expect((await found({ text: stockWord(1) })).length).toBe(200)
  expect((await found({ tag: stockTag(1) })).length).toBeGreaterThan(50)
})

test('the counts by state are those of its recordings', async () => {
  const counted = 'select account_id, state, count(*)::integer, sum(size_bytes)::bigint from recordings group by 1, 2'
  const kept = 'select account_id, state, recordings, bytes from state_counts'
  expect(await count(`select count(*) from (${kept}) d`)).toBeGreaterThan(4)
  expect(await count(`select count(*) from ((${counted}) except (${kept})) d`)).toBe(0)
  expect(await count(`select count(*) from ((${kept}) except (${counted})) d`)).toBe(0)
})

test('its words are those that the triggers keep', async () => {
  await admin.query('create temp table filled as table recording_words')
  await admin.query('create temp table said as select id, title, description, tags from recordings')
  await admin.query(`update recordings set title = '', description = '', tags = '{}'`)
  expect(await count('select count(*) from recording_words')).toBe(0)
  await admin.query(
    'update recordings r set title = s.title, description = s.description, tags = s.tags from said s where s.id = r.id',
  )
  expect(await count('select count(*) from recording_words')).toBeGreaterThan(10_000)
  const differing = (a: string, b: string) => count(`select count(*) from (table ${a} except table ${b}) d`)
  expect(await differing('filled', 'recording_words')).toBe(0)
  expect(await differing('recording_words', 'filled')).toBe(0)
})
