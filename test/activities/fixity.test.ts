import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fixityPassLimit } from '../../src/domain/fixity.ts'
import { ReelkeepError } from '../../src/domain/errors.ts'
import type { Store } from '../../src/storage/store.ts'
import { bytesAt, openFixityStand, overwrite } from './fixity-stand.ts'
import type { FixityStand, Kept } from './fixity-stand.ts'

let stand: FixityStand
let made = 0

beforeAll(async () => {
  stand = await openFixityStand()
})
afterAll(() => stand?.close())

function keep(): Promise<Kept> {
  made += 1
  const file = (name: string) => Buffer.from(`${name} of recording ${made} `.repeat(50))
  return stand.keep({ 'original.mp4': file('original'), '720p.mp4': file('720p') })
}

const original = (kept: Kept) => kept.files[0]!
const damaged = Buffer.from('something else')

async function copyOf(kept: Kept, storeName: string, fileName = original(kept).name) {
  const { copies } = await stand.detail(kept)
  return copies.find((copy) => copy.storeName === storeName && copy.fileName === fileName)!
}

/** A store that refuses one kind of call. Its bytes are read by `read` alone. */
function withFailing(store: Store, calls: Partial<Store>): Store {
  const { blocks: _, ...rest } = store
  return { ...rest, ...calls }
}

test('a good recording is found good, and is due again in 90 days', async () => {
  const kept = await keep()
  expect(await stand.check(kept)).toEqual({ checked: true, ok: 6, failed: 0, couldNotRun: 0, toMend: 0, asked: 0 })
  const copy = await copyOf(kept, 'backup')
  expect(copy).toMatchObject({ state: 'verified', checkResult: 'ok', checkNote: null })
  const { rows } = await stand.admin.query<{ days: number }>(
    `select extract(day from fixity_due_at - now())::int as days from recordings where id = '${kept.id}'`,
  )
  expect(rows[0]!.days).toBeGreaterThan(88)
  const again = await stand.check(kept)
  expect(again.ok).toBe(6)
  // The result stands since the first time; the check is the latest.
  const later = await copyOf(kept, 'backup')
  expect(later.checkSinceMs).toBe(copy.checkSinceMs)
  expect(later.checkedAtMs).toBeGreaterThan(copy.checkedAtMs!)
  expect((await stand.detail(kept)).timeline.filter(({ action }) => action.startsWith('copy.'))).toEqual([])
})

test.each(['primary', 'backup'])(
  'a bad copy in %s is found, made again, and counts once it was read back',
  async (name) => {
    const kept = await keep()
    const { key, bytes } = original(kept)
    await overwrite(stand.stores[name]!, key, damaged)
    expect(await stand.check(kept)).toMatchObject({ ok: 5, failed: 1, toMend: 1, asked: 0 })
    expect(await copyOf(kept, name)).toMatchObject({ state: 'failed', checkResult: 'failed' })
    expect(await stand.mend(kept)).toBe(1)
    expect((await copyOf(kept, name)).state).toBe('stored')
    expect(await bytesAt(stand.stores[name]!, key)).toEqual(bytes)
    // A second run finds nothing to do.
    expect(await stand.mend(kept)).toBe(0)
    expect(await stand.check(kept)).toMatchObject({ ok: 6, failed: 0 })
    expect(await copyOf(kept, name)).toMatchObject({ state: 'verified', checkResult: 'ok' })
    const actions = (await stand.detail(kept)).timeline.map(({ action }) => action)
    expect(actions.filter((action) => action.startsWith('copy.'))).toEqual(['copy.failed', 'copy.mended'])
  },
)

test('killed between removing the bad copy and writing the good one: the next pass mends', async () => {
  const kept = await keep()
  const { key, bytes } = original(kept)
  const backup = stand.stores['backup']!
  await overwrite(backup, key, damaged)
  await stand.check(kept)
  let deleted = false
  stand.placed.set(
    'backup',
    withFailing(backup, {
      delete: async (one) => {
        await backup.delete(one)
        deleted = true
      },
      put: (one, source, options) => {
        if (deleted) throw new Error('killed')
        return backup.put(one, source, options)
      },
    }),
  )
  await expect(stand.mend(kept)).rejects.toThrow('killed')
  expect(await bytesAt(backup, key)).toBeNull()
  stand.placed.set('backup', backup)
  expect(await stand.check(kept)).toMatchObject({ ok: 5, failed: 1, toMend: 1 })
  expect(await copyOf(kept, 'backup')).toMatchObject({ checkNote: 'missing' })
  await stand.mend(kept)
  expect(await bytesAt(backup, key)).toEqual(bytes)
  expect(await stand.check(kept)).toMatchObject({ ok: 6 })
})

