import { createHash, createPublicKey, generateKeyPairSync, randomBytes, randomUUID, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { temporal } from '@temporalio/proto'
import { Client as Postgres } from 'pg'
import { freshDatabase } from '../setup/database.ts'
import { canonicalJson, planHash } from './proofs.ts'
import type { Dropped, OraclePlace, Subject, Told } from './subject.ts'

/*
 * A small world in which every promise holds, made by hand: rows through the database's own guards, files, and lives
 * that run in Temporal without a worker. Tests copy it and break one thing.
 */

type Account = 'a' | 'b'
type Person = 'ada' | 'ben' | 'una' | 'bob'
type Role = 'inbox' | 'primary' | 'backup'
/** The deposits and recordings of the world. */
export type Names = 'kept' | 'waiting' | 'purged' | 'asked' | 'parked' | 'twin' | 'broken' | 'stalled' | 'other'
type Ids = Record<Account | Person | Names | `${Account} ${Role | 'recorder'}`, string>

/** A world that a test may break. */
export interface SaneWorld {
  readonly home: string
  readonly subject: Subject & { dropped: Dropped[]; told: Told[]; places: OraclePlace[] }
  readonly ids: Ids
  readonly signingKey: KeyObject
  /** Runs statements as people and workers could. */
  sql(statement: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  /** Runs statements past every guard of the database. */
  forge(statement: string, values?: readonly unknown[]): Promise<void>
  /** The path of an object of a recording in a place. */
  object(place: string, recordingId: string, name: string): string
  copy(): Promise<SaneWorld>
  /** Runs every life (but these) anew, in a namespace of this world alone. */
  ownLives(without?: readonly Names[]): Promise<void>
  temporal: Lives
  remove(): Promise<void>
}

/** Lives in one namespace. */
export interface Lives {
  readonly namespace: string
  readonly address: string
  begin(recordingId: string, taskQueue?: string): Promise<void>
  terminate(recordingId: string): Promise<void>
  /** Ends a life as a worker would whose workflow returned; it must be the only one of its queue. */
  complete(taskQueue: string): Promise<void>
  /** Fails its next steps, as a worker would whose code does not know the history. */
  fail(taskQueue: string, times: number): Promise<void>
  close(): Promise<void>
}

const day = 86_400_000
const policy = { copies: { count: 2, sites: 2 }, disposition: { approvals: 1 } }

/** Opens a namespace of its own. */
export async function openLives(address: string): Promise<Lives> {
  const connection = await Connection.connect({ address })
  const namespace = `oracle-${randomUUID().slice(0, 8)}`
  await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: msToTs('1 day') })
  const client = new Client({ connection, namespace })
  const until = async (query: string, count: number) => {
    for (let tries = 0; (await client.workflow.count(query)).count < count; tries += 1) {
      if (tries > 300) throw new Error(`Temporal never showed ${query}`)
      await pause(100)
    }
  }
  const identity = 'planted'
  const poll = (name: string) =>
    connection.withDeadline(Date.now() + 60_000, () =>
      connection.workflowService.pollWorkflowTaskQueue({ namespace, taskQueue: { name }, identity }),
    )
  return {
    namespace,
    address,
    async begin(recordingId, taskQueue = 'nobody') {
      for (let tries = 0; ; tries += 1) {
        try {
          const handle = await client.workflow.start('recordingWorkflow', {
            workflowId: `rec/${recordingId}`,
            taskQueue,
            args: [],
          })
          return await until(`RunId = '${handle.firstExecutionRunId}'`, 1)
        } catch (error) {
          // A namespace is known to every part of the server only after a while.
          if (tries > 100 || !String(error).includes('amespace')) throw error
          await pause(200)
        }
      }
    },
    async terminate(recordingId) {
      await client.workflow.getHandle(`rec/${recordingId}`).terminate('planted')
      await until(`WorkflowId = 'rec/${recordingId}' AND ExecutionStatus = 'Terminated'`, 1)
    },
    async complete(taskQueue) {
      const { taskToken, workflowExecution } = await poll(taskQueue)
      const commandType = temporal.api.enums.v1.CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION
      await connection.workflowService.respondWorkflowTaskCompleted({
        namespace,
        taskToken,
        identity,
        commands: [{ commandType, completeWorkflowExecutionCommandAttributes: {} }],
      })
      await until(`WorkflowId = '${workflowExecution?.workflowId ?? ''}' AND ExecutionStatus = 'Completed'`, 1)
    },
    async fail(taskQueue, times) {
      for (let time = 0; time < times; time += 1) {
        const { taskToken } = await poll(taskQueue)
        await connection.workflowService.respondWorkflowTaskFailed({ namespace, taskToken, identity })
      }
    },
    close: () => connection.close(),
  }
}

