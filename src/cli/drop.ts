import { createReadStream } from 'node:fs'
import { copyFile, mkdir, rename, rm, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { loadConfig } from '../config.ts'
import { findHome } from '../dev/home.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { isTemporaryName } from '../domain/inbox-names.ts'
import { msPer } from '../domain/units.ts'
import { openStore } from '../storage/open.ts'
import type { StoreAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { connect } from './context.ts'
import type { CliContext } from './context.ts'
import { findInboxAddress } from './inbox-address.ts'
import { findRecorder } from './recorder.ts'
import { oneLine, progressBar } from './terminal.ts'
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
    .option('--inbox-url <url>', "from another machine, into SFTP or S3: the inbox's whole store URL")
    .option('--no-wait', 'do not watch')
    .action(async (file: string, { recorder, inboxUrl, wait }: DropOptions, command: Command) => {
      const api = await connect(context, command)
      const { inboxId, directory } = await findRecorder(api, recorder)
      const inbox = await findInbox(api, inboxId)
      const path = `${directory}/${basename(file)}`
      refuseIgnored(path)
      const known = await knownDeposits(api, path)
      await putIntoInbox(context, inboxUrl ?? (await findInboxAddress(context, inbox)), file, path)
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
  if (deposit.recordingId === null) {
    const reason = deposit.reason ?? deposit.state
    terminal.answer(oneLine(`${path}: ${deposit.state}. ${reason} Next: ${deposit.nextStep}`))
    process.exitCode = 1
    return
  }
  // A recording has the id of the deposit it came from; the state passes on to `released` within moments.
  if (deposit.recordingId !== deposit.id) {
    const reason = `These bytes are recording ${deposit.recordingId} already.`
    terminal.answer(oneLine(`${path}: duplicate. ${reason} Next: ${deposit.nextStep}`))
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

/** A name that looks ignore would be waited for without end. */
function refuseIgnored(path: string): void {
  if (!isTemporaryName(path)) return
  throw new ReelkeepError(
    'invalid_request',
    `${path} has the name of an upload that still runs: it would never be looked at. Rename the file, then drop it.`,
  )
}

async function putIntoInbox(context: CliContext, url: string, file: string, path: string): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found === null || !found.isFile())
    throw new ReelkeepError('not_found', `${file} is no file that can be read. Check the path.`)
  if (/^(file|local):/.test(url)) {
    const root = fileURLToPath(url.replace(/^local:\/*/, 'file:///'))
    // Made here, it would be a directory that nobody looks into.
    if (!(await stat(root).catch(() => null))?.isDirectory())
      throw new ReelkeepError(
        'store_unavailable',
        `The inbox ${root} is not on this machine. Run this where Reelkeep runs, or copy the file to ${path} there.`,
      )
    await dropLocally(file, join(root, path))
    return
  }
  await dropRemotely(context, url, { file, sizeBytes: found.size }, path)
}

/** Stores publish whole objects only, so that nobody sees half of one; a name that is taken is left alone. */
async function dropRemotely(
  { env, terminal }: CliContext,
  url: string,
  { file, sizeBytes }: { file: string; sizeBytes: number },
  path: string,
): Promise<void> {
  const config = loadConfig({ ...placeholders, SECRETS_DIR: findHome(env).secretsDir, ...env })
  const store = openStore(url, (name) => config.resolveSecret(name))
  try {
    // Also for the same bytes: what waits there is known already, and no new deposit would come of it.
    if ((await store.stat(path)) !== null) throw waitsAlready(`${store.label}/${path}`)
    const open = async (start: number) => createReadStream(file, { start })
    const onProgress = (done: number) =>
      terminal.status(`  sending ${progressBar((100 * done) / Math.max(1, sizeBytes))}`)
    await store.put(path, { open }, { sizeBytes, onProgress })
  } finally {
    terminal.status('')
    await store.close()
  }
}

function waitsAlready(target: string): ReelkeepError {
  return new ReelkeepError(
    'object_exists',
    `${target} waits in the inbox already. Wait until it was taken in, or use another name.`,
  )
}

/** Settings that a deposit does not use, but `loadConfig` asks for. */
const placeholders = { DATABASE_URL: '-', TEMPORAL_ADDRESS: '-', SIGNING_KEY_FILE: '-' }

/**
 * Copies a file under a temporary name that scans ignore, then renames it: nobody ever sees half of it.
 * @throws object_exists when a file of that name still waits there
 */
export async function dropLocally(file: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  if ((await stat(target).catch(() => null)) !== null) throw waitsAlready(target)
  const draft = join(dirname(target), `.${randomUUID()}.part`)
  try {
    await copyFile(file, draft)
    await rename(draft, target)
  } finally {
    await rm(draft, { force: true })
  }
}
