import { readFile } from 'node:fs/promises'
import { sql } from 'kysely'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ensureAccount, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { stockRecordings } from '../races/stock.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'

let database: FreshDatabase
let db: Database
let admin: Client
const accounts: { accountId: string; recorderId: string; inboxId: string }[] = []

beforeAll(async () => {
  database = await freshDatabase()
  db = openDatabase(database.appUrl, { maxConnections: 24 })
  admin = new Client(database.adminUrl)
  await admin.connect()
  for (const name of ['one', 'two']) {
    const accountId = await ensureAccount(db, { name, policy: defaultPolicy })
    accounts.push(
      await db.asAccount(accountId, async (tx) => {
        const inboxId = await ensureStore(tx, { name: 'inbox', site: 'a', role: 'inbox', url: 'local:/nowhere' })
        const room = { inboxId, name: 'room', directory: 'room', assignment: 'claim' } as const
        return { accountId, inboxId, recorderId: await ensureRecorder(tx, room) }
      }),
    )
  }
})
afterAll(async () => {
  await admin?.end()
  await db?.close()
  await database?.drop()
})

const counted = `select account_id, state, count(*)::integer as recordings, sum(size_bytes)::bigint as bytes
  from recordings group by account_id, state`
const kept = 'select account_id, state, recordings, bytes from state_counts where recordings <> 0 or bytes <> 0'

/** What is kept and not so, and what is so and not kept. */
async function differing(): Promise<unknown[]> {
  const { rows } = await admin.query(`(${counted} except ${kept}) union all (${kept} except ${counted})`)
  return rows
}

const stockUp = (n: number, count: number, state: 'awaiting_claim' | 'retained' = 'awaiting_claim') =>
  stockRecordings({ db, ...accounts[n]!, folders: {} }, count, state)

const move = (n: number, id: string, ...states: string[]) =>
  db.asAccount(accounts[n]!.accountId, async (tx) => {
    for (const state of states) await sql`update recordings set state = ${state} where id = ${id}::uuid`.execute(tx)
  })

test('what is kept is what counting anew finds, after many changes at once in two accounts', async () => {
  const giveUp = new Error('taken back')
  const lives = await Promise.all([0, 1].map(async (n) => ({ n, ids: await stockUp(n, 40) })))
  const changes = lives.flatMap(({ n, ids }) =>
    ids.map(async (id, at) => {
      if (at % 4 === 0) return move(n, id, 'claimed', 'encoding')
      if (at % 4 === 1) {
        await move(n, id, 'disposition_requested')
        return move(n, id, 'awaiting_claim', 'claimed', 'awaiting_claim')
      }
      if (at % 4 === 2)
        return db
          .asAccount(accounts[n]!.accountId, async (tx) => {
            await sql`update recordings set state = 'claimed' where id = ${id}::uuid`.execute(tx)
            throw giveUp
          })
          .catch((error: unknown) => expect(error).toBe(giveUp))
      await db.asAccount(accounts[n]!.accountId, (tx) =>
        sql`update recordings set title = 'Anew', size_bytes = ${1000 + at} where id = ${id}::uuid`.execute(tx),
      )
    }),
  )
  await Promise.all([...changes, stockUp(0, 15, 'retained'), stockUp(1, 5), stockUp(0, 5)])
  expect(await differing()).toEqual([])
  const { rows } = await admin.query('select state, sum(recordings)::integer as all from state_counts group by 1')
  expect(new Map(rows.map((row) => [row.state, row.all]))).toEqual(
    new Map([
      ['accepted', 0],
      ['awaiting_claim', 70],
      ['claimed', 0],
      ['encoding', 20],
      ['archiving', 0],
      ['protected', 0],
      ['retained', 15],
      ['disposition_requested', 0],
    ]),
  )
})

test('a change that is not counted is seen', async () => {
  const [id = ''] = await stockUp(0, 1)
  await admin.query('alter table recordings disable trigger recordings_counts_anew')
  await move(0, id, 'claimed')
  await admin.query('alter table recordings enable trigger recordings_counts_anew')
  expect(await differing()).toHaveLength(3)
  await admin.query(`update state_counts c set recordings = x.recordings, bytes = x.bytes from (${counted}) x
    where x.account_id = c.account_id and x.state = c.state`)
  expect(await differing()).toEqual([])
})

test('an account sees its own counts and writes no others', async () => {
  await stockUp(1, 1)
  const seen = await db.asAccount(accounts[1]!.accountId, (tx) =>
    tx.selectFrom('state_counts').select('account_id').distinct().execute(),
  )
  expect(seen).toEqual([{ account_id: accounts[1]!.accountId }])
  const other = { account_id: accounts[0]!.accountId, state: 'purged' as const, recordings: 1, bytes: '1' }
  await expect(
    db.asAccount(accounts[1]!.accountId, (tx) => tx.insertInto('state_counts').values(other).execute()),
  ).rejects.toThrow(/row-level security/)
})

test('recordings that go for good are counted off', async () => {
  const [id = ''] = await stockUp(0, 1)
  await admin.query('delete from recording_words where recording_id = $1', [id])
  await admin.query('delete from recordings where id = $1', [id])
  expect(await differing()).toEqual([])
})

test('recordings that were there before the counts are counted by the migration, in every account', async () => {
  await stockUp(1, 2, 'retained')
  await admin.query(`create temp table before as ${kept}`)
  await admin.query(`
    drop table state_counts;
    drop trigger recordings_counts on recordings;
    drop trigger recordings_counts_anew on recordings;
    drop function count_state;
    set role reelkeep_owner;
    create view state_counts as select 1 as x;
    reset role`)
  const owner = new Client(database.ownerUrl)
  await owner.connect()
  await owner.query(await readFile(new URL('../../migrations/0012_state_counts.sql', import.meta.url), 'utf8'))
  await owner.end()
  const { rows } = await admin.query(`(table before except ${kept}) union all (${kept} except table before)`)
  expect(rows).toEqual([])
  expect(await differing()).toEqual([])
})
