import { sql } from 'kysely'
import { ReelkeepError } from '../domain/errors.ts'
import { defaultPolicy } from '../domain/policy.ts'
import { placeholderDirectory, unsetAddress } from '../domain/rebuild.ts'
import type { AccountTx, Database } from './connect.ts'

/** The store that a database is rebuilt from. */
export interface RebuildSource {
  readonly name: string
  readonly site: string
  readonly role: 'primary' | 'backup'
  readonly url: string
  /** For people: scheme and place, without credentials. */
  readonly label: string
}

/** What every rebuilt recording of an account refers to. */
export interface RebuiltAccount {
  readonly accountId: string
  readonly storeId: string
  readonly inboxId: string
  readonly holderId: string
  readonly label: string
}

/** Who stands in the audit rows of a rebuild. */
export const rebuildActor = 'rebuild'

const account = sql<string>`current_setting('app.account')::uuid`
/** A person who can never sign in and gets no mail: the one who placed the holds. */
const holder = { name: 'Rebuild', email: 'rebuild@reelkeep.invalid', roles: [] }

/** Makes sure that the database has the tables of this version. @throws invalid_config */
export async function requireMigrated(db: Database): Promise<void> {
  const { rows } = await db.throughDoor('accounts', (tx) =>
    sql<{ migrated: boolean }>`select to_regclass('public.life_rounds') is not null as migrated`.execute(tx),
  )
  if (rows[0]?.migrated !== true)
    throw new ReelkeepError('invalid_config', 'The database is not migrated. Run `reelkeep migrate` first.')
}

/** True where this account has rows already. */
export async function hasAccount(db: Database, accountId: string): Promise<boolean> {
  return db.asAccount(accountId, async (tx) => {
    const row = await tx.selectFrom('accounts').select('id').where('id', '=', accountId).executeTakeFirst()
    return row !== undefined
  })
}

/**
 * Makes what rebuilt recordings refer to, where it is missing: the account under its own id, the store, an inbox without
 * an address, and the holder of holds. A second run finds it. @throws name_taken, wrong_state
 */
export async function ensureRebuiltAccount(
  db: Database,
  accountId: string,
  { accountName, source }: { accountName: string | null; source: RebuildSource },
): Promise<RebuiltAccount> {
  const name = accountName ?? `Rebuilt ${accountId}`
  const work = async (tx: AccountTx): Promise<RebuiltAccount> => {
    await tx
      .insertInto('accounts')
      .values({ id: accountId, name, policy: JSON.stringify(defaultPolicy) })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    if ((await tx.selectFrom('accounts').select('id').where('id', '=', accountId).executeTakeFirst()) === undefined)
      throw new ReelkeepError(
        'name_taken',
        `Another account is called "${name}" already. Give this one another name with --account-name.`,
      )
    const inbox = { name: 'Rebuilt inbox', site: 'unknown', role: 'inbox' as const, url: unsetAddress }
    return {
      accountId,
      storeId: await ensureSource(tx, source),
      inboxId: await ensureInbox(tx, inbox),
      holderId: await ensureOwner(tx, holder),
      label: source.label,
    }
  }
  return db.asAccount(accountId, work, { actor: rebuildActor })
}

/** A store is the same one by its address; a name or a role that another one has is never taken over. */
async function ensureSource(tx: AccountTx, { name, site, role, url }: RebuildSource): Promise<string> {
  const find = () => tx.selectFrom('stores').selectAll().where('url', '=', url).executeTakeFirst()
  const known = await find()
  if (known === undefined)
    await tx
      .insertInto('stores')
      .values({ account_id: account, name, site, role, url })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  const store = known ?? (await find())
  if (store?.role === role) return store.id
  if (store !== undefined)
    throw new ReelkeepError(
      'wrong_state',
      `The account has this store as ${store.role} already; it cannot be its ${role}, too.`,
    )
  if (role === 'primary' && (await hasPrimary(tx)))
    throw new ReelkeepError(
      'wrong_state',
      'The account has another primary store already. Rebuild from a further store with --as backup.',
    )
  throw new ReelkeepError(
    'name_taken',
    `The account has another store called "${name}". Give this one a name with --name.`,
  )
}

async function hasPrimary(tx: AccountTx): Promise<boolean> {
  return (await tx.selectFrom('stores').select('id').where('role', '=', 'primary').executeTakeFirst()) !== undefined
}

async function ensureInbox(
  tx: AccountTx,
  inbox: { name: string; site: string; role: 'inbox'; url: string },
): Promise<string> {
  await tx
    .insertInto('stores')
    .values({ account_id: account, ...inbox })
    .onConflict((conflict) => conflict.columns(['account_id', 'name']).doNothing())
    .execute()
  return (await tx.selectFrom('stores').select('id').where('name', '=', inbox.name).executeTakeFirstOrThrow()).id
}

/** The person of this address, made where missing; one who is there keeps name and roles. */
export async function ensureOwner(
  tx: AccountTx,
  person: { name: string; email: string; roles: string[] },
): Promise<string> {
  await tx
    .insertInto('people')
    .values({ account_id: account, ...person })
    .onConflict((conflict) => conflict.columns(['account_id', 'email']).doNothing())
    .execute()
  return (await tx.selectFrom('people').select('id').where('email', '=', person.email).executeTakeFirstOrThrow()).id
}

/** The recorder of this name, made where missing; several recordings of a new one arrive side by side. */
export async function ensureRebuiltRecorder(tx: AccountTx, inboxId: string, name: string): Promise<string> {
  await tx
    .insertInto('recorders')
    .values({
      account_id: account,
      inbox_id: inboxId,
      name,
      directory: placeholderDirectory(name),
      assignment: 'claim',
    })
    // Whichever of its unique rules is broken first: by name, or by the directory that follows from the name.
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return (await tx.selectFrom('recorders').select('id').where('name', '=', name).executeTakeFirstOrThrow()).id
}
