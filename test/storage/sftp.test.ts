import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { link, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openStore } from '../../src/storage/open.ts'
import { openSftpStore } from '../../src/storage/sftp.ts'
import type { SftpStoreOptions } from '../../src/storage/sftp.ts'
import { startFaultProxy } from '../servers/fault-proxy.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { listAll, options, readAll, rejects, sha, sourceOf, stallingSource } from './contract.ts'

const mib = 1024 * 1024

describe('an SFTP server that is not what it should be', () => {
  let server: SftpServer
  beforeAll(async () => {
    server = await startSshd()
  })
  afterAll(() => server.stop())
  const settings = (change: Partial<SftpStoreOptions> = {}): SftpStoreOptions => {
    const { host, port, user, root, secret, hostKey } = server
    return { host, port, user, root, secret, hostKeys: [hostKey], timeoutMs: 3000, ...change }
  }
  const bytes = randomBytes(1000)

  it('refuses to connect without a host key to compare with, and says how to get it', () => {
    expect(() => openSftpStore(settings({ hostKeys: [] }))).toThrow(/ssh-keyscan/)
  })

  it('refuses another host key, names it, and sends no secret', async () => {
    const store = openSftpStore(settings({ hostKeys: [`SHA256:${'A'.repeat(43)}`] }))
    const error: unknown = await store.stat('x').catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'host_key_mismatch', details: { shown: server.hostKey } })
    await store.close()
  })

  it('accepts either of two keys while a server changes its own', async () => {
    const store = openSftpStore(settings({ hostKeys: [`SHA256:${'A'.repeat(43)}`, server.hostKey] }))
    await store.check()
    await store.close()
  })

  it('tells a wrong secret, an unreadable key, a closed port and a missing directory apart', async () => {
    await rejects('store_denied', openSftpStore(settings({ secret: 'wrong' })).stat('x'))
    const broken = '-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n-----END OPENSSH PRIVATE KEY-----\n'
    await rejects('store_misconfigured', openSftpStore(settings({ secret: broken })).stat('x'))
    await rejects('store_unavailable', openSftpStore(settings({ port: 1 })).stat('x'))
    const nowhere = openSftpStore(settings({ root: `${server.root}/nowhere` }))
    await rejects('store_misconfigured', nowhere.stat('x'))
    await rejects('store_misconfigured', listAll(nowhere, ''))
    await rejects('store_misconfigured', nowhere.put('a/x', sourceOf(bytes), options(bytes)))
    await nowhere.close()
  })

  it('sees links and pipes, and goes through none of them', async () => {
    const base = join(server.directory, 'odd')
    await mkdir(join(server.home, 'elsewhere'), { recursive: true })
    await writeFile(join(server.home, 'elsewhere/x.mp4'), bytes)
    await mkdir(base)
    await symlink(join(server.home, 'elsewhere'), join(base, 'rec'))
    await symlink(join(server.home, 'elsewhere/x.mp4'), join(base, 'link.mp4'))
    execFileSync('mkfifo', [join(base, 'pipe.mp4')])
    await writeFile(Buffer.concat([Buffer.from(`${base}/`), Buffer.from([0xff, 0x2e])]), bytes)
    const store = openSftpStore(settings())
    const specials = await listAll(store, 'odd')
    expect(Object.fromEntries(specials.map(({ key, special }) => [key, special]))).toEqual({
      'odd/link.mp4': 'symlink',
      'odd/pipe.mp4': 'fifo',
      'odd/rec': 'symlink',
      'odd/\uFFFD.': 'unreadable',
    })
    for (const key of ['odd/link.mp4', 'odd/pipe.mp4', 'odd/rec/x.mp4'])
      await rejects('special_file', readAll(store, key))
    await rejects('special_file', store.delete('odd/rec/x.mp4'))
    expect(await readdir(join(server.home, 'elsewhere'))).toEqual(['x.mp4'])
    await store.close()
  })

  it('a server that freezes does not hang the caller, and works again afterwards', async () => {
    const store = openSftpStore(settings({ timeoutMs: 500 }))
    await store.put('frozen', sourceOf(bytes), options(bytes))
    const link = await throughProxy(server.port)
    const far = openSftpStore(settings({ port: link.port, timeoutMs: 500 }))
    await far.stat('frozen')
    link.freeze()
    const began = Date.now()
    await rejects('store_unavailable', far.stat('frozen'))
    await rejects('store_unavailable', readAll(far, 'frozen'))
    expect(Date.now() - began).toBeLessThan(3000)
    link.thaw()
    // On a busy machine one handshake may take longer than this test's short limit.
    await vi.waitFor(async () => expect(await far.stat('frozen')).toMatchObject({ sizeBytes: 1000 }), {
      timeout: 60_000,
    })
    await far.close()
    await store.close()
    await link.stop()
  })

  it('a slow line is no silent one: a window of requests takes longer than the time limit of one', async () => {
    const line = await startFaultProxy({ to: { host: server.host, port: server.port }, seed: 1, name: 'slow' })
    const store = openSftpStore(settings({ port: line.port, timeoutMs: 1000 }))
    await store.stat('slow')
    line.setPlan({ rate: 1, kinds: ['slow'], bytesPerSecond: 400_000 })
    const window = randomBytes(2_000_000)
    await store.put('slow', sourceOf(window), options(window))
    expect(sha(await readAll(store, 'slow'))).toBe(sha(window))
    await store.close()
    await line.stop()
  })

  it('continues a put after its connection was cut, in the very same file', async () => {
    const large = randomBytes(48 * mib)
    const link = await throughProxy(server.port)
    const store = openSftpStore(settings({ port: link.port }))
    const progress = { doneBytes: 0 }
    const enough = 40 * mib
    const cut = {
      open: async () =>
        Readable.from(
          (async function* () {
            yield large.subarray(0, 40 * mib)
            while (progress.doneBytes < enough) await pause(20)
            link.cut()
            yield large.subarray(40 * mib)
          })(),
          { objectMode: false },
        ),
    }
    const onProgress = (done: number) => (progress.doneBytes = done)
    await rejects('store_unavailable', store.put('cut', cut, { ...options(large), onProgress }))
    const [part = ''] = await readdir(join(server.directory, '.tmp'))
    const before = await stat(join(server.directory, '.tmp', part))
    expect(before.size).toBeGreaterThan(30 * mib)
    link.countFromHere()
    await store.put('cut', sourceOf(large), options(large))
    expect((await stat(join(server.directory, 'cut'))).ino).toBe(before.ino)
    // 8 MiB that were missing, the last window of 2 MiB again, and the protocol around it.
    expect(link.sentBytes()).toBeLessThan(12 * mib)
    expect(sha(await readAll(store, 'cut'))).toBe(sha(large))
    expect(await readdir(join(server.directory, '.tmp'))).toEqual([])
    await store.close()
    await link.stop()
  })

  it('does not build on a left-over that was damaged', async () => {
    const large = randomBytes(40 * mib)
    const store = openSftpStore(settings())
    const controller = new AbortController()
    const cut = stallingSource(large, 36 * mib, () => setTimeout(() => controller.abort(new Error('cut')), 200))
    await expect(store.put('bad', cut, { ...options(large), signal: controller.signal })).rejects.toThrow('cut')
    const [part = ''] = await readdir(join(server.directory, '.tmp'))
    const path = join(server.directory, '.tmp', part)
    const { size } = await stat(path)
    execFileSync(
      'dd',
      ['if=/dev/zero', `of=${path}`, 'bs=1M', `seek=${Math.floor(size / mib) - 3}`, 'count=1', 'conv=notrunc'],
      {
        stdio: 'ignore',
      },
    )
    await store.put('bad', sourceOf(large), options(large))
    expect(sha(await readAll(store, 'bad'))).toBe(sha(large))
    expect(await readdir(join(server.directory, '.tmp'))).toEqual([])
    await store.close()
  })

  it('does not take over a name that appears at the last moment', async () => {
    const store = openSftpStore(settings())
    const source = {
      async open(fromByte: number) {
        await writeFile(join(server.directory, 'late'), 'somebody else')
        return sourceOf(bytes).open(fromByte)
      },
    }
    await rejects('object_exists', store.put('late', source, options(bytes)))
    expect((await readAll(store, 'late')).toString()).toBe('somebody else')
    await store.close()
  })

  it.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
    'a full disk over there is store_full',
    async () => {
      const small = join(server.directory, 'small')
      await mkdir(small)
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', small])
      const store = openStore(server.url('small'), () => server.secret)
      try {
        const tooMuch = randomBytes(8 * mib)
        await rejects('store_full', store.put('too-much', sourceOf(tooMuch), options(tooMuch)))
        expect(await listAll(store, '')).toEqual([])
        expect(await store.sweepUnfinished(-10_000)).toBe(1)
        await store.put('fits', sourceOf(bytes), options(bytes))
      } finally {
        await store.close()
        execFileSync('umount', [small])
      }
    },
  )

  it('lists 2,000 files in 40 directories quickly, and hard links as files', async () => {
    for (let index = 0; index < 40; index += 1) {
      const directory = join(server.directory, `many/${index}`)
      await mkdir(directory, { recursive: true })
      await Promise.all(Array.from({ length: 50 }, (_, at) => writeFile(join(directory, `${at}.mp4`), '')))
    }
    await link(join(server.directory, 'many/0/0.mp4'), join(server.directory, 'many/0/linked.mp4'))
    const store = openSftpStore(settings())
    const began = performance.now()
    expect(await listAll(store, 'many')).toHaveLength(2001)
    console.log(`2,001 files over SFTP listed in ${Math.round(performance.now() - began)} ms`)
    await store.close()
  })
})

/** A TCP relay that can fall silent, cut, and count what the client sent. */
async function throughProxy(target: number) {
  const pairs = new Set<readonly [Socket, Socket]>()
  let frozen = false
  let sent = 0
  const relay = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    const pair = [near, far] as const
    pairs.add(pair)
    near.on('data', (chunk) => {
      sent += chunk.length
      if (!frozen) far.write(chunk)
    })
    far.on('data', (chunk) => {
      if (!frozen) near.write(chunk)
    })
    for (const socket of pair) {
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        pairs.delete(pair)
      })
    }
  }).listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const address = relay.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  const cut = () => {
    for (const [near, far] of pairs) {
      near.destroy()
      far.destroy()
    }
  }
  return {
    port: address.port,
    freeze: () => (frozen = true),
    thaw() {
      cut()
      frozen = false
    },
    cut,
    countFromHere: () => (sent = 0),
    sentBytes: () => sent,
    async stop() {
      cut()
      relay.close()
      await once(relay, 'close')
    },
  }
}
