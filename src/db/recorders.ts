import { ReelkeepError } from '../domain/errors.ts'
import { isPlaceholderDirectory } from '../domain/rebuild.ts'
import type { Assignment } from '../domain/recording.ts'
import { insertAudit } from './audit.ts'
import { brokeUnique, msOf } from './connect.ts'
import type { AccountTx, Database } from './connect.ts'
import { requirePeople } from './people.ts'

/** A recorder as people see it. Its notify salt is a secret: only whether there is one is told. */
export interface RecorderView {
  readonly id: string
  readonly inboxId: string
  readonly inboxName: string
  readonly name: string
  readonly description: string
  /** Its publication directory, below the inbox. */
  readonly directory: string
  readonly assignment: Assignment
  readonly managerId: string | null
  readonly defaultOwnerId: string | null
  readonly isDefault: boolean
  readonly ip: string | null
  readonly canNotify: boolean
  /** True where only signed notify calls count. */
  readonly signsNotify: boolean
  /** How long an upload must stay unchanged; null = the product's default for this kind of inbox. */
  readonly quietMs: number | null
  readonly createdAtMs: number
}

/** What people decide about a recorder. */
export interface RecorderChange {
  readonly name?: string | undefined
  readonly description?: string | undefined
  readonly assignment?: Assignment | undefined
  readonly managerId?: string | null | undefined
  readonly defaultOwnerId?: string | null | undefined
  readonly isDefault?: boolean | undefined
  readonly ip?: string | null | undefined
  readonly notifySalt?: string | null | undefined
  readonly notifySecret?: string | null | undefined
  readonly quietMs?: number | null | undefined
}

/** A recorder that is set up: where it deposits is decided once. */
export type NewRecorder = RecorderChange & {
  readonly accountId: string
  readonly name: string
  readonly inboxId: string
  readonly directory: string
  readonly assignment: Assignment
}

/** Every recorder of the account, by name. */
export async function listRecorders(tx: AccountTx): Promise<RecorderView[]> {
  return (await recorderQuery(tx).orderBy('d.name').execute()).map(recorderOf)
}

/** One recorder, or null when there is none (or it is another account's). */
export async function findRecorder(tx: AccountTx, id: string): Promise<RecorderView | null> {
  const row = await recorderQuery(tx).where('d.id', '=', id).executeTakeFirst()
  return row === undefined ? null : recorderOf(row)
}

