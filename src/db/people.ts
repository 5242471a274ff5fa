import { ReelkeepError } from '../domain/errors.ts'
import { roles } from '../domain/permissions.ts'
import type { Role } from '../domain/permissions.ts'
import { insertAudit } from './audit.ts'
import { brokeUnique, msOf } from './connect.ts'
import type { AccountTx } from './connect.ts'

/** A person of an account. */
export interface PersonView {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly roles: readonly Role[]
  readonly createdAtMs: number
}

/** Everybody of the account, by name. */
export async function listPeople(tx: AccountTx): Promise<PersonView[]> {
  const rows = await tx.selectFrom('people').selectAll().orderBy('name').orderBy('id').execute()
  return rows.map(personOf)
}

/** Adds a person. @throws name_taken where the address belongs to somebody of the account already */
export async function insertPerson(
  tx: AccountTx,
  person: { accountId: string; name: string; email: string; roles: readonly Role[] },
): Promise<PersonView> {
  const row = await tx
    .insertInto('people')
    .values({ account_id: person.accountId, name: person.name, email: person.email, roles: [...person.roles] })
    .returningAll()
    .executeTakeFirstOrThrow()
    .catch((error: unknown) => {
      if (!brokeUnique(error, 'people_account_id_email_key')) throw error
      throw new ReelkeepError(
        'name_taken',
        `${person.email} is in this account already; use another address, or that person.`,
        {
          cause: error,
        },
      )
    })
  await insertAudit(tx, 'person.created', { personId: row.id, roles: person.roles })
  return personOf(row)
}

/**
 * Makes sure that these people are of this account: a foreign key alone would also accept somebody else's.
 * @throws invalid_request
 */
export async function requirePeople(tx: AccountTx, ids: readonly (string | null | undefined)[]): Promise<void> {
  for (const id of new Set(ids)) {
    if (id === null || id === undefined) continue
    const found = await tx.selectFrom('people').select('id').where('id', '=', id).executeTakeFirst()
    if (found === undefined)
      throw new ReelkeepError(
        'invalid_request',
        `There is no person ${id} in this account; GET /api/v1/people lists them.`,
      )
  }
}

function personOf(row: { id: string; name: string; email: string; roles: string[]; created_at: Date }): PersonView {
  return {
    id: row.id,
    name: row.name,
    email: row.email,
    roles: roles.filter((role) => row.roles.includes(role)),
    createdAtMs: msOf(row.created_at),
  }
}
