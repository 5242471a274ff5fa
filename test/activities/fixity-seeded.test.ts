import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStore } from '../../src/storage/open.ts'
import { startSeaweed } from '../servers/s3.ts'
import type { S3Server } from '../servers/s3.ts'
import { bytesAt, manifestOf, openFixityStand, overwrite, sha256 } from './fixity-stand.ts'
import type { FixityStand, Kept, KeptFile } from './fixity-stand.ts'

const seed = process.env['SEED'] ?? randomBytes(4).toString('hex')
console.info(`SEED=${seed}`)

let server: S3Server
let stand: FixityStand

beforeAll(async () => {
  server = await startSeaweed()
  stand = await openFixityStand({ bucket: openStore(server.url('kept'), () => server.secret) })
})
afterAll(async () => {
  await stand?.close()
  await server?.stop()
})

/** mulberry32: the same seed, the same damage. */
let state = Number.parseInt(seed, 16) >>> 0
function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
const below = (limit: number) => Math.floor(random() * limit)
const pick = <T>(items: readonly T[]): T => items[below(items.length)]!
const bytes = (size: number) => Buffer.from(Array.from({ length: size }, () => below(256)))

/** What was damaged in one recording and what must become of it. */
interface Case {
  readonly kept: Kept
  readonly what: string
  readonly storeNames: readonly string[]
  /** `store/file` whose bytes are not what was stored once. */
  readonly damaged: ReadonlySet<string>
  /** Files that a person must decide about; of all others every copy must be whole in the end. */
  readonly asked: ReadonlySet<string>
  /** Files whose hash in the database was changed: no copy can agree with it. */
  readonly rows: ReadonlySet<string>
}

const place = (storeName: string, file: KeptFile) => `${storeName}/${file.name}`
const storesOf = (count: number) =>
  count === 2
    ? pick([
        ['primary', 'backup'],
        ['primary', 'bucket'],
      ])
    : ['primary', 'backup', 'bucket']

function flipped(good: Buffer): Buffer {
  const bad = Buffer.from(good)
  for (let times = 1 + below(4); times > 0; times -= 1) {
    const at = below(bad.length)
    bad[at] = bad[at]! ^ (1 << below(8))
  }
  return bad.equals(good) ? Buffer.concat([good, Buffer.from([0])]) : bad
}

/** Damages one copy in its own way; never two copies alike, or they would vouch for each other. */
async function damage(storeName: string, file: KeptFile, nth: number): Promise<string> {
  const store = stand.stores[storeName]!
  const kind = pick(['flip', 'truncate', 'empty', 'grow', 'missing', 'other'])
  if (kind === 'missing') await store.delete(file.key)
  else
    await overwrite(
      store,
      file.key,
      kind === 'flip'
        ? flipped(file.bytes)
        : kind === 'truncate'
          ? file.bytes.subarray(0, 1 + nth + 3 * below(Math.floor((file.bytes.length - 4) / 3)))
          : kind === 'empty' && nth === 0
            ? Buffer.alloc(0)
            : kind === 'grow'
              ? Buffer.concat([file.bytes, bytes(1 + nth)])
              : bytes(file.bytes.length),
    )
  return kind
}

const scenarios: Readonly<
  Record<string, (kept: Kept, storeNames: readonly string[]) => Promise<Omit<Case, 'kept' | 'storeNames'>>>
> = {
  async untouched() {
    return { what: 'untouched', damaged: new Set(), asked: new Set(), rows: new Set() }
  },
  /** k of n copies of every file, the manifest among them. */
  async copies(kept, storeNames) {
    const [damaged, asked, kinds] = [new Set<string>(), new Set<string>(), new Set<string>()]
    for (const file of kept.files) {
      const k = below(storeNames.length + 1)
      const hit = [...storeNames].sort(() => random() - 0.5).slice(0, k)
      for (const [nth, storeName] of hit.entries()) {
        kinds.add(await damage(storeName, file, nth))
        damaged.add(place(storeName, file))
      }
      if (k === storeNames.length) asked.add(file.name)
    }
    return { what: `copies: ${[...kinds].join(', ')}`, damaged, asked, rows: new Set() }
  },
  /** Two files change places in one store. */
  async swapped(kept, storeNames) {
    const storeName = pick(storeNames)
    const [one, other] = [kept.files[0]!, kept.files[1]!]
    await overwrite(stand.stores[storeName]!, one.key, other.bytes)
    await overwrite(stand.stores[storeName]!, other.key, one.bytes)
    const damaged = new Set([place(storeName, one), place(storeName, other)])
    return { what: 'swapped', damaged, asked: new Set(), rows: new Set() }
  },
  /** One store goes back to an older state in which everything, its manifest included, agrees. */
  async rolledBack(kept, storeNames) {
    const storeName = pick(storeNames)
    const older = kept.files.slice(0, -1).map((file) => ({ ...file, bytes: bytes(file.bytes.length) }))
    const manifest = { ...kept.files.at(-1)!, bytes: manifestOf(stand.accountId, kept.id, older) }
    for (const file of [...older, manifest]) await overwrite(stand.stores[storeName]!, file.key, file.bytes)
    return {
      what: 'one store rolled back',
      damaged: new Set(kept.files.map((file) => place(storeName, file))),
      asked: new Set(),
      rows: new Set(),
    }
  },
  /** The manifests name another hash for one file: in one store, or alike in all. */
  async manifests(kept, storeNames) {
    const all = random() < 0.5
    const manifest = kept.files.at(-1)!
    const victim = below(kept.files.length - 1)
    const told = kept.files.slice(0, -1).map((file, at) => (at === victim ? { ...file, bytes: bytes(50) } : file))
    const hit = all ? storeNames : [pick(storeNames)]
    for (const storeName of hit)
      await overwrite(stand.stores[storeName]!, manifest.key, manifestOf(stand.accountId, kept.id, told))
    return {
      what: all ? 'all manifests rewritten' : 'one manifest rewritten',
      damaged: new Set(hit.map((storeName) => place(storeName, manifest))),
      asked: new Set(all ? [manifest.name] : []),
      rows: new Set(),
    }
  },
  /** The hash of one file in the database; sometimes a copy of the same file, too. */
  async database(kept, storeNames) {
    const file = pick(kept.files)
    const wrong = sha256(bytes(8))
    const inRecording = file.name === 'original.mp4' && random() < 0.5
    await stand.admin.query(
      inRecording
        ? `update recordings set sha256 = '${wrong}' where id = '${kept.id}'`
        : `update files set sha256 = '${wrong}' where recording_id = '${kept.id}' and name = '${file.name}'`,
    )
    const damaged = new Set<string>()
    if (random() < 0.5) {
      const storeName = pick(storeNames)
      await damage(storeName, file, 0)
      damaged.add(place(storeName, file))
    }
    return { what: 'database hash', damaged, asked: new Set([file.name]), rows: new Set([file.name]) }
  },
}