/** Sets a recorder up. @throws invalid_request, name_taken */
export async function insertRecorder(tx: AccountTx, recorder: NewRecorder): Promise<RecorderView> {
  const inbox = await tx.selectFrom('stores').select('role').where('id', '=', recorder.inboxId).executeTakeFirst()
  if (inbox?.role !== 'inbox')
    throw new ReelkeepError(
      'invalid_request',
      `${recorder.inboxId} is no inbox of this account; GET /api/v1/stores lists them.`,
    )
  await requirePeople(tx, [recorder.managerId, recorder.defaultOwnerId])
  const rebuilt = await completeRebuilt(tx, recorder)
  if (rebuilt !== null) return rebuilt
  const { id } = await tx
    .insertInto('recorders')
    .values({
      account_id: recorder.accountId,
      inbox_id: recorder.inboxId,
      directory: recorder.directory,
      ...columnsOf(recorder),
      name: recorder.name,
      assignment: recorder.assignment,
      manager_id: recorder.managerId ?? null,
      default_owner_id: recorder.defaultOwnerId ?? null,
      ip: recorder.ip ?? null,
      notify_salt: recorder.notifySalt ?? null,
      notify_secret: recorder.notifySecret ?? null,
      quiet_ms: recorder.quietMs ?? null,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
    .catch(explainTaken)
  await insertAudit(tx, 'recorder.created', { recorderId: id, name: recorder.name, directory: recorder.directory })
  return recorderOf(await recorderQuery(tx).where('d.id', '=', id).executeTakeFirstOrThrow())
}

/** A recorder that was rebuilt by its name gets the inbox and directory it had: its recordings stay its own. */
async function completeRebuilt(tx: AccountTx, recorder: NewRecorder): Promise<RecorderView | null> {
  const found = await tx
    .selectFrom('recorders')
    .select(['id', 'directory'])
    .where('name', '=', recorder.name)
    .executeTakeFirst()
  if (found === undefined || !isPlaceholderDirectory(found.directory)) return null
  await tx
    .updateTable('recorders')
    .set({ ...columnsOf(recorder), inbox_id: recorder.inboxId, directory: recorder.directory })
    .where('id', '=', found.id)
    .execute()
    .catch(explainTaken)
  await insertAudit(tx, 'recorder.completed', { recorderId: found.id, directory: recorder.directory })
  return findRecorder(tx, found.id)
}

/** Changes a recorder; null when there is none. The same change again changes nothing. @throws invalid_request, name_taken */
export async function updateRecorder(tx: AccountTx, id: string, change: RecorderChange): Promise<RecorderView | null> {
  if ((await findRecorder(tx, id)) === null) return null
  await requirePeople(tx, [change.managerId, change.defaultOwnerId])
  const columns = columnsOf(change)
  if (Object.keys(columns).length > 0) {
    const changed = await tx
      .updateTable('recorders')
      .set(columns)
      .where('id', '=', id)
      .returning('id')
      .executeTakeFirst()
      .catch(explainTaken)
    if (changed === undefined) return null
    await insertAudit(tx, 'recorder.changed', { recorderId: id, fields: Object.keys(columns) })
  }
  return findRecorder(tx, id)
}

/** A recorder that called by its address. */
export interface CallingRecorder {
  readonly id: string
  readonly accountId: string
  readonly inboxId: string
  readonly assignment: Assignment
  readonly notifySalt: string | null
  readonly notifySecret: string | null
}

/** The recorders at an address, of whichever account: addresses behind one router may repeat. */
export async function listRecordersAtAddress(db: Database, ip: string): Promise<CallingRecorder[]> {
  const rows = await db.throughDoor(`ip:${ip}`, (tx) =>
    tx
      .selectFrom('recorders')
      .select(['id', 'account_id', 'inbox_id', 'assignment', 'notify_salt', 'notify_secret'])
      .where('ip', '=', ip)
      .execute(),
  )
  return rows.map((row) => ({
    id: row.id,
    accountId: row.account_id,
    inboxId: row.inbox_id,
    assignment: row.assignment,
    notifySalt: row.notify_salt,
    notifySecret: row.notify_secret,
  }))
}

const columnOf = {
  name: 'name',
  description: 'description',
  assignment: 'assignment',
  managerId: 'manager_id',
  defaultOwnerId: 'default_owner_id',
  isDefault: 'is_default',
  ip: 'ip',
  notifySalt: 'notify_salt',
  notifySecret: 'notify_secret',
  quietMs: 'quiet_ms',
} as const satisfies Record<keyof RecorderChange, string>

/** Only what was said: a field that is absent stays as it is, null empties it. */
function columnsOf(change: RecorderChange) {
  const said = Object.entries(columnOf).flatMap(([field, column]) => {
    const value = Object.entries(change).find(([name]) => name === field)?.[1]
    return value === undefined ? [] : [[column, value] as const]
  })
  return Object.fromEntries(said)
}

const taken: Readonly<Record<string, string>> = {
  recorders_account_id_name_key: 'Another recorder has this name; choose another one.',
  recorders_inbox_id_directory_key: 'Another recorder deposits into this directory; choose another one.',
  one_recorder_per_ip: 'Another recorder has this address; remove it there first.',
  one_default_recorder: 'This inbox has a default recorder already; change that one first.',
}

function explainTaken(error: unknown): never {
  for (const [constraint, message] of Object.entries(taken))
    if (brokeUnique(error, constraint)) throw new ReelkeepError('name_taken', message, { cause: error })
  throw error
}

function recorderQuery(tx: AccountTx) {
  return tx
    .selectFrom('recorders as d')
    .innerJoin('stores as s', 's.id', 'd.inbox_id')
    .selectAll('d')
    .select('s.name as inbox_name')
}

function recorderOf(
  row: Awaited<ReturnType<ReturnType<typeof recorderQuery>['executeTakeFirstOrThrow']>>,
): RecorderView {
  return {
    id: row.id,
    inboxId: row.inbox_id,
    inboxName: row.inbox_name,
    name: row.name,
    description: row.description,
    directory: row.directory,
    assignment: row.assignment,
    managerId: row.manager_id,
    defaultOwnerId: row.default_owner_id,
    isDefault: row.is_default,
    ip: row.ip,
    canNotify: row.notify_salt !== null || row.notify_secret !== null,
    signsNotify: row.notify_secret !== null,
    quietMs: row.quiet_ms === null ? null : Number(row.quiet_ms),
    createdAtMs: msOf(row.created_at),
  }
}
