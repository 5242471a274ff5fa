import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { findOnPath } from '../src/dev/commands.ts'
import { findWheelBinary } from '../src/dev/wheel.ts'
import { openStore } from '../src/storage/open.ts'
import type { BenchContext } from './context.ts'
import { startLivesStack } from './lives-stack.ts'
import type { LivesStack } from './lives-stack.ts'
import { describeMs, percentile } from './measure.ts'
import type { BenchResult, Row } from './measure.ts'
import { startS3, startSftp } from './servers.ts'
import type { Target } from './servers.ts'

/** One kind of inbox, and how a recorder there says that an upload has ended. */
interface Kind {
  readonly name: string
  readonly directory: string
  /** Uploads everything but the end signal. */
  begin(name: string): Promise<void>
  /** Gives the end signal. */
  end(name: string): Promise<void>
}

/** At least one look passes while the upload is under way, as with any real one. */
const uploadMs = 3000

/** From an upload's end signal to the moment it is known to be whole, in each kind of inbox, on an idle stack. */
export async function benchDetect(context: BenchContext): Promise<BenchResult> {
  const rclone = (await findOnPath('rclone')) ?? (await findWheelBinary('rclone', context.cacheDir))
  const s3 = rclone === null ? null : await startS3(context, rclone)
  const sftp = await startSftp(context)
  const secrets = { REELKEEP_SECRET_S3: s3?.secret ?? '', REELKEEP_SECRET_SFTP: sftp?.secret ?? '' }
  const stack = await startLivesStack(context, secrets)
  const kinds: Kind[] = [localKind(stack)]
  if (sftp !== null) kinds.push(await sftpKind(stack, sftp))
  if (s3 !== null) kinds.push(await s3Kind(stack, s3))
  const count = context.quick ? 3 : 30
  const rows: Row[] = []
  for (const kind of kinds) {
    context.say(`  ${count} uploads: ${kind.name}…`)
    const times = await detect(context, stack, kind, count)
    const ours = `${describeMs(percentile(times, 0.5))}, ${describeMs(percentile(times, 0.95))}`
    rows.push({ what: `${kind.name}: p50, p95`, ours, bare: '', ratio: '', budget: '<= 2 s' })
  }
  const notes = [`${count} uploads of each kind, one after another; each lasts ${describeMs(uploadMs)} or more.`]
  if (kinds.length < 3) notes.push('S3 or SFTP was not measured: its server is not on this machine.')
  return { rows, notes }
}

async function detect({ signal }: BenchContext, stack: LivesStack, kind: Kind, count: number): Promise<number[]> {
  const times: number[] = []
  for (let index = 0; index < count; index += 1) {
    const name = `detect-${kind.directory}-${index}`
    await kind.begin(name)
    // Not in step with the looks.
    await pause(uploadMs + Math.random() * 2000, undefined, { signal })
    await kind.end(name)
    const endedAtMs = Date.now()
    for (;;) {
      const seen = (await stack.milestones([name], kind.directory)).get(name)
      if (seen?.completeAtMs != null) {
        times.push(seen.completeAtMs - endedAtMs)
        break
      }
      await pause(50, undefined, { signal })
    }
  }
  return times
}

function localKind(stack: LivesStack): Kind {
  return {
    name: 'local directory, rename',
    directory: stack.directory,
    begin: (name) => stack.upload(name),
    end: async (name) => void (await stack.finish(name)),
  }
}

/** The recorder's part is done on the server's own disk: what is measured is how the product sees it through SFTP. */
async function sftpKind(stack: LivesStack, target: Target): Promise<Kind> {
  const root = target.remote('inbox').slice('bench:'.length)
  await mkdir(join(root, 'by-sftp'), { recursive: true })
  await stack.addInbox('by-sftp', target.url('inbox').replace('secret=BENCH', 'secret=SFTP'))
  const path = (name: string) => join(root, 'by-sftp', `${name}.mp4`)
  return {
    name: 'SFTP, sidecar',
    directory: 'by-sftp',
    begin: (name) => writeFile(path(name), stack.bytesOf(name)),
    end: (name) => writeFile(`${path(name)}.done`, ''),
  }
}

async function s3Kind(stack: LivesStack, target: Target): Promise<Kind> {
  const url = target.url('inbox').replace('secret=BENCH', 'secret=S3')
  await stack.addInbox('by-s3', url)
  const store = openStore(url, () => target.secret)
  const put = async (key: string, bytes: Buffer) =>
    void (await store.put(key, { open: async () => Readable.from([bytes]) }, { sizeBytes: bytes.length }))
  return {
    name: 'S3, sidecar',
    directory: 'by-s3',
    begin: (name) => put(`by-s3/${name}.mp4`, stack.bytesOf(name)),
    end: (name) => put(`by-s3/${name}.mp4.done`, Buffer.from('done')),
  }
}
