import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Role, Scope } from '../domain/permissions.ts'
import type { Policy } from '../domain/policy.ts'
import type { Assignment } from '../domain/recording.ts'
import type { AccountTx, Database } from './connect.ts'
import { beginRound } from './life-rounds.ts'

/** The account of this name, made when it is missing. A second call changes nothing. */
export async function ensureAccount(db: Database, account: { name: string; policy: Policy }): Promise<string> {
  const find = () =>
    db.throughDoor('accounts', (tx) =>
      tx.selectFrom('accounts').select('id').where('name', '=', account.name).executeTakeFirst(),
    )
  const found = await find()
  if (found !== undefined) return found.id
  const id = randomUUID()
  await db.asAccount(id, (tx) =>
    tx
      .insertInto('accounts')
      .values({ id, name: account.name, policy: JSON.stringify(account.policy) })
      .onConflict((conflict) => conflict.doNothing())
      .execute(),
  )
  return (await find())?.id ?? id
}

/** Ids of every account: what sweeps go through. */
export async function listAccountIds(db: Database): Promise<readonly string[]> {
  const rows = await db.throughDoor('accounts', (tx) => tx.selectFrom('accounts').select('id').execute())
  return rows.map((row) => row.id)
}

/** The policy in force for the account of this transaction. */
export async function getPolicy(tx: AccountTx): Promise<Policy> {
  return (await tx.selectFrom('accounts').select('policy').where('id', '=', accountOf).executeTakeFirstOrThrow()).policy
}

const accountOf = sql<string>`current_setting('app.account')::uuid`

/** The person with this address, made when missing; name and roles are brought up to date. */
export async function ensurePerson(
  tx: AccountTx,
  person: { name: string; email: string; roles: readonly Role[] },
): Promise<string> {
  const row = await tx
    .insertInto('people')
    .values({ account_id: accountOf, name: person.name, email: person.email, roles: [...person.roles] })
    .onConflict((conflict) =>
      conflict.columns(['account_id', 'email']).doUpdateSet({ name: person.name, roles: [...person.roles] }),
    )
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

/** The key with this hash, made when missing. */
export async function ensureKey(
  tx: AccountTx,
  key: { personId: string; label: string; keySha256: string; scopes: readonly Scope[] },
): Promise<void> {
  await tx
    .insertInto('api_keys')
    .values({
      account_id: accountOf,
      person_id: key.personId,
      label: key.label,
      key_sha256: key.keySha256,
      scopes: [...key.scopes],
    })
    .onConflict((conflict) => conflict.column('key_sha256').doNothing())
    .execute()
}

/**
 * The store of this name, made when missing; its address is brought up to date. Where a new one keeps files, a round through the
 * recordings begins: those that are kept already get their copies there, too.
 */
export async function ensureStore(
  tx: AccountTx,
  store: { name: string; site: string; role: 'inbox' | 'primary' | 'backup'; url: string },
): Promise<string> {
  const known = await tx.selectFrom('stores').select('id').where('name', '=', store.name).executeTakeFirst()
  if (known === undefined && store.role !== 'inbox') await beginRound(tx)
  const row = await tx
    .insertInto('stores')
    .values({ account_id: accountOf, ...store })
    .onConflict((conflict) =>
      conflict.columns(['account_id', 'name']).doUpdateSet({ url: store.url, site: store.site }),
    )
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

/** A recorder as it is set up. */
export interface RecorderSetup {
  readonly inboxId: string
  readonly name: string
  readonly directory: string
  readonly assignment: Assignment
  readonly managerId?: string | null
  readonly defaultOwnerId?: string | null
  readonly isDefault?: boolean
  readonly quietMs?: number | null
  readonly ip?: string | null
  readonly notifySalt?: string | null
}

/** The recorder of this name, made when missing. A second call changes nothing. */
export async function ensureRecorder(tx: AccountTx, recorder: RecorderSetup): Promise<string> {
  const inserted = await tx
    .insertInto('recorders')
    .values({
      account_id: accountOf,
      inbox_id: recorder.inboxId,
      name: recorder.name,
      directory: recorder.directory,
      assignment: recorder.assignment,
      manager_id: recorder.managerId ?? null,
      default_owner_id: recorder.defaultOwnerId ?? null,
      is_default: recorder.isDefault ?? false,
      quiet_ms: recorder.quietMs ?? null,
      ip: recorder.ip ?? null,
      notify_salt: recorder.notifySalt ?? null,
    })
    .onConflict((conflict) => conflict.columns(['account_id', 'name']).doNothing())
    .returning('id')
    .executeTakeFirst()
  if (inserted !== undefined) return inserted.id
  return (await tx.selectFrom('recorders').select('id').where('name', '=', recorder.name).executeTakeFirstOrThrow()).id
}
