import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensureAccount, ensureKey, ensurePerson, ensureRecorder, ensureStore } from '../db/accounts.ts'
import type { AccountTx, Database } from '../db/connect.ts'
import { defaultPolicy } from '../domain/policy.ts'
import { ensureApiKey } from './home.ts'
import type { Home } from './home.ts'

/** The account a new stack begins with, and the keys of its people. */
export interface FirstAccount {
  readonly accountId: string
  readonly adminKey: string
  /** The second person, who approves what the first may not; null in an empty system. */
  readonly approverKey: string | null
  readonly inboxIds: readonly string[]
}

/** Directory names of the demo's recorders. */
export const demoDirectories = { hallA: 'hall-a', room12: 'room-12' } as const

/** The demo's recorders are local disks: nobody waits half a minute to see that a file is whole. */
const demoQuietMs = 5000

/** An account with an administrator and nothing else. A second run changes nothing. */
export async function ensureEmptyAccount(db: Database, home: Home): Promise<FirstAccount> {
  const accountId = await ensureAccount(db, { name: 'Main', policy: defaultPolicy })
  const { key, keySha256 } = await ensureApiKey(home, 'admin')
  await db.asAccount(accountId, async (tx) => {
    const personId = await ensurePerson(tx, { name: 'Administrator', email: 'admin@localhost', roles: ['admin'] })
    await ensureKey(tx, { personId, label: 'first start', keySha256, scopes: ['read', 'write', 'admin'] })
  })
  return { accountId, adminKey: key, approverKey: null, inboxIds: await listInboxIds(db, accountId) }
}

/** The demo's university: two people, two sites, two recorders. A second run changes nothing. */
export async function ensureDemoAccount(db: Database, home: Home): Promise<FirstAccount> {
  const accountId = await ensureAccount(db, { name: 'Demo university', policy: defaultPolicy })
  const admin = await ensureApiKey(home, 'admin')
  const approver = await ensureApiKey(home, 'ben')
  for (const directory of Object.values(demoDirectories))
    await mkdir(join(home.inboxDir, directory), { recursive: true })
  await db.asAccount(accountId, async (tx) => {
    const ada = await ensurePerson(tx, { name: 'Ada', email: 'ada@demo.localhost', roles: ['admin', 'user'] })
    const ben = await ensurePerson(tx, { name: 'Ben', email: 'ben@demo.localhost', roles: ['manager', 'operator'] })
    await ensureKey(tx, {
      personId: ada,
      label: 'Ada, first start',
      keySha256: admin.keySha256,
      scopes: ['read', 'write', 'admin'],
    })
    await ensureKey(tx, {
      personId: ben,
      label: 'Ben, first start',
      keySha256: approver.keySha256,
      scopes: ['read', 'write'],
    })
    await ensureDemoPlaces(tx, home, ada)
  })
  return { accountId, adminKey: admin.key, approverKey: approver.key, inboxIds: await listInboxIds(db, accountId) }
}

async function ensureDemoPlaces(tx: AccountTx, home: Home, ownerId: string): Promise<void> {
  const inboxId = await ensureStore(tx, {
    name: 'Inbox',
    site: 'campus-a',
    role: 'inbox',
    url: localUrl(home.inboxDir),
  })
  for (const [role, site] of [
    ['primary', 'campus-a'],
    ['backup', 'campus-b'],
  ] as const) {
    const folder = join(home.storesDir, role)
    await mkdir(folder, { recursive: true })
    await ensureStore(tx, {
      name: role === 'primary' ? 'Primary' : 'Backup',
      site,
      role,
      url: `${localUrl(folder)}?prune=yes`,
    })
  }
  await ensureRecorder(tx, {
    inboxId,
    name: 'Lecture hall A',
    directory: demoDirectories.hallA,
    assignment: 'automatic',
    defaultOwnerId: ownerId,
    quietMs: demoQuietMs,
  })
  await ensureRecorder(tx, {
    inboxId,
    name: 'Room 12',
    directory: demoDirectories.room12,
    assignment: 'claim',
    quietMs: demoQuietMs,
  })
}

function localUrl(path: string): string {
  return pathToFileURL(path).href
}

async function listInboxIds(db: Database, accountId: string): Promise<readonly string[]> {
  const rows = await db.asAccount(accountId, (tx) =>
    tx.selectFrom('stores').select('id').where('role', '=', 'inbox').execute(),
  )
  return rows.map((row) => row.id)
}
