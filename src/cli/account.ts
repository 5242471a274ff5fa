import { randomBytes, createHash } from 'node:crypto'
import type { Command } from 'commander'
import { ensureAccount, ensureKey, ensurePerson, ensureStore, listAccountIds } from '../db/accounts.ts'
import { openDatabase } from '../db/connect.ts'
import type { Database } from '../db/connect.ts'
import { loadConfig } from '../config.ts'
import { findDatabaseUrls } from '../dev/database-urls.ts'
import { findHome, readStackFile } from '../dev/home.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { defaultPolicy } from '../domain/policy.ts'
import { ensureSchedules } from '../schedules.ts'
import { openStore } from '../storage/open.ts'
import type { Store } from '../storage/store.ts'
import type { CliContext } from './context.ts'
import { oneLine } from './terminal.ts'

const storeRoles = ['inbox', 'primary', 'backup'] as const

interface StoreOptions {
  readonly name: string
  readonly role: string
  readonly site: string
  readonly url: string
  readonly account?: string
  readonly check: boolean
}

/** What only the operator of the machine may do, on the database itself: accounts, and the places that keep files. */
export function addAccount(program: Command, context: CliContext): void {
  program
    .command('account')
    .description('accounts (on the database: DATABASE_URL, else the local stack)')
    .command('add <name>')
    .description('add an account with its first administrator, and show a key for them once')
    .requiredOption('--admin <name>', 'name of the administrator')
    .requiredOption('--email <address>', 'their mail address')
    .action((name: string, { admin, email }: { admin: string; email: string }) =>
      withDatabase(context, 1, async (db) => {
        const key = `rk_${randomBytes(32).toString('base64url')}`
        const accountId = await ensureAccount(db, { name, policy: defaultPolicy })
        await db.asAccount(accountId, async (tx) => {
          const personId = await ensurePerson(tx, { name: admin, email, roles: ['admin'] })
          const keySha256 = createHash('sha256').update(key).digest('hex')
          await ensureKey(tx, { personId, label: 'command line', keySha256, scopes: ['read', 'write', 'admin'] })
        })
        context.terminal.say(
          oneLine(`Account "${name}" (${accountId}), administrator ${admin}. The key is shown only now:`),
        )
        context.terminal.answer(key)
      }),
    )

  program
    .command('store')
    .description('places that keep files (on the database: DATABASE_URL, else the local stack)')
    .command('add <name> <address>')
    .description(
      'add a store (local:/path, s3://bucket/prefix?..., sftp://user@host/path?...; secrets are named, never contained), after writing, reading and deleting a few bytes there',
    )
    .requiredOption('--role <role>', `one of ${storeRoles.join(', ')}`)
    .requiredOption('--site <site>', 'the place it stands in: what fails together')
    .option('--account <id>', 'the account, where there are several')
    .option('--no-check', 'do not try it (it cannot be reached from this machine)')
    .action((name: string, url: string, options: Omit<StoreOptions, 'name' | 'url'>) =>
      withDatabase(context, 1, (db) => addStore(context, db, { ...options, name, url })),
    )
}

async function addStore(context: CliContext, db: Database, options: StoreOptions): Promise<void> {
  const { env, terminal } = context
  const { name } = options
  const role = storeRoles.find((known) => known === options.role)
  if (role === undefined) throw new ReelkeepError('invalid_request', `--role must be one of ${storeRoles.join(', ')}.`)
  // Opened even without a check: an address that cannot be read is refused now, not by the first recording.
  const store = openConfiguredStore(env, options.url)
  try {
    if (options.check) await store.check()
  } finally {
    await store.close()
  }
  const accountId = await findAccount(db, options.account)
  const id = await db.asAccount(accountId, (tx) =>
    ensureStore(tx, { name, site: options.site, role, url: options.url }),
  )
  terminal.answer(oneLine(`Store "${name}" (${id}): ${role} in ${options.site}, ${store.label}`))
  if (role === 'inbox') await scheduleLooks(context, accountId, id)
}

/** The store at an address, with the secrets that this command line can reach. @throws invalid_config, store_misconfigured */
export function openConfiguredStore(env: NodeJS.ProcessEnv, url: string): Store {
  const placeholders = { DATABASE_URL: '-', TEMPORAL_ADDRESS: '-', SIGNING_KEY_FILE: '-' }
  const config = loadConfig({ ...placeholders, SECRETS_DIR: findHome(env).secretsDir, ...env })
  return openStore(url, (secret) => config.resolveSecret(secret))
}

async function findAccount(db: Database, wanted: string | undefined): Promise<string> {
  const ids = await listAccountIds(db)
  const found = wanted === undefined ? ids : ids.filter((id) => id === wanted)
  const [accountId, second] = found
  if (accountId === undefined)
    throw new ReelkeepError(
      'not_found',
      wanted === undefined
        ? 'There is no account yet; `reelkeep account add` adds one.'
        : `There is no account ${wanted}.`,
    )
  if (second === undefined) return accountId
  throw new ReelkeepError(
    'invalid_request',
    `There are ${ids.length} accounts: ${ids.join(', ')}. Name one with --account.`,
  )
}

/** Workers schedule every inbox when they start; one that is added while they run is scheduled here. */
async function scheduleLooks({ env, terminal }: CliContext, accountId: string, inboxId: string): Promise<void> {
  const port = (await readStackFile(findHome(env)))?.ports.temporal ?? null
  const address = env['TEMPORAL_ADDRESS'] || (port === null ? null : `127.0.0.1:${port}`)
  const later = 'It is looked at from the next start of a worker on.'
  if (address === null) return terminal.say(later)
  try {
    await ensureSchedules({ address, namespace: env['TEMPORAL_NAMESPACE'] || 'reelkeep' }, [{ accountId, inboxId }])
  } catch (error) {
    if (!(error instanceof ReelkeepError)) throw error
    terminal.say(`${error.message} ${later}`)
  }
}

/** Works on the database itself, as the application role. @throws invalid_config where there is none */
export async function withDatabase(
  context: CliContext,
  maxConnections: number,
  work: (db: Database) => Promise<void>,
): Promise<void> {
  const { appUrl } = await findDatabaseUrls(context.env, findHome(context.env))
  const db = openDatabase(appUrl, { maxConnections })
  try {
    await work(db)
  } finally {
    await db.close()
  }
}
