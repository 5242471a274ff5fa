import { join } from 'node:path'
import { bytesPer, describeBytes } from '../src/domain/units.ts'
import { readBack } from '../src/storage/copy.ts'
import { openStore } from '../src/storage/open.ts'
import { runBare } from './bare.ts'
import type { BenchContext } from './context.ts'
import { describeRate, median, pairRow, runPairs } from './measure.ts'
import type { BenchResult } from './measure.ts'
import { writeNoise } from './noise.ts'

/** SHA-256 of one large file that lies in the page cache, beside `openssl dgst`. */
export async function benchHash(context: BenchContext): Promise<BenchResult> {
  const { folder, quick, pairs, signal } = context
  const sizeBytes = (quick ? 128 : 1024) * bytesPer.mib
  const path = join(folder, 'noise')
  await writeNoise(path, sizeBytes)
  const store = openStore(`local:${folder}`, () => '')
  const ours = {
    run: async () => void (await readBack(store, 'noise', { signal })),
  }
  const bare = { run: () => runBare('openssl', ['dgst', '-sha256', path], { signal }) }
  const measured = await runPairs(pairs, ours, bare, signal)
  await store.close()
  const rates = [measured.oursMs, measured.bareMs].map((times) => describeRate(sizeBytes, median(times)))
  return {
    rows: [pairRow(`SHA-256 of ${describeBytes(sizeBytes)}`, measured, '<= 1.11x')],
    notes: [`${rates[0]} here, ${rates[1]} with \`openssl dgst -sha256\`, which also has to start a process.`],
  }
}
