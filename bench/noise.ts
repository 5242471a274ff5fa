import { createCipheriv, createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { bytesPer } from '../src/domain/units.ts'

/** Writes bytes that nothing can compress, the same for the same seed, and returns their SHA-256. Overwrites `path`. */
export async function writeNoise(path: string, sizeBytes: number, seed = 0): Promise<string> {
  const key = createHash('sha256').update(`noise ${seed}`).digest()
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(bytesPer.mib)
  const hash = createHash('sha256')
  const file = await open(path, 'w')
  try {
    for (let left = sizeBytes; left > 0; left -= zeros.length) {
      const chunk = cipher.update(zeros.subarray(0, Math.min(left, zeros.length)))
      hash.update(chunk)
      await file.write(chunk)
    }
    // Written out now, so that the disk does not do it while something is being timed.
    await file.sync()
    return hash.digest('hex')
  } finally {
    await file.close()
  }
}
