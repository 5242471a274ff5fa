import { createHash, randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { MockActivityEnvironment } from '@temporalio/testing'
import { Client } from 'pg'
import { pino } from 'pino'
import { createFixityActivities } from '../../src/activities/fixity.ts'
import { createHousekeepingActivities } from '../../src/activities/housekeeping.ts'
import { ensureAccount, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import { recordStored } from '../../src/db/files.ts'
import { findRecording } from '../../src/db/recordings.ts'
import { manifestKey, manifestText, originalKey, renditionKey } from '../../src/domain/archive.ts'
import type { Manifest } from '../../src/domain/archive.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import type { RecordingState } from '../../src/domain/recording.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import type { Store } from '../../src/storage/store.ts'
import { newDirectory, removeDirectory } from '../media/fixtures.ts'
import { freshDatabase } from '../setup/database.ts'

/** A file of a kept recording, with the bytes that were stored once. */
export interface KeptFile {
  readonly name: string
  readonly key: string
  readonly bytes: Buffer
}

/** A recording that is kept: its files, the manifest among them. */
export interface Kept {
  readonly id: string
  readonly files: readonly KeptFile[]
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const media = { container: 'mp4', durationMs: 1000, sizeBytes: 1, video: null, audio: null, streamCount: 1, notes: [] }
const toRetained = [
  'claimed',
  'encoding',
  'archiving',
  'protected',
  'retained',
] as const satisfies readonly RecordingState[]

/** Recordings that are kept in two local stores, or in as many as are given, and everything that checks and damages them. */
export async function openFixityStand(more: Readonly<Record<string, Store>> = {}) {
  const home = await newDirectory()
  const database = await freshDatabase()
  const db = openDatabase(database.appUrl)
  const admin = new Client(database.adminUrl)
  await admin.connect()
  // Only somebody above every rule can damage what triggers protect: the stand's own way to flip bits in the database.
  await admin.query('set session_replication_role = replica')
  const accountId = await ensureAccount(db, { name: 'Univ', policy: defaultPolicy })
  const local = async (name: string) => {
    await mkdir(join(home, name))
    return openLocalStore({ root: join(home, name) })
  }
  const stores: Record<string, Store> = { primary: await local('primary'), backup: await local('backup'), ...more }
  const ids: Record<string, string> = {}
  const recorderId = await db.asAccount(accountId, async (tx) => {
    ids['inbox'] = await ensureStore(tx, { name: 'inbox', site: 'a', role: 'inbox', url: 'local:/nowhere' })
    for (const name of Object.keys(stores)) {
      const role = name === 'primary' ? 'primary' : 'backup'
      ids[name] = await ensureStore(tx, { name, site: name, role, url: `local:/${name}` })
    }
    return ensureRecorder(tx, { inboxId: ids['inbox'], name: 'Hall', directory: 'hall', assignment: 'claim' })
  })
  /** What activities get; a test may put another store in a place. */
  const placed = new Map(Object.entries(stores))
  const place = (name: string) => ({ id: ids[name]!, name, site: name, store: placed.get(name)! })
  const book = {
    open: async (_accountId: string, id: string) => place(Object.keys(ids).find((name) => ids[name] === id)!),
    primary: async () => place('primary'),
    backups: async () => [...placed.keys()].filter((name) => name !== 'primary').map(place),
    close: async () => undefined,
  }
  const deps = { db, stores: book, log: pino({ level: 'silent' }) }
  const activities = { ...createFixityActivities(deps), ...createHousekeepingActivities(deps) }
  const refOf = (kept: Pick<Kept, 'id'>) => ({ accountId, recordingId: kept.id })
  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    const answers: T[] = []
    await new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(async () => void answers.push(await work()))
    return answers[0]!
  }

  return {
    home,
    db,
    admin,
    accountId,
    ids,
    stores,
    placed,
    activities,
    refOf,
    run,
    check: (kept: Pick<Kept, 'id'>) => run(() => activities.checkFixity(refOf(kept))),
    mend: (kept: Pick<Kept, 'id'>) => run(() => activities.mendCopies(refOf(kept))),
    detail: async (kept: Pick<Kept, 'id'>) => (await db.asAccount(accountId, (tx) => findRecording(tx, kept.id)))!,
    /** Keeps a recording with these files in these stores, by its lawful way there. */
    async keep(
      contents: Readonly<Record<string, Buffer>>,
      names: readonly string[] = Object.keys(stores),
    ): Promise<Kept> {
      const id = randomUUID()
      const files = Object.entries(contents).map(([name, bytes]) => ({
        name,
        bytes,
        key: name.startsWith('original')
          ? originalKey(accountId, id, 'mp4')
          : renditionKey(accountId, id, 'run-1-1', name),
      }))
      const manifest = {
        key: manifestKey(accountId, id),
        name: 'manifest.json',
        bytes: manifestOf(accountId, id, files),
      }
      const kept = { id, files: [...files, manifest] }
      await insertRecording(id, files[0]!.bytes)
      await Promise.all(
        names.map(async (name) => {
          for (const file of kept.files) await overwrite(stores[name]!, file.key, file.bytes)
        }),
      )
      await db.asAccount(accountId, async (tx) => {
        for (const name of names) for (const file of kept.files) await recordStored(tx, id, ids[name]!, storedOf(file))
        await tx
          .updateTable('copies')
          .set({ state: 'verified', verified_at: new Date() })
          .where('recording_id', '=', id)
          .execute()
        for (const state of toRetained) await tx.updateTable('recordings').set({ state }).where('id', '=', id).execute()
      })
      return kept
    },
    async close() {
      await admin.end()
      await db.close()
      await database.drop()
      await removeDirectory(home)
    },
  }

  async function insertRecording(id: string, original: Buffer): Promise<void> {
    await db.asAccount(accountId, async (tx) => {
      const row = { id, account_id: accountId, recorder_id: recorderId, size_bytes: original.length }
      await tx
        .insertInto('deposits')
        .values({ ...row, inbox_id: ids['inbox']!, path: `${id}.mp4`, mtime_ms: 1, file_id: id, state: 'released' })
        .execute()
      await tx
        .insertInto('recordings')
        .values({ ...row, deposit_id: id, title: id, sha256: sha256(original), media: JSON.stringify(media) })
        .execute()
    })
  }
}

/** The stand, opened. */
export type FixityStand = Awaited<ReturnType<typeof openFixityStand>>

function storedOf(file: KeptFile) {
  const kind =
    file.name === 'manifest.json'
      ? ('manifest' as const)
      : file.name.startsWith('original')
        ? ('original' as const)
        : ('video' as const)
  const { name, key, bytes } = file
  return { name, kind, key, contentType: 'video/mp4', sizeBytes: bytes.length, sha256: sha256(bytes) }
}

/** The manifest as it is written beside these files. */
export function manifestOf(accountId: string, recordingId: string, files: readonly KeptFile[]): Buffer {
  const manifest: Manifest = {
    version: 1,
    accountId,
    recordingId,
    recorder: 'Hall',
    owner: null,
    title: recordingId,
    description: '',
    tags: [],
    depositPath: 'x.mp4',
    acceptedAt: '2026-01-01T00:00:00.000Z',
    retainUntil: null,
    media,
    files: files.map((file) => storedOf(file)),
  }
  return Buffer.from(manifestText(manifest))
}

/** Puts other bytes where something stands: what no caller of a store can do in one step. */
export async function overwrite(store: Store, key: string, bytes: Buffer): Promise<void> {
  await store.delete(key)
  await store.put(key, { open: async (from) => Readable.from([bytes.subarray(from)]) }, { sizeBytes: bytes.length })
}

/** The bytes at a key, or null. */
export async function bytesAt(store: Store, key: string): Promise<Buffer | null> {
  return (await store.stat(key)) === null ? null : buffer(await store.read(key))
}
