import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasCode } from '../../src/domain/errors.ts'
import type { ErrorCode } from '../../src/domain/errors.ts'
import { copyBetween, readBack } from '../../src/storage/copy.ts'
import { unfinishedDirectory } from '../../src/storage/keys.ts'
import type { ByteSource, ObjectInfo, PutOptions, Store } from '../../src/storage/store.ts'

/** A place for one run of the suite: every call of `open` is another client of the same objects. */
export interface StorePlace {
  open(): Store
  stop(): Promise<void>
}

/** What the server behind a store cannot do; said here, so that each gap is visible and small. */
export interface ServerLimits {
  /** Two clients putting one key at the same time: only servers with an atomic "create if absent" can promise one winner. */
  readonly exclusiveAcrossClients?: boolean
  /** Names the server cannot keep, by the label in {@link oddNames}. */
  readonly refusesNames?: readonly string[]
}

const mib = 1024 * 1024
const oddNames: Readonly<Record<string, string>> = {
  spaces: ' two  spaces .mp4',
  quotes: `it's "quoted" \`so\`.mp4`,
  query: 'a&b#c%20d+e?f=g;h.mp4',
  percent: '%2e%2e%2f.mp4',
  emoji: 'Vorlesung 🎬 Größe 講義.mp4',
  decomposed: 'Gro\u0308ße.mp4',
  newline: 'first line\nsecond\tline.mp4',
  control: 'bell\u0007.mp4',
  dash: '-rf.mp4',
  dot: '.hidden.part',
  xml: '<a>&amp;]]>.mp4',
  long: `${'x'.repeat(251)}.mp4`,
}