/** Makes the world. */
export async function makeSaneWorld(address: string): Promise<SaneWorld> {
  const database = await freshDatabase()
  const home = await mkdtemp(join(tmpdir(), 'reelkeep-oracle-'))
  const lives = await openLives(address)
  const signingKey = generateKeyPairSync('ed25519').privateKey
  const world = wrap({
    home,
    databaseUrl: database.adminUrl,
    lives,
    signingKey,
    ids: {} as Ids,
    dropped: [],
    told: [],
    places: [
      { name: 'a inbox', role: 'inbox', site: 'one', kind: 'directory', path: join(home, 'a-inbox') },
      { name: 'a primary', role: 'primary', site: 'one', kind: 'directory', path: join(home, 'a-primary') },
      { name: 'a backup', role: 'backup', site: 'two', kind: 'directory', path: join(home, 'a-backup') },
      { name: 'b inbox', role: 'inbox', site: 'one', kind: 'directory', path: join(home, 'b-inbox') },
      { name: 'b primary', role: 'primary', site: 'one', kind: 'directory', path: join(home, 'b-primary') },
      { name: 'b backup', role: 'backup', site: 'two', kind: 'directory', path: join(home, 'b-backup') },
    ],
    drop: database.drop,
  })
  for (const place of world.subject.places) if (place.kind === 'directory') await mkdir(place.path)
  await populate(world)
  return world
}

interface Parts {
  readonly home: string
  readonly databaseUrl: string
  readonly lives: Lives
  readonly signingKey: KeyObject
  readonly ids: Ids
  readonly dropped: Dropped[]
  readonly told: Told[]
  readonly places: OraclePlace[]
  readonly drop: () => Promise<void>
}

function wrap(parts: Parts): SaneWorld {
  const { home, databaseUrl, signingKey, ids, dropped, told, places } = parts
  const run = async (setting: string, statement: string, values: readonly unknown[] = []) => {
    const client = new Postgres(databaseUrl)
    await client.connect()
    try {
      await client.query(`set session_replication_role = ${setting}`)
      return (await client.query(statement, [...values])).rows as Record<string, unknown>[]
    } finally {
      await client.end()
    }
  }
  const world: SaneWorld = {
    home,
    ids,
    signingKey,
    temporal: parts.lives,
    subject: {
      databaseUrl,
      temporal: { address: parts.lives.address, namespace: parts.lives.namespace },
      places,
      dropped,
      told,
      settled: true,
      publicKeyPem: publicPem(signingKey),
    },
    sql: (statement, values) => run('origin', statement, values),
    forge: async (statement, values) => void (await run('replica', statement, values)),
    object: (place, recordingId, name) =>
      join(home, place.replace(' ', '-'), ids[place.startsWith('a') ? 'a' : 'b'], recordingId, name),
    async copy() {
      const from = new URL(databaseUrl)
      const name = `oracle_${randomBytes(6).toString('hex')}`
      const url = new URL(databaseUrl)
      url.pathname = `/${name}`
      await onServer(databaseUrl, `CREATE DATABASE ${name} TEMPLATE ${from.pathname.slice(1)}`)
      const copyHome = await mkdtemp(join(tmpdir(), 'reelkeep-oracle-'))
      await cp(home, copyHome, { recursive: true, preserveTimestamps: true })
      return wrap({
        ...parts,
        home: copyHome,
        databaseUrl: url.href,
        dropped: dropped.map((one) => ({ ...one })),
        told: told.map((one) => ({ ...one })),
        places: places.map((place) =>
          place.kind === 'directory' ? { ...place, path: place.path.replace(home, copyHome) } : place,
        ),
        drop: () => onServer(databaseUrl, `DROP DATABASE ${name} WITH (FORCE)`),
      })
    },
    async ownLives(without = []) {
      world.temporal = await openLives(parts.lives.address)
      Object.assign(world.subject, { temporal: { address: parts.lives.address, namespace: world.temporal.namespace } })
      for (const name of livingNames) if (!without.includes(name)) await world.temporal.begin(ids[name])
    },
    async remove() {
      if (world.temporal !== parts.lives) await world.temporal.close()
      await parts.drop()
      await rm(home, { recursive: true, force: true })
    },
  }
  return world
}

