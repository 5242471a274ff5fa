import { hasCode } from '../domain/errors.ts'
import { isSafeKey } from '../storage/store.ts'
import type { Store } from '../storage/store.ts'

const hashSidecars = [
  { suffix: '.sha256', hash: 'sha256', pattern: /\b[0-9a-f]{64}\b/i },
  { suffix: '.md5', hash: 'md5', pattern: /\b[0-9a-f]{32}\b/i },
] as const
const longestSidecarBytes = 64 * 1024

/** What the hashes beside a file say about the bytes that were read; one that names no hash at all differs. @throws store_* */
export async function compareSidecars(
  store: Store,
  path: string,
  hashes: { readonly sha256: string; readonly md5: string },
): Promise<'none' | 'matches' | 'differs'> {
  let result: 'none' | 'matches' = 'none'
  for (const { suffix, hash, pattern } of hashSidecars) {
    const text = await readSidecar(store, path + suffix)
    if (text === null) continue
    // A list of several files (sha256sum's own format) names this one; a lone hash needs no name.
    const name = path.slice(path.lastIndexOf('/') + 1)
    const line = text.split(/\r?\n/).find((one) => one.includes(name) && pattern.test(one)) ?? text
    if (pattern.exec(line)?.[0].toLowerCase() !== hashes[hash]) return 'differs'
    result = 'matches'
  }
  return result
}

async function readSidecar(store: Store, key: string): Promise<string | null> {
  const found = isSafeKey(key) ? await store.stat(key) : null
  if (found === null || found.special !== null || found.sizeBytes === 0) return null
  try {
    const chunks: Buffer[] = []
    for await (const chunk of (await store.read(key, {
      start: 0,
      end: longestSidecarBytes - 1,
    })) as AsyncIterable<Buffer>) {
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } catch (error) {
    if (hasCode(error, 'object_missing')) return null
    throw error
  }
}