test('the good copy turned bad before the mending: the bad one is not given up for it', async () => {
  const kept = await keep()
  const { key } = original(kept)
  await overwrite(stand.stores['backup']!, key, damaged)
  await stand.check(kept)
  const rotten = Buffer.from(original(kept).bytes)
  rotten[7] = rotten[7]! ^ 1
  await overwrite(stand.stores['primary']!, key, rotten)
  await expect(stand.mend(kept)).rejects.toMatchObject({ code: 'copy_mismatch' })
  expect(await bytesAt(stand.stores['backup']!, key)).toEqual(damaged)
  expect(await stand.check(kept)).toMatchObject({ failed: 2, toMend: 0, asked: 1 })
})

test('a copy that reads back right by the time of the mending is not written again', async () => {
  const kept = await keep()
  const { key, bytes } = original(kept)
  const backup = stand.stores['backup']!
  await overwrite(backup, key, damaged)
  await stand.check(kept)
  await overwrite(backup, key, bytes)
  const before = await backup.stat(key)
  await stand.mend(kept)
  expect(await backup.stat(key)).toEqual(before)
  expect(await stand.check(kept)).toMatchObject({ ok: 6 })
})

test.each(['trashed', 'purging'] as const)('a recording that is %s by then is not mended', async (state) => {
  const kept = await keep()
  const { key } = original(kept)
  await overwrite(stand.stores['backup']!, key, damaged)
  await stand.check(kept)
  await stand.admin.query(`update recordings set state = '${state}' where id = '${kept.id}'`)
  expect(await stand.mend(kept)).toBe(0)
  expect(await bytesAt(stand.stores['backup']!, key)).toEqual(damaged)
  expect(await stand.check(kept)).toMatchObject({ checked: false })
})

test('the purge overtakes a mending: nothing comes back behind it', async () => {
  const kept = await keep()
  const { key } = original(kept)
  const backup = stand.stores['backup']!
  await backup.delete(key)
  await stand.check(kept)
  stand.placed.set(
    'backup',
    withFailing(backup, {
      put: async (one, source, options) => {
        const result = await backup.put(one, source, options)
        await stand.admin.query(`update recordings set state = 'purging' where id = '${kept.id}'`)
        return result
      },
    }),
  )
  expect(await stand.mend(kept)).toBe(0)
  stand.placed.set('backup', backup)
  expect(await bytesAt(backup, key)).toBeNull()
})

test('no good copy: nothing is touched, a person is asked once, and the replaced copy is the answer', async () => {
  const kept = await keep()
  const { key, bytes } = original(kept)
  await overwrite(stand.stores['primary']!, key, damaged)
  await overwrite(stand.stores['backup']!, key, Buffer.from('another damage'))
  for (let pass = 0; pass < 2; pass += 1) {
    expect(await stand.check(kept)).toMatchObject({ ok: 4, failed: 2, toMend: 0, asked: 1 })
    expect(await stand.mend(kept)).toBe(0)
  }
  const asked = await stand.detail(kept)
  expect(asked.problem).toMatchObject({ stage: 'replicate', code: 'copies_disagree', options: ['retry'], attempts: 1 })
  expect(asked.problem?.message).toContain('original.mp4: no copy is what it should be')
  expect(asked.timeline.filter(({ action }) => action === 'fixity.asked')).toHaveLength(1)
  expect(await bytesAt(stand.stores['primary']!, key)).toEqual(damaged)
  // The operator brings the bytes back into one store; the rest follows.
  await overwrite(stand.stores['backup']!, key, bytes)
  expect(await stand.check(kept)).toMatchObject({ failed: 1, toMend: 1, asked: 0 })
  await stand.mend(kept)
  expect(await stand.check(kept)).toMatchObject({ ok: 6 })
  const answered = await stand.detail(kept)
  expect(answered.problem).toBeNull()
  expect(answered.timeline.map(({ action }) => action)).toContain('copy.recovered')
})

