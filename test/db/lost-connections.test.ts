import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { ensureAccount } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { startFaultProxy } from '../servers/fault-proxy.ts'
import type { FaultProxy } from '../servers/fault-proxy.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'

let fresh: FreshDatabase
let direct: Database
let accountId: string
let proxy: FaultProxy
let db: Database

beforeAll(async () => {
  fresh = await freshDatabase()
  direct = openDatabase(fresh.appUrl)
  accountId = await ensureAccount(direct, { name: 'A', policy: defaultPolicy })
})
afterAll(async () => {
  await direct.close()
  await fresh.drop()
})
beforeEach(async () => {
  const { hostname, port } = new URL(fresh.appUrl)
  proxy = await startFaultProxy({ to: { host: hostname, port: Number(port) }, seed: 1, name: 'postgres' })
  const url = new URL(fresh.appUrl)
  url.host = `127.0.0.1:${proxy.port}`
  db = openDatabase(url.href, { maxConnections: 2, answerTimeoutMs: 1000 })
})
afterEach(async () => {
  await db.close()
  await proxy.stop()
})

const addPerson = (database: Database, name: string) =>
  database.asAccount(accountId, (tx) =>
    tx
      .insertInto('people')
      .values({ account_id: accountId, name, email: `${name}@example.test`, roles: ['user'] })
      .execute(),
  )
const people = async (database: Database) =>
  (await database.asAccount(accountId, (tx) => tx.selectFrom('people').select('name').execute())).map(
    (person) => person.name,
  )

test.each(['half_open', 'stall', 'cut', 'lose_answer'] as const)(
  '%s at any call of a transaction: it fails as database_unavailable in bounded time, and the next one works',
  async (kind) => {
    await people(db)
    // BEGIN, settings, INSERT, COMMIT.
    for (let call = 0; call < 4; call += 1) {
      const name = `${kind}-${call}-${randomUUID()}`
      proxy.faults.push({ kind, after: call, stallMs: 3_600_000 })
      await expect(addPerson(db, name)).rejects.toMatchObject({ code: 'database_unavailable' })
      // Only an answer to COMMIT that was lost leaves the row: done, but reported failed.
      expect((await people(direct)).includes(name)).toBe(kind === 'lose_answer' && call === 3)
      proxy.heal()
      await people(db)
    }
  },
)

test('connections that went silent are given up: more of them than the pool holds do not exhaust it', async () => {
  for (let round = 0; round < 5; round += 1) {
    proxy.faults.push({ kind: 'half_open', after: 2 })
    await expect(people(db)).rejects.toMatchObject({ code: 'database_unavailable' })
  }
  expect(await people(db)).toEqual(await people(direct))
})

test.each(['half_open', 'stall', 'drop'] as const)('%s at connect', async (kind) => {
  proxy.faults.push({ kind, stallMs: 3_600_000 })
  await expect(people(db)).rejects.toMatchObject({ code: 'database_unavailable' })
  proxy.heal()
  await people(db)
})

test('a statement that is slow but answers is not given up', async () => {
  await db.asAccount(accountId, (tx) => sql`select pg_sleep(0.7)`.execute(tx))
})

test('closing does not wait for a server that went silent', async () => {
  const [one, two] = [openDatabase(fresh.appUrl), db]
  await people(two)
  proxy.faults.push({ kind: 'half_open' })
  await expect(people(two)).rejects.toMatchObject({ code: 'database_unavailable' })
  await people(two)
  // Idle by now, and its peer goes without a word.
  proxy.faults.push({ kind: 'half_open' })
  await two.close()
  await one.close()
})
