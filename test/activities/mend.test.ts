import { generateKeyPairSync } from 'node:crypto'
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { MockActivityEnvironment } from '@temporalio/testing'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { copyFile } from '../../src/activities/copy-file.ts'
import { createActivities } from '../../src/activities/index.ts'
import type { Activities } from '../../src/activities/index.ts'
import { mendCopy, replaceObject } from '../../src/activities/mend-copy.ts'
import { putOriginal } from '../../src/activities/put-original.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { listFilesToCopy } from '../../src/db/files.ts'
import type { FileToCopy } from '../../src/db/files.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { manifestKey, partsPrefix } from '../../src/domain/archive.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import type { RecordingState } from '../../src/domain/recording.ts'
import { openStore } from '../../src/storage/open.ts'
import type { Store } from '../../src/storage/store.ts'
import { startS3Double } from '../servers/s3-double.ts'
import type { S3Double } from '../servers/s3-double.ts'
import { openIngestStand, sha256 } from './ingest-fixture.ts'
import type { IngestStand } from './ingest-fixture.ts'

let double: S3Double
beforeAll(async () => {
  double = await startS3Double()
})
afterAll(() => double?.stop())

const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes)
  const at = Math.floor(copy.length / 2)
  copy[at] = copy[at]! ^ 4
  return copy
}

/** How a disk that goes bad changes a file: another byte, and nothing that a listing shows. */
async function corruptFile(path: string): Promise<void> {
  // Half a millisecond more, or rounding would make it the one before.
  const seconds = (Math.floor((await stat(path)).mtimeMs) + 0.5) / 1000
  await writeFile(path, flipped(await readFile(path)))
  await utimes(path, seconds, seconds)
}