test("the database's own hash is wrong: every copy stays as it is and can be played, and a person is asked", async () => {
  const kept = await keep()
  await stand.admin.query(
    `update files set sha256 = repeat('0', 64) where recording_id = '${kept.id}' and kind = 'original'`,
  )
  expect(await stand.check(kept)).toMatchObject({ ok: 4, failed: 2, toMend: 0, asked: 1 })
  const { problem, copies } = await stand.detail(kept)
  expect(problem?.message).toContain('the database says otherwise')
  expect(copies.every(({ state }) => state === 'verified')).toBe(true)
})

test('a store that does not answer: could not run, since when and why; never missing, never failed, never ok', async () => {
  const kept = await keep()
  const backup = stand.stores['backup']!
  let reads = 0
  const away = async () => {
    reads += 1
    throw new ReelkeepError('store_unavailable', 'backup does not answer.')
  }
  stand.placed.set('backup', withFailing(backup, { read: away, stat: away }))
  const found = await stand.check(kept)
  expect(found).toEqual({ checked: true, ok: 3, failed: 0, couldNotRun: 3, toMend: 0, asked: 0 })
  // It is not asked for every file of a long list.
  expect(reads).toBe(2)
  const first = await copyOf(kept, 'backup')
  expect(first).toMatchObject({
    state: 'verified',
    checkResult: 'could_not_run',
    checkNote: 'store_unavailable: backup does not answer.',
  })
  await stand.check(kept)
  expect((await copyOf(kept, 'backup')).checkSinceMs).toBe(first.checkSinceMs)
  stand.placed.set('backup', backup)
  expect(await stand.check(kept)).toMatchObject({ ok: 6 })
  expect((await copyOf(kept, 'backup')).checkSinceMs).toBeGreaterThan(first.checkSinceMs!)
})

test.each(['gone', 'empty'])('a disk that is not mounted (its directory is %s) is no loss', async (how) => {
  const kept = await keep()
  const [root, aside] = [join(stand.home, 'backup'), join(stand.home, 'aside')]
  await rename(root, aside)
  if (how === 'empty') await mkdir(root)
  try {
    expect(await stand.check(kept)).toMatchObject({ ok: 3, failed: 0, couldNotRun: 3, toMend: 0 })
    expect((await copyOf(kept, 'backup')).checkNote).toMatch(how === 'empty' ? /is empty/ : /does not exist/)
  } finally {
    await rm(root, { recursive: true, force: true })
    await rename(aside, root)
  }
})

test('a whole recording lost from a store that holds others is a loss, and is mended', async () => {
  await keep()
  const kept = await keep()
  for (const { key } of kept.files) await stand.stores['backup']!.delete(key)
  expect(await stand.check(kept)).toMatchObject({ ok: 3, failed: 3, toMend: 3 })
  expect(await stand.mend(kept)).toBe(3)
  expect(await stand.check(kept)).toMatchObject({ ok: 6 })
})

test('two checks at once: what the slower one read before is not written over what the faster one found', async () => {
  const kept = await keep()
  const { key, bytes } = original(kept)
  const backup = stand.stores['backup']!
  await overwrite(backup, key, damaged)
  let calls = 0
  stand.placed.set(
    'backup',
    withFailing(backup, {
      read: async (...args) => {
        const seen = await backup.read(...args)
        calls += 1
        if (args[0] !== key || calls > 3) return seen
        // Another worker checks, mends and checks again while this one holds its stale bytes.
        stand.placed.set('backup', backup)
        await stand.check(kept)
        await stand.mend(kept)
        await stand.check(kept)
        return seen
      },
    }),
  )
  expect(await stand.check(kept)).toMatchObject({ ok: 6, failed: 0 })
  expect(await bytesAt(backup, key)).toEqual(bytes)
  const { timeline } = await stand.detail(kept)
  expect(timeline.filter(({ action }) => action === 'copy.failed')).toHaveLength(1)
})

