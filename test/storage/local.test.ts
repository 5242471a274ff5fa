import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { link, mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { readBack } from '../../src/storage/copy.ts'
import { nameFromBytes, nameToBytes } from '../../src/storage/keys.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import type { Store } from '../../src/storage/store.ts'
import { serverHome } from '../servers/process.ts'
import { listAll, options, readAll, rejects, sha, sourceOf } from './contract.ts'

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return []
    }
  })
}

describe('a local directory that others write into', () => {
  let home = ''
  let root = ''
  let store: Store
  const bytes = randomBytes(1000)
  beforeEach(async () => {
    home = await serverHome('local')
    root = join(home, 'root')
    await mkdir(root)
    store = openLocalStore({ root })
    await writeFile(join(home, 'outside.mp4'), 'not yours')
  })
  afterEach(async () => {
    await rm(home, { recursive: true, force: true })
  })
  const specials = async () => Object.fromEntries((await listAll(store, '')).map(({ key, special }) => [key, special]))

  it('reports everything that is no plain file with one link, and reads only plain bytes', async () => {
    await mkdir(join(root, 'rec'))
    await writeFile(join(root, 'rec/plain.mp4'), bytes)
    await symlink(join(home, 'outside.mp4'), join(root, 'rec/link.mp4'))
    await symlink(join(root, 'nowhere'), join(root, 'rec/dangling.mp4'))
    execFileSync('mkfifo', [join(root, 'rec/pipe.mp4')])
    await link(join(home, 'outside.mp4'), join(root, 'rec/hard.mp4'))
    const server = createServer().listen(join(root, 'rec/socket.mp4'))
    expect(await specials()).toEqual({
      'rec/plain.mp4': null,
      'rec/link.mp4': 'symlink',
      'rec/dangling.mp4': 'symlink',
      'rec/pipe.mp4': 'fifo',
      'rec/hard.mp4': 'hard_link',
      'rec/socket.mp4': 'socket',
    })
    for (const name of ['link', 'dangling', 'pipe', 'socket']) {
      await rejects('special_file', readAll(store, `rec/${name}.mp4`))
      await rejects('object_exists', store.put(`rec/${name}.mp4`, sourceOf(bytes), options(bytes)))
    }
    await store.delete('rec/link.mp4')
    expect(existsSync(join(home, 'outside.mp4'))).toBe(true)
    await new Promise((resolve) => server.close(resolve))
  })

  it.each([0, 1, 512 * 1024, 512 * 1024 + 1, 2_000_000])('gives %i bytes as blocks', async (sizeBytes) => {
    const whole = randomBytes(sizeBytes)
    await writeFile(join(root, 'whole.mp4'), whole)
    const copied: Buffer[] = []
    for await (const block of await store.blocks!('whole.mp4')) copied.push(Buffer.from(block))
    expect(Buffer.concat(copied).equals(whole)).toBe(true)
    expect(await readBack(store, 'whole.mp4')).toEqual({ sizeBytes, sha256: sha(whole) })
  })

  it('stops giving blocks when aborted or left, and holds no file open then', async () => {
    await writeFile(join(root, 'whole.mp4'), randomBytes(3_000_000))
    const controller = new AbortController()
    const read = async (signal: AbortSignal | undefined, each: () => void) => {
      for await (const block of await store.blocks!('whole.mp4', signal)) {
        each()
        if (signal === undefined) return block.length
      }
      return 0
    }
    await expect(read(controller.signal, () => controller.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(await read(undefined, () => undefined)).toBe(512 * 1024)
    await vi.waitFor(() => expect(openFiles()).not.toContain(join(root, 'whole.mp4')))
    await rejects('object_missing', store.blocks!('nothing.mp4'))
    await rejects(
      'special_file',
      symlink('whole.mp4', join(root, 'link.mp4')).then(() => store.blocks!('link.mp4')),
    )
  })

  it('never goes through a symlinked directory', async () => {
    await mkdir(join(home, 'elsewhere'))
    await writeFile(join(home, 'elsewhere/x.mp4'), bytes)
    await symlink(join(home, 'elsewhere'), join(root, 'rec'))
    expect(await specials()).toEqual({ rec: 'symlink' })
    await rejects('special_file', listAll(store, 'rec'))
    await rejects('special_file', store.stat('rec/x.mp4'))
    await rejects('special_file', readAll(store, 'rec/x.mp4'))
    await rejects('special_file', store.delete('rec/x.mp4'))
    await rejects('special_file', store.put('rec/y.mp4', sourceOf(bytes), options(bytes)))
    await rejects('special_file', store.put('rec/deep/y.mp4', sourceOf(bytes), options(bytes)))
    expect(await readdir(join(home, 'elsewhere'))).toEqual(['x.mp4'])
  })

  it('works where the root itself is a symlink that the operator made', async () => {
    await symlink(root, join(home, 'alias'))
    const aliased = openLocalStore({ root: join(home, 'alias') })
    await aliased.put('a/b', sourceOf(bytes), options(bytes))
    expect(bytes.equals(await readAll(aliased, 'a/b'))).toBe(true)
    await aliased.delete('a/b')
  })

  it('says names that are no UTF-8, and finds them again', async () => {
    const names = [Buffer.from([0x66, 0xfc, 0x72, 0x2e, 0x6d, 0x70, 0x34]), Buffer.from([0xff, 0xc3, 0x28, 0x41])]
    names.push(Buffer.from('\uF7FC und \uFFFD.mp4'), Buffer.from([0xf0, 0x9f, 0x8e]))
    for (const name of names) await writeFile(Buffer.concat([Buffer.from(`${root}/`), name]), bytes)
    const listed = await listAll(store, '')
    expect(listed).toHaveLength(names.length)
    for (const { key } of listed) {
      expect(bytes.equals(await readAll(store, key))).toBe(true)
      expect(JSON.parse(JSON.stringify(key))).toBe(key)
      expect(names.some((name) => name.equals(nameToBytes(key)))).toBe(true)
      await store.delete(key)
    }
    expect(await readdir(root)).toEqual([])
  })

  it('turns any bytes into a name and back', () => {
    for (let turn = 0; turn < 3000; turn += 1) {
      const name = randomBytes(1 + (turn % 12))
      expect(nameToBytes(nameFromBytes(name)).equals(name)).toBe(true)
    }
  })

  it('lists temporary and dot names of others, but not its own unfinished puts', async () => {
    await mkdir(join(root, '.tmp'))
    await writeFile(join(root, '.tmp/half'), bytes)
    await mkdir(join(root, 'rec/.tmp'), { recursive: true })
    for (const name of ['.hidden', 'x.part', 'rec/.tmp/x']) await writeFile(join(root, name), bytes)
    expect(Object.keys(await specials()).sort()).toEqual(['.hidden', 'rec/.tmp/x', 'x.part'])
  })

  it('an object that still has its temporary name (killed between) is a plain one', async () => {
    await store.put('a', sourceOf(bytes), options(bytes))
    await link(join(root, 'a'), join(root, '.tmp/left-over'))
    expect(await store.stat('a')).toMatchObject({ special: null })
    expect(await store.sweepUnfinished(0)).toBe(1)
    expect((await stat(join(root, 'a'))).nlink).toBe(1)
  })

  it('shows replacement by another file id', async () => {
    await writeFile(join(root, 'x'), bytes)
    const before = await store.stat('x')
    await writeFile(join(root, 'y'), bytes)
    await rename(join(root, 'y'), join(root, 'x'))
    expect((await store.stat('x'))?.fileId).not.toBe(before?.fileId)
  })

  it('a root that is gone is no empty store, and is never created', async () => {
    await rm(root, { recursive: true })
    await rejects('store_misconfigured', listAll(store, ''))
    await rejects('store_misconfigured', listAll(store, 'rec'))
    await rejects('store_misconfigured', store.stat('rec/x'))
    await rejects('store_misconfigured', readAll(store, 'rec/x'))
    await rejects('store_misconfigured', store.delete('rec/x'))
    await rejects('store_misconfigured', store.put('rec/x', sourceOf(bytes), options(bytes)))
    await rejects('store_misconfigured', store.check())
    expect(existsSync(root)).toBe(false)
  })

  it('removes emptied directories only where it may, and never the root', async () => {
    const pruning = openLocalStore({ root, pruneEmptyDirectories: true })
    for (const one of [store, pruning]) {
      await one.put('a/b/c', sourceOf(bytes), options(bytes))
      await one.put('a/d', sourceOf(bytes), options(bytes))
      await one.delete('a/b/c')
      expect(existsSync(join(root, 'a/b'))).toBe(one === store)
      await one.delete('a/d')
    }
    // The first store's directories stay: the second found `a/b` again and removed it with its own.
    expect(existsSync(join(root, 'a'))).toBe(false)
    await pruning.put('top', sourceOf(bytes), options(bytes))
    await pruning.delete('top')
    expect(existsSync(root)).toBe(true)
  })

  it('a directory in the way is object_exists, a file in the way of a directory is typed too', async () => {
    await mkdir(join(root, 'dir'))
    await rejects('object_exists', store.put('dir', sourceOf(bytes), options(bytes)))
    await rejects('object_missing', readAll(store, 'dir'))
    await store.delete('dir')
    expect(existsSync(join(root, 'dir'))).toBe(true)
    await writeFile(join(root, 'file'), bytes)
    await rejects('object_missing', store.put('file/x', sourceOf(bytes), options(bytes)))
    expect(await store.stat('file/x')).toBeNull()
  })

  it('looks at 10,000 files quickly', async () => {
    for (let index = 0; index < 100; index += 1) {
      await mkdir(join(root, `rec${index}`))
      await Promise.all(Array.from({ length: 100 }, (_, at) => writeFile(join(root, `rec${index}/${at}.mp4`), '')))
    }
    await listAll(store, '')
    const began = performance.now()
    expect(await listAll(store, '')).toHaveLength(10_000)
    console.log(`10,000 files listed in ${Math.round(performance.now() - began)} ms`)
  }, 60_000)

  it.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
    'a full disk leaves nothing visible',
    async () => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', root])
      try {
        await store.put('fits', sourceOf(bytes), options(bytes))
        const tooMuch = randomBytes(8 * 1024 * 1024)
        await rejects('store_full', store.put('rec/too-much', sourceOf(tooMuch), options(tooMuch)))
        expect(Object.keys(await specials())).toEqual(['fits'])
        expect(await readdir(join(root, '.tmp'))).toEqual([])
        await store.put('fits-too', sourceOf(bytes), options(bytes))
      } finally {
        execFileSync('umount', [root])
      }
    },
  )
})
