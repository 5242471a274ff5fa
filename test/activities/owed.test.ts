import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOwedActivities } from '../../src/activities/owed.ts'
import { createReconcileActivities } from '../../src/activities/reconcile.ts'
import { ensureStore } from '../../src/db/accounts.ts'
import { beginRebuiltRound } from '../../src/db/life-rounds.ts'
import { findOwedFacts, listOwing } from '../../src/db/owed.ts'
import { planOwed } from '../../src/domain/owed.ts'
import { openFixityStand, overwrite } from './fixity-stand.ts'
import type { FixityStand, Kept } from './fixity-stand.ts'

let stand: FixityStand
let activities: ReturnType<typeof createOwedActivities>

beforeAll(async () => {
  stand = await openFixityStand()
  const place = (name: string) => ({ id: stand.ids[name]!, name, site: name, store: stand.placed.get(name)! })
  const stores = {
    open: async (_accountId: string, id: string) =>
      place(Object.keys(stand.ids).find((name) => stand.ids[name] === id)!),
    primary: async () => place('primary'),
    backups: async () => [place('backup')],
    close: async () => undefined,
  }
  activities = createOwedActivities({ db: stand.db, stores })
})
afterAll(() => stand?.close())

const contents = (text: string) => ({ 'original.mp4': Buffer.from(text), 'a.mp4': Buffer.from(`${text} made smaller`) })
const make = (kept: Kept, name: string) =>
  stand.run(() => activities.makeOwedCopies(stand.refOf(kept), stand.ids[name]!))
const read = (kept: Kept, name: string) =>
  stand.run(() => activities.readOwedCopies(stand.refOf(kept), stand.ids[name]!))
const copiesIn = async (kept: Kept, name: string) =>
  (await stand.detail(kept)).copies.filter(({ storeName }) => storeName === name)
const setState = (kept: Kept, state: 'disposition_requested' | 'approved' | 'trashed' | 'purging') =>
  stand.admin.query('update recordings set state = $1 where id = $2', [state, kept.id])

test('copies that a store lacks are made once, and count once they are read back', async () => {
  const kept = await stand.keep(contents('one'), ['primary'])
  const ref = stand.refOf(kept)
  expect(await activities.findOwed(ref)).toEqual({ storeIds: [stand.ids['backup']], source: false })
  expect(await make(kept, 'backup')).toBe(3)
  expect((await copiesIn(kept, 'backup')).map(({ state }) => state)).toEqual(['stored', 'stored', 'stored'])
  expect(await make(kept, 'backup')).toBe(0)
  expect(await read(kept, 'backup')).toBe(3)
  expect(await read(kept, 'backup')).toBe(0)
  expect(await activities.findOwed(ref)).toEqual({ storeIds: [], source: false })
  const { timeline } = await stand.detail(kept)
  expect(timeline.filter(({ action }) => action === 'copy.verified').map(({ detail }) => detail)).toEqual([
    { store: 'backup', copies: 3 },
  ])
})

test('a copy that reads back as other bytes is a failure, however often it is asked, until it is made again', async () => {
  const kept = await stand.keep(contents('altered'), ['primary'])
  await make(kept, 'backup')
  const { key, bytes } = kept.files[0]!
  await overwrite(stand.stores['backup']!, key, Buffer.from('rot'))
  await expect(read(kept, 'backup')).rejects.toMatchObject({ code: 'store_alters_bytes' })
  await expect(read(kept, 'backup')).rejects.toMatchObject({ code: 'store_alters_bytes' })
  expect(await make(kept, 'backup')).toBe(1)
  expect(await read(kept, 'backup')).toBe(1)
  expect((await stand.stores['backup']!.stat(key))?.sizeBytes).toBe(bytes.length)
  expect((await copiesIn(kept, 'backup')).every(({ state }) => state === 'verified')).toBe(true)
})

test('a bad copy is never made good from: the owed one waits, and the next pass checks', async () => {
  const kept = await stand.keep(contents('bad source'), ['primary'])
  const { key } = kept.files[0]!
  await overwrite(stand.stores['primary']!, key, Buffer.from('rot'))
  await expect(make(kept, 'backup')).rejects.toMatchObject({ code: 'copies_not_verified' })
  expect(await stand.stores['backup']!.stat(key)).toBe(null)
  const due = await stand.admin.query('select fixity_due_at <= now() as due from recordings where id = $1', [kept.id])
  expect(due.rows).toEqual([{ due: true }])
})

