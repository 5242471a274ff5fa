import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ReelkeepError } from '../../src/domain/errors.ts'
import { readBack } from '../../src/storage/copy.ts'
import { openS3Store } from '../../src/storage/s3.ts'
import type { Store } from '../../src/storage/store.ts'
import { startS3Double } from '../servers/s3-double.ts'
import type { S3Double, S3FaultKind } from '../servers/s3-double.ts'
import { listAll, options, sha, sourceOf } from './contract.ts'

// The same for everybody, so that a red run means something; any other by SEED=, where bad luck can outlast the tries.
const seed = Number(process.env['SEED'] ?? 2)
const mib = 1024 * 1024

/** What a store cannot know at once, because the server said yes: reading back finds these, by another step. */
const lies: readonly S3FaultKind[] = ['no_effect', 'corrupt_at_rest']

/** The outcome of a call: its value, or the product's error. Anything else fails the test. */
async function outcome<T>(call: Promise<T>): Promise<{ value: T } | { error: ReelkeepError }> {
  try {
    return { value: await call }
  } catch (error) {
    if (!(error instanceof ReelkeepError)) throw error
    return { error }
  }
}

describe(`an S3 server of which a share of all answers fails, SEED=${seed}`, () => {
  let double: S3Double
  let store: Store
  beforeAll(async () => {
    double = await startS3Double()
    const [accessKeyId = '', secretAccessKey = ''] = double.secret.split(':')
    const base = { bucket: double.bucket, prefix: '', region: 'us-east-1', endpoint: double.endpoint }
    store = openS3Store({ ...base, accessKeyId, secretAccessKey, timeoutMs: 1000 })
  })
  afterAll(async () => {
    process.stdout.write(`SEED=${seed} ${JSON.stringify(double.struck)}\n`)
    await store.close()
    await double.stop()
  })
  const kept = (key: string) => {
    const bytes = double.objects().get(key)
    return bytes === undefined ? null : createHash('sha256').update(bytes).digest('hex')
  }

  it.each([0.2, 0.5])('at %f: a put either fails or the object is whole', { timeout: 180_000 }, async (rate) => {
    double.setRandomFaults({ seed, rate, without: lies })
    let failed = 0
    for (let round = 0; round < 60; round += 1) {
      const bytes = randomBytes(round % 20 === 0 ? 17 * mib : 3000)
      const key = `put-${rate}/${round}`
      const first = await outcome(store.put(key, sourceOf(bytes), options(bytes)))
      if ('value' in first) expect(kept(key)).toBe(sha(bytes))
      else failed += 1
      // Whatever it said, nothing else than these bytes ever stands there, and in the end they do.
      expect([null, sha(bytes)]).toContain(kept(key))
      for (let tries = 0; 'error' in (await outcome(store.put(key, sourceOf(bytes), options(bytes)))); tries += 1)
        expect(tries).toBeLessThan(60)
      expect(kept(key)).toBe(sha(bytes))
    }
    expect(failed).toBeGreaterThan(0)
  })

  it('a delete either fails or the object is gone', { timeout: 60_000 }, async () => {
    for (let round = 0; round < 60; round += 1) {
      const [bytes, key] = [randomBytes(500), `delete/${round}`]
      double.setRandomFaults(null)
      await store.put(key, sourceOf(bytes), options(bytes))
      double.setRandomFaults({ seed: seed + round, rate: 0.3 })
      const first = await outcome(store.delete(key))
      if ('value' in first) expect(kept(key)).toBeNull()
      for (let tries = 0; 'error' in (await outcome(store.delete(key))); tries += 1) expect(tries).toBeLessThan(60)
      expect(kept(key)).toBeNull()
    }
  })

  it(
    'a read either fails, or gives the bytes, or gives others that their hash gives away',
    { timeout: 120_000 },
    async () => {
      double.setRandomFaults(null)
      const all = new Map<string, Buffer>()
      for (let round = 0; round < 5; round += 1) {
        const [key, bytes] = [`read/${round}`, randomBytes(20_000)]
        all.set(key, bytes)
        await store.put(key, sourceOf(bytes), options(bytes))
      }
      double.setRandomFaults({ seed, rate: 0.3 })
      const seen = { right: 0, wrong: 0, failed: 0 }
      for (let round = 0; round < 80; round += 1) {
        const [key, bytes] = [...all][round % all.size]!
        const read = await outcome(readBack(store, key))
        if ('error' in read) seen.failed += 1
        else if (read.value.sha256 === sha(bytes)) seen.right += 1
        else seen.wrong += 1
        // A short body is never passed off as a short object.
        if ('value' in read) expect([20_000, 3000, 500, 17 * mib]).toContain(read.value.sizeBytes)
      }
      expect(seen.right).toBeGreaterThan(seen.failed)
    },
  )

  it('a listing either fails or ends; what it omits is not made up for, which is why looks repeat', async () => {
    for (let round = 0; round < 20; round += 1) {
      double.setRandomFaults({ seed: seed + round, rate: 0.3 })
      const listed = await outcome(listAll(store, 'read'))
      if ('value' in listed) expect(listed.value.length).toBeLessThanOrEqual(5)
    }
  })

  it('what the server kept otherwise than it said is found by reading back, and made good by delete and put', async () => {
    double.setRandomFaults(null)
    const bytes = randomBytes(3000)
    for (const kind of lies) {
      const key = `lie/${kind}`
      double.faults.push({ on: 'PutObject', does: kind === 'no_effect' ? { kind } : { kind: 'corrupt_at_rest' } })
      await store.put(key, sourceOf(bytes), options(bytes))
      const read = await outcome(readBack(store, key))
      expect('value' in read && read.value.sha256 === sha(bytes)).toBe(false)
      await store.delete(key)
      await store.put(key, sourceOf(bytes), options(bytes))
      expect(kept(key)).toBe(sha(bytes))
    }
  })

  it('after a key rotation everything is store_denied, until the new secret is given', async () => {
    const other = await startS3Double()
    const base = { bucket: other.bucket, prefix: '', region: 'us-east-1', endpoint: other.endpoint }
    const openWith = (secret: string) => {
      const [accessKeyId = '', secretAccessKey = ''] = secret.split(':')
      return openS3Store({ ...base, accessKeyId, secretAccessKey })
    }
    const before = openWith(other.secret)
    const bytes = randomBytes(100)
    await before.put('x', sourceOf(bytes), options(bytes))
    const after = openWith(other.rotateKey())
    const calls = [
      () => before.stat('x'),
      () => before.delete('x'),
      () => before.put('y', sourceOf(bytes), options(bytes)),
      () => readBack(before, 'x'),
      () => listAll(before, ''),
    ]
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'store_denied' })
    expect((await readBack(after, 'x')).sha256).toBe(sha(bytes))
    await Promise.all([before.close(), after.close()])
    await other.stop()
  })
})
