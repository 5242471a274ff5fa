import { createHash, randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { sql } from 'kysely'
import { pino } from 'pino'
import { createApp } from '../../src/api/app.ts'
import { hashSecret, makeKey } from '../../src/api/auth.ts'
import type { AppEnv } from '../../src/api/env.ts'
import { openStoreBook } from '../../src/api/media-source.ts'
import { createMetrics } from '../../src/api/metrics.ts'
import { openPipeline } from '../../src/api/pipeline.ts'
import { ensureKey, ensurePerson } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import { originalKey } from '../../src/domain/archive.ts'
import type { Role } from '../../src/domain/permissions.ts'
import type { RetentionPlan } from '../../src/domain/plan.ts'
import type { World } from '../setup/world.ts'

/** Where recordings without media work are made: the rows that a life would have left, tiny files where copies stand. */
export interface Stock {
  readonly db: Database
  readonly accountId: string
  readonly recorderId: string
  readonly inboxId: string
  /** Where copies stand: store id -> its folder. */
  readonly folders: Readonly<Record<string, string>>
}

/** What a recording was decided before the test begins. */
export interface Before {
  readonly ownerId?: string
  readonly requestedBy?: string | null
  readonly approvedBy?: readonly string[]
  /** Against now; retention ended a minute ago where nothing is said. */
  readonly retainedForMs?: number
  /** Against now; the undo window was over a second ago where nothing is said. */
  readonly undoForMs?: number
}

const kept = ['awaiting_claim', 'claimed', 'encoding', 'archiving', 'protected', 'retained'] as const
const ways = {
  awaiting_claim: ['awaiting_claim'],
  retained: kept,
  disposition_requested: [...kept, 'disposition_requested'],
  trashed: [...kept, 'disposition_requested', 'approved', 'trashed'],
} as const

const media = JSON.stringify({
  container: 'mp4',
  durationMs: 1000,
  sizeBytes: 44,
  video: null,
  audio: null,
  streamCount: 1,
  title: null,
  notes: [],
})

/** Makes `count` recordings that came to this state by its lawful way. */
export async function stockRecordings(
  stock: Stock,
  count: number,
  state: keyof typeof ways,
  before: Before = {},
): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID())
  const shaOf = (id: string) => createHash('sha256').update(`bytes of ${id}`).digest('hex')
  const keyOf = (id: string) => originalKey(stock.accountId, id, 'mp4')
  if (state !== 'awaiting_claim')
    for (const folder of Object.values(stock.folders))
      for (const id of ids) {
        await mkdir(dirname(join(folder, keyOf(id))), { recursive: true })
        await writeFile(join(folder, keyOf(id)), `bytes of ${id}`)
      }
  await stock.db.asAccount(stock.accountId, async (tx) => {
    const rows = JSON.stringify(ids.map((id) => ({ id, sha256: shaOf(id), key: keyOf(id) })))
    const listed = sql`jsonb_to_recordset(${rows}::jsonb) as x(id uuid, sha256 text, key text)`
    const account = sql`${stock.accountId}::uuid`
    await sql`insert into deposits (id, account_id, inbox_id, recorder_id, path, size_bytes, mtime_ms, file_id, state, sha256)
      select id, ${account}, ${stock.inboxId}::uuid, ${stock.recorderId}::uuid, id || '.mp4', 44, 1, id::text, 'released', sha256
      from ${listed}`.execute(tx)
    await sql`insert into recordings (id, account_id, recorder_id, deposit_id, title, sha256, size_bytes, media, owner_id)
      select id, ${account}, ${stock.recorderId}::uuid, id, 'Lecture ' || id, sha256, 44, ${media}::jsonb, ${before.ownerId ?? null}::uuid
      from ${listed}`.execute(tx)
    if (state !== 'awaiting_claim') {
      await sql`insert into files (account_id, recording_id, kind, name, key, content_type, size_bytes, sha256)
        select ${account}, id, 'original', 'original.mp4', key, 'video/mp4', 44, sha256 from ${listed}`.execute(tx)
      await sql`insert into copies (account_id, recording_id, file_id, store_id, state, verified_at)
        select ${account}, f.recording_id, f.id, s, 'verified', now() from files f, unnest(${Object.keys(stock.folders)}::uuid[]) s
        where f.recording_id = any(${ids}::uuid[])`.execute(tx)
    }
    for (const step of ways[state]) {
      if (step === 'retained') await plan(ids, before)
      if (step === 'disposition_requested') await request(ids, before)
      if (step === 'approved') await approve(ids, before)
      await sql`update recordings set state = ${step} where id = any(${ids}::uuid[])`.execute(tx)
    }

    async function plan(which: string[], { retainedForMs = -60_000 }: Before) {
      const retainUntilMs = Date.now() + retainedForMs
      const text: RetentionPlan = {
        policyVersion: 1,
        ruleId: 'default',
        retainUntilMs,
        reason: 'Kept long enough',
        extendedToMs: null,
        actions: [],
      }
      await sql`update recordings set plan = ${JSON.stringify(text)}::jsonb, plan_hash = ${planHash},
        retain_until = ${new Date(retainUntilMs)} where id = any(${which}::uuid[])`.execute(tx)
    }
    async function request(which: string[], { requestedBy = null }: Before) {
      await sql`insert into dispositions (account_id, recording_id, requested_by, reason, plan_hash)
        select ${account}, id, ${requestedBy}::uuid, 'Retention ended', ${planHash} from unnest(${which}::uuid[]) id`.execute(
        tx,
      )
    }
    async function approve(which: string[], { approvedBy = [], undoForMs = -1000 }: Before) {
      await sql`insert into approvals (disposition_id, person_id, account_id, plan_hash)
        select d.id, p, ${account}, ${planHash} from dispositions d, unnest(${[...approvedBy]}::uuid[]) p
        where d.recording_id = any(${which}::uuid[])`.execute(tx)
      await sql`update dispositions set state = 'approved', undo_until = now() + ${undoForMs} * interval '1 millisecond'
        where recording_id = any(${which}::uuid[])`.execute(tx)
    }
  })
  return ids
}

