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
import type { StoreAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { connect } from './context.ts'
import type { CliContext } from './context.ts'
import { findRecorder } from './recorder.ts'
import { oneLine } from './terminal.ts'
import { hasReached, knownDeposits, watchDeposit, watchRecording } from './watch.ts'

interface DropOptions {
  readonly recorder: string
  readonly inboxUrl?: string
  readonly wait: boolean
}

const stuckAfterMs = 10 * msPer.minute

/** `reelkeep drop FILE --recorder X`: deposits a file the way a recorder does, then watches it until it is kept. */
export function addDrop(program: Command, context: CliContext): void {
  program
    .command('drop <file>')
    .description("put a file into a recorder's inbox and watch it until it is kept or refused")
    .requiredOption('--recorder <name>', 'the recorder it comes from')
    .option('--inbox-url <url>', "the inbox's full store URL, for one on SFTP or S3 (its secret is in SECRETS_DIR)")
    .option('--no-wait', 'do not watch')
    .action(async (file: string, { recorder, inboxUrl, wait }: DropOptions, command: Command) => {
      const api = await connect(context, command)
      const { inboxId, directory } = await findRecorder(api, recorder)
      const inbox = await findInbox(api, inboxId)
      const path = `${directory}/${basename(file)}`
      const known = await knownDeposits(api, path)
      await putIntoInbox(context, inboxUrl ?? inbox.url, file, path)
      context.terminal.say(oneLine(`${file} is in the inbox ${inbox.name} as ${path}`))
      if (wait) await watchDrop(context, api, path, known)
    })
}

async function watchDrop(
  { terminal }: CliContext,
  api: ApiClient,
  path: string,
  known: ReadonlySet<string>,
): Promise<void> {
  const limits = { stuckAfterMs }
  const deposit = await watchDeposit(api, path, known, terminal, limits)
  if (deposit.recordingId === null || deposit.state === 'duplicate') {
    const reason =
      deposit.state === 'duplicate'
        ? `These bytes are recording ${deposit.recordingId} already.`
        : (deposit.reason ?? deposit.state)
    terminal.answer(oneLine(`${path}: ${deposit.state}. ${reason} Next: ${deposit.nextStep}`))
    if (deposit.state !== 'duplicate') process.exitCode = 1
    return
  }
  const watch = { recordingId: deposit.recordingId, toldSeq: 0 }
  const settled = await watchRecording(
    api,
    watch,
    (now) => now.state === 'awaiting_claim' || hasReached(now, 'retained'),
    terminal,
    limits,
  )
  terminal.answer(
    oneLine(`${settled.id} "${settled.title}" is ${settled.state.replaceAll('_', ' ')}. Next: ${settled.nextStep}`),
  )
}

async function findInbox(api: ApiClient, inboxId: string): Promise<StoreAnswer> {
  const store = (await api.get<{ items: readonly StoreAnswer[] }>('/stores')).items.find((one) => one.id === inboxId)
  if (store !== undefined) return store
  throw new ReelkeepError(
    'not_found',
    `The inbox ${inboxId} is not shown to this key. Use the key of an administrator (--key).`,
  )
}

async function putIntoInbox({ env, terminal }: CliContext, url: string, file: string, path: string): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found === null || !found.isFile())
    throw new ReelkeepError('not_found', `${file} is no file that can be read. Check the path.`)
  if (/^(file|local):/.test(url)) {
    await dropLocally(file, join(fileURLToPath(url.replace(/^local:\/*/, 'file:///')), path))
    return
  }
  if (!url.includes('?'))
    throw new ReelkeepError(
      'invalid_request',
      `The API shows the address of the inbox ${url} without its secrets. Give the whole store URL with --inbox-url.`,
    )
  const config = loadConfig({ ...placeholders, SECRETS_DIR: findHome(env).secretsDir, ...env })
  const store = openStore(url, (name) => config.resolveSecret(name))
  try {
    const open = async (start: number) => createReadStream(file, { start })
    const onProgress = (done: number) =>
      terminal.status(`  sending ${Math.floor((100 * done) / Math.max(1, found.size))} %`)
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
    throw new ReelkeepError(
      'object_exists',
      `${target} waits in the inbox already. Wait until it was taken in, or use another name.`,
    )
  const draft = join(dirname(target), `.${randomUUID()}.part`)
  try {
    await copyFile(file, draft)
    await rename(draft, target)
  } finally {
    await rm(draft, { force: true })
  }
}
