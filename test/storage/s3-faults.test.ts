import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { copyBetween, readBack } from '../../src/storage/copy.ts'
import { openStore } from '../../src/storage/open.ts'
import { openS3Store } from '../../src/storage/s3.ts'
import type { Store } from '../../src/storage/store.ts'
import { startS3Double } from '../servers/s3-double.ts'
import type { S3Double, S3Fault } from '../servers/s3-double.ts'
import { listAll, options, readAll, rejects, sha, sourceOf } from './contract.ts'

const mib = 1024 * 1024
const small = randomBytes(5000)
const large = randomBytes(40 * mib)

describe('an S3 server that fails or lies', () => {
  let double: S3Double
  let store: Store
  let counter = 0
  let key = ''
  beforeAll(async () => {
    double = await startS3Double()
    store = openStore(double.url(), () => double.secret)
  })
  afterAll(async () => {
    await store.close()
    await double.stop()
  })
  beforeEach(() => {
    double.faults.length = 0
    double.requests.length = 0
    key = `case-${(counter += 1)}`
  })
  const given = (...faults: S3Fault[]) => double.faults.push(...faults)
  const put = (bytes: Buffer) => store.put(key, sourceOf(bytes), options(bytes))
  const expectWhole = async (bytes: Buffer) => {
    double.faults.length = 0
    expect(await readBack(store, key)).toEqual({ sizeBytes: bytes.length, sha256: sha(bytes) })
  }

  it.each([500, 503])('%i twice, then fine', async (status) => {
    given({ on: 'PutObject', times: 2, does: { kind: 'answer', status, code: 'SlowDown' } })
    await put(small)
    await expectWhole(small)
  })

  it.each([
    [
      '500 without end',
      { on: 'PutObject', times: 9, does: { kind: 'answer', status: 500, code: 'InternalError' } },
      'store_unavailable',
    ],
    [
      '409 conflict without end',
      { on: 'PutObject', times: 9, does: { kind: 'answer', status: 409, code: 'ConditionalRequestConflict' } },
      'store_unavailable',
    ],
    [
      '403 after a key rotation',
      { on: 'PutObject', does: { kind: 'answer', status: 403, code: 'InvalidAccessKeyId' } },
      'store_denied',
    ],
    ['quota', { on: 'PutObject', does: { kind: 'answer', status: 403, code: 'QuotaExceeded' } }, 'store_full'],
    [
      '507',
      { on: 'PutObject', times: 9, does: { kind: 'answer', status: 507, code: 'InsufficientStorage' } },
      'store_full',
    ],
    [
      'connection cut before, without end',
      { on: 'PutObject', times: 9, does: { kind: 'cut_before' } },
      'store_unavailable',
    ],
    [
      '412 for nothing',
      { on: 'PutObject', does: { kind: 'answer', status: 412, code: 'PreconditionFailed' } },
      'object_exists',
    ],
  ] as const)('%s: typed, nothing published, and the next attempt works', async (_, fault, code) => {
    given({ ...fault })
    await rejects(code, put(small))
    double.faults.length = 0
    expect(await store.stat(key)).toBeNull()
    await put(small)
    await expectWhole(small)
  })

  it('a lost answer to a put that happened is a success', async () => {
    given({ on: 'PutObject', does: { kind: 'cut_after' } })
    expect(await put(small)).toEqual({ sizeBytes: small.length, sha256: sha(small) })
    await expectWhole(small)
    expect(double.requests.filter((one) => one === 'PutObject')).toHaveLength(2)
  })

  it('lost answers to every attempt of a put that happened are a success', async () => {
    given({ on: 'PutObject', times: 3, does: { kind: 'cut_after' } })
    await put(small)
    await expectWhole(small)
  })

  it.each(['CompleteUpload', 'UploadPart', 'CreateUpload'] as const)('a lost answer to %s', async (on) => {
    given({ on, does: { kind: 'cut_after' } })
    await put(large)
    await expectWhole(large)
  })

  it('lost answers to every completion: the object is there, so it is a success', async () => {
    given({ on: 'CompleteUpload', times: 3, does: { kind: 'cut_after' } })
    await put(large)
    await expectWhole(large)
  })

  it('an error inside a 200 answer to the completion is an error', async () => {
    given({ on: 'CompleteUpload', times: 9, does: { kind: 'error_in_200', code: 'InternalError' } })
    await rejects('store_unavailable', put(large))
    double.faults.length = 0
    expect(await store.stat(key)).toBeNull()
    double.requests.length = 0
    await put(large)
    await expectWhole(large)
    // All parts were there: only the completion was missing.
    expect(double.requests.filter((one) => one === 'UploadPart')).toHaveLength(0)
  })

  it('continues an upload that broke off, sending only what is missing', async () => {
    given({ on: 'UploadPart', after: 2, times: 9, does: { kind: 'answer', status: 503, code: 'SlowDown' } })
    await rejects('store_unavailable', put(large))
    double.faults.length = 0
    double.requests.length = 0
    await put(large)
    await expectWhole(large)
    expect(double.requests.filter((one) => one === 'UploadPart')).toHaveLength(1)
    expect(double.requests).not.toContain('CreateUpload')
  })

  it('starts over when its upload was ended by another', async () => {
    given({ on: 'CompleteUpload', does: { kind: 'answer', status: 404, code: 'NoSuchUpload' } })
    await rejects('store_unavailable', put(large))
    await put(large)
    await expectWhole(large)
  })

  it('refuses other bytes that appeared while it was uploading', async () => {
    const source = {
      open: async (fromByte: number) => {
        await double.client.putObject({ Bucket: double.bucket, Key: key, Body: small })
        return sourceOf(large).open(fromByte)
      },
    }
    await rejects('object_exists', store.put(key, source, options(large)))
    await expectWhole(small)
  })

  it('a body that ends early is an error, never a short object', async () => {
    await put(small)
    given({ on: 'GetObject', times: 9, does: { kind: 'short_body', bytes: 1000 } })
    await rejects('store_unavailable', readBack(store, key))
  })

  it('a silent server is given up', async () => {
    const [accessKeyId = '', secretAccessKey = ''] = double.secret.split(':')
    const base = { bucket: double.bucket, prefix: '', region: 'us-east-1', endpoint: double.endpoint }
    const impatient = openS3Store({ ...base, accessKeyId, secretAccessKey, timeoutMs: 300 })
    given({ on: 'HeadObject', times: 9, does: { kind: 'silence' } })
    await rejects('store_unavailable', impatient.stat(key))
    await impatient.close()
  })

  it('nobody is there', async () => {
    const gone = openStore(`s3://b?endpoint=http://127.0.0.1:1&secret=X`, () => 'a:b')
    await rejects('store_unavailable', gone.stat(key))
    await rejects('store_unavailable', gone.check())
  })

  it.each(['bytes of another object', 'corruption at rest'])(
    '%s: seen by reading back, refused by a copy',
    async (lie) => {
      await put(small)
      await double.client.putObject({ Bucket: double.bucket, Key: 'other', Body: randomBytes(small.length) })
      if (lie === 'corruption at rest') double.corrupt(key)
      else given({ on: 'GetObject', times: 9, does: { kind: 'bytes_of', key: 'other' } })
      expect((await readBack(store, key)).sha256).not.toBe(sha(small))
      await rejects('copy_mismatch', copyBetween(store, store, key, `${key}-copy`, options(small)))
      expect(await store.stat(`${key}-copy`)).toBeNull()
      // A second put does not believe the lie either.
      await rejects('object_exists', put(small))
    },
  )

  it('a delete that deletes nothing is no deletion', async () => {
    await put(small)
    given({ on: 'DeleteObject', times: 9, does: { kind: 'no_effect' } })
    await rejects('delete_ineffective', store.delete(key))
    await expectWhole(small)
    await store.delete(key)
    expect(await store.stat(key)).toBeNull()
  })

  it('a failed HEAD after a delete is not taken for proof', async () => {
    await put(small)
    given({ on: 'HeadObject', times: 9, does: { kind: 'answer', status: 500, code: 'InternalError' } })
    await rejects('store_unavailable', store.delete(key))
  })

  it('a cold object is object_cold', async () => {
    const cold = openStore(double.url('', { class: 'GLACIER' }), () => double.secret)
    await cold.put(key, sourceOf(small), options(small))
    expect(await cold.stat(key)).toMatchObject({ tier: 'cold' })
    expect(await listAll(cold, '')).toContainEqual(await cold.stat(key))
    await rejects('object_cold', readAll(cold, key))
    await cold.close()
  })

  it('sends type and encryption, also for parts', async () => {
    const sealed = openStore(double.url('', { sse: 'AES256', class: 'STANDARD_IA' }), () => double.secret)
    for (const bytes of [small, large]) {
      await sealed.put(`${key}-${bytes.length}`, sourceOf(bytes), { ...options(bytes), contentType: 'video/mp4' })
      const head = await double.client.headObject({ Bucket: double.bucket, Key: `${key}-${bytes.length}` })
      expect(head).toMatchObject({
        ContentType: 'video/mp4',
        ServerSideEncryption: 'AES256',
        StorageClass: 'STANDARD_IA',
      })
    }
    await sealed.close()
  })

  it('a bucket that is gone is not an empty one', async () => {
    const other = await startS3Double()
    const lost = openStore(other.url(), () => other.secret)
    other.removeBucket()
    await rejects('store_misconfigured', lost.stat(key))
    await rejects('store_misconfigured', listAll(lost, ''))
    await rejects('store_misconfigured', readAll(lost, key))
    await rejects('store_misconfigured', lost.delete(key))
    await rejects('store_misconfigured', lost.put(key, sourceOf(small), options(small)))
    await lost.close()
    await other.stop()
  })

  it('never says a secret', async () => {
    given({ on: 'PutObject', does: { kind: 'answer', status: 403, code: 'SignatureDoesNotMatch' } })
    const error: unknown = await put(small).catch((reason: unknown) => reason)
    const [, secretAccessKey = 'x'] = double.secret.split(':')
    expect(`${String(error)} ${JSON.stringify(error)} ${store.label}`).not.toContain(secretAccessKey)
  })
})