describe.each(['local', 's3'] as const)('bad bytes in a primary store: %s', (kind) => {
  let stand: IngestStand
  let activities: Activities
  let seed = 600

  beforeAll(async () => {
    const s3 = kind === 's3' ? { primary: openStore(double.url(), () => double.secret) } : {}
    stand = await openIngestStand(s3)
    activities = activitiesWith({})
  })
  afterAll(async () => {
    await stand?.primaryStore.close()
    await stand?.close()
  })

  function activitiesWith(changes: Partial<Parameters<typeof createActivities>[0]>): Activities {
    return createActivities({
      ...stand.deps,
      notifier: { send: async () => undefined, close: async () => undefined },
      baseUrl: 'http://127.0.0.1:1',
      log: pino({ level: 'silent' }),
      sign: createSigner(generateKeyPairSync('ed25519').privateKey),
      ...changes,
    })
  }

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    const answers: T[] = []
    await new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(async () => void answers.push(await work()))
    return answers[0]!
  }

  /** Turns a bit of an object over where it stands. */
  const corrupt = async (key: string) => {
    if (kind === 's3') double.corrupt(key)
    else await corruptFile(join(stand.directories.primary, key))
  }
  const held = async (store: Store, key: string) => sha256(await buffer(await store.read(key)))

  /** A recording on its way: taken in, and brought as far as this. */
  async function live(upTo: 'taken in' | 'encoded' | 'sealed') {
    const path = join(stand.directories.inbox, 'hall-a', `${(seed += 1)}.mp4`)
    await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
    const [recordingId = ''] = await stand.lookUntilQuiet()
    const ref = { accountId: stand.accountId, recordingId, atMs: Date.now() }
    expect(await run(() => activities.takeIn(ref))).toEqual({ kind: 'accepted' })
    await setState(recordingId, 'claimed')
    const plan = await run(() => activities.beginEncode(ref))
    if (upTo !== 'taken in') {
      await run(() => activities.encodeRecording(ref, plan))
      await run(() => activities.endEncode(ref))
    }
    if (upTo === 'sealed') await run(() => activities.sealPackage(ref))
    const files = await stand.db.asAccount(stand.accountId, (tx) => listFilesToCopy(tx, recordingId))
    const file = (which: FileToCopy['kind']) => files.find((one) => one.kind === which)!
    return { ref, plan, path, files, file }
  }
  type Life = Awaited<ReturnType<typeof live>>

  const setState = (recordingId: string, state: RecordingState) =>
    stand.db.asAccount(stand.accountId, (tx) =>
      tx.updateTable('recordings').set({ state }).where('id', '=', recordingId).execute(),
    )
  const verify = ({ ref }: Life, storeId = stand.ids.primary) => run(() => activities.verifyCopies(ref, storeId))
  const statesOf = async ({ ref }: Life, storeId = stand.ids.primary) => {
    const rows = await stand.db.asAccount(stand.accountId, (tx) =>
      tx
        .selectFrom('copies as c')
        .innerJoin('files as f', 'f.id', 'c.file_id')
        .select(['f.name', 'c.state'])
        .where('c.recording_id', '=', ref.recordingId)
        .where('c.store_id', '=', storeId)
        .execute(),
    )
    return new Set(rows.map(({ state }) => state))
  }
  const partsOf = async ({ ref }: Life) => {
    const keys: string[] = []
    for await (const { key } of stand.primaryStore.list(partsPrefix(ref.accountId, ref.recordingId))) keys.push(key)
    return keys
  }
  const actionsOf = async ({ ref }: Life) => {
    const rows = await stand.db.asAccount(stand.accountId, (tx) =>
      tx
        .selectFrom('audit_events')
        .select('action')
        .where('recording_id', '=', ref.recordingId)
        .orderBy('seq')
        .execute(),
    )
    return rows.map(({ action }) => action).filter((action) => !action.startsWith('recording.'))
  }

  test('the original is put again from the source, and encoded by the next try', async () => {
    const life = await live('taken in')
    const { key, sha256: right } = life.file('original')
    await corrupt(key)
    const encode = () => run(() => activities.encodeRecording(life.ref, life.plan))
    await expect(encode()).rejects.toMatchObject({ code: 'store_alters_bytes' })
    expect(await held(stand.primaryStore, key)).toBe(right)
    expect(await encode()).toBeGreaterThan(3)
    expect(await actionsOf(life)).toEqual(['copy.mended'])
  })

  test('original and manifest are made again and count only when another run has read them back', async () => {
    const life = await live('sealed')
    for (const which of ['original', 'manifest'] as const) await corrupt(life.file(which).key)
    await expect(verify(life)).rejects.toMatchObject({ code: 'store_alters_bytes' })
    for (const which of ['original', 'manifest'] as const)
      expect(await held(stand.primaryStore, life.file(which).key)).toBe(life.file(which).sha256)
    expect(await statesOf(life)).toEqual(new Set(['verified', 'stored']))
    expect(await verify(life)).toBe(2)
    expect(await statesOf(life)).toEqual(new Set(['verified']))
    expect(await actionsOf(life)).toEqual(['copy.mismatch', 'copy.mended', 'copy.mismatch', 'copy.mended'])
  })

  test('renditions are encoded again, to the very same bytes', async () => {
    const life = await live('sealed')
    const renditions = life.files.filter((one) => one.kind !== 'original' && one.kind !== 'manifest')
    for (const { key } of renditions) await corrupt(key)
    await expect(verify(life)).rejects.toMatchObject({ code: 'rendition_corrupt' })
    expect(await run(() => activities.remakeRenditions(life.ref))).toBe(renditions.length)
    for (const file of renditions) expect(await held(stand.primaryStore, file.key)).toBe(file.sha256)
    expect(await run(() => activities.remakeRenditions(life.ref))).toBe(0)
    await verify(life)
    expect(await statesOf(life)).toEqual(new Set(['verified']))
  })

  test('a rendition that comes out otherwise does not replace what stands there', async () => {
    const life = await live('sealed')
    const { key, name } = life.file('poster')
    await corrupt(key)
    const bad = await held(stand.primaryStore, key)
    const { encoder } = stand.deps
    const other = activitiesWith({
      encoder: {
        ...encoder,
        async encode(...asked) {
          const made = await encoder.encode(...asked)
          for (const rendition of made) if (rendition.name === name) await corruptFile(rendition.path)
          return made
        },
      },
    })
    const remake = () => run(() => other.remakeRenditions(life.ref))
    await expect(remake()).rejects.toMatchObject({ code: 'rendition_corrupt' })
    expect(await held(stand.primaryStore, key)).toBe(bad)
  })

  test('a source that was replaced mends nothing, and the bad object stays', async () => {
    const life = await live('taken in')
    const { key } = life.file('original')
    await corrupt(key)
    const bad = await held(stand.primaryStore, key)
    await rename(life.path, `${life.path}.away`)
    await writeFile(life.path, await readFile(`${life.path}.away`))
    const encode = () => run(() => activities.encodeRecording(life.ref, life.plan))
    await expect(encode()).rejects.toMatchObject({ code: 'copy_mismatch', message: expect.stringContaining('by now') })
    expect(await held(stand.primaryStore, key)).toBe(bad)
    // Other bytes under the look of the old file are no source either.
    await rm(life.path)
    await rename(`${life.path}.away`, life.path)
    await corruptFile(life.path)
    await expect(encode()).rejects.toMatchObject({ code: 'copy_mismatch' })
    expect(await held(stand.primaryStore, key)).toBe(bad)
    await corruptFile(life.path)
    await expect(encode()).rejects.toMatchObject({ code: 'store_alters_bytes' })
    expect(await encode()).toBeGreaterThan(3)
  })

  test('one bad reading of a good object replaces nothing', async () => {
    const life = await live('sealed')
    const lying = lyingOnce(stand.primaryStore, life.file('original').key)
    const stores = {
      ...stand.deps.stores,
      open: async (account: string, id: string) => lying.place(await stand.deps.stores.open(account, id)),
    }
    const other = activitiesWith({ stores })
    await expect(run(() => other.verifyCopies(life.ref, stand.ids.primary))).rejects.toMatchObject({
      code: 'store_alters_bytes',
    })
    expect(lying.calls.filter((call) => call !== 'read')).toEqual([])
    await verify(life)
    expect(await statesOf(life)).toEqual(new Set(['verified']))
  })

  test.each(['original', 'manifest'] as const)(
    'a lost %s is made again where the rest of its package stands',
    async (what) => {
      const life = await live('sealed')
      const lost = life.file(what)
      await stand.primaryStore.delete(lost.key)
      await expect(verify(life)).rejects.toMatchObject({ code: 'store_alters_bytes' })
      expect(await held(stand.primaryStore, lost.key)).toBe(lost.sha256)
      await verify(life)
      expect(await statesOf(life)).toEqual(new Set(['verified']))
    },
  )

  test('a store that shows nothing of a package gets nothing: its disk may not be mounted', async () => {
    const life = await live('sealed')
    for (const { key } of life.files) await stand.primaryStore.delete(key)
    await expect(verify(life)).rejects.toMatchObject({ code: 'object_missing' })
    for (const { key } of life.files) expect(await stand.primaryStore.stat(key)).toBeNull()
  })

  test('a run that died between removing and putting is gone on with', async () => {
    const life = await live('sealed')
    for (const { key } of life.files) await stand.primaryStore.delete(key)
    const original = life.file('original')
    await stand.db.asAccount(stand.accountId, (tx) =>
      tx.updateTable('copies').set({ state: 'failed' }).where('file_id', '=', original.id).execute(),
    )
    const mend = run(async () => {
      const place = await stand.deps.stores.primary()
      const beat = { signal: new AbortController().signal, beat: () => undefined }
      return mendCopy(stand.deps, { ref: life.ref, place, file: original }, beat)
    })
    expect(await mend).toBe('mended')
    expect(await held(stand.primaryStore, original.key)).toBe(original.sha256)
  })

  describe('two runs that seal one package', () => {
    /** A run of the sealing in whose way something comes as it begins, and that dies before it puts its manifest. */
    const zombie = (asItBegins: () => Promise<unknown> = async () => undefined) => {
      let begun = false
      const store: Store = {
        ...stand.primaryStore,
        stat: async (key) => {
          if (!begun) {
            begun = true
            await asItBegins()
          }
          return stand.primaryStore.stat(key)
        },
        put: async () => {
          throw new Error('killed before it was put')
        },
      }
      const primary = async () => ({ ...(await stand.deps.stores.primary()), store })
      return activitiesWith({ stores: { ...stand.deps.stores, primary } })
    }

    test('one that was believed dead does not remove the manifest of the other', async () => {
      const life = await live('encoded')
      const late = zombie(() => run(() => activities.sealPackage(life.ref)))
      await run(() => late.sealPackage(life.ref)).catch(() => undefined)
      await expectSealed(life)
    })

    test('where it did before that one was recorded, none is recorded', async () => {
      const life = await live('encoded')
      const key = manifestKey(stand.accountId, life.ref.recordingId)
      const store: Store = {
        ...stand.primaryStore,
        put: async (at, ...rest) => {
          const result = await stand.primaryStore.put(at, ...rest)
          // As a run does that is asked to seal the same package, and dies.
          if (at === key) await expect(run(() => zombie().sealPackage(life.ref))).rejects.toThrow('killed')
          return result
        },
      }
      const primary = async () => ({ ...(await stand.deps.stores.primary()), store })
      const first = activitiesWith({ stores: { ...stand.deps.stores, primary } })
      await expect(run(() => first.sealPackage(life.ref))).rejects.toMatchObject({ code: 'store_alters_bytes' })
      expect(await stand.primaryStore.stat(key)).toBeNull()
      await run(() => activities.sealPackage(life.ref))
      await expectSealed(life)
    })

    async function expectSealed(life: Awaited<ReturnType<typeof live>>): Promise<void> {
      const files = await stand.db.asAccount(stand.accountId, (tx) => listFilesToCopy(tx, life.ref.recordingId))
      const manifest = files.find(({ kind: one }) => one === 'manifest')
      expect(await held(stand.primaryStore, manifest!.key)).toBe(manifest!.sha256)
    }
  })

  test('a manifest that went bad after the recording was described anew says what is true now', async () => {
    const life = await live('sealed')
    const { key, sha256: before } = life.file('manifest')
    await corrupt(key)
    await stand.db.asAccount(stand.accountId, (tx) =>
      tx.updateTable('recordings').set({ title: 'Anew' }).where('id', '=', life.ref.recordingId).execute(),
    )
    for (let tries = 0; tries < 2; tries += 1)
      await expect(verify(life)).rejects.toMatchObject({ code: 'store_alters_bytes' })
    await verify(life)
    expect(await statesOf(life)).toEqual(new Set(['verified']))
    const text = (await buffer(await stand.primaryStore.read(key))).toString('utf8')
    expect(JSON.parse(text)).toMatchObject({ title: 'Anew' })
    expect(sha256(Buffer.from(text))).not.toBe(before)
    // Verified now, it is final.
    const change = stand.db.asAccount(stand.accountId, (tx) =>
      tx
        .updateTable('files')
        .set({ sha256: before })
        .where('recording_id', '=', life.ref.recordingId)
        .where('kind', '=', 'manifest')
        .execute(),
    )
    await expect(change).rejects.toThrow(/final/)
  })

  test('copying and checking at the same time mend one object once, and end with good copies', async () => {
    const life = await live('sealed')
    await corrupt(life.file('original').key)
    const again = async (work: () => Promise<unknown>) => {
      for (let tries = 0; tries < 4; tries += 1)
        try {
          return await run(work)
        } catch (error) {
          expect(error).toMatchObject({ code: 'store_alters_bytes' })
        }
      throw new Error('never')
    }
    const backup = stand.ids.backup
    await Promise.all([
      again(() => activities.verifyCopies(life.ref, stand.ids.primary)),
      again(async () => {
        await activities.copyToStore(life.ref, backup)
        await activities.verifyCopies(life.ref, backup)
      }),
    ])
    for (const storeId of [stand.ids.primary, backup])
      expect(await statesOf(life, storeId)).toEqual(new Set(['verified']))
    for (const file of life.files) expect(await held(stand.primaryStore, file.key)).toBe(file.sha256)
  })

  test('a bad backup copy is made again from the primary', async () => {
    const life = await live('sealed')
    const backup = stand.ids.backup
    await run(() => activities.copyToStore(life.ref, backup))
    const { key, sha256: right } = life.file('video')
    await corruptFile(join(stand.directories.backup, key))
    await expect(verify(life, backup)).rejects.toMatchObject({
      code: 'store_alters_bytes',
      message: expect.stringContaining('store backup'),
    })
    expect(await held(stand.backupStore, key)).toBe(right)
    await verify(life, backup)
    expect(await statesOf(life, backup)).toEqual(new Set(['verified']))
    expect(await statesOf(life)).toEqual(new Set(['stored']))
  })

  test('a copy that another run made right while this one read the source is not removed', async () => {
    const life = await live('sealed')
    const file = life.file('original')
    const target = join(stand.directories.backup, file.key)
    await run(() => activities.copyToStore(life.ref, stand.ids.backup))
    await corruptFile(target)
    const other = async () => {
      await rm(target)
      const source = { open: async () => Readable.from(await readFile(life.path)) }
      await stand.backupStore.put(file.key, source, { sizeBytes: file.sizeBytes, sha256: file.sha256 })
    }
    const from = await stand.deps.stores.primary()
    const to = await stand.deps.stores.open(stand.accountId, stand.ids.backup)
    const copying = run(async () => {
      const beat = { signal: new AbortController().signal, beat: () => undefined }
      await copyFile(from, to, file, beat, other)
    })
    await expect(copying).rejects.toMatchObject({ code: 'store_alters_bytes' })
    expect(await held(stand.backupStore, file.key)).toBe(file.sha256)
  })

  test('what a zombie finds once the recording is kept, or another object by now, it leaves alone', async () => {
    const life = await live('sealed')
    const file = life.file('original')
    const place = await stand.deps.stores.primary()
    const seen = await stand.primaryStore.stat(file.key)
    const right = { from: 'a test', source: { open: async () => Readable.from(await readFile(life.path)) } }
    const replace = (info: typeof seen) =>
      run(async () => {
        const beat = { signal: new AbortController().signal, beat: () => undefined }
        return replaceObject(stand.deps, { ref: life.ref, place, file }, { seen: info, right }, beat)
      })
    expect(await replace({ ...seen!, modifiedAtMs: seen!.modifiedAtMs - 5000 })).toBe(false)
    expect(await replace(null)).toBe(false)
    expect(await statesOf(life)).toEqual(new Set(['stored']))
    for (const state of ['protected', 'retained'] as const) await setState(life.ref.recordingId, state)
    await expect(replace(seen)).rejects.toMatchObject({ code: 'wrong_state' })
    expect(await held(stand.primaryStore, file.key)).toBe(file.sha256)
  })

  test('a working copy that goes bad while it is judged condemns no file', async () => {
    const path = join(stand.directories.inbox, 'hall-a', `${(seed += 1)}.mp4`)
    await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
    const [recordingId = ''] = await stand.lookUntilQuiet()
    const ref = { accountId: stand.accountId, recordingId }
    const { encoder } = stand.deps
    const bad = activitiesWith({
      encoder: {
        ...encoder,
        async decodeAll(copy) {
          await corruptFile(copy)
          throw new ReelkeepError('undecodable', 'It cannot be decoded.')
        },
      },
    })
    await expect(run(() => bad.takeIn(ref))).rejects.toMatchObject({ code: 'scratch_corrupt' })
    const deposit = (await stand.deposits()).find(({ id }) => id === recordingId)
    expect(deposit).toMatchObject({ state: 'complete', reasonCode: null })
    expect(await run(() => activities.takeIn(ref))).toEqual({ kind: 'accepted' })
    const rows = await stand.db.asAccount(stand.accountId, (tx) =>
      tx
        .selectFrom('audit_events')
        .select(['action', 'detail'])
        .where('recording_id', '=', recordingId)
        .orderBy('seq')
        .execute(),
    )
    expect(rows.map(({ action }) => action)).toEqual(['scratch.corrupt', 'recording.accepted'])
    expect(rows[0]?.detail).toMatchObject({ attempt: 1 })
  })

  test('nothing that came of a damaged working copy counts, whether the encode failed or not', async () => {
    const life = await live('taken in')
    const { encoder } = stand.deps
    const encodeWith = (encode: (typeof encoder)['encode']) =>
      run(() => activitiesWith({ encoder: { ...encoder, encode } }).encodeRecording(life.ref, life.plan))
    const failed = new ReelkeepError('encode_failed', 'It cannot be encoded.')
    const damaged = async (path: string, succeed: boolean) => {
      await corruptFile(path)
      if (!succeed) throw failed
      return []
    }
    await expect(encodeWith((path) => damaged(path, false))).rejects.toMatchObject({ code: 'scratch_corrupt' })
    await expect(encodeWith((path) => damaged(path, true))).rejects.toMatchObject({ code: 'scratch_corrupt' })
    await expect(encodeWith(() => Promise.reject(failed))).rejects.toMatchObject({ code: 'encode_failed' })
    expect(await actionsOf(life)).toEqual(['scratch.corrupt', 'scratch.corrupt'])
    // Parts that were kept of it may be of damaged bytes.
    const withPart = encodeWith(async (path, _facts, _plan, outDir, options) => {
      const part = join(outDir, 'part')
      await writeFile(part, 'made of damaged bytes')
      await options?.shelf?.keep({ planHash: 'p'.repeat(64), number: 0, files: [{ rung: '54p', path: part }] })
      expect(await partsOf(life)).not.toEqual([])
      return damaged(path, true)
    })
    await expect(withPart).rejects.toMatchObject({ code: 'scratch_corrupt' })
    expect(await partsOf(life)).toEqual([])
    expect(await run(() => activities.encodeRecording(life.ref, life.plan))).toBeGreaterThan(3)
  })

  test('bytes that a run of the taking in left and nothing names are replaced', async () => {
    const path = join(stand.directories.inbox, 'hall-a', `${(seed += 1)}.mp4`)
    await generateSmall(path, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
    const [recordingId = ''] = await stand.lookUntilQuiet()
    const key = `${stand.accountId}/${recordingId}/original.mp4`
    const bytes = flipped(await readFile(path))
    await stand.primaryStore.put(
      key,
      { open: async (from) => Readable.from([bytes.subarray(from)]) },
      { sizeBytes: bytes.length },
    )
    const ref = { accountId: stand.accountId, recordingId }
    expect(await run(() => activities.takeIn(ref))).toEqual({ kind: 'accepted' })
    expect(await held(stand.primaryStore, key)).toBe(sha256(await readFile(path)))
    // A recording names them now: a run that comes late with other bytes replaces nothing.
    const late = join(stand.home, 'late.mp4')
    await writeFile(late, bytes)
    const copy = { name: 'late', path: late, recorded: { sizeBytes: bytes.length, sha256: sha256(bytes) } }
    const primary = await stand.deps.stores.primary()
    const beat = { signal: new AbortController().signal, beat: () => undefined }
    const putLate = () => putOriginal(stand.deps, { ref, primary, key, contentType: 'video/mp4', copy }, beat)
    await expect(run(putLate)).rejects.toMatchObject({ code: 'store_alters_bytes' })
    expect(await held(stand.primaryStore, key)).toBe(sha256(await readFile(path)))
  })
})

/** A store that returns one wrong byte, once, at this key. */
function lyingOnce(store: Store, key: string) {
  const calls: string[] = []
  let lies = 1
  const { blocks: _, ...readable } = store
  const lying: Store = {
    ...readable,
    async read(asked, ...rest) {
      calls.push('read')
      const stream = await store.read(asked, ...rest)
      if (asked !== key || lies === 0) return stream
      lies -= 1
      return Readable.from([flipped(await buffer(stream))], { objectMode: false })
    },
    async put(...asked) {
      calls.push('put')
      return store.put(...asked)
    },
    async delete(asked) {
      calls.push('delete')
      return store.delete(asked)
    },
  }
  return {
    calls,
    place: <T extends { store: Store }>(placed: T): T =>
      placed.store === store ? { ...placed, store: lying } : placed,
  }
}