test('whose deletion is requested gets none, and nothing comes back behind a purge', async () => {
  const kept = await stand.keep(contents('leaving'), ['primary'])
  const store = stand.stores['backup']!
  stand.placed.set('backup', {
    ...store,
    // The decisions are made while the first copy is under way.
    put: async (key, source, options) => {
      const put = await store.put(key, source, options)
      await setState(kept, 'purging')
      return put
    },
  })
  try {
    expect(await make(kept, 'backup')).toBe(0)
    for (const { key } of kept.files) expect(await store.stat(key)).toBe(null)
  } finally {
    stand.placed.set('backup', store)
  }
  for (const state of ['disposition_requested', 'approved', 'trashed', 'purging'] as const) {
    await setState(kept, state)
    expect(await make(kept, 'backup'), state).toBe(0)
    expect(await activities.findOwed(stand.refOf(kept)), state).toEqual({ storeIds: [], source: false })
  }
})

test('a store that does not answer is told nothing: no row makes a purge wait for it', async () => {
  const kept = await stand.keep(contents('away'), ['primary'])
  const store = stand.stores['backup']!
  const away = async () => Promise.reject(new Error('away'))
  stand.placed.set('backup', { ...store, stat: away, put: away })
  try {
    await expect(make(kept, 'backup')).rejects.toThrow('away')
    expect(await copiesIn(kept, 'backup')).toEqual([])
  } finally {
    stand.placed.set('backup', store)
  }
})

/** Numbers that look random and are the same in every run. */
function drawFrom(seed: number): <T>(from: readonly T[]) => T {
  let state = seed
  return (from) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return from[(state >> 8) % from.length]!
  }
}

test('the question for a whole page finds what the rule for one recording says', { timeout: 120_000 }, async () => {
  const draw = drawFrom(20261125)
  await stand.db.asAccount(stand.accountId, (tx) =>
    ensureStore(tx, { name: 'third', site: 'c', role: 'backup', url: 'local:/third' }),
  )
  const ids: string[] = []
  for (let index = 0; index < 120; index += 1) {
    const kept = await stand.keep(contents(`drawn ${index}`))
    ids.push(kept.id)
    if (draw([true, true, false]))
      await stand.admin.query(
        `insert into copies (account_id, recording_id, file_id, store_id, state, verified_at)
       select f.account_id, f.recording_id, f.id, s.id, 'verified', now() from files f, stores s
       where f.recording_id = $1 and s.name = 'third' and s.account_id = f.account_id`,
        [kept.id],
      )
    await stand.admin.query(
      `update copies set state = $2, verified_at = case when $3 then now() end, check_result = $4,
         checked_at = case when $4::text is not null then now() end, check_since = case when $4::text is not null then now() end
       where id = (select id from copies where recording_id = $1 order by md5(id::text) limit 1) and ($3 or $2 <> 'verified')`,
      [
        kept.id,
        draw(['stored', 'verified', 'failed']),
        draw([true, false]),
        draw([null, 'ok', 'failed', 'could_not_run']),
      ],
    )
    if (draw([true, false, false]))
      await stand.admin.query('delete from copies where id = (select id from copies where recording_id = $1 limit 1)', [
        kept.id,
      ])
    if (draw([true, false]))
      await stand.admin.query(
        `update deposits set state = $2, reason_code = $3, recording_id = id, settled_at = now() where id = $1`,
        [kept.id, draw(['accepted', 'duplicate', 'released']), draw([null, null, 'changed_while_read'])],
      )
    if (draw([true, false, false]))
      await stand.admin.query(
        `insert into problems (account_id, recording_id, stage, code, message, attempts, options, resolved_at, resolution)
         values ($1, $2, $3, 'store_unavailable', 'x', 1, '{retry,skip}', now() + $4::interval, $5)`,
        [stand.accountId, kept.id, draw(['archive', 'replicate']), draw(['1 hour', '-1 day']), draw(['skip', 'done'])],
      )
    if (draw([true, false, false, false])) await setState(kept, 'disposition_requested')
  }
  await stand.db.asAccount(stand.accountId, async (tx) => {
    const ruled: string[] = []
    for (const id of ids) {
      const { stores, source } = planOwed((await findOwedFacts(tx, id))!)
      if (stores.length > 0 || source) ruled.push(id)
    }
    expect([...(await listOwing(tx, ids))].sort()).toEqual(ruled.sort())
    // Neither all of them nor none: the comparison says something.
    expect(ruled.length).toBeGreaterThan(20)
    expect(ruled.length).toBeLessThan(100)
  })
})

