import { readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'kysely'
import { ensureRecorder, ensureStore } from '../src/db/accounts.ts'
import { openDatabase } from '../src/db/connect.ts'
import type { Database } from '../src/db/connect.ts'
import { findDatabaseUrls } from '../src/dev/database-urls.ts'
import { demoDirectories } from '../src/dev/first-account.ts'
import { createFolders, findHome, readStackFile, writeStackFile } from '../src/dev/home.ts'
import type { Home } from '../src/dev/home.ts'
import { choosePorts, findService } from '../src/dev/processes.ts'
import { generateSmall } from '../src/dev/sample.ts'
import { startStack } from '../src/dev/stack.ts'
import type { Stack } from '../src/dev/stack.ts'
import { msPer } from '../src/domain/units.ts'
import { ensureSchedules } from '../src/schedules.ts'
import type { BenchContext } from './context.ts'

/** When one recording reached what; `null` where it did not yet. Milliseconds of the machine's clock. */
export interface Milestones {
  readonly completeAtMs: number | null
  readonly acceptedAtMs: number | null
  readonly retainedAtMs: number | null
}

/** What the two databases of a stack take on disk. */
export interface StackBytes {
  readonly temporal: number
  readonly postgres: number
  readonly tables: ReadonlyMap<string, number>
}

/** What two of its processes hold in memory, in bytes. */
export interface StackMemory {
  readonly worker: number
  readonly temporal: number
}

/** A whole product of the benchmark's own, and the ways to feed and watch it. */
export interface LivesStack {
  /** Writes a recording that no other equals, under the uploader's temporary name. */
  upload(name: string): Promise<void>
  /** Gives it its final name and returns when. */
  finish(name: string): Promise<number>
  /** Of recordings in this directory of any inbox; of the recorder that `upload` writes for when none is named. */
  milestones(names: readonly string[], directory?: string): Promise<ReadonlyMap<string, Milestones>>
  /** The directory of the recorder that `upload` writes for. */
  readonly directory: string
  /** Another inbox, with one recorder whose directory is called like it. */
  addInbox(name: string, url: string): Promise<void>
  /** The bytes of a recording that no other equals. */
  bytesOf(name: string): Buffer
  /** Waits until all of them are retained. Throws with what is known when nothing moves for five minutes. */
  untilRetained(names: readonly string[], onLook?: (retained: number) => Promise<void>): Promise<void>
  /** Sizes on disk, in bytes; of tables with their indexes. */
  measureBytes(): Promise<StackBytes>
  /** Resident memory in bytes: of the worker without its ffmpeg processes, and of Temporal. */
  measureMemory(): Promise<StackMemory>
  /** The history in bytes that Temporal keeps for each of these recordings as long as it lives. */
  measureHistories(names: readonly string[]): Promise<readonly number[]>
  /** One of the recordings, to be handled without the product. */
  readonly sample: string
}

const stuckAfterMs = 5 * msPer.minute
/** Settings of this shell that would lead the stack to servers that are not its own. */
const foreignSettings = ['DATABASE_URL', 'DATABASE_OWNER_URL', 'TEMPORAL_ADDRESS', 'TEMPORAL_NAMESPACE', 'BASE_URL']

/** Starts servers, API and worker as `npm start` does; all of it stops at the end of the run. */
export async function startLivesStack(context: BenchContext, settings: NodeJS.ProcessEnv = {}): Promise<LivesStack> {
  const own = Object.entries(process.env).filter(([name]) => !foreignSettings.includes(name))
  const env = {
    ...Object.fromEntries(own),
    REELKEEP_HOME: join(context.folder, 'stack'),
    LOG_LEVEL: 'warn',
    ...settings,
  }
  const home = findHome(env)
  const say = (line: string) => context.say(`  ${line}`)
  await chooseOwnPorts(home)
  const stack = await startStack({ home, env, demo: true, port: 0, say })
  context.onEnd(() => stack.stop())
  const db = openDatabase((await findDatabaseUrls(env, home)).appUrl, { maxConnections: 2 })
  context.onEnd(() => db.close())
  const sample = join(context.folder, 'life.mp4')
  await generateSmall(sample, { ffmpegPath: context.ffmpeg.ffmpegPath, seed: 1, codec: 'h264-aac' })
  const bytes = await readFile(sample)
  const inbox = join(home.inboxDir, demoDirectories.hallA)
  const milestones: LivesStack['milestones'] = (names, directory = demoDirectories.hallA) =>
    readMilestones(db, stack.accountId, directory, names)
  const bytesOf = (name: string) => Buffer.concat([bytes, freeBox(name)])
  return {
    sample,
    directory: demoDirectories.hallA,
    bytesOf,
    upload: (name) => writeFile(join(inbox, `${name}.mp4.part`), bytesOf(name)),
    addInbox: (name, url) => addInbox(db, stack, home, { name, url }),
    async finish(name) {
      await rename(join(inbox, `${name}.mp4.part`), join(inbox, `${name}.mp4`))
      return Date.now()
    },
    milestones,
    untilRetained: (names, onLook) => waitForAll(context, milestones, names, onLook),
    measureBytes: () => measureBytes(db, home),
    measureMemory: async () => ({
      worker: await measureService(home, 'worker'),
      temporal: await measureService(home, 'temporal'),
    }),
    measureHistories: async (names) => measureHistories(await findIds(db, stack.accountId, names), home),
  }
}

/** The usual ports are left to the stack that a person may start meanwhile. */
async function chooseOwnPorts(home: Home): Promise<void> {
  const [api = 0, temporal = 0, temporalUi = 0] = await choosePorts(home.runDir, 'stack', [
    undefined,
    undefined,
    undefined,
  ])
  await createFolders(home)
  const ports = { api, postgres: null, temporal, temporalUi }
  await writeStackFile(home, { fastForward: true, demo: true, url: '', ports })
}

/** A box that players skip: the same recording in other bytes. */
function freeBox(text: string): Buffer {
  const box = Buffer.concat([Buffer.alloc(4), Buffer.from('free'), Buffer.from(text)])
  box.writeUInt32BE(box.length)
  return box
}

async function addInbox(db: Database, stack: Stack, home: Home, { name, url }: { name: string; url: string }) {
  const inboxId = await db.asAccount(stack.accountId, async (tx) => {
    const inboxId = await ensureStore(tx, { name, site: 'a', role: 'inbox', url })
    await ensureRecorder(tx, { inboxId, name, directory: name, assignment: 'claim', quietMs: msPer.minute })
    return inboxId
  })
  await ensureSchedules(await temporalOf(home), [{ accountId: stack.accountId, inboxId }])
}

async function readMilestones(db: Database, accountId: string, directory: string, names: readonly string[]) {
  const paths = names.map((name) => `${directory}/${name}.mp4`)
  const rows = await db.asAccount(accountId, (tx) =>
    tx
      .selectFrom('deposits as d')
      .select(['d.path', 'd.complete_at'])
      .select((eb) =>
        (['accepted', 'retained'] as const).map((state) =>
          eb
            .selectFrom('audit_events as e')
            .select((inner) => inner.fn.min('e.at').as('at'))
            .whereRef('e.recording_id', '=', 'd.id')
            .where('e.action', '=', `recording.${state}`)
            .as(state),
        ),
      )
      .where(sql<boolean>`d.path = any(${paths})`)
      .execute(),
  )
  const ms = (at: Date | null) => at?.getTime() ?? null
  return new Map<string, Milestones>(
    rows.map((row) => [
      row.path.slice(directory.length + 1, -'.mp4'.length),
      { completeAtMs: ms(row.complete_at), acceptedAtMs: ms(row.accepted), retainedAtMs: ms(row.retained) },
    ]),
  )
}

async function waitForAll(
  { signal }: BenchContext,
  milestones: LivesStack['milestones'],
  names: readonly string[],
  onLook: (retained: number) => Promise<void> = async () => undefined,
): Promise<void> {
  let [best, bestAtMs] = [0, Date.now()]
  for (;;) {
    const found = [...(await milestones(names)).values()]
    const retained = found.filter(({ retainedAtMs }) => retainedAtMs !== null).length
    await onLook(retained)
    if (retained === names.length) return
    const accepted = found.filter(({ acceptedAtMs }) => acceptedAtMs !== null).length
    // Many at once all get to a stage before the first one leaves it.
    const steps = found.length + accepted + retained
    if (steps > best) [best, bestAtMs] = [steps, Date.now()]
    if (Date.now() - bestAtMs > stuckAfterMs) {
      throw new Error(
        `Only ${retained} of ${names.length} recordings are retained (${found.length} seen, ${accepted} accepted) and nothing has moved for five minutes.`,
      )
    }
    await pause(names.length > 1 ? msPer.second : 50, undefined, { signal })
  }
}

async function measureBytes(db: Database, home: Home): Promise<StackBytes> {
  const sizes = await Promise.all(
    ['', '-wal'].map((end) =>
      stat(home.temporalDb + end).then(
        (found) => found.size,
        () => 0,
      ),
    ),
  )
  const { rows } = await db.throughDoor('', (tx) =>
    sql<{ whole: string; name: string; size: string }>`
      select pg_database_size(current_database()) as whole, relname as name, pg_total_relation_size(oid) as size
      from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`.execute(tx),
  )
  return {
    temporal: sizes.reduce((sum, size) => sum + size, 0),
    postgres: Number(rows[0]?.whole),
    tables: new Map(rows.map(({ name, size }) => [name, Number(size)])),
  }
}

async function measureService(home: Home, name: 'worker' | 'temporal'): Promise<number> {
  const service = await findService(home.runDir, name)
  const status = await readFile(`/proc/${service?.pid}/status`, 'utf8').catch(() => '')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024
}

async function findIds(db: Database, accountId: string, names: readonly string[]): Promise<readonly string[]> {
  const paths = names.map((name) => `${demoDirectories.hallA}/${name}.mp4`)
  const rows = await db.asAccount(accountId, (tx) =>
    tx
      .selectFrom('deposits')
      .select('id')
      .where(sql<boolean>`path = any(${paths})`)
      .execute(),
  )
  return rows.map(({ id }) => id)
}

async function measureHistories(ids: readonly string[], home: Home): Promise<readonly number[]> {
  const temporal = await temporalOf(home)
  const connection = await Connection.connect({ address: temporal.address })
  try {
    const { workflow } = new Client({ connection, namespace: temporal.namespace })
    const sizes: number[] = []
    for (const id of ids) sizes.push((await workflow.getHandle(`rec/${id}`).describe()).historySize ?? Number.NaN)
    return sizes
  } finally {
    await connection.close()
  }
}

async function temporalOf(home: Home): Promise<{ address: string; namespace: string }> {
  const ports = (await readStackFile(home))?.ports
  return { address: `127.0.0.1:${ports?.temporal}`, namespace: 'reelkeep' }
}
