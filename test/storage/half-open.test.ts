import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readBack } from '../../src/storage/copy.ts'
import { openS3Store } from '../../src/storage/s3.ts'
import { openSftpStore } from '../../src/storage/sftp.ts'
import type { Store } from '../../src/storage/store.ts'
import { startFaultProxy } from '../servers/fault-proxy.ts'
import type { ProxyFaultKind } from '../servers/fault-proxy.ts'
import { startS3Double } from '../servers/s3-double.ts'
import { startSshd } from '../servers/sftp.ts'
import { listAll, options, sourceOf } from './contract.ts'

const mib = 1024 * 1024
const small = randomBytes(40_000)
const large = randomBytes(17 * mib)
const timeoutMs = 1000

interface Place {
  readonly port: number
  open(port: number): Store
  stop(): Promise<void>
}

const kinds: Readonly<Record<string, () => Promise<Place>>> = {
  s3: async () => {
    const server = await startS3Double()
    const [accessKeyId = '', secretAccessKey = ''] = server.secret.split(':')
    return {
      port: Number(new URL(server.endpoint).port),
      open: (port) =>
        openS3Store({
          bucket: server.bucket,
          prefix: '',
          region: 'us-east-1',
          endpoint: `http://127.0.0.1:${port}`,
          accessKeyId,
          secretAccessKey,
          timeoutMs,
        }),
      stop: () => server.stop(),
    }
  },
  sftp: async () => {
    const server = await startSshd()
    const { host, user, root, secret, hostKey } = server
    return {
      port: server.port,
      open: (port) => openSftpStore({ host, port, user, root, secret, hostKeys: [hostKey], timeoutMs }),
      stop: () => server.stop(),
    }
  },
}

/** Beating by time, an activity would otherwise wait a day for a peer that is not there any more. */
describe.each(Object.entries(kinds))('a peer that goes silent: %s', (_, start) => {
  let place: Place
  beforeAll(async () => {
    place = await start()
    const store = place.open(place.port)
    await store.put('small', sourceOf(small), options(small))
    await store.put('large', sourceOf(large), options(large))
    await store.close()
  })
  afterAll(() => place?.stop())

  const work: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
    stat: (store) => store.stat('small'),
    list: (store) => listAll(store, ''),
    'read small': (store) => readBack(store, 'small'),
    'read large': (store) => readBack(store, 'large'),
    'put small': (store) => store.put(`new-${Math.random()}`, sourceOf(small), options(small)),
    'put large': (store) => store.put(`new-${Math.random()}`, sourceOf(large), options(large)),
    delete: (store) => store.delete('small-2'),
    sweep: (store) => store.sweepUnfinished(3_600_000),
  }
  it.each(Object.entries(work))(
    '%s ends in bounded time, wherever the silence begins, and works afterwards',
    { timeout: 180_000 },
    async (name, job) => {
      const cases = [0, 1, 4, 9]
        .map((after) => ({ kind: 'half_open' as ProxyFaultKind, after }))
        .concat({ kind: 'stall', after: 5 })
      const silenced = await Promise.all(
        cases.map(async ({ kind, after }) => {
          const to = { host: '127.0.0.1', port: place.port }
          const proxy = await startFaultProxy({ to, seed: 1, name: 'store' })
          const store = place.open(proxy.port)
          // Not one call alone: the client's own retries find the same silence.
          proxy.faults.push({ kind, after, stallMs: 3_600_000 })
          for (let more = 0; more < 5; more += 1) proxy.faults.push({ kind, stallMs: 3_600_000 })
          const begunMs = Date.now()
          await job(store).catch((error: unknown) =>
            expect(error, `${name}: ${kind} after ${after}`).toMatchObject({ code: 'store_unavailable' }),
          )
          expect(Date.now() - begunMs, `${name}: ${kind} after ${after}`).toBeLessThan(100 * timeoutMs)
          proxy.heal()
          return { store, proxy }
        }),
      )
      // One after the other: the limit is short for a busy machine.
      for (const { store, proxy } of silenced) {
        await job(store)
        await store.close()
        await proxy.stop()
      }
    },
  )
})
