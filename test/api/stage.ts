import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { Client } from 'pg'
import { pino } from 'pino'
import { createApp } from '../../src/api/app.ts'
import { hashSecret, makeKey } from '../../src/api/auth.ts'
import type { AppEnv } from '../../src/api/env.ts'
import { openStoreBook } from '../../src/api/media-source.ts'
import { createMetrics } from '../../src/api/metrics.ts'
import type { Pipeline } from '../../src/api/pipeline.ts'
import { ensureAccount, ensureKey, ensurePerson, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import type { CommandRequest } from '../../src/domain/commands.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import { roles } from '../../src/domain/permissions.ts'
import type { Role, Scope } from '../../src/domain/permissions.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { freshDatabase } from '../setup/database.ts'

/** A pipeline that only remembers what it was told, and can be told to be away. */
export interface FakePipeline extends Pipeline {
  readonly commands: { recordingId: string; request: CommandRequest }[]
  readonly looks: string[]
  readonly forwards: string[]
  readonly checks: string[]
  away: boolean
  slowMs: number
  failure: Error | null
}

function fakePipeline(): FakePipeline {
  const answer = async () => {
    if (fake.slowMs > 0) await new Promise((resolve) => setTimeout(resolve, fake.slowMs))
    if (fake.failure !== null) throw fake.failure
    if (fake.away) throw new ReelkeepError('pipeline_unavailable', 'Temporal is away.')
  }
  const fake: FakePipeline = {
    commands: [],
    looks: [],
    forwards: [],
    checks: [],
    away: false,
    slowMs: 0,
    failure: null,
    async command(recordingId, request) {
      await answer()
      fake.commands.push({ recordingId, request })
      return { facts: null }
    },
    startRecording: answer,
    async lookAtInbox(_accountId, inboxId) {
      await answer()
      fake.looks.push(inboxId)
    },
    async checkCopies(_accountId, recordingId) {
      await answer()
      fake.checks.push(recordingId)
    },
    async checkAllCopies(accountId) {
      await answer()
      fake.checks.push(accountId)
    },
    async fastForward(recordingId) {
      await answer()
      fake.forwards.push(recordingId)
    },
    ping: answer,
    close: async () => undefined,
  }
  return fake
}

/** One account with a key for every role that tests need. */
export interface TestAccount {
  readonly id: string
  readonly inboxId: string
  readonly primaryId: string
  readonly recorderId: string
  readonly people: Record<Role, string>
  readonly keys: Record<Role | 'readOnly', string>
  readonly adminKeyId: string
}

/** The API on a real database and a real local store, with two accounts. */
export interface Stage {
  readonly app: OpenAPIHono<AppEnv>
  readonly db: Database
  readonly pipeline: FakePipeline
  readonly a: TestAccount
  readonly b: TestAccount
  readonly root: string
  readonly databaseUrl: string
  /** Owns the tables, as migrations run; `owner` below is a superuser, past every wall. */
  readonly ownerUrl: string
  readonly owner: Client
  request(path: string, options?: RequestOptions): Promise<TestResponse>
  addRecording(account: TestAccount, options?: NewRecording): Promise<string>
  addFile(account: TestAccount, recordingId: string, file: NewFile): Promise<string>
  close(): Promise<void>
}

/** An answer whose JSON is checked by what a test expects of it. */
export interface TestResponse extends Response {
  // oxlint-disable-next-line typescript/no-explicit-any
  json(): Promise<any>
}

/** A request as the administrator of account A, unless it says otherwise. */
export interface RequestOptions {
  key?: string | null
  method?: string
  json?: unknown
  text?: string
  headers?: Record<string, string>
}
interface NewRecording {
  title?: string
  path?: string[]
}
interface NewFile {
  name: string
  kind: string
  contentType: string
  bytes: Buffer
}

/** Where people reach the console. */
export const baseUrl = 'http://127.0.0.1:8700'

/** Sets everything up; close it afterwards. */
export async function openStage(): Promise<Stage> {
  const database = await freshDatabase()
  const db = openDatabase(database.appUrl)
  const root = await mkdtemp(join(tmpdir(), 'reelkeep-api-'))
  const owner = new Client(database.adminUrl)
  await owner.connect()
  const pipeline = fakePipeline()
  const log = pino({ level: 'silent' })
  const stores = openStoreBook({ db, log, resolveSecret: () => 'none' })
  const config = {
    api: { host: '127.0.0.1', port: 8700, baseUrl },
    temporal: { address: '127.0.0.1:1', namespace: 'test', uiUrl: null },
  }
  const signingKeys = [{ keyId: '0123456789abcdef', publicKeyPem: '-----BEGIN PUBLIC KEY-----\n' }]
  const app = createApp({ db, pipeline, stores, config, log, metrics: createMetrics(), signingKeys })
  const a = await addAccount(db, root, 'A')
  const b = await addAccount(db, root, 'B')
  return {
    app,
    db,
    pipeline,
    a,
    b,
    root,
    databaseUrl: database.appUrl,
    ownerUrl: database.ownerUrl,
    owner,
    request: async (path, options = {}) => {
      const key = options.key === undefined ? a.keys.admin : options.key
      const body = options.text ?? (options.json === undefined ? undefined : JSON.stringify(options.json))
      return app.request(path, {
        method: options.method ?? (body === undefined ? 'GET' : 'POST'),
        headers: {
          ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...options.headers,
        },
        ...(body === undefined ? {} : { body }),
      })
    },
    addRecording: (account, options = {}) => addRecording(owner, account, options),
    addFile: (account, recordingId, file) => addFile(owner, root, account, recordingId, file),
    async close() {
      await stores.close()
      await owner.end()
      await db.close()
      await database.drop()
      await rm(root, { recursive: true, force: true })
    },
  }
}

async function addAccount(db: Database, root: string, name: string): Promise<TestAccount> {
  const id = await ensureAccount(db, { name, policy: defaultPolicy })
  return db.asAccount(id, async (tx) => {
    const keys = { viewer: '', user: '', manager: '', operator: '', admin: '', auditor: '', readOnly: '' }
    const people = { viewer: '', user: '', manager: '', operator: '', admin: '', auditor: '' }
    for (const role of roles) {
      people[role] = await ensurePerson(tx, {
        name: `${role} ${name}`,
        email: `${role}@${name}.example`,
        roles: [role],
      })
      keys[role] = makeKey()
      const scopes: Scope[] = role === 'admin' ? ['read', 'write', 'admin'] : ['read', 'write']
      await ensureKey(tx, { personId: people[role], label: role, keySha256: hashSecret(keys[role]), scopes })
    }
    keys.readOnly = makeKey()
    await ensureKey(tx, {
      personId: people.admin,
      label: 'reader',
      keySha256: hashSecret(keys.readOnly),
      scopes: ['read'],
    })
    const inboxId = await ensureStore(tx, {
      name: 'inbox',
      site: 'x',
      role: 'inbox',
      url: `local:${root}/${name}/inbox`,
    })
    const primaryId = await ensureStore(tx, {
      name: 'primary',
      site: 'x',
      role: 'primary',
      url: `local:${root}/${name}/primary`,
    })
    const recorderId = await ensureRecorder(tx, { inboxId, name: 'Room 1', directory: 'room-1', assignment: 'claim' })
    const admin = await tx.selectFrom('api_keys').select('id').where('label', '=', 'admin').executeTakeFirstOrThrow()
    return { id, inboxId, primaryId, recorderId, people, keys, adminKeyId: admin.id }
  })
}

async function addRecording(owner: Client, account: TestAccount, options: NewRecording): Promise<string> {
  const id = randomUUID()
  const sha256 = randomBytes(32).toString('hex')
  await owner.query(
    `insert into deposits (id, account_id, inbox_id, recorder_id, path, size_bytes, mtime_ms, file_id, state, recording_id)
     values ($1, $2, $3, $4, $5, 1000, 1, $6, 'accepted', $1)`,
    [id, account.id, account.inboxId, account.recorderId, `room-1/${id}.mp4`, id],
  )
  const media = {
    container: 'mp4',
    durationMs: 1000,
    sizeBytes: 1000,
    video: null,
    audio: null,
    streamCount: 1,
    title: null,
    notes: [],
  }
  await owner.query(
    `insert into recordings (id, account_id, recorder_id, deposit_id, title, sha256, size_bytes, media)
     values ($1, $2, $3, $1, $4, $5, 1000, $6)`,
    [id, account.id, account.recorderId, options.title ?? 'Lecture', sha256, JSON.stringify(media)],
  )
  for (const state of options.path ?? [])
    await owner.query('update recordings set state = $2 where id = $1', [id, state])
  return id
}

async function addFile(
  owner: Client,
  root: string,
  account: TestAccount,
  recordingId: string,
  file: NewFile,
): Promise<string> {
  const key = `${recordingId}/${file.name}`
  const name = (await owner.query('select name from accounts where id = $1', [account.id])).rows[0].name
  const path = join(root, name, 'primary', key)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, file.bytes)
  const sha256 = createHash('sha256').update(file.bytes).digest('hex')
  const { rows } = await owner.query(
    `insert into files (account_id, recording_id, kind, name, key, content_type, size_bytes, sha256)
     values ($1, $2, $3, $4, $5, $6, $7, $8) returning id`,
    [account.id, recordingId, file.kind, file.name, key, file.contentType, file.bytes.length, sha256],
  )
  await owner.query(
    `insert into copies (account_id, recording_id, file_id, store_id, state, verified_at) values ($1, $2, $3, $4, 'verified', now())`,
    [account.id, recordingId, rows[0].id, account.primaryId],
  )
  return rows[0].id
}
