import { randomBytes } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import { msPer } from '../../src/domain/units.ts'
import { openStore } from '../../src/storage/open.ts'
import { startSeaweed } from '../servers/s3.ts'
import { listAll, options, readAll, sourceOf } from './contract.ts'

const stops: (() => Promise<unknown>)[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const stop of stops.splice(0).toReversed()) await stop()
})

test('a machine whose clock is set wrong, and right again, is refused nothing', async () => {
  const server = await startSeaweed()
  stops.push(() => server.stop())
  const store = openStore(server.url('clock'), () => server.secret)
  stops.push(() => store.close())
  const bytes = randomBytes(1000)
  await store.put('before', sourceOf(bytes), options(bytes))
  const rightNow = Date.now.bind(Date)
  for (const [name, days] of Object.entries({ ahead: 2, behind: -3, right: 0, 'ahead again': 1, 'and right': 0 })) {
    vi.spyOn(Date, 'now').mockImplementation(() => rightNow() + days * msPer.day)
    // Asked first by what gets no reason with its refusal (HEAD), then by the others.
    expect(await store.stat('before'), name).toMatchObject({ sizeBytes: 1000 })
    await store.put(name, sourceOf(bytes), options(bytes))
    expect((await readAll(store, name)).equals(bytes)).toBe(true)
    await store.delete('before')
    await store.put('before', sourceOf(bytes), options(bytes))
    expect((await listAll(store, '')).map(({ key }) => key)).toContain(name)
  }
})

test('a clock that is set while a refused request is under way, too', async () => {
  const server = await startSeaweed()
  stops.push(() => server.stop())
  const store = openStore(server.url('clock'), () => server.secret)
  stops.push(() => store.close())
  const bytes = randomBytes(1000)
  await store.put('kept', sourceOf(bytes), options(bytes))
  const rightNow = Date.now.bind(Date)
  vi.spyOn(Date, 'now').mockImplementation(() => rightNow() + 2 * msPer.day)
  const asked = store.stat('kept')
  // The request is signed in the next turns of the event loop; the answer takes longer than that.
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate)
  vi.spyOn(Date, 'now').mockImplementation(() => rightNow() - 2 * msPer.day)
  expect(await asked).toMatchObject({ sizeBytes: 1000 })
})