/** The promises of {@link Store}, held against a real server. */
export function describeStore(name: string, makePlace: () => Promise<StorePlace>, limits: ServerLimits = {}): void {
  describe(`store contract: ${name}`, () => {
    let place: StorePlace
    let store: Store
    let counter = 0
    const fresh = () => `case-${(counter += 1)}`
    beforeAll(async () => {
      place = await makePlace()
      store = place.open()
    })
    afterAll(async () => {
      await store?.close()
      await place?.stop()
    })

    it('proves access and leaves nothing', async () => {
      await store.check()
      expect((await listAll(store, '')).filter(({ key }) => key.includes('check'))).toEqual([])
    })

    it('returns what was put, with its facts', async () => {
      const key = `${fresh()}/a/b.mp4`
      const bytes = randomBytes(300_000)
      const done: number[] = []
      const put = await store.put(key, sourceOf(bytes), { ...options(bytes), onProgress: (n) => done.push(n) })
      expect(put).toEqual({ sizeBytes: 300_000, sha256: sha(bytes) })
      expect(done.at(-1)).toBe(300_000)
      expect(bytes.equals(await readAll(store, key))).toBe(true)
      const found = await store.stat(key)
      expect(found).toMatchObject({ key, sizeBytes: 300_000, special: null })
      expect(found!.fileId !== '').toBe(store.can.fileIds)
      expect(Math.abs(Date.now() - found!.modifiedAtMs)).toBeLessThan(120_000)
    })

    it('succeeds on a second put of the same bytes, with and without a known hash', async () => {
      const key = fresh()
      const bytes = randomBytes(1000)
      await store.put(key, sourceOf(bytes), options(bytes))
      const before = await store.stat(key)
      expect(await store.put(key, sourceOf(bytes), options(bytes))).toEqual({ sizeBytes: 1000, sha256: sha(bytes) })
      expect(await store.put(key, sourceOf(bytes), { sizeBytes: 1000 })).toMatchObject({ sha256: sha(bytes) })
      expect(await store.stat(key)).toEqual(before)
    })

    it('never overwrites: other bytes are object_exists, of the same size and of another', async () => {
      const key = fresh()
      const bytes = randomBytes(1000)
      await store.put(key, sourceOf(bytes), options(bytes))
      for (const other of [randomBytes(1000), randomBytes(999)]) {
        await rejects('object_exists', store.put(key, sourceOf(other), options(other)))
        await rejects('object_exists', store.put(key, sourceOf(other), { sizeBytes: other.length }))
      }
      expect(bytes.equals(await readAll(store, key))).toBe(true)
    })

    it('keeps empty objects', async () => {
      const key = fresh()
      const empty = Buffer.alloc(0)
      await store.put(key, sourceOf(empty), options(empty))
      await store.put(key, sourceOf(empty), options(empty))
      expect(await store.stat(key)).toMatchObject({ sizeBytes: 0 })
      expect(await readBack(store, key)).toEqual({ sizeBytes: 0, sha256: sha(empty) })
    })

    for (const sizeBytes of [2000, 20 * mib]) {
      describe(`a put of ${sizeBytes} bytes that goes wrong publishes nothing`, () => {
        const bytes = randomBytes(sizeBytes)
        const cases: Record<string, { code: ErrorCode; source: ByteSource; change?: Partial<PutOptions> }> = {
          'hash mismatch': { code: 'copy_mismatch', source: sourceOf(bytes), change: { sha256: 'ab'.repeat(32) } },
          'source one byte longer': {
            code: 'changed_while_read',
            source: sourceOf(Buffer.concat([bytes, Buffer.from('x')])),
          },
          'source one byte shorter': { code: 'changed_while_read', source: sourceOf(bytes.subarray(1)) },
          'source breaks midway': {
            code: 'store_unavailable',
            source: breakingSource(bytes, Math.floor(sizeBytes / 2)),
          },
          'source cannot be opened': {
            code: 'store_unavailable',
            source: { open: () => Promise.reject(new Error('gone')) },
          },
        }
        for (const [title, { code, source, change }] of Object.entries(cases)) {
          it(title, async () => {
            const key = `${fresh()}/x`
            await rejects(code, store.put(key, source, { ...options(bytes), ...change }))
            await expectNothing(store, key)
            // And it harmed nothing: the right bytes can still be stored.
            await store.put(key, sourceOf(bytes), options(bytes))
            expect(await readBack(store, key)).toEqual({ sizeBytes, sha256: sha(bytes) })
          })
        }
        it("abort midway ends with the caller's reason", async () => {
          const key = `${fresh()}/x`
          const controller = new AbortController()
          const reason = new Error('the caller changed its mind')
          const source = stallingSource(bytes, Math.floor(sizeBytes / 2), () => controller.abort(reason))
          const put = store.put(key, source, { ...options(bytes), signal: controller.signal })
          await expect(put).rejects.toBe(reason)
          await expectNothing(store, key)
        })
        it('an abort before it began', async () => {
          const key = fresh()
          const put = store.put(key, sourceOf(bytes), { ...options(bytes), signal: AbortSignal.abort(new Error('no')) })
          await expect(put).rejects.toThrow('no')
          await expectNothing(store, key)
        })
      })
    }

    it('continues after an abort where it can', async () => {
      const key = `${fresh()}/resume`
      const bytes = randomBytes(60 * mib)
      const controller = new AbortController()
      const source = stallingSource(bytes, 50 * mib, () => setTimeout(() => controller.abort(new Error('cut')), 500))
      await expect(store.put(key, source, { ...options(bytes), signal: controller.signal })).rejects.toThrow('cut')
      await expectNothing(store, key)
      const other = place.open()
      const result = await other.put(key, sourceOf(bytes), options(bytes))
      expect(result).toEqual({ sizeBytes: bytes.length, sha256: sha(bytes) })
      expect(await readBack(other, key)).toEqual(result)
      await other.close()
      await expectNoUnfinished(store)
    })

    it('does not continue with the beginning of other bytes', async () => {
      const key = `${fresh()}/mixed`
      const first = randomBytes(40 * mib)
      const second = randomBytes(40 * mib)
      const controller = new AbortController()
      const source = stallingSource(first, 36 * mib, () => setTimeout(() => controller.abort(new Error('cut')), 300))
      await expect(store.put(key, source, { ...options(first), signal: controller.signal })).rejects.toThrow('cut')
      await store.put(key, sourceOf(second), { sizeBytes: second.length })
      expect(await readBack(store, key)).toMatchObject({ sha256: sha(second) })
    })

    it('sweeps what was interrupted, and only when it is old enough', async () => {
      const key = `${fresh()}/left`
      const bytes = randomBytes(40 * mib)
      const controller = new AbortController()
      const source = stallingSource(bytes, 36 * mib, () => setTimeout(() => controller.abort(new Error('cut')), 300))
      await expect(store.put(key, source, { ...options(bytes), signal: controller.signal })).rejects.toThrow('cut')
      expect(await store.sweepUnfinished(3_600_000)).toBe(0)
      await pause(1100)
      const swept = await store.sweepUnfinished(0)
      if (store.can.resume) expect(swept).toBeGreaterThanOrEqual(1)
      expect(await store.sweepUnfinished(0)).toBe(0)
      await store.put(key, sourceOf(bytes), options(bytes))
      expect(await readBack(store, key)).toMatchObject({ sha256: sha(bytes) })
    })

    it('reads ranges like HTTP', async () => {
      const key = fresh()
      const bytes = randomBytes(3 * mib + 17)
      await store.put(key, sourceOf(bytes), options(bytes))
      const ranges = [
        [0, 0],
        [0, 99],
        [1000, 1000],
        [32_767, 32_769],
        [mib - 1, 2 * mib],
        [bytes.length - 1, bytes.length - 1],
      ] as const
      for (const [start, end] of ranges) {
        expect(bytes.subarray(start, end + 1).equals(await readAll(store, key, { start, end }))).toBe(true)
      }
      expect(bytes.subarray(3 * mib).equals(await readAll(store, key, { start: 3 * mib }))).toBe(true)
      expect(await readAll(store, key, { start: 3 * mib, end: 99 * mib })).toEqual(bytes.subarray(3 * mib))
      await rejects('range_not_satisfiable', readAll(store, key, { start: bytes.length }))
    })

    it('gives up reading when aborted, and when the reader leaves', async () => {
      const key = fresh()
      const bytes = randomBytes(8 * mib)
      await store.put(key, sourceOf(bytes), options(bytes))
      const controller = new AbortController()
      const reading = readBack(store, key, {
        signal: controller.signal,
        onProgress: () => controller.abort(new Error('enough')),
      })
      await expect(reading).rejects.toThrow('enough')
      for (let turn = 0; turn < 8; turn += 1) {
        for await (const _ of await store.read(key)) break
        const unread = await store.read(key)
        unread.destroy()
      }
      expect(await readBack(store, key)).toMatchObject({ sha256: sha(bytes) })
    })

    it('deletes, and a second time', async () => {
      const key = `${fresh()}/d/x`
      const bytes = randomBytes(10)
      await store.put(key, sourceOf(bytes), options(bytes))
      await store.delete(key)
      expect(await store.stat(key)).toBeNull()
      await store.delete(key)
      await store.delete(`${fresh()}/never/was`)
      await rejects('object_missing', readAll(store, key))
      await rejects('object_missing', readAll(store, `${fresh()}/never/was`))
      await store.put(key, sourceOf(bytes), options(bytes))
      expect(bytes.equals(await readAll(store, key))).toBe(true)
    })

    it('refuses unsafe keys before anything else', async () => {
      const unsafe = [
        '',
        '/abs',
        '../up',
        'a/../b',
        'a//b',
        'a/',
        './a',
        'a/.',
        'back\\slash',
        'nul\0',
        'x'.repeat(256),
        'lone\uD800',
      ]
      const bytes = Buffer.from('x')
      for (const key of [...unsafe, 'a/'.repeat(512) + 'a', unfinishedDirectory, `${unfinishedDirectory}/x`]) {
        await rejects('unsafe_name', (async () => store.stat(key))())
        await rejects('unsafe_name', (async () => store.read(key))())
        await rejects('unsafe_name', (async () => store.put(key, sourceOf(bytes), options(bytes)))())
        await rejects('unsafe_name', (async () => store.delete(key))())
      }
      await rejects('unsafe_name', listAll(store, '../'))
    })

    it('lists a directory at all depths, and not its neighbour', async () => {
      const base = fresh()
      const keys = ['a', 'b/c', 'b/d/e', 'b2/f'].map((tail) => `${base}/${tail}`)
      for (const key of keys) await store.put(key, sourceOf(Buffer.from(key)), { sizeBytes: key.length })
      await store.put(`${base}0/other`, sourceOf(Buffer.from('x')), { sizeBytes: 1 })
      const listed = await listAll(store, base)
      expect(listed.map(({ key }) => key).sort()).toEqual(keys)
      expect((await listAll(store, `${base}/`)).length).toBe(4)
      expect((await listAll(store, `${base}/b`)).map(({ key }) => key).sort()).toEqual(keys.slice(1, 3))
      expect(await listAll(store, `${base}/none`)).toEqual([])
      const everything = (await listAll(store, '')).map(({ key }) => key)
      for (const key of keys) expect(everything).toContain(key)
      for (const info of listed) expect(info).toEqual(await store.stat(info.key))
    })

    for (const [label, odd] of Object.entries(oddNames)) {
      it.skipIf(limits.refusesNames?.includes(label))(`keeps odd names: ${label}`, async () => {
        const base = fresh()
        const key = `${base}/${odd}`
        const bytes = Buffer.from(label)
        await store.put(key, sourceOf(bytes), options(bytes))
        expect((await listAll(store, base)).map((info) => info.key)).toEqual([key])
        expect(await store.stat(key)).toMatchObject({ key, sizeBytes: bytes.length })
        expect(bytes.equals(await readAll(store, key))).toBe(true)
        await store.delete(key)
        expect(await listAll(store, base)).toEqual([])
      })
    }

    for (const sizeBytes of [5000, 18 * mib]) {
      it(`two puts of one key with the same ${sizeBytes} bytes both succeed`, async () => {
        const key = `${fresh()}/race`
        const bytes = randomBytes(sizeBytes)
        const second = limits.exclusiveAcrossClients === false ? store : place.open()
        const both = await Promise.all([store, second].map((one) => one.put(key, sourceOf(bytes), options(bytes))))
        expect(both.map(({ sha256 }) => sha256)).toEqual([sha(bytes), sha(bytes)])
        expect(await readBack(store, key)).toMatchObject({ sha256: sha(bytes) })
        if (second !== store) await second.close()
      })

      it(`of two puts of one key with other ${sizeBytes} bytes exactly one wins`, async () => {
        const second = limits.exclusiveAcrossClients === false ? store : place.open()
        for (let turn = 0; turn < (sizeBytes > mib ? 2 : 8); turn += 1) {
          const key = `${fresh()}/race`
          const sides = [randomBytes(sizeBytes), randomBytes(sizeBytes)]
          const results = await Promise.allSettled(
            sides.map((bytes, side) => (side === 0 ? store : second).put(key, sourceOf(bytes), options(bytes))),
          )
          const winners = sides.filter((_, side) => results[side]?.status === 'fulfilled')
          expect(winners.length, JSON.stringify(results)).toBe(1)
          const lost = results.find((result) => result.status === 'rejected')
          expect(hasCode(lost?.reason, 'object_exists'), String(lost?.reason)).toBe(true)
          expect(await readBack(store, key)).toMatchObject({ sha256: sha(winners[0] ?? Buffer.alloc(0)) })
        }
        if (second !== store) await second.close()
      })
    }

    it('is never seen in part while it is being written', async () => {
      const key = `${fresh()}/seen`
      const bytes = randomBytes(20 * mib)
      const state = { finished: false }
      const watcher = place.open()
      const watch = (async () => {
        const sizes = new Set<number | null>()
        while (!state.finished) {
          sizes.add((await watcher.stat(key))?.sizeBytes ?? null)
          for (const info of await listAll(watcher, key.slice(0, key.indexOf('/')))) sizes.add(info.sizeBytes)
        }
        return sizes
      })()
      await store.put(key, slowSource(bytes), options(bytes)).finally(() => (state.finished = true))
      for (const size of await watch) expect([null, bytes.length]).toContain(size)
      await watcher.close()
    })

    it('copies between keys, and refuses a source that is not what was promised', async () => {
      const [from, to] = [fresh(), fresh()]
      const bytes = randomBytes(2 * mib)
      await store.put(from, sourceOf(bytes), options(bytes))
      const result = await copyBetween(store, store, from, to, options(bytes))
      expect(await copyBetween(store, store, from, to, options(bytes))).toEqual(result)
      expect(await readBack(store, to)).toEqual(result)
      await rejects(
        'copy_mismatch',
        copyBetween(store, store, from, fresh(), { sizeBytes: bytes.length, sha256: '00'.repeat(32) }),
      )
      await rejects('object_missing', copyBetween(store, store, fresh(), fresh(), options(bytes)))
    })

    it('works again after close', async () => {
      const key = fresh()
      const bytes = randomBytes(100)
      const other = place.open()
      await other.put(key, sourceOf(bytes), options(bytes))
      await other.close()
      await other.close()
      expect(await readAll(other, key)).toEqual(bytes)
      await other.close()
    })

    it('does not mind many at once', async () => {
      const base = fresh()
      const all = Array.from({ length: 30 }, (_, index) => randomBytes(1000 + index))
      await Promise.all(all.map((bytes, index) => store.put(`${base}/${index}`, sourceOf(bytes), options(bytes))))
      const read = await Promise.all(all.map((_, index) => readAll(store, `${base}/${index}`)))
      expect(read.map(sha)).toEqual(all.map(sha))
    })
  })
}

