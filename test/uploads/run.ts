import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import { expect } from 'vitest'
import { openIngestStand, sha256 } from '../activities/ingest-fixture.ts'
import type { IngestStand } from '../activities/ingest-fixture.ts'
import { randomOf } from '../chaos/random.ts'
import { Actor } from './actor.ts'
import type { Originals } from './media.ts'
import { planStory } from './stories.ts'
import type { Place } from './uploader.ts'
import { judgeStory } from './verdict.ts'
import type { Evidence } from './verdict.ts'

const quietSeconds = 20
const lookEverySeconds = 5
/** Past the stall time after which what is broken is judged as it is. */
const afterlifeSeconds = 700
const takenInAtOnce = 3

/** Runs this many stories side by side in one inbox and names everything that went wrong; the seed repeats them. */
export async function runStories(options: {
  place: Place
  originals: Originals
  seed: number
  count: number
}): Promise<{ problems: string[]; accepted: number; broken: number }> {
  const { place, originals, count } = options
  const random = randomOf(options.seed)
  const stand = await openIngestStand({ inbox: place.inbox, quietMs: quietSeconds * 1000 })
  const bystanders = await addBystanders(stand, place, originals)
  // Families and kinds of media meet in another order with every seed.
  const first = random.whole(0, 9999)
  const actors = Array.from({ length: count }, (_, index) => {
    const number = first + index
    const directory = place.ownDirectories ? `hall-a/${number}` : 'hall-a'
    return new Actor(
      planStory(number, random.fork(`story ${number}`), { abilities: place.abilities, originals }, directory),
      place,
    )
  })
  try {
    for (const actor of actors) await place.makeDirectory(dirname(actor.story.path))
    const beganMs = stand.clock.nowMs
    const secondNow = () => (stand.clock.nowMs - beganMs) / 1000
    for (const actor of actors) actor.begin(beganMs, random.whole(1, 60))
    while (secondNow() < Math.max(...actors.map((actor) => actor.lastSecond)) + afterlifeSeconds) {
      const isBusy = actors.some((actor) => actor.isBusy(secondNow()))
      const pace = isBusy ? lookEverySeconds : 10 * lookEverySeconds
      await Promise.all(actors.map((actor) => actor.advance(secondNow() + pace)))
      await takeInAll(stand, actors, await stand.look(pace), secondNow())
    }
    const evidence = await collect(stand, actors)
    const problems = evidence.flatMap((one) => judgeStory(one, quietSeconds + 4 * lookEverySeconds))
    problems.push(...(await bystanders.whatChanged()))
    const pending = actors.filter((actor) => !actor.isOver)
    problems.push(...pending.map(({ story }) => `${story.title}: MISSED: it never got to where its story goes on`))
    return {
      problems,
      accepted: evidence.reduce((sum, one) => sum + one.accepted.length, 0),
      broken: evidence.filter((one) => one.ends !== 'whole').length,
    }
  } finally {
    await Promise.allSettled(actors.map((actor) => actor.close()))
    await stand.close()
  }
}

async function takeInAll(stand: IngestStand, actors: readonly Actor[], ids: readonly string[], second: number) {
  const paths = new Map((await stand.deposits()).map((deposit) => [deposit.id, deposit.path]))
  const queue = [...ids]
  const takeNext = async (): Promise<void> => {
    const id = queue.shift()
    if (id === undefined) return
    const actor = actors.find(({ story }) => story.path === paths.get(id))
    if (actor === undefined) throw new Error(`nobody uploaded ${paths.get(id)}`)
    await actor.reach('complete', second)
    const [result] = await Promise.all([stand.takeIn(id), actor.reach('being read', second)])
    if (result.kind === 'accepted') actor.acceptedAt.set(id, second)
    if (result.kind === 'accepted' || result.kind === 'duplicate') await actor.reach('accepted', second)
    await takeNext()
  }
  await Promise.all(Array.from({ length: takenInAtOnce }, takeNext))
}

async function collect(stand: IngestStand, actors: readonly Actor[]): Promise<Evidence[]> {
  const deposits = await stand.deposits()
  const recordings = await stand.recordings()
  return Promise.all(
    actors.map(async (actor): Promise<Evidence> => {
      const rows = deposits.filter((deposit) => deposit.path === actor.story.path)
      const own = recordings.filter(({ id }) => rows.some((row) => row.id === id))
      const files = await Promise.all(own.map(({ id }) => originalOf(stand, id)))
      return {
        title: actor.story.title,
        ends: actor.story.ends,
        meant: actor.story.contents.map(sha256),
        sightings: actor.sightings,
        lastStepSecond: actor.lastSecond,
        accepted: own.map(({ id, sha256: hash }) => ({ sha256: hash, atSecond: actor.acceptedAt.get(id) ?? -1 })),
        kept: files,
        deposits: rows,
        source: await actor.readHash(),
      }
    }),
  )
}

async function originalOf(stand: IngestStand, recordingId: string): Promise<string> {
  for await (const { key } of stand.primaryStore.list('')) {
    if (!key.includes(recordingId)) continue
    const hash = createHash('sha256')
    for await (const chunk of (await stand.primaryStore.read(key)) as AsyncIterable<Buffer>) hash.update(chunk)
    return hash.digest('hex')
  }
  return 'nothing'
}

/** Two deposits that are settled before the stories begin: one kept, one bad. Nothing may ever happen to them. */
async function addBystanders(stand: IngestStand, place: Place, originals: Originals) {
  const client = place.connect()
  await place.makeDirectory('hall-a/bystanders')
  const files = new Map([
    ['hall-a/bystanders/good.mp4', originals.make('mp4', 999_998)],
    ['hall-a/bystanders/bad.mp4', Buffer.from('no film')],
  ])
  for (const [path, content] of files) await client.put(path, content)
  await client.close()
  for (const id of await stand.lookUntilQuiet()) await stand.takeIn(id)
  const standing = async () => {
    const rows = (await stand.deposits()).filter(({ path }) => files.has(path))
    const states = rows.map(({ id, path, state, reason }) => [path, state, id, reason].join(' '))
    for (const [path, content] of files)
      states.push(`${path} ${(await place.read(path))?.equals(content) === true ? 'as it was' : 'changed'}`)
    return states.sort()
  }
  const before = await standing()
  expect(before).toEqual([
    expect.stringContaining('bad.mp4 as it was'),
    expect.stringContaining('bad.mp4 quarantined'),
    expect.stringContaining('good.mp4 accepted'),
    expect.stringContaining('good.mp4 as it was'),
  ])
  return {
    async whatChanged() {
      const after = await standing()
      return after.join() === before.join() ? [] : [`BYSTANDERS CHANGED: ${after.join('; ')}`]
    },
  }
}