async function makeCase(index: number): Promise<Case> {
  const storeNames = storesOf(2 + (index % 2))
  const contents = {
    'original.mp4': bytes(200 + below(4000)),
    '720p.mp4': bytes(200 + below(2000)),
    'hls/000.ts': bytes(200 + below(500)),
  }
  const kept = await stand.keep(contents, storeNames)
  const names = Object.keys(scenarios)
  const name = index < names.length * 2 ? names[index % names.length]! : pick([...names, 'copies', 'copies', 'copies'])
  return { kept, storeNames, ...(await scenarios[name]!(kept, storeNames)) }
}

/** Every copy as it stands in its store: bytes, and the identity of the very object. */
async function look({ kept, storeNames }: Case) {
  const seen = new Map<string, { bytes: Buffer | null; object: string }>()
  for (const storeName of storeNames)
    for (const file of kept.files) {
      const store = stand.stores[storeName]!
      const info = await store.stat(file.key)
      seen.set(place(storeName, file), {
        bytes: await bytesAt(store, file.key),
        object: info === null ? '' : `${info.fileId} ${info.modifiedAtMs}`,
      })
    }
  return seen
}

const hint = (one: Case) => `SEED=${seed}: ${one.what}, ${one.storeNames.join('+')}, recording ${one.kept.id}`

/** Everything that is damaged is found and nothing else; what has a good copy is mended; what was good is the same object. */
async function passOnce(one: Case): Promise<{ found: number; mended: number; asked: number }> {
  const before = await look(one)
  const first = await stand.check(one.kept)
  const { copies } = await stand.detail(one.kept)
  const failed = copies
    .filter(({ checkResult }) => checkResult === 'failed')
    .map((copy) => `${copy.storeName}/${copy.fileName}`)
  const expected = one.kept.files.flatMap((file) =>
    one.storeNames.map((name) => place(name, file)).filter((at) => one.damaged.has(at) || one.rows.has(file.name)),
  )
  expect(failed.sort(), hint(one)).toEqual(expected.sort())
  expect(first.asked, hint(one)).toBe(one.asked.size)

  await stand.mend(one.kept)
  const second = await stand.check(one.kept)
  expect(second, hint(one)).toMatchObject({ toMend: 0, asked: one.asked.size, couldNotRun: 0 })
  const after = await look(one)
  let mended = 0
  for (const file of one.kept.files)
    for (const storeName of one.storeNames) {
      const at = place(storeName, file)
      const untouched = one.asked.has(file.name) || !one.damaged.has(at)
      if (untouched) expect(after.get(at), `${hint(one)}, ${at} is left alone`).toEqual(before.get(at))
      if (one.asked.has(file.name)) continue
      expect(after.get(at)?.bytes?.equals(file.bytes), `${hint(one)}, ${at} is whole`).toBe(true)
      if (!untouched) mended += 1
    }
  const { problem } = await stand.detail(one.kept)
  if (one.asked.size === 0) expect(problem, hint(one)).toBeNull()
  else expect(problem, hint(one)).toMatchObject({ code: 'copies_disagree', options: ['retry'] })
  return { found: failed.length, mended, asked: one.asked.size }
}

async function passAgain(one: Case): Promise<void> {
  const everything = async () => ({ seen: await look(one), trail: (await stand.detail(one.kept)).timeline.length })
  const before = await everything()
  const again = await stand.check(one.kept)
  expect(again, hint(one)).toMatchObject({ toMend: 0, asked: one.asked.size })
  if (one.asked.size === 0) expect(again.failed, hint(one)).toBe(0)
  expect(await everything(), hint(one)).toEqual(before)
}

async function inGroups<T>(cases: readonly Case[], work: (one: Case) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let at = 0; at < cases.length; at += 6) results.push(...(await Promise.all(cases.slice(at, at + 6).map(work))))
  return results
}

test('72 recordings damaged in every way: one pass finds all of it, mends what has a good copy, harms no good one; the second finds nothing', async () => {
  const cases: Case[] = []
  for (let index = 0; index < 72; index += 1) cases.push(await makeCase(index))
  const results = await inGroups(cases, passOnce)
  const sum = (name: 'found' | 'mended' | 'asked') => results.reduce((total, result) => total + result[name], 0)
  console.info(
    `SEED=${seed}: ${cases.length} recordings, ${sum('found')} bad copies found, ${sum('mended')} mended, ${sum('asked')} files for a person`,
  )
  expect(sum('mended')).toBeGreaterThan(50)
  expect(sum('asked')).toBeGreaterThan(10)
  await inGroups(cases, passAgain)
}, 900_000)