test('a pass asks for what is due, the longest due first, and for everything once', async () => {
  const keeps = [await keep(), await keep(), await keep()]
  const { rows } = await stand.admin.query<{ now: Date }>('select now() as now')
  const ask = async (everything: boolean, limit: number) => {
    const seen: string[] = []
    let cursor: Parameters<typeof stand.activities.listFixityDue>[0]['cursor'] = null
    do {
      const page = await stand.activities.listFixityDue({
        accountId: stand.accountId,
        everything,
        beganAtMs: rows[0]!.now.getTime() + 1,
        cursor,
        limit,
      })
      seen.push(...page.recordings.map(({ recordingId }) => recordingId))
      cursor = page.cursor
    } while (cursor !== null)
    return seen
  }
  // An account that has had its share of a pass leaves the rest to the next one.
  const share = { accountId: stand.accountId, asked: fixityPassLimit - 1, after: null }
  const last = { accountId: stand.accountId, beganAtMs: Date.now() + 1e12, cursor: share, limit: 5 }
  expect((await stand.activities.listFixityDue({ ...last, everything: false })).recordings).toHaveLength(1)
  expect((await stand.activities.listFixityDue({ ...last, everything: true })).recordings).toHaveLength(5)
  const due = async () => (await ask(false, 2)).filter((id) => keeps.some((kept) => kept.id === id))
  expect(await due()).toEqual([])
  const all = await ask(true, 2)
  expect(new Set(all).size).toBe(all.length)
  expect(keeps.every(({ id }) => all.includes(id))).toBe(true)
  await stand.admin.query(
    `update recordings set fixity_due_at = now() - interval '2 days' where id = '${keeps[1]!.id}'`,
  )
  await stand.admin.query(
    `update recordings set fixity_due_at = now() - interval '9 days' where id = '${keeps[2]!.id}'`,
  )
  expect(await due()).toEqual([keeps[2]!.id, keeps[1]!.id])
})

const old = (store: Store): Store =>
  withFailing(store, {
    async *list(at, signal) {
      for await (const info of store.list(at, signal)) yield { ...info, modifiedAtMs: Date.now() - 3 * 86_400_000 }
    },
  })

test('renditions of attempts that do not count go; what a row names, what is young and what may be somebody else’s stays', async () => {
  const kept = await keep()
  const primary = stand.stores['primary']!
  const prefix = `${stand.accountId}/${kept.id}`
  const stray = `${prefix}/renditions/run-0-1/720p.mp4`
  const part = [prefix, 'work', 'plan', 'run-0-1', '0-54p'].join('/')
  for (const key of [stray, part, `${prefix}/original.avi`, `${prefix}/notes.txt`])
    await overwrite(primary, key, damaged)
  const sweep = () => stand.run(() => stand.activities.removeStrays(stand.refOf(kept)))
  await stand.admin.query(`update recordings set state_since = now() - interval '3 days' where id = '${kept.id}'`)
  // Young: an attempt may be under way.
  expect(await sweep()).toBe(0)
  stand.placed.set('primary', old(primary))
  await stand.admin.query(`update recordings set state_since = now() where id = '${kept.id}'`)
  expect(await sweep()).toBe(0)
  await stand.admin.query(`update recordings set state_since = now() - interval '3 days' where id = '${kept.id}'`)
  expect(await sweep()).toBe(2)
  expect(await sweep()).toBe(0)
  stand.placed.set('primary', primary)
  expect(await bytesAt(primary, stray)).toBeNull()
  expect(await bytesAt(primary, part)).toBeNull()
  expect(await bytesAt(primary, `${prefix}/notes.txt`)).not.toBeNull()
  expect(await bytesAt(primary, `${prefix}/original.avi`)).not.toBeNull()
  expect(await stand.check(kept)).toMatchObject({ ok: 6 })
})

test('renditions of an encode that a person went on without go as well', async () => {
  const kept = await stand.keep({ 'original.mp4': Buffer.from('an original alone') })
  const primary = stand.stores['primary']!
  const stray = `${stand.accountId}/${kept.id}/renditions/run-0-1/720p.mp4`
  await overwrite(primary, stray, damaged)
  await stand.admin.query(`update recordings set state_since = now() - interval '3 days' where id = '${kept.id}'`)
  stand.placed.set('primary', old(primary))
  expect(await stand.run(() => stand.activities.removeStrays(stand.refOf(kept)))).toBe(1)
  stand.placed.set('primary', primary)
  expect(await bytesAt(primary, stray)).toBeNull()
  expect(await stand.check(kept)).toMatchObject({ ok: 4 })
})

test('every store is swept; one that does not answer keeps no other waiting', async () => {
  const primary = stand.stores['primary']!
  stand.placed.set(
    'primary',
    withFailing(primary, {
      sweepUnfinished: async () => {
        throw new ReelkeepError('store_unavailable', 'primary does not answer.')
      },
    }),
  )
  expect(await stand.run(() => stand.activities.sweepStores())).toEqual({ stores: 1, removed: 0, failed: 1 })
  stand.placed.set('primary', primary)
  expect(await stand.run(() => stand.activities.sweepStores())).toEqual({ stores: 2, removed: 0, failed: 0 })
})