/** Hex SHA-256. */
export function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** The put options of these bytes, hash included. */
export function options(bytes: Buffer): { sizeBytes: number; sha256: string } {
  return { sizeBytes: bytes.length, sha256: sha(bytes) }
}

/** A source of these bytes in pieces of 64 KiB. */
export function sourceOf(bytes: Buffer): ByteSource {
  return { open: async (fromByte) => Readable.from(pieces(bytes.subarray(fromByte)), { objectMode: false }) }
}

/** A source that fails after so many bytes. */
export function breakingSource(bytes: Buffer, afterBytes: number): ByteSource {
  return {
    open: async () =>
      Readable.from(
        (async function* () {
          yield* pieces(bytes.subarray(0, afterBytes))
          throw new Error('the source broke')
        })(),
        { objectMode: false },
      ),
  }
}

/** A source that gives so many bytes and then nothing, for ever. */
export function stallingSource(bytes: Buffer, afterBytes: number, onStall: () => void): ByteSource {
  return {
    open: async () => {
      const parts = pieces(bytes.subarray(0, afterBytes))
      return new Readable({
        read() {
          const next = parts.next()
          if (next.done === true) onStall()
          else this.push(next.value)
        },
      })
    },
  }
}

function slowSource(bytes: Buffer): ByteSource {
  return {
    open: async () =>
      Readable.from(
        (async function* () {
          for (let at = 0; at < bytes.length; at += 2 * mib) {
            yield bytes.subarray(at, at + 2 * mib)
            await pause(20)
          }
        })(),
        { objectMode: false },
      ),
  }
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

/** Every object under a prefix. */
export async function listAll(store: Store, prefix: string): Promise<ObjectInfo[]> {
  const all: ObjectInfo[] = []
  for await (const info of store.list(prefix)) all.push(info)
  return all
}

/** An object's bytes (or a range of them). */
export async function readAll(store: Store, key: string, range?: { start: number; end?: number }): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of await store.read(key, range)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Expects this code of the product, and a message that names a next step. */
export async function rejects(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(hasCode(error, code), `expected ${code}, got ${String(error)}`).toBe(true)
  expect(error instanceof Error ? error.message : '').toMatch(/\. ?[A-Z`]|\.$/)
}

async function expectNothing(store: Store, key: string): Promise<void> {
  expect(await store.stat(key)).toBeNull()
  const directory = key.slice(0, Math.max(key.lastIndexOf('/'), 0))
  if (directory !== '') expect(await listAll(store, directory)).toEqual([])
}

async function expectNoUnfinished(store: Store): Promise<void> {
  const listed = (await listAll(store, '')).map(({ key }) => key)
  expect(listed.filter((key) => key.includes('.tmp') || key.endsWith('.part'))).toEqual([])
}