const livingNames = ['kept', 'waiting', 'asked', 'parked', 'broken', 'other'] as const

async function onServer(anyUrl: string, statement: string): Promise<void> {
  const url = new URL(anyUrl)
  url.pathname = '/postgres'
  const client = new Postgres(url.href)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

async function populate(world: SaneWorld): Promise<void> {
  const { ids } = world
  for (const account of ['a', 'b'] as const) {
    ids[account] = await insert(world, 'accounts', { name: account, policy: JSON.stringify(policy) })
    for (const role of ['inbox', 'primary', 'backup'] as const)
      ids[`${account} ${role}`] = await insert(world, 'stores', {
        account_id: ids[account],
        name: `${account} ${role}`,
        site: role === 'backup' ? 'two' : 'one',
        role,
        url: `local:/${account}/${role}`,
      })
    ids[`${account} recorder`] = await insert(world, 'recorders', {
      account_id: ids[account],
      inbox_id: ids[`${account} inbox`],
      name: 'hall',
      directory: 'hall',
      assignment: 'claim',
    })
  }
  for (const [name, account] of [
    ['ada', 'a'],
    ['ben', 'a'],
    ['una', 'a'],
    ['bob', 'b'],
  ] as const)
    ids[name] = await insert(world, 'people', {
      account_id: ids[account],
      name,
      email: `${name}@example.test`,
      roles: ['admin'],
    })

  ids['kept'] = await arrive(world, 'a', 'kept.mp4')
  await claim(world, 'kept', 'una')
  await protect(world, 'a', 'kept')
  await keep(world, 'kept', 700 * day)
  ids['twin'] = await drop(world, 'a', 'again.mp4', {
    state: 'released',
    content: 'bytes of kept.mp4',
    recordingId: ids['kept'],
  })

  ids['waiting'] = await arrive(world, 'a', 'waiting.mp4')
  await move(world, 'waiting', 'awaiting_claim')
  await say(world, 'waiting', 'an owner', 'administrators are told', 14 * day)

  ids['asked'] = await arrive(world, 'a', 'asked.mp4')
  await claim(world, 'asked', 'una')
  await protect(world, 'a', 'asked')
  await keep(world, 'asked', 700 * day)
  await pass(world, 'asked', 701 * day)
  await request(world, 'asked', 'una')
  await say(world, 'asked', '1 approval(s)', 'the approvers are asked again', 715 * day)

  ids['parked'] = await arrive(world, 'a', 'parked.mp4')
  await claim(world, 'parked', 'ben')
  for (const state of ['encoding', 'archiving']) await move(world, 'parked', state)
  await say(world, 'parked', 'a person, because the backup is away', 'it is tried again', day)
  await park(world, 'a', 'parked', 'replicate', 'store_unavailable', day)

  ids['broken'] = await drop(world, 'a', 'broken.mp4', {
    state: 'quarantined',
    content: 'half of',
    kind: 'broken',
    reason: 'Its end is missing',
  })
  await park(world, 'a', 'broken', 'ingest', 'truncated', null)
  ids['stalled'] = await drop(world, 'a', 'stalled.mp4', {
    state: 'stalled',
    content: 'a first part of',
    kind: 'interrupted',
    reason: 'It does not grow',
  })

  ids['purged'] = await arrive(world, 'a', 'purged.mp4')
  await claim(world, 'purged', 'una')
  await protect(world, 'a', 'purged')
  await keep(world, 'purged', 700 * day)
  await pass(world, 'purged', 701 * day)
  await request(world, 'purged', null)
  await approve(world, 'purged', 'ben')
  await pass(world, 'purged', 720 * day)
  await purge(world, 'purged')

  ids['other'] = await arrive(world, 'b', 'other.mp4')
  await claim(world, 'other', 'bob')
  await protect(world, 'b', 'other')
  await keep(world, 'other', 700 * day)
  for (const name of livingNames) await world.temporal.begin(ids[name])
}

/** Inserts a row and returns its id. */
export async function insert(world: SaneWorld, table: string, row: Readonly<Record<string, unknown>>): Promise<string> {
  const columns = Object.keys(row)
  const values = columns.map((_, at) => `$${at + 1}`).join(', ')
  const returning = table === 'accounts' || 'account_id' in row ? ' returning *' : ''
  const [made] = await world.sql(
    `insert into ${table} (${columns.join(', ')}) values (${values})${returning}`,
    Object.values(row),
  )
  return (made?.['id'] as string | undefined) ?? ''
}

/** A file dropped into an inbox, and its deposit. A source that is `released` has left. */
export async function drop(
  world: SaneWorld,
  account: Account,
  name: string,
  deposit: {
    state: string
    content?: string
    kind?: Dropped['kind']
    reason?: string
    recordingId?: string | undefined
  },
): Promise<string> {
  const path = `hall/${name}`
  const bytes = Buffer.from(deposit.content ?? `bytes of ${name}`)
  const sha256 = hashOf(bytes)
  const inbox = join(world.home, `${account}-inbox`)
  if (deposit.state !== 'released') await write(join(inbox, path), bytes)
  world.subject.dropped.push({
    inbox: `${account} inbox`,
    path,
    sha256,
    sizeBytes: bytes.length,
    kind: deposit.kind ?? 'whole',
    finishedAtMs: Date.now(),
  })
  const { ids } = world
  return insert(world, 'deposits', {
    account_id: ids[account],
    inbox_id: ids[`${account} inbox`],
    recorder_id: ids[`${account} recorder`],
    path,
    size_bytes: bytes.length,
    mtime_ms: world.subject.dropped.length,
    file_id: name,
    state: deposit.state,
    sha256: ['accepted', 'duplicate', 'released'].includes(deposit.state) ? sha256 : null,
    reason: deposit.reason ?? null,
    reason_code: deposit.reason === undefined ? null : 'truncated',
    recording_id: deposit.recordingId ?? null,
    settled_at: new Date(),
  })
}

/** A whole file that was dropped and accepted. */
export async function arrive(
  world: SaneWorld,
  account: Account,
  name: string,
  content = `bytes of ${name}`,
): Promise<string> {
  const { ids } = world
  const id = await drop(world, account, name, { state: 'accepted', content })
  await insert(world, 'recordings', {
    id,
    account_id: ids[account],
    recorder_id: ids[`${account} recorder`],
    deposit_id: id,
    title: name,
    sha256: hashOf(Buffer.from(content)),
    size_bytes: Buffer.byteLength(content),
    media: '{}',
  })
  await world.sql('update deposits set recording_id = id where id = $1', [id])
  await store(world, account, id, {
    name: 'original.mp4',
    kind: 'original',
    content,
    places: ['primary'],
    state: 'stored',
  })
  return id
}

interface StoredFile {
  readonly name: string
  readonly kind: string
  readonly content: string
  readonly places: readonly ('primary' | 'backup')[]
  readonly state: 'stored' | 'verified'
}

async function store(world: SaneWorld, account: Account, recordingId: string, file: StoredFile): Promise<void> {
  const { ids } = world
  const fileId = await insert(world, 'files', {
    account_id: ids[account],
    recording_id: recordingId,
    kind: file.kind,
    name: file.name,
    key: `${ids[account]}/${recordingId}/${file.name}`,
    content_type: 'video/mp4',
    size_bytes: Buffer.byteLength(file.content),
    sha256: hashOf(Buffer.from(file.content)),
  })
  for (const place of file.places) {
    await write(world.object(`${account} ${place}`, recordingId, file.name), Buffer.from(file.content))
    await copyRow(world, account, recordingId, fileId, place, file.state)
  }
}

async function copyRow(
  world: SaneWorld,
  account: Account,
  recordingId: string,
  fileId: string,
  place: 'primary' | 'backup',
  state: string,
) {
  const { ids } = world
  await insert(world, 'copies', {
    account_id: ids[account],
    recording_id: recordingId,
    file_id: fileId,
    store_id: ids[`${account} ${place}`],
    state,
    verified_at: state === 'verified' ? new Date() : null,
  })
}

/** Somebody claims it, and is told so. */
export async function claim(world: SaneWorld, name: Names, person: 'una' | 'ben' | 'bob'): Promise<void> {
  const requestId = randomUUID()
  const beganAtMs = Date.now()
  const id = world.ids[name]
  await move(world, name, 'awaiting_claim')
  await world.sql('update recordings set owner_id = $2 where id = $1', [id, world.ids[person]])
  await move(world, name, 'claimed', { requestId })
  await audit(world, id, 'command.claim', { requestId, personId: world.ids[person] })
  world.subject.told.push({
    recordingId: id,
    kind: 'claim',
    personId: world.ids[person],
    accepted: true,
    beganAtMs,
    endedAtMs: Date.now(),
    detail: { requestId },
  })
}

/** Writes an audit row, chained by the database. */
export async function audit(
  world: SaneWorld,
  recordingId: string,
  action: string,
  detail: Readonly<Record<string, unknown>> = {},
  account?: Account,
): Promise<void> {
  await world.sql(
    `insert into audit_events (account_id, recording_id, actor, action, detail)
     values (coalesce($4, (select account_id from recordings where id = $1)), $1, 'system', $2, $3)`,
    [recordingId, action, JSON.stringify(detail), account === undefined ? null : world.ids[account]],
  )
}

async function move(
  world: SaneWorld,
  name: Names,
  state: string,
  detail: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await world.sql(
    `do $do$ begin perform set_config('app.detail', '${JSON.stringify(detail)}', true);
     update recordings set state = '${state}' where id = '${world.ids[name]}'; end $do$`,
  )
}

async function say(world: SaneWorld, name: Names, waitingFor: string, nextStep: string, inMs: number): Promise<void> {
  await world.sql('update recordings set waiting_for = $2, next_step = $3, next_at = $4 where id = $1', [
    world.ids[name],
    waitingFor,
    nextStep,
    new Date(Date.now() + inMs),
  ])
}

/** Its copies are made and verified, and its source leaves. */
export async function protect(world: SaneWorld, account: Account, name: Names): Promise<void> {
  const id = world.ids[name]
  await move(world, name, 'encoding')
  await store(world, account, id, {
    name: 'renditions/1/720p.mp4',
    kind: 'video',
    content: `rendition of ${name}`,
    places: ['primary', 'backup'],
    state: 'verified',
  })
  await move(world, name, 'archiving')
  await store(world, account, id, {
    name: 'manifest.json',
    kind: 'manifest',
    content: `manifest of ${name}`,
    places: ['primary', 'backup'],
    state: 'verified',
  })
  await world.sql(`update copies set state = 'verified', verified_at = now() where recording_id = $1`, [id])
  const [original] = await world.sql(`select id from files where recording_id = $1 and kind = 'original'`, [id])
  await cp(
    world.object(`${account} primary`, id, 'original.mp4'),
    world.object(`${account} backup`, id, 'original.mp4'),
  )
  await copyRow(world, account, id, String(original?.['id']), 'backup', 'verified')
  await move(world, name, 'protected')
  const [deposit] = await world.sql(
    `update deposits set state = 'released', settled_at = now() where id = $1 returning path`,
    [id],
  )
  await rm(join(world.home, `${account}-inbox`, String(deposit?.['path'])))
}

/** Its source left, its plan begins. */
export async function keep(world: SaneWorld, name: Names, forMs: number): Promise<void> {
  const retainUntilMs = Date.now() + forMs
  const plan = {
    policyVersion: 1,
    ruleId: 'default',
    retainUntilMs,
    reason: 'Kept – “long”',
    extendedToMs: null,
    actions: [],
  }
  await world.sql('update recordings set plan = $2, plan_hash = $3, retain_until = $4 where id = $1', [
    world.ids[name],
    JSON.stringify(plan),
    planHash(plan),
    new Date(retainUntilMs),
  ])
  await move(world, name, 'retained')
  await say(world, name, 'the end of its retention', 'its deletion is requested', forMs)
}

/** Time passes for one recording. */
async function pass(world: SaneWorld, name: Names, offsetMs: number): Promise<void> {
  await world.sql('update recordings set clock_limit_ms = $2, clock_offset_ms = $2 where id = $1', [
    world.ids[name],
    offsetMs,
  ])
}

async function request(world: SaneWorld, name: Names, person: 'una' | null): Promise<void> {
  await world.sql(
    `insert into dispositions (account_id, recording_id, requested_by, reason, plan_hash)
     select account_id, id, $2, 'old', plan_hash from recordings where id = $1`,
    [world.ids[name], person === null ? null : world.ids[person]],
  )
  await move(world, name, 'disposition_requested')
}

async function approve(world: SaneWorld, name: Names, person: 'ben'): Promise<void> {
  const [id, personId] = [world.ids[name], world.ids[person]]
  const beganAtMs = Date.now()
  await world.sql(
    `insert into approvals (disposition_id, person_id, account_id, plan_hash)
     select id, $2, account_id, plan_hash from dispositions where recording_id = $1`,
    [id, personId],
  )
  await world.sql(
    `update dispositions set state = 'approved', undo_until = (select recording_now(r) from recordings r where r.id = $1)
     + interval '14 days' where recording_id = $1`,
    [id],
  )
  await move(world, name, 'approved')
  await move(world, name, 'trashed')
  await audit(world, id, 'command.approveDeletion', { personId, requestId: randomUUID() })
  world.subject.told.push({
    recordingId: id,
    kind: 'approveDeletion',
    personId,
    accepted: true,
    beganAtMs,
    endedAtMs: Date.now(),
  })
}

async function purge(world: SaneWorld, name: Names): Promise<void> {
  const id = world.ids[name]
  await world.sql(`update dispositions set state = 'purging', purge_started_at = now() where recording_id = $1`, [id])
  await move(world, name, 'purging')
  for (const place of ['a primary', 'a backup'])
    await rm(dirname(world.object(place, id, 'manifest.json')), { recursive: true })
  await world.sql(`update copies set state = 'purged', purged_at = now() where recording_id = $1`, [id])
  const certificate = signed(world.signingKey, await composeCertificate(world, id))
  await world.sql(`update dispositions set state = 'done', settled_at = now() where recording_id = $1`, [id])
  await world.sql('update recordings set certificate = $2 where id = $1', [id, JSON.stringify(certificate)])
  await move(world, name, 'purged')
}

async function composeCertificate(world: SaneWorld, id: string): Promise<Record<string, unknown>> {
  const [recording] = await world.sql('select * from recordings where id = $1', [id])
  const copies = await world.sql(
    `select f.name as file, s.name as store, s.site, f.sha256, f.size_bytes, c.purged_at from copies c
     join files f on f.id = c.file_id join stores s on s.id = c.store_id where c.recording_id = $1`,
    [id],
  )
  return {
    version: 1,
    recordingId: id,
    accountId: recording?.['account_id'],
    title: 'Überall',
    sha256: recording?.['sha256'],
    planHash: recording?.['plan_hash'],
    copies: copies.map(({ file, store, site, sha256, size_bytes, purged_at }) => ({
      file,
      store,
      site,
      sha256,
      sizeBytes: Number(size_bytes),
      purgedAt: (purged_at as Date).toISOString(),
    })),
  }
}

/** A certificate over this payload. */
export function signed(key: KeyObject, payload: unknown): Record<string, unknown> {
  const publicKey = publicPem(key)
  const keyId = hashOf(createPublicKey(publicKey).export({ type: 'spki', format: 'der' })).slice(0, 16)
  const signature = sign(null, Buffer.from(canonicalJson(payload)), key).toString('base64')
  return { payload, signature, keyId, publicKey }
}

function publicPem(key: KeyObject): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
}

async function park(
  world: SaneWorld,
  account: Account,
  name: Names,
  stage: string,
  code: string,
  inMs: number | null,
): Promise<void> {
  await insert(world, 'problems', {
    account_id: world.ids[account],
    recording_id: world.ids[name],
    stage,
    code,
    message: 'Something is away. Bring it back, then retry.',
    attempts: 4,
    next_retry_at: inMs === null ? null : new Date(Date.now() + inMs),
    options: ['retry'],
  })
}

async function write(path: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, bytes)
}

/** SHA-256 in hex. */
export function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
