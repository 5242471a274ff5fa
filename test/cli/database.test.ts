import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listAccountIds } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'
import { runCli } from './run.ts'

let database: FreshDatabase
let folder = ''

beforeAll(async () => {
  database = await freshDatabase()
  folder = await mkdtemp(join(tmpdir(), 'cli-database-'))
})
afterAll(async () => {
  await database.drop()
  await rm(folder, { recursive: true })
})

const run = (...args: string[]) =>
  runCli(
    { REELKEEP_HOME: join(folder, 'home'), DATABASE_URL: database.appUrl, DATABASE_OWNER_URL: database.ownerUrl },
    args,
  )

test('from an empty database to an account with a key and a store that was tried', async () => {
  expect((await run('migrate')).out).toContain('up to date')
  expect((await run('store', 'add', 'P', `local:${folder}`, '--role', 'primary', '--site', 'a')).error).toMatchObject({
    code: 'not_found',
  })
  const added = await run('account', 'add', 'University', '--admin', 'Ada', '--email', 'ada@example.org')
  expect(added.out).toMatch(/^rk_[\w-]{43}$/)

  const store = await run('store', 'add', 'Primary', `local:${folder}`, '--role', 'primary', '--site', 'a')
  expect(store.error).toBeNull()
  expect(store.out).toContain('primary in a')
  // The store's own folder for unfinished puts stays, empty.
  expect(await readdir(folder, { recursive: true })).toEqual(['.tmp'])

  const bad = await run('store', 'add', 'X', 'ftp://host/x', '--role', 'backup', '--site', 'b')
  expect(bad.error).toMatchObject({ code: 'invalid_config' })
})

test('the audit trail is whole, until somebody with all rights changes or removes an entry', async () => {
  const db = openDatabase(database.appUrl, { maxConnections: 1 })
  const [accountId = ''] = await listAccountIds(db)
  for (const action of ['one', 'two', 'three'])
    await db.asAccount(accountId, (tx) =>
      sql`insert into audit_events (account_id, actor, action) values (${accountId}, 'Ada', ${action})`.execute(tx),
    )
  await db.close()
  const verify = async () => (await run('audit', 'verify')).out
  expect(await verify()).toMatch(/^whole .* 3 entries/)

  const admin = new Client(database.adminUrl)
  await admin.connect()
  try {
    await admin.query('alter table audit_events disable trigger all')
    await admin.query("update audit_events set action = 'other' where seq = 2")
    expect(await verify()).toContain('BROKEN')
    await admin.query("update audit_events set action = 'two' where seq = 2")
    expect(await verify()).toContain('whole')
    await admin.query('delete from audit_events where seq = 3')
    const cut = await run('audit', 'verify')
    expect(cut.out).toContain('at entry 3 of 2')
    expect(cut.exitCode).toBe(1)
  } finally {
    await admin.end()
  }
})

test('doctor says what it found, and fails on a store that is gone', async () => {
  const { out, exitCode } = await run('doctor', '--json')
  const checks: { name: string; verdict: string }[] = JSON.parse(out)
  expect(checks.filter(({ verdict }) => verdict === 'failed')).toEqual([])
  expect(exitCode).toBeUndefined()
  expect(checks.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['Node', 'ffmpeg', 'Postgres', 'clocks', 'store Primary']),
  )

  await run('store', 'add', 'Gone', 'local:/proc/nowhere', '--role', 'backup', '--site', 'b', '--no-check')
  const broken = await run('doctor')
  expect(broken.out).toMatch(/FAILED\s+store Gone/)
  expect(broken.exitCode).toBe(1)
})
