import type { Command } from 'commander'
import { sql } from 'kysely'
import { listAccountIds } from '../db/accounts.ts'
import { openDatabase } from '../db/connect.ts'
import type { AccountTx } from '../db/connect.ts'
import { findDatabaseUrls } from '../dev/database-urls.ts'
import { findHome } from '../dev/home.ts'
import { answer } from './context.ts'
import type { CliContext } from './context.ts'

/** Whether one account's audit trail is whole. */
export interface AuditVerdict {
  readonly accountId: string
  readonly entries: number
  /** The first entry that is not what its neighbours say it was; null = none. */
  readonly brokenAtSeq: number | null
  /** Keep it elsewhere: a trail that was rewritten whole has another one. */
  readonly headHash: string | null
}

/**
 * Computes the hash chain anew: every entry's hash from its content and the hash before it, without gaps, up to the head.
 * Reads only.
 */
export async function verifyAuditTrail(tx: AccountTx, accountId: string): Promise<AuditVerdict> {
  const { rows } = await sql<{ entries: string; broken: string | null; head: string | null; head_ok: boolean }>`
    with chain as (
      select e.seq, e.hash, e.prev_hash, audit_hash(e) as computed,
        lag(e.hash, 1, repeat('0', 64)) over (order by e.seq) as before, row_number() over (order by e.seq) as place
      from audit_events e
    )
    select (select count(*) from chain) as entries,
      (select min(seq) from chain where hash <> computed or prev_hash <> before or seq <> place) as broken,
      (select hash from audit_heads) as head,
      coalesce((select seq from audit_heads), 0) = (select count(*) from chain)
        and coalesce((select hash from audit_heads), '') = coalesce((select hash from chain order by seq desc limit 1), '') as head_ok
  `.execute(tx)
  const row = rows[0] ?? { entries: '0', broken: null, head: null, head_ok: false }
  const entries = Number(row.entries)
  // Entries that are missing at the end break no neighbour; only the head knows of them.
  const brokenAtSeq = row.broken !== null ? Number(row.broken) : row.head_ok ? null : entries + 1
  return { accountId, entries, brokenAtSeq, headHash: row.head }
}

/** `reelkeep audit verify`: for the operator, on the database itself. */
export function addAudit(program: Command, context: CliContext): void {
  program
    .command('audit')
    .description('the audit trail')
    .command('verify')
    .description('check that no entry was changed, removed or slipped in (DATABASE_URL; else the local stack)')
    .option('--json', 'answer as JSON')
    .action(async (_options: unknown, command: Command) => {
      const { appUrl } = await findDatabaseUrls(context.env, findHome(context.env))
      const db = openDatabase(appUrl, { maxConnections: 1 })
      try {
        const verdicts: AuditVerdict[] = []
        for (const id of await listAccountIds(db))
          verdicts.push(await db.asAccount(id, (tx) => verifyAuditTrail(tx, id)))
        answer(context, command, verdicts, (all) => all.map(describe).join('\n') || 'There is no account yet.')
        if (verdicts.some((verdict) => verdict.brokenAtSeq !== null)) process.exitCode = 1
      } finally {
        await db.close()
      }
    })
}

function describe({ accountId, entries, brokenAtSeq, headHash }: AuditVerdict): string {
  return brokenAtSeq === null
    ? `whole   account ${accountId}: ${entries} entries, head ${headHash ?? '-'}`
    : `BROKEN  account ${accountId}: at entry ${brokenAtSeq} of ${entries}. Compare it with a backup of the database.`
}
