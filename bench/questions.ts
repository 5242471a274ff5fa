import { writeCursor } from '../src/api/requests.ts'
import type { Database } from '../src/db/connect.ts'
import { msPer } from '../src/domain/units.ts'
import { stockOf, stockRecorder, stockTag, stockWord } from './stock.ts'

/** One kind of question to the list of recordings; the n-th time it is asked for something else. */
export interface Question {
  readonly what: string
  query(turn: number): string
}

/** What questions name in one account. */
export interface StockNames {
  readonly recorders: ReadonlyMap<string, string>
  readonly owners: readonly string[]
  /** Cursors evenly spread over the whole list, newest first. */
  readonly cursors: readonly string[]
  readonly nowMs: number
}

const cursorsInList = 20

/** Reads the ids that questions need: they are made anew with every stock. */
export async function findNames(db: Database, accountId: string, recordings: number): Promise<StockNames> {
  return db.asAccount(accountId, async (tx) => {
    const recorders = await tx.selectFrom('recorders').select(['id', 'name']).execute()
    const owners = await tx.selectFrom('people').select('id').where('name', 'like', 'Owner %').orderBy('name').execute()
    const cursors: string[] = []
    for (let part = 1; part < cursorsInList; part += 1) {
      const { id, created_at } = await tx
        .selectFrom('recordings')
        .select(['id', 'created_at'])
        .orderBy('created_at', 'desc')
        .orderBy('id', 'desc')
        .offset(Math.floor((recordings * part) / cursorsInList))
        .limit(1)
        .executeTakeFirstOrThrow()
      cursors.push(writeCursor({ atMs: created_at.getTime(), id }))
    }
    return {
      recorders: new Map(recorders.map(({ id, name }) => [name, id])),
      owners: owners.map(({ id }) => id),
      cursors,
      nowMs: Date.now(),
    }
  })
}

/** Every kind of question that is measured. */
export function questionsOn({ recorders, owners, cursors, nowMs }: StockNames): readonly Question[] {
  const at = <T>(list: readonly T[], turn: number) => list[turn % list.length]
  const ask = (what: string, parameters: (turn: number) => Readonly<Record<string, string | number | undefined>>) => ({
    what,
    query: (turn: number) =>
      new URLSearchParams(
        Object.entries(parameters(turn)).flatMap(([name, value]) =>
          value === undefined ? [] : [[name, String(value)] satisfies [string, string]],
        ),
      ).toString(),
  })
  const frequent = (turn: number) => stockWord(1 + (turn % 5))
  const usual = (turn: number) => stockWord(100 + 37 * turn)
  const rare = (turn: number) => stockWord(stockOf.words - 1 - 101 * turn)
  const room = (rank: number) => recorders.get(stockRecorder(rank))
  const month = (turn: number) => {
    const from = nowMs - Math.round((0.05 + 0.9 * ((turn * 0.37) % 1)) * stockOf.years * msPer.year)
    return { createdFromMs: from, createdBeforeMs: from + 30 * msPer.day }
  }
  return [
    ask('first page', () => ({})),
    ask('a page further down', (turn) => ({ cursor: at(cursors, turn) })),
    ask('a state that most have', (turn) => ({
      state: 'retained',
      cursor: turn % 2 === 0 ? undefined : at(cursors, turn),
    })),
    ask('a state that few have', (turn) => ({ state: ['awaiting_claim', 'encoding', 'trashed'][turn % 3] })),
    ask('a busy recorder', (turn) => ({ recorderId: room(1 + (turn % 4)) })),
    ask('a quiet recorder, further down', (turn) => ({
      recorderId: room(stockOf.recorders - (turn % 20)),
      cursor: at(cursors, turn),
    })),
    ask('an owner', (turn) => ({ ownerId: at(owners, 17 * turn) })),
    ask('a recorder and a state', (turn) => ({ recorderId: room(1 + 3 * (turn % 20)), state: 'awaiting_claim' })),
    ask('a month', month),
    ask('a month and a state', (turn) => ({
      ...month(turn),
      state: at(['trashed', 'awaiting_claim', 'purged'], turn),
    })),
    ask('needs attention', () => ({ problem: 'true' })),
    ask('a common tag', (turn) => ({ tag: stockTag(1 + (turn % 5)) })),
    ask('a rare tag', (turn) => ({ tag: stockTag(stockOf.tags - (turn % 50)) })),
    ask('a tag and a state', (turn) => ({ tag: stockTag(1 + (turn % 40)), state: 'awaiting_claim' })),
    ask('a word in a third of all', () => ({ text: 'lecture' })),
    ask('the same, further down', (turn) => ({ text: 'lecture', cursor: at(cursors, turn) })),
    ask('a frequent word', (turn) => ({ text: frequent(turn) })),
    ask('a usual word', (turn) => ({ text: usual(turn) })),
    ask('a rare word', (turn) => ({ text: rare(turn) })),
    ask('a word of accents, in capitals', () => ({ text: 'ÜBUNG' })),
    ask('a word without a hit', (turn) => ({ text: `nothing${turn}` })),
    ask('two frequent words', (turn) => ({ text: `lecture ${frequent(turn)}` })),
    ask('a frequent and a usual word', (turn) => ({ text: `${frequent(turn)} ${usual(turn)}` })),
    ask('two usual words', (turn) => ({ text: `${usual(turn)} ${usual(turn + 1)}` })),
    ask('three words', (turn) => ({ text: `lecture ${frequent(turn)} ${usual(turn)}` })),
    ask('the first four letters of a word', (turn) => ({ text: usual(turn).slice(0, 4) })),
    ask('the first two letters of a word', (turn) => ({ text: usual(turn).slice(0, 2) })),
    ask('the first letter of a word', (turn) => ({ text: usual(turn).slice(0, 1) })),
    ask('the first digits of a number', (turn) => ({ text: String(1000 + 37 * turn).slice(0, 3) })),
    ask('a frequent word and a state', (turn) => ({ text: frequent(turn), state: 'awaiting_claim' })),
    ask('a frequent word and a recorder', (turn) => ({ text: frequent(turn), recorderId: room(1 + (turn % 60)) })),
    ask('a usual word in a month', (turn) => ({ text: usual(turn), ...month(turn) })),
  ]
}
