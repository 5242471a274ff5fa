import { createReadStream } from 'node:fs'
import { copyFile, mkdir, rename, rm, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { loadConfig } from '../config.ts'
import { findHome } from '../dev/home.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'
import { openStore } from '../storage/open.ts'
import type { ApiClient } from './client.ts'
import { connect } from './context.ts'
import type { CliContext } from './context.ts'
import { findRecorder } from './recorder.ts'
import { oneLine } from './terminal.ts'
import { hasReached, knownDeposits, watchDeposit, watchRecording } from './watch.ts'

interface InboxStore {
  readonly id: string
  readonly name: string
  readonly url: string
}

const stuckAfterMs = 10 * msPer.minute

/** `reelkeep drop FILE --recorder X`: deposits a file the way a recorder does, then watches it until it is kept. */
export function addDrop(program: Command, context: CliContext): void {
  program
    .command('drop <file>')
    .description("put a file into a recorder's inbox and watch it until it is kept or refused")
    .requiredOption('--recorder <name>', 'the recorder it comes from')
    .option('--no-wait', 'do not watch')
    .action(async (file: string, { recorder, wait }: { recorder: string; wait: boolean }, command: Command) => {
      const api = await connect(context, command)
      const { inboxId, directory } = await findRecorder(api, recorder)
      const inbox = await findInboxStore(api, inboxId)
      const path = `${directory}/${basename(file)}`
      const known = await knownDeposits(api, path)
      await putIntoInbox(context, inbox, file, path)
      context.terminal.say(oneLine(`${file} is in the inbox ${inbox.name} as ${path}`))
      if (wait) await watchDrop(context, api, path, known)
    })
}

async function watchDrop({ terminal }: CliContext, api: ApiClient, path: string, known: ReadonlySet<string>): Promise<void> {
  const limits = { stuckAfterMs }
  const deposit = await watchDeposit(api, path, known, terminal, limits)
  if (deposit.recordingId === null || deposit.state === 'duplicate') {
    const reason = deposit.state === 'duplicate' ? `These bytes are recording ${deposit.recordingId} already.` : (deposit.reason ?? deposit.state)
    terminal.answer(oneLine(`${path}: ${deposit.state}. ${reason} Next: ${deposit.nextStep}`))
    if (deposit.state !== 'duplicate') process.exitCode = 1
    return
  }
  const watch = { recordingId: deposit.recordingId, toldSeq: 0 }
  const settled = await watchRecording(api, watch, (now) => now.state === 'awaiting_claim' || hasReached(now, 'retained'), terminal, limits)
  terminal.answer(oneLine(`${settled.id} "${settled.title}" is ${settled.state.replaceAll('_', ' ')}. Next: ${settled.nextStep}`))
}

async function findInboxStore(api: ApiClient, inboxId: string): Promise<InboxStore> {
  const store = (await api.list<InboxStore>('/stores')).find((one) => one.id === inboxId)
  if (store !== undefined) return store
  throw new ReelkeepError('not_found', `The inbox ${inboxId} is not shown to this key. Use the key of an administrator (--key).`)
}

async function putIntoInbox({ env, terminal }: CliContext, inbox: InboxStore, file: string, path: string): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found === null || !found.isFile()) throw new ReelkeepError('not_found', `${file} is no file that can be read. Check the path.`)
  if (/^(file|local):/.test(inbox.url)) {
    await dropLocally(file, join(fileURLToPath(inbox.url.replace(/^local:\/*/, 'file:///')), path))
    return
  }
  const { resolveSecret } = loadConfig({ ...placeholders, SECRETS_DIR: findHome(env).secretsDir, ...env })
  const store = openStore(inbox.url, resolveSecret)
  try {
    const open = async (start: number) => createReadStream(file, { start })
    const onProgress = (done: number) => terminal.status(`  sending ${Math.floor((100 * done) / Math.max(1, found.size))} %`)
    await store.put(path, { open }, { sizeBytes: found.size, onProgress })
  } finally {
    await store.close()
  }
}

/** Settings that a deposit does not use, but `loadConfig` asks for. */
const placeholders = { DATABASE_URL: '-', TEMPORAL_ADDRESS: '-', SIGNING_KEY_FILE: '-' }

/**
 * Copies a file under a temporary name that scans ignore, then renames it: nobody ever sees half of it.
 * @throws object_exists when a file of that name still waits there
 */
export async function dropLocally(file: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  if ((await stat(target).catch(() => null)) !== null)
    throw new ReelkeepError('object_exists', `${target} waits in the inbox already. Wait until it was taken in, or use another name.`)
  const draft = join(dirname(target), `.${randomUUID()}.part`)
  try {
    await copyFile(file, draft)
    await rename(draft, target)
  } finally {
    await rm(draft, { force: true })
  }
}
