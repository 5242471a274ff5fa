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
import { describeMs, pairRow, runPairs } from './measure.ts'
import type { BenchResult } from './measure.ts'

const filesPerDirectory = 100
/** After these looks every file was counted as often as looks count: the next one changes nothing. */
const looksUntilSettled = 4

/** One look over an inbox in which nothing has changed, beside `find` asking for the same properties of the same files. */
export async function benchInbox(context: BenchContext): Promise<BenchResult> {
  const { folder, quick, pairs, signal, say } = context
  const count = quick ? 1000 : 10_000
  const inbox = join(folder, 'inbox')
  say(`  ${count} files, and a Postgres that knows them…`)
  await writeFiles(join(inbox, 'hall'), count)
  const { deps, accountId, inboxId, close } = await openInbox(context, inbox)
  try {
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
    const measured = await runPairs(pairs, { run: look }, find, signal)
    return {
      rows: [pairRow(`a look over ${count} unchanged files`, measured, '<= 1 s')],
      notes: [
        `The look lists, reads what Postgres knows of all ${count} files and decides; \`find -printf\` only lists. The very first look, which writes ${count} rows, took ${describeMs(firstMs)}.`,
      ],
    }
  } finally {
    await close()
  }
}

async function writeFiles(directory: string, count: number): Promise<void> {
  for (let from = 0; from < count; from += filesPerDirectory) {
    const day = join(directory, `day-${from / filesPerDirectory}`)
    await mkdir(day, { recursive: true })
    const names = Array.from(
      { length: Math.min(filesPerDirectory, count - from) },
      (_, index) => `lecture-${index}.mp4`,
    )
    await Promise.all(names.map((name) => writeFile(join(day, name), 'not whole yet')))
  }
}

/** An account with one inbox whose recorder never counts a file as complete: so nothing changes from look to look. */
async function openInbox(context: BenchContext, inbox: string) {
  const { folder, cacheDir, say } = context
  const postgres = await startPostgres({ home: folder, cacheDir, say })
  context.onEnd(() => postgres.stop())
  await migrateUp(postgres.ownerUrl)
  const db = openDatabase(postgres.appUrl)
  const accountId = await ensureAccount(db, { name: 'Benchmark', policy: defaultPolicy })
  const inboxId = await db.asAccount(accountId, async (tx) => {
    const id = await ensureStore(tx, { name: 'inbox', site: 'a', role: 'inbox', url: `local:${inbox}` })
    const quietMs = msPer.year
    await ensureRecorder(tx, { inboxId: id, name: 'Hall', directory: 'hall', assignment: 'claim', quietMs })
    return id
  })
  const stores = createStoreBook(db, () => '')
  const startRecording = () => Promise.reject(new Error('a file counted as complete that was not'))
  const close = async () => {
    await stores.close()
    await db.close()
  }
  return { deps: { db, stores, startRecording }, accountId, inboxId, close }
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const beganMs = performance.now()
  await work()
  return performance.now() - beganMs
}
