import { expect, it } from 'vitest'
import { makeOriginals } from './media.ts'
import { runStories } from './run.ts'
import { families } from './stories.ts'
import type { Place } from './uploader.ts'

/** Inboxes that the stories are divided among. */
const places = 6
/** As many as there are families of stories, so that each happens in every place. */
const wanted = process.env['REELKEEP_UPLOADS'] ?? String(places * families.length)
/** How many stories each place gets. `REELKEEP_UPLOADS` says how many there are in all: a number, or `full`. */
export const storiesEach = Math.ceil((wanted === 'full' ? 522 : Number(wanted)) / places)
/** Repeat a failing run with the SEED it printed. */
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))

/** One test: its share of uploads into one place, none accepted before it is whole, none missed. */
export function testUploads(what: string, open: () => Place): void {
  it(`${storiesEach} uploads ${what}: none is accepted before it is whole, none is missed`, async () => {
    console.log(`SEED=${seed} (${what})`)
    const originals = await makeOriginals()
    const { problems, accepted, broken } = await runStories({ place: open(), originals, seed, count: storiesEach })
    expect(problems).toEqual([])
    if (storiesEach >= 20) {
      expect(accepted).toBeGreaterThan(storiesEach / 2)
      expect(broken).toBeGreaterThan(0)
    }
  }, 1_800_000)
}
