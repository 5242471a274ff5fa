import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { inject } from 'vitest'

/** A database of its own for one test file, migrated and empty. */
export interface FreshDatabase {
  readonly ownerUrl: string
  readonly appUrl: string
  readonly adminUrl: string
  /** Removes it, ending connections that are still open. */
  drop(): Promise<void>
}

/** Copies the migrated template database (about 50 ms). */
export function freshDatabase(): Promise<FreshDatabase> {
  return createDatabase(databaseOf(inject('ownerUrl')))
}

/** A database without any schema, as an operator makes one for Reelkeep. */
export function emptyDatabase(): Promise<FreshDatabase> {
  return createDatabase('template0')
}

async function createDatabase(template: string): Promise<FreshDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(`CREATE DATABASE ${name} TEMPLATE ${template} OWNER reelkeep_owner`)
  await asAdmin(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`)
  await asAdmin(`GRANT CONNECT ON DATABASE ${name} TO reelkeep_app`)
  return {
    ownerUrl: withDatabase(inject('ownerUrl'), name),
    appUrl: withDatabase(inject('appUrl'), name),
    adminUrl: withDatabase(inject('adminUrl'), name),
    drop: () => asAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  }
}

async function asAdmin(statement: string): Promise<void> {
  // Connected to another database: the template must have no connection while it is copied.
  const client = new Client(withDatabase(inject('adminUrl'), 'postgres'))
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1)
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}
