import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { findOnPath } from '../src/dev/commands.ts'
import { findWheelBinary } from '../src/dev/wheel.ts'
import { bytesPer, describeBytes } from '../src/domain/units.ts'
import { copyBetween, readBack } from '../src/storage/copy.ts'
import { openStore } from '../src/storage/open.ts'
import type { Store } from '../src/storage/store.ts'
import { runBare } from './bare.ts'
import type { BenchContext } from './context.ts'
import { describeRate, median, pairRow, runPairs } from './measure.ts'
import type { BenchResult, Row } from './measure.ts'
import { writeNoise } from './noise.ts'
import { startS3, startSftp } from './servers.ts'
import type { Target } from './servers.ts'

interface SourceFile {
  readonly key: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** What is copied: one large file, or many small ones. */
interface Load {
  readonly name: string
  /** The folder it lies in. */
  readonly folder: string
  readonly files: readonly SourceFile[]
}

/** As many files at once as rclone sends when it is not told otherwise. */
const filesAtOnce = 4

/** Copying and reading back, to a disk, S3 and SFTP, beside `rclone copy` and `rclone check --download`. */
export async function benchTransfer(context: BenchContext): Promise<BenchResult> {
  const rclone = (await findOnPath('rclone')) ?? (await findWheelBinary('rclone', context.cacheDir))
  if (rclone === null)
    return { rows: [], notes: ['Not measured: rclone is neither on PATH nor was it downloaded before.'] }
  const loads = await makeLoads(context)
  const rows: Row[] = []
  const notes = [
    `Each side copies, then reads every copy back and compares; ${filesAtOnce} files at once. Ours also syncs every local file to its disk, which rclone leaves to the system.`,
  ]
  const starts = [async () => localTarget(context), () => startS3(context, rclone), () => startSftp(context)]
  for (const start of starts) {
    const target = await start()
    if (target === null) {
      notes.push(
        'One target was not measured: its server is not on this machine (SeaweedFS: run the tests once; sshd: install openssh-server).',
      )
      continue
    }
    for (const load of loads) {
      context.say(`  ${load.name} to ${target.name}…`)
      const measured = await pair(context, rclone, target, load)
      rows.push(pairRow(`${load.name} to ${target.name}`, measured, '<= 1.00x'))
      const bytes = load.files.reduce((sum, file) => sum + file.sizeBytes, 0)
      const rates = [measured.oursMs, measured.bareMs].map((times) => describeRate(bytes, median(times)))
      notes.push(`${load.name} to ${target.name}: ${rates[0]} here, ${rates[1]} with rclone, copied and read back.`)
    }
  }
  return { rows, notes }
}

async function makeLoads({ folder, quick, say }: BenchContext): Promise<readonly Load[]> {
  say('  sources…')
  const make = async (name: string, count: number, sizeBytes: number): Promise<Load> => {
    const directory = join(folder, name)
    await mkdir(directory)
    const files: SourceFile[] = []
    for (let seed = 0; seed < count; seed += 1) {
      const key = `file-${seed}`
      files.push({ key, sizeBytes, sha256: await writeNoise(join(directory, key), sizeBytes, seed) })
    }
    return { name: `${count} x ${describeBytes(sizeBytes)}`, folder: directory, files }
  }
  return [
    await make('large', 1, (quick ? 32 : 256) * bytesPer.mib),
    await make('small', quick ? 20 : 200, (quick ? 256 : 1024) * bytesPer.kib),
  ]
}

function localTarget({ folder }: BenchContext): Target {
  const path = (name: string) => join(folder, 'copies', name)
  return { name: 'local disk', url: (name) => `local:${path(name)}`, remote: path, env: {}, secret: '' }
}

async function pair(context: BenchContext, rclone: string, target: Target, load: Load) {
  const options = { signal: context.signal, env: { RCLONE_CONFIG: join(context.folder, 'none.conf'), ...target.env } }
  const source = openStore(`local:${load.folder}`, () => '')
  // A folder of its own each time: what stands there already would not be sent again.
  let round = 0
  let folder = ''
  const prepare = async () => {
    folder = `copies-${(round += 1)}`
    await runBare(rclone, ['mkdir', target.remote(folder)], options)
  }
  // After a failure there may be nothing to remove.
  const cleanUp = () =>
    runBare(rclone, ['purge', target.remote(folder)], { ...options, signal: neverAborted }).catch(() => undefined)
  const ours = {
    prepare,
    run: async () => {
      const store = openStore(target.url(folder), () => target.secret)
      try {
        await copyAll(source, store, load.files, context.signal)
      } finally {
        await store.close()
      }
    },
    cleanUp,
  }
  const bare = {
    prepare,
    run: async () => {
      await runBare(rclone, ['copy', load.folder, target.remote(folder)], options)
      await runBare(rclone, ['check', '--download', load.folder, target.remote(folder)], options)
    },
    cleanUp,
  }
  try {
    return await runPairs(context.pairs, ours, bare, context.signal)
  } finally {
    await source.close()
    await rm(join(context.folder, 'copies'), { recursive: true, force: true })
  }
}

const neverAborted = new AbortController().signal

async function copyAll(source: Store, target: Store, files: readonly SourceFile[], signal: AbortSignal): Promise<void> {
  const left = [...files]
  const work = async () => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      const { key, sizeBytes, sha256 } = file
      await copyBetween(source, target, key, key, { sizeBytes, sha256, signal })
      const seen = await readBack(target, key, { signal })
      if (seen.sha256 !== sha256) throw new Error(`${key} reads back as other bytes from ${target.label}`)
    }
  }
  await Promise.all(Array.from({ length: filesAtOnce }, work))
}
