import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import { createIngestActivities } from '../../src/activities/ingest.ts'
import { lookOnce } from '../../src/activities/look.ts'
import type { TakeInResult } from '../../src/activities/take-in.ts'
import { ensureAccount, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { openDatabase } from '../../src/db/connect.ts'
import { listDeposits } from '../../src/db/deposits.ts'
import { noMemory } from '../../src/domain/ingest.ts'
import type { LookMemory } from '../../src/domain/ingest.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import type { Store } from '../../src/storage/store.ts'
import { encoderWith, ffmpeg, newDirectory, picture, removeDirectory, sound, x264 } from '../media/fixtures.ts'
import { freshDatabase } from '../setup/database.ts'

/** An account with one recorder (`hall-a`), an inbox, a primary and a backup store, and a clock that tests move. */
export async function openIngestStand(options: { inbox?: Store; primary?: Store; quietMs?: number } = {}) {
  const home = await newDirectory()
  const database = await freshDatabase()
  const db = openDatabase(database.appUrl)
  const directories = { inbox: join(home, 'inbox'), primary: join(home, 'primary'), backup: join(home, 'backup') }
  const scratchDir = join(home, 'scratch')
  for (const directory of [...Object.values(directories), join(directories.inbox, 'hall-a'), scratchDir]) {
    await mkdir(directory, { recursive: true })
  }
  const stores = new Map<string, { id: string; name: string; site: string; store: Store }>()
  const accountId = await ensureAccount(db, { name: 'Univ', policy: defaultPolicy })
  const ids = { inbox: '', primary: '', backup: '', recorder: '' }
  await db.asAccount(accountId, async (tx) => {
    for (const role of ['inbox', 'primary', 'backup'] as const) {
      const site = role === 'backup' ? 'site-b' : 'site-a'
      const given = role === 'backup' ? undefined : options[role]
      const store = given ?? openLocalStore({ root: directories[role] })
      ids[role] = await ensureStore(tx, { name: role, site, role, url: `local:${directories[role]}` })
      stores.set(ids[role], { id: ids[role], name: role, site, store })
    }
    const quietMs = options.quietMs ?? 20_000
    ids.recorder = await ensureRecorder(tx, {
      inboxId: ids.inbox,
      name: 'Hall A',
      directory: 'hall-a',
      assignment: 'claim',
      quietMs,
    })
  })
  const placed = (id: string) => {
    const found = stores.get(id)
    if (found === undefined) throw new Error(`no store ${id}`)
    return found
  }
  const started: string[] = []
  const deps = {
    db,
    stores: {
      open: async (_accountId: string, id: string) => placed(id),
      primary: async () => placed(ids.primary),
      backups: async () => [placed(ids.backup)],
      close: async () => {},
    },
    encoder: encoderWith(),
    scratchDir,
    startRecording: async ({ recordingId }: { recordingId: string }) => void started.push(recordingId),
    stopping: new AbortController().signal,
  }
  const clock = { nowMs: Date.UTC(2026, 0, 1) }
  let memory: LookMemory = noMemory
  const activities = createIngestActivities(deps)
  return {
    home,
    db,
    accountId,
    ids,
    directories,
    scratchDir,
    deps,
    started,
    clock,
    activities,
    inboxStore: placed(ids.inbox).store,
    primaryStore: placed(ids.primary).store,
    backupStore: placed(ids.backup).store,
    /** One look, so many seconds later. Returns what became complete. */
    async look(laterSeconds = 1) {
      clock.nowMs += laterSeconds * 1000
      const request = { accountId, inboxId: ids.inbox, memory, now: () => clock.nowMs }
      const result = await lookOnce(deps, request)
      memory = result.memory
      return result.completed
    },
    /** Looks until the quiet period of whatever rests is over. */
    async lookUntilQuiet() {
      const completed: string[] = []
      for (const seconds of [1, 1, 1, 20]) completed.push(...(await this.look(seconds)))
      return completed
    },
    takeIn: (recordingId: string): Promise<TakeInResult> =>
      new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(activities.takeIn, {
        accountId,
        recordingId,
      }),
    releaseSource: (recordingId: string): Promise<{ released: number }> =>
      new MockActivityEnvironment().run(activities.releaseSource, { accountId, recordingId }),
    deposits: () => db.asAccount(accountId, (tx) => listDeposits(tx, { limit: 1000 })),
    recordings: () => db.asAccount(accountId, (tx) => tx.selectFrom('recordings').selectAll().execute()),
    async close() {
      await db.close()
      await database.drop()
      await removeDirectory(home)
    },
  }
}

/** A stand, opened. */
export type IngestStand = Awaited<ReturnType<typeof openIngestStand>>

/** A good lecture of a few seconds with its index in front: cut anywhere, it still looks playable. */
export async function makeLecture(tone = 440): Promise<Buffer> {
  const directory = await newDirectory()
  const target = join(directory, 'lecture.mp4')
  await ffmpeg(
    ...picture('160x120', 3),
    ...sound(3),
    '-metadata',
    `comment=${tone}`,
    ...x264,
    '-c:a',
    'aac',
    '-movflags',
    '+faststart',
    target,
  )
  const bytes = await readFile(target)
  await removeDirectory(directory)
  return bytes
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
