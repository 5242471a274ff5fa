import { sql } from 'kysely'
import type { RawBuilder } from 'kysely'
import type { AccountTx } from './connect.ts'

/** What people look for in titles, descriptions and tags. */
export interface WordSearch {
  /** Every word of it begins a word of the recording. */
  readonly text?: string
  /** A whole tag. */
  readonly tag?: string
}

/** Where the newest matches are looked for, and what else has to be true of them. */
export interface MatchScope {
  /** Conditions on the recording `r`; none where words alone decide. */
  readonly conditions: readonly RawBuilder<boolean>[]
  /** Which part of the list is meant, said of the columns that hold a recording's time and id. */
  readonly place: (createdAt: RawBuilder<unknown>, id: RawBuilder<unknown>) => readonly RawBuilder<boolean>[]
  readonly limit: number
}

/** Words from `low` up to `high`, in the order of bytes. */
interface WordRange {
  readonly low: string
  readonly high: string
}

/** With the number of rows in them, as far as it was counted. */
interface CountedRange extends WordRange {
  readonly rows: number
}

/** Up to here all matches of a word are read and sorted; beyond, they are read newest first until the page is full. */
const fewRows = 2000
/**
 * Up to here each word that begins as asked gives its newest matches. Where more begin so, they are read by time, whatever
 * word it is: the page is soon full.
 */
const fewWords = 300
/** Of several words the rarest must be known: they are counted up to here. Two that are as frequent as that fill a page soon. */
const manyRows = 10_000
const lastCharacter = '\u{10FFFF}'

/**
 * The ids of the newest recordings that a search finds, as a subquery; null where it can find none. The rarest word leads,
 * because what the others leave over must be read: which one that is, is counted first, no further than needed.
 */
export async function findMatches(
  tx: AccountTx,
  search: WordSearch,
  scope: MatchScope,
): Promise<RawBuilder<string> | null> {
  const ranges = await readRanges(tx, search)
  if (ranges === null) return null
  const alone = ranges.length + scope.conditions.length === 1
  const counted = await countRows(tx, ranges, alone ? fewRows : manyRows)
  const [first, ...others] = counted.toSorted((a, b) => a.rows - b.rows || b.low.length - a.low.length)
  if (first === undefined || first.rows === 0) return null
  const filtered = await countFiltered(tx, scope)
  if (filtered < first.rows) return byRecordings(scope, counted, filtered)
  const beside = [
    ...others.map((other) => hasToo(other, first.rows)),
    ...(scope.conditions.length === 0 ? [] : [isAmong(scope.conditions, filtered, first.rows)]),
  ]
  if (first.rows < fewRows) return byFewRows(scope, first, beside)
  const words = await listWords(tx, first)
  return words.length > fewWords ? byTime(scope, first, beside) : byWords(scope, words, beside)
}

/**
 * Text becomes words where it is compared with them: in the database, by the function that made the stored ones. Null for
 * a text without any letter or digit.
 */
async function readRanges(tx: AccountTx, { text, tag }: WordSearch): Promise<WordRange[] | null> {
  const { rows } = await sql<{ words: string[]; tag: string | null }>`
    select words_of(${text ?? ''}::text) as words, '#' || fold_text(${tag ?? null}::text) as tag`.execute(tx)
  const words = rows[0]?.words ?? []
  if (text !== undefined && words.length === 0) return null
  // A word that another one begins with is found with it.
  const needed = words.filter((word) => !words.some((other) => other !== word && other.startsWith(word)))
  const ranges = needed.map((word) => ({ low: word, high: word + lastCharacter }))
  const whole = rows[0]?.tag ?? null
  return whole === null ? ranges : [...ranges, { low: whole, high: whole }]
}

async function countRows(tx: AccountTx, ranges: readonly WordRange[], most: number): Promise<CountedRange[]> {
  if (ranges.length === 0) return []
  const counts = ranges.map(
    (range) => sql`(select count(*)::integer from (
      select 1 from recording_words w where ${within(range)} limit ${most}) counted)`,
  )
  const { rows } = await sql<{ counts: number[] }>`select array[${sql.join(counts)}] as counts`.execute(tx)
  return ranges.map((range, index) => ({ ...range, rows: rows[0]?.counts[index] ?? 0 }))
}

/** How many recordings fulfil the conditions. Several at once, which no index answers, are not counted as far as one. */
async function countFiltered(tx: AccountTx, { conditions }: MatchScope): Promise<number> {
  if (conditions.length === 0) return Infinity
  const enough = conditions.length === 1 ? manyRows : fewRows
  const { rows } = await sql<{ found: number }>`select count(*)::integer as found from (
    select 1 from recordings r where ${all(conditions)} limit ${enough}) counted`.execute(tx)
  const found = rows[0]?.found ?? 0
  return found === enough ? Infinity : found
}

