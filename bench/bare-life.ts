import { copyFile, mkdir, rm } from 'node:fs/promises'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { planEncode } from '../src/domain/encode.ts'
import { defaultMediaLimits } from '../src/media/encoder.ts'
import type { Encoder } from '../src/media/encoder.ts'
import { createEncoder } from '../src/media/ffmpeg.ts'
import { chunkBytes, hashStream } from '../src/storage/bytes.ts'
import { copyBetween, readBack } from '../src/storage/copy.ts'
import { openStore } from '../src/storage/open.ts'
import type { Store } from '../src/storage/store.ts'
import type { BenchContext } from './context.ts'

/** What a life costs without Temporal and Postgres: the same media work, copies and read-backs, one after another. */
export interface BareLife {
  /** Lives one life under this name, up to verified copies in two stores. */
  run(source: string, name: string): Promise<void>
}

/** Bare lives in a folder of their own. */
export async function prepareBareLives({ folder, ffmpeg, signal }: BenchContext): Promise<BareLife> {
  const { ffmpegPath, ffprobePath } = ffmpeg
  const encoder = createEncoder({ ffmpegPath, ffprobePath, limits: defaultMediaLimits })
  const home = join(folder, 'bare-lives')
  for (const name of ['scratch', 'primary', 'backup']) await mkdir(join(home, name), { recursive: true })
  const primary = openStore(`local:${join(home, 'primary')}`, () => '')
  const backup = openStore(`local:${join(home, 'backup')}`, () => '')
  return {
    async run(source, name) {
      const scratch = join(home, 'scratch', name)
      await mkdir(join(scratch, 'out'), { recursive: true })
      try {
        await takeIn(encoder, source, scratch, signal)
        const keys = await makeRenditions(encoder, scratch, signal)
        await keep({ scratch, name, keys, primary, backup, signal })
      } finally {
        await rm(scratch, { recursive: true, force: true })
      }
    },
  }
}

async function takeIn(encoder: Encoder, source: string, scratch: string, signal: AbortSignal): Promise<void> {
  const path = join(scratch, 'source.mp4')
  await copyFile(source, path)
  await hashFile(path)
  await encoder.checkStructure(path, 'mp4')
  await encoder.decodeAll(path, await encoder.probe(path, { signal }), { signal })
}

/** Returns what is to be kept, as paths below the scratch folder. */
async function makeRenditions(encoder: Encoder, scratch: string, signal: AbortSignal): Promise<readonly string[]> {
  const path = join(scratch, 'source.mp4')
  const facts = await encoder.probe(path, { signal })
  const renditions = await encoder.encode(path, facts, planEncode(facts), join(scratch, 'out'), { signal })
  return ['source.mp4', ...renditions.map((rendition) => rendition.path.slice(scratch.length + 1))]
}

interface Keeping {
  readonly scratch: string
  readonly name: string
  readonly keys: readonly string[]
  readonly primary: Store
  readonly backup: Store
  readonly signal: AbortSignal
}

async function keep({ scratch, name, keys, primary, backup, signal }: Keeping): Promise<void> {
  const local = openStore(`local:${scratch}`, () => '')
  for (const key of keys) {
    const measured = await hashFile(join(scratch, key))
    const kept = `${name}/${key}`
    await copyBetween(local, primary, key, kept, { ...measured, signal })
    await copyBetween(primary, backup, kept, kept, { ...measured, signal })
    for (const store of [primary, backup]) {
      const seen = await readBack(store, kept, { signal })
      if (seen.sha256 !== measured.sha256) throw new Error(`${kept} reads back as other bytes from ${store.label}`)
    }
  }
}

function hashFile(path: string) {
  return hashStream(createReadStream(path, { highWaterMark: chunkBytes }))
}
