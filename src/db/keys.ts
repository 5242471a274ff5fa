import { sql } from 'kysely'
import { roles, scopes } from '../domain/permissions.ts'
import type { Actor, Role, Scope } from '../domain/permissions.ts'
import { insertAudit } from './audit.ts'
import { msOf } from './connect.ts'
import type { AccountTx, Database } from './connect.ts'

/** An API key as lists show it: never the key itself, which nobody can read again. */
export interface KeyView {
  readonly id: string
  readonly personId: string
  readonly personName: string
  readonly label: string
  readonly scopes: readonly Scope[]
  readonly createdAtMs: number
  readonly revokedAtMs: number | null
}

/** Who a key speaks for, or null when it is unknown or revoked. */
export async function findActorByKey(db: Database, keySha256: string): Promise<{ actor: Actor; keyId: string } | null> {
  const key = await db.throughDoor(keySha256, (tx) =>
    tx.selectFrom('api_keys').select(['id', 'account_id']).where('key_sha256', '=', keySha256).executeTakeFirst(),
  )
  if (key === undefined) return null
  const actor = await findKeyHolder(db, key.account_id, key.id)
  return actor === null ? null : { actor, keyId: key.id }
}

/** Who a session speaks for, or null when it is unknown, over, or its key was revoked. */
export async function findActorBySession(db: Database, tokenSha256: string): Promise<Actor | null> {
  const session = await db.throughDoor(tokenSha256, (tx) =>
    tx
      .selectFrom('sessions')
      .select(['account_id', 'api_key_id'])
      .where('token_sha256', '=', tokenSha256)
      .where('expires_at', '>', sql<Date>`now()`)
      .executeTakeFirst(),
  )
  return session === undefined ? null : findKeyHolder(db, session.account_id, session.api_key_id)
}

async function findKeyHolder(db: Database, accountId: string, keyId: string): Promise<Actor | null> {
  const row = await db.asAccount(accountId, (tx) =>
    tx
      .selectFrom('api_keys as k')
      .innerJoin('people as p', 'p.id', 'k.person_id')
      .select(['p.id', 'p.name', 'p.roles', 'k.scopes'])
      .where('k.id', '=', keyId)
      .where('k.revoked_at', 'is', null)
      .executeTakeFirst(),
  )
  if (row === undefined) return null
  return { accountId, personId: row.id, name: row.name, roles: knownRoles(row.roles), scopes: knownScopes(row.scopes) }
}

/** Begins a session and clears away those of the account that are over. */
export async function insertSession(
  db: Database,
  session: { accountId: string; keyId: string; tokenSha256: string; expiresAt: Date },
): Promise<void> {
  await db.asAccount(session.accountId, async (tx) => {
    await tx
      .deleteFrom('sessions')
      .where('expires_at', '<', sql<Date>`now()`)
      .execute()
    await tx
      .insertInto('sessions')
      .values({
        token_sha256: session.tokenSha256,
        account_id: session.accountId,
        api_key_id: session.keyId,
        expires_at: session.expiresAt,
      })
      .execute()
  })
}

/** Ends a session. One that is over already changes nothing. */
export async function deleteSession(db: Database, tokenSha256: string): Promise<void> {
  const session = await db.throughDoor(tokenSha256, (tx) =>
    tx.selectFrom('sessions').select('account_id').where('token_sha256', '=', tokenSha256).executeTakeFirst(),
  )
  if (session === undefined) return
  await db.asAccount(session.account_id, (tx) =>
    tx.deleteFrom('sessions').where('token_sha256', '=', tokenSha256).execute(),
  )
}

/** Every key of the account, newest first, revoked ones included. */
export async function listKeys(tx: AccountTx): Promise<KeyView[]> {
  const rows = await keyQuery(tx).orderBy('k.created_at', 'desc').orderBy('k.id').execute()
  return rows.map(keyOf)
}

/** Makes a key. The caller keeps the secret; the database gets its SHA-256. */
export async function insertKey(
  tx: AccountTx,
  key: { accountId: string; personId: string; label: string; keySha256: string; scopes: readonly Scope[] },
): Promise<KeyView> {
  const { id } = await tx
    .insertInto('api_keys')
    .values({
      account_id: key.accountId,
      person_id: key.personId,
      label: key.label,
      key_sha256: key.keySha256,
      scopes: [...key.scopes],
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await insertAudit(tx, 'key.created', { keyId: id, personId: key.personId, label: key.label, scopes: key.scopes })
  return keyOf(await keyQuery(tx).where('k.id', '=', id).executeTakeFirstOrThrow())
}

/** Revokes a key from this moment on; null when there is none. A second call changes nothing. */
export async function revokeKey(tx: AccountTx, id: string): Promise<KeyView | null> {
  const revoked = await tx
    .updateTable('api_keys')
    .set({ revoked_at: sql<Date>`now()` })
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (revoked !== undefined) await insertAudit(tx, 'key.revoked', { keyId: id })
  const row = await keyQuery(tx).where('k.id', '=', id).executeTakeFirst()
  return row === undefined ? null : keyOf(row)
}

function keyQuery(tx: AccountTx) {
  return tx
    .selectFrom('api_keys as k')
    .innerJoin('people as p', 'p.id', 'k.person_id')
    .select(['k.id', 'k.person_id', 'p.name as person_name', 'k.label', 'k.scopes', 'k.created_at', 'k.revoked_at'])
}

interface KeyRow {
  id: string
  person_id: string
  person_name: string
  label: string
  scopes: string[]
  created_at: Date
  revoked_at: Date | null
}

function keyOf(row: KeyRow): KeyView {
  return {
    id: row.id,
    personId: row.person_id,
    personName: row.person_name,
    label: row.label,
    scopes: knownScopes(row.scopes),
    createdAtMs: msOf(row.created_at),
    revokedAtMs: msOf(row.revoked_at),
  }
}

function knownScopes(names: readonly string[]): Scope[] {
  return scopes.filter((scope) => names.includes(scope))
}

function knownRoles(names: readonly string[]): Role[] {
  return roles.filter((role) => names.includes(role))
}