/** Jumps from word to word: the rows of one word are not read for finding the next. */
async function listWords(tx: AccountTx, range: WordRange): Promise<string[]> {
  const { rows } = await sql<{ word: string }>`
    with recursive found (word) as (
      (select word from recording_words w where ${within(range)} order by word limit 1)
      union all
      select (select w.word from recording_words w where w.word > found.word and w.word <= ${range.high} order by w.word limit 1)
      from found where found.word is not null)
    select word from found where word is not null limit ${fewWords + 1}`.execute(tx)
  return rows.map(({ word }) => word)
}

/** Few recordings are left by the filter: each is asked for the words. */
function byRecordings(
  { conditions, place, limit }: MatchScope,
  ranges: readonly CountedRange[],
  filtered: number,
): RawBuilder<string> {
  const recording = { createdAt: sql`r.created_at`, id: sql`r.id` }
  const found = ranges.map((range) => hasToo(range, filtered, recording))
  return sql`select r.id from recordings r where ${all([...conditions, ...place(recording.createdAt, recording.id), ...found])}
    order by r.created_at desc, r.id desc limit ${limit}`
}

/** All rows of the word are read, then sorted. */
function byFewRows(scope: MatchScope, first: CountedRange, beside: readonly RawBuilder<boolean>[]): RawBuilder<string> {
  const rows = sql`(select w.created_at, w.recording_id from recording_words w where ${within(first)} ${asItStands}) w`
  return idsOf(sql`select distinct w.created_at, w.recording_id from ${rows} ${newest(scope, [], beside)}`)
}

/** The words of all recordings are read by time, until enough of them are in the range. */
function byTime(scope: MatchScope, first: CountedRange, beside: readonly RawBuilder<boolean>[]): RawBuilder<string> {
  return idsOf(sql`select distinct w.created_at, w.recording_id from recording_words w
    ${newest(scope, [within(first)], beside)}`)
}

/** Each word gives its newest recordings, as its index has them. */
function byWords(
  scope: MatchScope,
  words: readonly string[],
  beside: readonly RawBuilder<boolean>[],
): RawBuilder<string> {
  return idsOf(sql`select distinct n.created_at, n.recording_id
    from unnest(${words}::text[]) as asked (word) cross join lateral (
      select w.created_at, w.recording_id from recording_words w
      ${newest(scope, [sql`w.word = asked.word`], beside)}) n
    order by n.created_at desc, n.recording_id desc limit ${scope.limit}`)
}

function idsOf(rows: RawBuilder<unknown>): RawBuilder<string> {
  return sql`select m.recording_id from (${rows}) m`
}

/** The newest rows of words that fulfil everything else, too. */
function newest(
  { place, limit }: MatchScope,
  words: readonly RawBuilder<boolean>[],
  beside: readonly RawBuilder<boolean>[],
): RawBuilder<unknown> {
  return sql`where ${all([...words, ...place(ofWord.createdAt, ofWord.id), ...beside])}
    order by w.created_at desc, w.recording_id desc limit ${limit}`
}

/**
 * Keeps Postgres from making one join out of a question and the list it is asked of: it cannot know how common a word
 * is in this account, and would read all of both where the first rows of one are enough.
 */
const asItStands = sql`offset 0`

function within({ low, high }: WordRange): RawBuilder<boolean> {
  return low === high ? sql`w.word = ${low}` : sql`w.word >= ${low} and w.word <= ${high}`
}

/** Where a question has about as few rows as what it is asked of, reading all of them once is cheaper than asking each time. */
function readsAll(rows: number, askedOf: number): boolean {
  return rows < Math.min(manyRows, 10 * askedOf)
}

/** The recording has a word of this range, too. */
function hasToo({ low, high, rows }: CountedRange, askedOf: number, { createdAt, id } = ofWord): RawBuilder<boolean> {
  const range = sql`o.word >= ${low} and o.word <= ${high}`
  return readsAll(rows, askedOf)
    ? sql`(${id} in (select o.recording_id from recording_words o where ${range} ${asItStands})) is true`
    : sql`exists (select 1 from recording_words o
        where o.created_at = ${createdAt} and o.recording_id = ${id} and ${range} ${asItStands})`
}

/** The recording of this row of words fulfils the conditions. */
function isAmong(conditions: readonly RawBuilder<boolean>[], rows: number, askedOf: number): RawBuilder<boolean> {
  return readsAll(rows, askedOf)
    ? sql`(w.recording_id in (select r.id from recordings r where ${all(conditions)} ${asItStands})) is true`
    : sql`exists (select 1 from recordings r
        where r.created_at = w.created_at and r.id = w.recording_id and ${all(conditions)} ${asItStands})`
}

const ofWord = { createdAt: sql`w.created_at`, id: sql`w.recording_id` }

function all(conditions: readonly RawBuilder<boolean>[]): RawBuilder<boolean> {
  return conditions.length === 0 ? sql`true` : sql.join(conditions, sql` and `)
}
