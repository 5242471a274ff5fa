import { readFile, readdir } from 'node:fs/promises'
import { Kysely, Migrator, PostgresDialect, sql } from 'kysely'
import type { Migration } from 'kysely'
import { Pool } from 'pg'
import { ReelkeepError } from './domain/errors.ts'

const folder = new URL('../migrations/', import.meta.url)

async function loadMigrations(): Promise<Record<string, Migration>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  const migrations: Record<string, Migration> = {}
  for (const name of names) {
    const text = await readFile(new URL(name, folder), 'utf8')
    migrations[name.replace(/\.sql$/, '')] = {
      up: (db) =>
        sql
          .raw(text)
          .execute(db)
          .then(() => undefined),
    }
  }
  return migrations
}

/**
 * Brings the database to the newest schema, as its owner. A second run finds nothing to do; two at once wait for
 * each other. `fastForward` is decided by the run that creates the system and can never be changed afterwards.
 * Returns the names of the migrations that ran.
 * @throws misconfigured database (kept as the database's own error), invalid_config
 */
export async function migrateUp(ownerUrl: string, options: { fastForward?: boolean } = {}): Promise<readonly string[]> {
  const db = new Kysely<{ system: { fast_forward: boolean } }>({
    dialect: new PostgresDialect({
      pool: new Pool({ connectionString: ownerUrl, max: 2, connectionTimeoutMillis: 5000 }),
    }),
  })
  try {
    const migrator = new Migrator({ db, provider: { getMigrations: loadMigrations } })
    const { error, results } = await migrator.migrateToLatest()
    if (error !== undefined)
      throw new ReelkeepError(
        'invalid_config',
        `The database could not be migrated: ${describe(error)}. Nothing of that migration was kept. Check that DATABASE_OWNER_URL names the owner of the database, then start again.`,
        {
          cause: error,
        },
      )
    await db
      .insertInto('system')
      .values({ fast_forward: options.fastForward ?? false })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    return (results ?? []).filter((result) => result.status === 'Success').map((result) => result.migrationName)
  } finally {
    await db.destroy()
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
