import { createHash, randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { createApp } from '../../src/api/app.ts'
import { hashSecret, makeKey, sessionCookie, signIn } from '../../src/api/auth.ts'
import type { ApiDeps, StoreBook } from '../../src/api/env.ts'
import { createMetrics } from '../../src/api/metrics.ts'
import type { Pipeline } from '../../src/api/pipeline.ts'
import { ensureAccount, ensureKey, ensurePerson, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { AccountTx, Database } from '../../src/db/connect.ts'
import type { CommandRequest } from '../../src/domain/commands.ts'
import { planEncode } from '../../src/domain/encode.ts'
import type { MediaFacts } from '../../src/domain/encode.ts'
import { planRetention, planText } from '../../src/domain/plan.ts'
import type { Role, Scope } from '../../src/domain/permissions.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import type { Assignment, ProblemOption, RecordingState } from '../../src/domain/recording.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'

/** What the fake pipeline was asked for, oldest first. */
export interface Asked {
  readonly commands: { recordingId: string; request: CommandRequest }[]
  readonly checks: string[]
  readonly jumps: { recordingId: string; durationMs: number }[]
}

/** The console on a database of its own. */
export interface Sample {
  readonly db: Database
  readonly app: ReturnType<typeof createApp>
  readonly asked: Asked
  readonly account: SampleAccount
  readonly fresh: FreshDatabase
  close(): Promise<void>
}

/** An account with people, places and a recorder. */
export interface SampleAccount {
  readonly id: string
  readonly people: Readonly<Record<'ada' | 'max' | 'olga' | 'vera', string>>
  /** Session cookies. */
  readonly cookies: Readonly<Record<'ada' | 'max' | 'olga' | 'vera', string>>
  readonly adaKey: string
  readonly inboxId: string
  readonly primaryId: string
  readonly backupId: string
  readonly recorderId: string
}

const cast: Readonly<Record<keyof SampleAccount['people'], { name: string; roles: readonly Role[] }>> = {
  ada: { name: 'Ada Admin', roles: ['admin'] },
  max: { name: 'Max Manager', roles: ['manager', 'user'] },
  olga: { name: 'Olga Owner', roles: ['user'] },
  vera: { name: 'Vera Viewer', roles: ['viewer'] },
}

const noStores: StoreBook = { openCopy: async () => null, close: async () => undefined }

export async function openSample(stores: StoreBook = noStores): Promise<Sample> {
  const fresh = await freshDatabase()
  const db = openDatabase(fresh.appUrl)
  const asked: Asked = { commands: [], checks: [], jumps: [] }
  const deps: ApiDeps = {
    db,
    pipeline: fakePipeline(asked),
    stores,
    config: {
      api: { host: '127.0.0.1', port: 0, baseUrl: 'http://localhost' },
      temporal: { address: '127.0.0.1:1', namespace: 'none', uiUrl: null },
    },
    log: pino({ level: 'silent' }),
    metrics: createMetrics(),
    signingKeys: [],
  }
  const account = await addAccount(db, 'University of Examples')
  return {
    db,
    app: createApp(deps),
    asked,
    account,
    fresh,
    async close() {
      await db.close()
      await fresh.drop()
    },
  }
}

/** Our own contract, remembering what was asked; the command's effect is not the console's business. */
function fakePipeline(asked: Asked): Pipeline {
  return {
    async command(recordingId, request) {
      asked.commands.push({ recordingId, request })
      return { facts: null }
    },
    startRecording: async () => undefined,
    lookAtInbox: async () => undefined,
    checkCopies: async (_accountId, recordingId) => void asked.checks.push(recordingId),
    checkAllCopies: async (accountId) => void asked.checks.push(accountId),
    async fastForward(recordingId, durationMs) {
      asked.jumps.push({ recordingId, durationMs })
    },
    ping: async () => undefined,
    close: async () => undefined,
  }
}

export async function addAccount(db: Database, name: string): Promise<SampleAccount> {
  const id = await ensureAccount(db, { name, policy: defaultPolicy })
  const places = await db.asAccount(id, async (tx) => {
    const store = (name: string, site: string, role: 'inbox' | 'primary' | 'backup') =>
      ensureStore(tx, { name, site, role, url: `file:///tmp/${name}` })
    const inboxId = await store('lecture-inbox', 'campus', 'inbox')
    const primaryId = await store('campus-store', 'campus', 'primary')
    const backupId = await store('second-site', 'riverside', 'backup')
    return { inboxId, primaryId, backupId, recorderId: await addRecorder(tx, inboxId, 'Lecture hall 1', 'claim') }
  })
  const ada = await addPerson(db, id, 'ada', ['read', 'write', 'admin'])
  const max = await addPerson(db, id, 'max', ['read', 'write'])
  const olga = await addPerson(db, id, 'olga', ['read', 'write'])
  const vera = await addPerson(db, id, 'vera', ['read'])
  return {
    id,
    ...places,
    people: { ada: ada.id, max: max.id, olga: olga.id, vera: vera.id },
    cookies: { ada: ada.cookie, max: max.cookie, olga: olga.cookie, vera: vera.cookie },
    adaKey: ada.key,
  }
}

async function addPerson(db: Database, accountId: string, who: keyof typeof cast, scopes: readonly Scope[]) {
  const key = makeKey()
  const id = await db.asAccount(accountId, async (tx) => {
    const personId = await ensurePerson(tx, { ...cast[who], email: `${who}@example.edu` })
    await ensureKey(tx, { personId, label: 'test', keySha256: hashSecret(key), scopes })
    return personId
  })
  const session = await signIn(db, key)
  if (session === null) throw new Error(`${who} cannot sign in`)
  return { id, key, cookie: `${sessionCookie}=${session.token}` }
}

export async function addRecorder(
  tx: AccountTx,
  inboxId: string,
  name: string,
  assignment: Assignment,
  managerId: string | null = null,
) {
  return ensureRecorder(tx, {
    inboxId,
    name,
    directory: name.toLowerCase().replaceAll(' ', '-'),
    assignment,
    managerId,
  })
}

const lecture: MediaFacts = {
  container: 'mov,mp4,m4a,3gp,3g2,mj2',
  durationMs: 5_432_000,
  sizeBytes: 734_003_200,
  video: {
    codec: 'h264',
    profile: 'High',
    level: 40,
    pixelFormat: 'yuv420p',
    widthPx: 1920,
    heightPx: 1080,
    framesPerSecond: 25,
    interlaced: false,
    hdr: false,
    rotationDegrees: 0,
  },
  audio: { codec: 'aac', profile: 'LC', channels: 2, sampleRateHz: 48_000 },
  streamCount: 2,
  title: null,
  notes: [],
}

const path: readonly RecordingState[] = [
  'accepted',
  'awaiting_claim',
  'claimed',
  'encoding',
  'archiving',
  'protected',
  'retained',
  'disposition_requested',
  'approved',
  'trashed',
  'purging',
  'purged',
]

export interface SampleRecording {
  readonly title?: string
  readonly state?: RecordingState
  readonly ownerId?: string
  readonly recorderId?: string
  readonly acceptedAgoMs?: number
  readonly progressPercent?: number
  readonly waitingFor?: string
  readonly nextStep?: string
  readonly nextInMs?: number
  readonly requestedBy?: string
  readonly approvedBy?: string
  readonly clockOffsetMs?: number
  readonly path?: string
  readonly media?: MediaFacts
}

/** A recording that walked to its state along the allowed edges, with what it has by then. */
export async function addRecording(db: Database, account: SampleAccount, given: SampleRecording = {}): Promise<string> {
  const id = randomUUID()
  const state = given.state ?? 'retained'
  const steps = path.slice(0, path.indexOf(state) + 1)
  const recorderId = given.recorderId ?? account.recorderId
  const acceptedAtMs = Date.now() - (given.acceptedAgoMs ?? 3_600_000)
  const plan = planRetention(defaultPolicy, {
    recorderId,
    durationMs: 5_432_000,
    tags: [],
    acceptedAtMs,
    extendedToMs: null,
  })
  const planHash = createHash('sha256').update(planText(plan)).digest('hex')
  await db.asAccount(
    account.id,
    async (tx) => {
      await tx
        .insertInto('deposits')
        .values({
          id,
          account_id: account.id,
          inbox_id: account.inboxId,
          recorder_id: recorderId,
          path: given.path ?? `lecture-hall-1/${id}.mp4`,
          size_bytes: 734_003_200,
          mtime_ms: acceptedAtMs,
          file_id: id,
          state: 'accepted',
          recording_id: id,
        })
        .execute()
      await tx
        .insertInto('recordings')
        .values({
          id,
          account_id: account.id,
          recorder_id: recorderId,
          deposit_id: id,
          title: given.title ?? 'Introduction to Topology, lecture 3',
          sha256: createHash('sha256').update(id).digest('hex'),
          size_bytes: 734_003_200,
          media: JSON.stringify(given.media ?? lecture),
          encode_plan: JSON.stringify(planEncode(given.media ?? lecture)),
          owner_id: given.ownerId ?? null,
          created_at: new Date(acceptedAtMs),
        })
        .execute()
      for (const step of steps.slice(1)) {
        if (step === 'archiving') await addFiles(tx, account, id)
        if (step === 'retained') await setPlan(tx, id, plan, planHash)
        if (step === 'disposition_requested') await request(tx, account, id, planHash, given)
        if (step === 'approved') await approve(tx, account, id, planHash, given)
        if (step === 'purged')
          await tx
            .updateTable('copies')
            .set({ state: 'purged', purged_at: new Date() })
            .where('recording_id', '=', id)
            .execute()
        await tx.updateTable('recordings').set({ state: step }).where('id', '=', id).execute()
      }
      await tx
        .updateTable('recordings')
        .set({
          waiting_for: given.waitingFor ?? null,
          next_step: given.nextStep ?? null,
          next_at: given.nextInMs === undefined ? null : new Date(Date.now() + given.nextInMs),
          progress_percent: given.progressPercent ?? null,
          clock_limit_ms: given.clockOffsetMs ?? 0,
          clock_offset_ms: given.clockOffsetMs ?? 0,
          certificate:
            state === 'purged' ? JSON.stringify({ payload: {}, signature: 'x', keyId: 'x', publicKey: 'x' }) : null,
        })
        .where('id', '=', id)
        .execute()
    },
    { actor: 'system' },
  )
  return id
}

async function setPlan(tx: AccountTx, id: string, plan: ReturnType<typeof planRetention>, planHash: string) {
  await tx
    .updateTable('recordings')
    .set({ plan: JSON.stringify(plan), plan_hash: planHash, retain_until: new Date(plan.retainUntilMs) })
    .where('id', '=', id)
    .execute()
}

async function request(tx: AccountTx, account: SampleAccount, id: string, planHash: string, given: SampleRecording) {
  await tx
    .insertInto('dispositions')
    .values({
      account_id: account.id,
      recording_id: id,
      requested_by: given.requestedBy ?? null,
      reason: 'Retention ended',
      plan_hash: planHash,
    })
    .execute()
}

async function approve(tx: AccountTx, account: SampleAccount, id: string, planHash: string, given: SampleRecording) {
  const open = await tx.selectFrom('dispositions').select('id').where('recording_id', '=', id).executeTakeFirstOrThrow()
  await tx
    .insertInto('approvals')
    .values({
      disposition_id: open.id,
      account_id: account.id,
      person_id: given.approvedBy ?? account.people.max,
      plan_hash: planHash,
    })
    .execute()
  await tx
    .updateTable('dispositions')
    .set({ state: 'approved', undo_until: new Date(Date.now() + 14 * 86_400_000) })
    .where('id', '=', open.id)
    .execute()
}

async function addFiles(tx: AccountTx, account: SampleAccount, id: string) {
  const file = (
    kind: 'original' | 'video' | 'hls' | 'poster' | 'audio' | 'manifest',
    name: string,
    contentType: string,
    heightPx?: number,
  ) => ({
    account_id: account.id,
    recording_id: id,
    kind,
    name,
    key: `${account.id}/${id}/${name}`,
    content_type: contentType,
    size_bytes: 1_234_567,
    sha256: createHash('sha256').update(name).digest('hex'),
    width_px: heightPx === undefined ? null : Math.round((heightPx * 16) / 9),
    height_px: heightPx ?? null,
  })
  const rows = await tx
    .insertInto('files')
    .values([
      file('original', 'original.mp4', 'video/mp4', 1080),
      file('video', '360p.mp4', 'video/mp4', 360),
      file('video', '720p.mp4', 'video/mp4', 720),
      file('hls', 'hls/master.m3u8', 'application/vnd.apple.mpegurl'),
      file('hls', 'hls/720p/0001.m4s', 'video/iso.segment'),
      file('poster', 'poster.jpg', 'image/jpeg'),
      file('audio', 'audio.m4a', 'audio/mp4'),
      file('manifest', 'manifest.json', 'application/json'),
    ])
    .returning('id')
    .execute()
  const copies = [account.primaryId, account.backupId].flatMap((storeId) =>
    rows.map((row) => ({
      account_id: account.id,
      recording_id: id,
      file_id: row.id,
      store_id: storeId,
      state: 'verified' as const,
      verified_at: new Date(),
    })),
  )
  await tx.insertInto('copies').values(copies).execute()
}

export async function addProblem(
  db: Database,
  account: SampleAccount,
  recordingId: string,
  options: readonly ProblemOption[],
) {
  await db.asAccount(account.id, (tx) =>
    tx
      .insertInto('problems')
      .values({
        account_id: account.id,
        recording_id: recordingId,
        stage: 'replicate',
        code: 'store_full',
        message:
          'Copying original.mp4 to second-site failed: the disk is full. Free space there; it is tried again by itself.',
        attempts: 7,
        next_retry_at: new Date(Date.now() + 25 * 60_000),
        options: [...options],
      })
      .execute(),
  )
}

export async function addQuarantined(db: Database, account: SampleAccount, depositPath: string): Promise<string> {
  const id = randomUUID()
  await db.asAccount(account.id, (tx) =>
    tx
      .insertInto('deposits')
      .values({
        id,
        account_id: account.id,
        inbox_id: account.inboxId,
        recorder_id: account.recorderId,
        path: depositPath,
        size_bytes: 4096,
        mtime_ms: 1_700_000_000_000,
        file_id: id,
        state: 'quarantined',
        reason_code: 'truncated',
        reason: 'The file ends in the middle of a frame: the upload was cut off. Upload it again under the same name.',
      })
      .execute(),
  )
  return id
}

export async function addHold(db: Database, account: SampleAccount, recordingId: string): Promise<void> {
  await db.asAccount(account.id, (tx) =>
    tx
      .insertInto('holds')
      .values({
        account_id: account.id,
        recording_id: recordingId,
        reason: 'Appeal 2026/17',
        placed_by: account.people.ada,
      })
      .execute(),
  )
}
