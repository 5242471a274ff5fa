import { Socket } from 'node:net'
import { Kysely, PostgresDialect, sql } from 'kysely'
import type { Transaction } from 'kysely'
import { Pool } from 'pg'
import { ReelkeepError } from '../domain/errors.ts'
import type { Schema } from './schema.ts'

/** A transaction that sees one account's rows and no others. */
export type AccountTx = Transaction<Schema>

/** Who is written into the audit rows of a transaction, and what belongs to the change. */
export interface AuditContext {
  readonly actor: string
  readonly detail?: Readonly<Record<string, unknown>>
}

/** The application's door to Postgres: always inside an account, always in a transaction. */
export interface Database {
  /** Runs `work` as this account: row-level security shows nothing else. The actor is written into audit rows. */
  asAccount<T>(accountId: string, work: (tx: AccountTx) => Promise<T>, audit?: AuditContext): Promise<T>
  /**
   * Runs `work` outside every account: it sees the system row and, through one named door, what belongs to that door:
   * `accounts` (ids and names of all accounts), or the SHA-256 of a key or session token (that one row).
   */
  throughDoor<T>(door: string, work: (tx: AccountTx) => Promise<T>): Promise<T>
  /** Answers when Postgres does. @throws database_unavailable */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Postgres ends a statement by itself after this long. */
const statementTimeoutMs = 30_000

/**
 * Opens a pool of connections as the application role. Connections are made when first needed, and given up when
 * nothing was heard on them for `answerTimeoutMs`: longer than Postgres lets a statement run, so only silence ends them.
 */
export function openDatabase(
  url: string,
  options: { maxConnections?: number; answerTimeoutMs?: number } = {},
): Database {
  const pool = new Pool({
    connectionString: url,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: 5000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    statement_timeout: statementTimeoutMs,
    stream: () => openSocket(options.answerTimeoutMs ?? statementTimeoutMs + 5000),
    application_name: 'reelkeep',
  })
  // A connection that breaks is replaced by the pool, and who was using it is told by the failing statement. Without
  // listeners, one for the idle and one for those in use, it would end the process.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })

  const inTransaction = <T>(settings: Record<string, string>, work: (tx: AccountTx) => Promise<T>) =>
    db
      .transaction()
      .execute(async (tx) => {
        const parts = Object.entries(settings).map(([name, value]) => sql`set_config(${name}, ${value}, true)`)
        await sql`select ${sql.join(parts)}`.execute(tx)
        return work(tx)
      })
      .catch((error: unknown) => {
        throw explainDatabaseError(error)
      })

  return {
    asAccount: (accountId, work, audit) =>
      inTransaction(
        {
          'app.account': accountId,
          'app.actor': audit?.actor ?? 'system',
          'app.detail': audit?.detail === undefined ? '' : JSON.stringify(audit.detail),
        },
        work,
      ),
    throughDoor: (door, work) => inTransaction({ 'app.account': '', 'app.door': door }, work),
    async ping() {
      await inTransaction({ 'app.account': '' }, (tx) => sql`select 1`.execute(tx))
    },
    close: () => db.destroy(),
  }
}

/** A socket that breaks when its peer goes silent: a half-open connection would hold its user, and its place, for ever. */
function openSocket(silenceMs: number): Socket {
  const socket = new Socket()
  return socket.setTimeout(silenceMs, () => socket.destroy(new Error(`connection timeout: silent for ${silenceMs} ms`)))
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** Connection trouble is the product's `database_unavailable`; everything else keeps its own error (a bug shows itself). */
function explainDatabaseError(error: unknown): unknown {
  if (error instanceof ReelkeepError) return error
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  const connection =
    /^(08|57P|53|40)/.test(code) ||
    /^(ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EAI_AGAIN)/.test(code) ||
    /terminated|timeout|not queryable/i.test(message)
  if (!connection) return error
  return new ReelkeepError(
    'database_unavailable',
    `Postgres did not answer (${message}). It is tried again; check that it runs.`,
    {
      cause: error,
    },
  )
}

/** True where a statement broke this unique rule (its index or constraint name). */
export function brokeUnique(error: unknown, constraint: string): boolean {
  return codeOf(error) === '23505' && error instanceof Error && 'constraint' in error && error.constraint === constraint
}

/** Milliseconds of an instant, keeping "known to be absent". */
export function msOf(instant: Date): number
export function msOf(instant: Date | null): number | null
export function msOf(instant: Date | null): number | null {
  return instant === null ? null : instant.getTime()
}