test('what is parked with a person is not woken', async () => {
  const kept = await stand.keep(contents('parked'), ['primary'])
  const isOwing = () => stand.db.asAccount(stand.accountId, async (tx) => (await listOwing(tx, [kept.id])).has(kept.id))
  expect(await isOwing()).toBe(true)
  await stand.admin.query(
    `insert into problems (account_id, recording_id, stage, code, message, attempts, options)
     values ($1, $2, 'archive', 'store_unavailable', 'x', 1, '{retry,skip}')`,
    [stand.accountId, kept.id],
  )
  expect(await isOwing()).toBe(false)
})

/** One turn of the reconciliation: whom it came past, and whom it told to look at what they owe. */
async function turn(): Promise<{ readonly past: string[]; readonly woken: string[] }> {
  const seen = { past: [] as string[], woken: [] as string[] }
  const { startMissingLives } = createReconcileActivities({
    db: stand.db,
    startRecording: async ({ recordingId }, { wake } = { wake: false }) => {
      seen.past.push(recordingId)
      if (wake) seen.woken.push(recordingId)
    },
  })
  await new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(startMissingLives)
  return seen
}

const addStore = (name: string, role: 'backup' | 'inbox' = 'backup') =>
  stand.db.asAccount(stand.accountId, (tx) => ensureStore(tx, { name, site: name, role, url: `local:/${name}` }))

async function restOfRound(): Promise<{ readonly past: string[]; readonly woken: string[] }> {
  const all = { past: [] as string[], woken: [] as string[] }
  for (;;) {
    const { past, woken } = await turn()
    if (past.length === 0) return all
    expect(woken.length).toBeLessThanOrEqual(100)
    all.past.push(...past)
    all.woken.push(...woken)
  }
}

test('a store that is added begins a round, which wakes those that owe, a bounded number in a turn', async () => {
  await restOfRound()
  await addStore('fourth')
  const kept = await stand.admin.query<{ id: string; state: string }>('select id, state from recordings')
  const owing = await stand.db.asAccount(stand.accountId, (tx) =>
    listOwing(
      tx,
      kept.rows.map(({ id }) => id),
    ),
  )
  expect(owing.size).toBeGreaterThan(50)
  const round = await restOfRound()
  expect(round.past.toSorted()).toEqual(kept.rows.map(({ id }) => id).toSorted())
  expect(round.woken.toSorted()).toEqual([...owing].toSorted())
  // The same store again, and an inbox, are nothing to look for copies in.
  await addStore('fourth')
  await addStore('another inbox', 'inbox')
  expect(await turn()).toEqual({ past: [], woken: [] })
})

test('no more are woken in one turn than can be served, and the next goes on behind them', async () => {
  for (let index = 0; index < 60; index += 1) await stand.keep(contents(`many ${index}`), ['primary'])
  await addStore('fifth')
  const first = await turn()
  expect(first.woken).toHaveLength(100)
  expect(first.past.at(-1)).toBe(first.woken.at(-1))
  const rest = await restOfRound()
  expect(rest.past.filter((id) => first.past.includes(id))).toEqual([])
  expect(rest.woken.length).toBeGreaterThan(0)
})

test('a store that is added during a round of rebuilt rows does not end its waking', async () => {
  await stand.db.asAccount(stand.accountId, (tx) => beginRebuiltRound(tx))
  await addStore('sixth')
  const { past, woken } = await turn()
  expect(woken).toEqual(past)
})