/** The hash that stocked recordings have for their plan. */
export const planHash = createHash('sha256').update('plan').digest('hex')

/** The real API on a world, with keys for as many people as a test wants. */
export interface Desk {
  readonly app: OpenAPIHono<AppEnv>
  addPerson(
    name: string,
    roles: readonly Role[],
  ): Promise<{ readonly name: string; readonly id: string; readonly key: string }>
  post(path: string, key: string, json: unknown, idempotencyKey?: string): Promise<Answer>
  close(): Promise<void>
}

/** What the API said. */
export interface Answer {
  readonly status: number
  readonly text: string
  // JSON that is checked by what a test expects of it.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

/** Opens the API beside the workers of a world: each desk stands for one process, with its own way to Temporal. */
export function openDesk(world: World): Desk {
  const log = pino({ level: 'silent' })
  const db = openDatabase(world.config.databaseUrl, { maxConnections: 15 })
  const stores = openStoreBook({ db, log, resolveSecret: (name) => world.config.resolveSecret(name) })
  const { config } = world
  const pipeline = openPipeline(config.temporal)
  const app = createApp({ db, pipeline, stores, config, log, metrics: createMetrics(), signingKeys: [] })
  return {
    app,
    async addPerson(name, roles) {
      const key = makeKey()
      const id = await db.asAccount(world.accountId, async (tx) => {
        const personId = await ensurePerson(tx, { name, email: `${name.toLowerCase()}@example.test`, roles })
        await ensureKey(tx, { personId, label: name, keySha256: hashSecret(key), scopes: ['read', 'write'] })
        return personId
      })
      return { name, id, key }
    },
    async post(path, key, json, idempotencyKey) {
      const response = await app.request(`/api/v1${path}`, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${key}`,
          'Content-Type': 'application/json',
          ...(idempotencyKey === undefined ? {} : { 'Idempotency-Key': idempotencyKey }),
        },
        body: JSON.stringify(json),
      })
      const text = await response.text()
      return { status: response.status, text, body: text === '' ? null : (JSON.parse(text) as unknown) }
    },
    async close() {
      await pipeline.close()
      await stores.close()
      await db.close()
    },
  }
}
