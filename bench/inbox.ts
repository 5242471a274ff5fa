import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lookOnce } from '../src/activities/look.ts'
import { createStoreBook } from '../src/activities/store-book.ts'
import { ensureAccount, ensureRecorder, ensureStore } from '../src/db/accounts.ts'
import { openDatabase } from '../src/db/connect.ts'
import { readInbox } from '../src/db/deposits.ts'
import { startPostgres } from '../src/dev/postgres.ts'
import { noMemory } from '../src/domain/ingest.ts'
import { defaultPolicy } from '../src/domain/policy.ts'
import { msPer } from '../src/domain/units.ts'
import { migrateUp } from '../src/migrate.ts'
import { runBare } from './bare.ts'
import type { BenchContext } from './context.ts'
import { describeMs, median, pairRow, runPairs } from './measure.ts'
import type { BenchResult } from './measure.ts'

const filesPerDirectory = 100
const filesPerRecorder = 1000
/** After these looks every file was counted as often as looks count: the next one changes nothing. */
const looksUntilSettled = 4

/** One look over an inbox in which nothing has changed, beside `find` asking for the same properties of the same files. */
export async function benchInbox(context: BenchContext): Promise<BenchResult> {
  const server = await openServer(context)
  const sizes = context.quick
    ? [{ count: 1000, budget: '' }]
    : [
        { count: 10_000, budget: '<= 1 s' },
        { count: 100_000, budget: '<= 5 s' },
      ]
  const results: BenchResult[] = []
  try {
    for (const size of sizes) results.push(await measureLooks(context, server, size))
  } finally {
    await server.close()
  }
  return { rows: results.flatMap(({ rows }) => rows), notes: results.flatMap(({ notes }) => notes) }
}

async function measureLooks(
  { folder, pairs, signal, say }: BenchContext,
  { deps, open }: Server,
  { count, budget }: { readonly count: number; readonly budget: string },
): Promise<BenchResult> {
  const inbox = join(folder, `inbox-${count}`)
  say(`  ${count} files, and a Postgres that knows them…`)
  await writeFiles(inbox, count)
  const { accountId, inboxId } = await open(inbox, count)
  let memory = noMemory
  const look = async () => {
    const request = { accountId, inboxId, memory, now: () => Math.round(performance.timeOrigin + performance.now()) }
    memory = (await lookOnce(deps, { ...request, signal })).memory
  }
  const firstMs = await timeOf(look)
  for (let settled = 1; settled < looksUntilSettled; settled += 1) await look()
  const { known } = await deps.db.asAccount(accountId, (tx) => readInbox(tx, inboxId, Date.now()))
  if (known.length !== count)
    throw new Error(`${known.length} of ${count} files are known after ${looksUntilSettled} looks`)
  const find = {
    run: () => runBare('find', [inbox, '-type', 'f', '-printf', String.raw`%s %T@ %D:%i %p\n`], { signal }),
  }
  const cpuMs: number[] = []
  const run = async () => {
    const before = process.cpuUsage()
    await look()
    const { user, system } = process.cpuUsage(before)
    cpuMs.push((user + system) / 1000)
  }
  const measured = await runPairs(pairs, { run }, find, signal)
  const recorders = Math.ceil(count / filesPerRecorder)
  return {
    rows: [pairRow(`a look over ${count} unchanged files of ${recorders} recorders`, measured, budget)],
    notes: [
      `The look lists, reads what Postgres knows of all ${count} files and decides, in ${describeMs(median(cpuMs))} of this process's CPU time; \`find -printf\` only lists. The very first look, which writes ${count} rows, took ${describeMs(firstMs)}.`,
    ],
  }
}

async function writeFiles(inbox: string, count: number): Promise<void> {
  for (let from = 0; from < count; from += filesPerDirectory) {
    const directory = join(inbox, recorderDirectory(from), `day-${from / filesPerDirectory}`)
    await mkdir(directory, { recursive: true })
    const names = Array.from(
      { length: Math.min(filesPerDirectory, count - from) },
      (_, index) => `lecture-${index}.mp4`,
    )
    await Promise.all(names.map((name) => writeFile(join(directory, name), 'not whole yet')))
  }
}

const recorderDirectory = (file: number) => `hall-${Math.floor(file / filesPerRecorder)}`

type Server = Awaited<ReturnType<typeof openServer>>

/** A Postgres, and inboxes in it whose recorders never count a file as complete: so nothing changes from look to look. */
async function openServer(context: BenchContext) {
  const { folder, cacheDir, say } = context
  const postgres = await startPostgres({ home: folder, cacheDir, say })
  context.onEnd(() => postgres.stop())
  await migrateUp(postgres.ownerUrl)
  const db = openDatabase(postgres.appUrl)
  const accountId = await ensureAccount(db, { name: 'Benchmark', policy: defaultPolicy })
  const open = async (inbox: string, count: number) =>
    db.asAccount(accountId, async (tx) => {
      const name = `inbox of ${count}`
      const inboxId = await ensureStore(tx, { name, site: 'a', role: 'inbox', url: `local:${inbox}` })
      for (let file = 0; file < count; file += filesPerRecorder) {
        const directory = recorderDirectory(file)
        const recorder = {
          name: `${directory} of ${count}`,
          directory,
          assignment: 'claim',
          quietMs: msPer.year,
        } as const
        await ensureRecorder(tx, { inboxId, ...recorder })
      }
      return { accountId, inboxId }
    })
  const stores = createStoreBook(db, () => '')
  const startRecording = () => Promise.reject(new Error('a file counted as complete that was not'))
  const close = async () => {
    await stores.close()
    await db.close()
  }
  return { deps: { db, stores, startRecording }, open, close }
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const beganMs = performance.now()
  await work()
  return performance.now() - beganMs
}
