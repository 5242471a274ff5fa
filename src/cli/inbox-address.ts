import { openDatabase } from '../db/connect.ts'
import { findStoreUrl } from '../db/stores.ts'
import { findDatabaseUrls } from '../dev/database-urls.ts'
import { findHome } from '../dev/home.ts'
import { ReelkeepError } from '../domain/errors.ts'
import type { StoreAnswer } from './answers.ts'
import type { CliContext } from './context.ts'

/**
 * The whole address of an inbox. The API shows it without its parameters; on the machine of the stack (or where
 * `DATABASE_URL` is set) the database has it, so that only another machine needs to be told.
 * @throws invalid_request where this machine's database does not know the inbox
 */
export async function findInboxAddress({ env }: CliContext, inbox: StoreAnswer): Promise<string> {
  // A directory has no parameters that a deposit would need.
  if (/^(file|local):/.test(inbox.url)) return inbox.url
  let cause: unknown
  try {
    const { appUrl } = await findDatabaseUrls(env, findHome(env))
    const db = openDatabase(appUrl, { maxConnections: 1 })
    try {
      const url = await findStoreUrl(db, inbox.id)
      if (url !== null) return url
    } finally {
      await db.close()
    }
  } catch (error) {
    if (!(error instanceof ReelkeepError)) throw error
    cause = error
  }
  throw new ReelkeepError(
    'invalid_request',
    `The whole address of the inbox "${inbox.name}" (${inbox.url}) is not known on this machine${cause instanceof Error ? `: ${cause.message}` : '.'} Give it with --inbox-url, and its secret as REELKEEP_SECRET_<NAME>, or run this where Reelkeep runs.`,
    { cause },
  )
}
