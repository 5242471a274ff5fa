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

/** Up to here all matches of a word are read and sorted; beyond, they are read newest first until the page is full. */
const fewRows = 2000
/** Up to here each word that begins as asked gives its newest matches; beyond, all words are read, newest first. */
const fewWords = 300
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
  const counted = await countRows(tx, ranges)
  const [first, ...others] = counted.toSorted((a, b) => a.rows - b.rows || b.low.length - a.low.length)
  if (first === undefined || first.rows === 0) return null
  const filtered = scope.conditions.length === 0 ? null : await countFiltered(tx, scope)
  if (filtered !== null && filtered < Math.min(first.rows, fewRows)) return byRecordings(scope, counted)
  if (first.rows < fewRows) return byRange(scope, first, others)
  const words = await listWords(tx, first)
  return words.length > fewWords ? byTime(scope, first, others) : byWords(scope, words, others)
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

async function countRows(tx: AccountTx, ranges: readonly WordRange[]): Promise<(WordRange & { rows: number })[]> {
  if (ranges.length === 0) return []
  const counts = ranges.map(
    (range) => sql`(select count(*)::integer from (
      select 1 from recording_words w where ${within(range)} limit ${fewRows}) few)`,
  )
  const { rows } = await sql<{ counts: number[] }>`select array[${sql.join(counts)}] as counts`.execute(tx)
  return ranges.map((range, index) => ({ ...range, rows: rows[0]?.counts[index] ?? 0 }))
}

async function countFiltered(tx: AccountTx, { conditions }: MatchScope): Promise<number> {
  const { rows } = await sql<{ found: number }>`select count(*)::integer as found from (
    select 1 from recordings r where ${all(conditions)} limit ${fewRows}) few`.execute(tx)
  return rows[0]?.found ?? 0
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

function byRecordings({ conditions, place, limit }: MatchScope, ranges: readonly WordRange[]): RawBuilder<string> {
  const found = ranges.map((range) => has(sql`r.created_at`, sql`r.id`, range))
  return sql`select r.id from recordings r where ${all([...conditions, ...place(sql`r.created_at`, sql`r.id`), ...found])}
    order by r.created_at desc, r.id desc limit ${limit}`
}

function byRange(scope: MatchScope, first: WordRange, others: readonly WordRange[]): RawBuilder<string> {
  return sql`select m.recording_id from (select distinct w.created_at, w.recording_id ${matches(scope, within(first), others)}
    order by w.created_at desc, w.recording_id desc limit ${scope.limit}) m`
}

/** Through the words of all recordings, newest first: where so many match, the page is soon full. */
function byTime(scope: MatchScope, first: WordRange, others: readonly WordRange[]): RawBuilder<string> {
  return byRange(scope, first, others)
}

function byWords(scope: MatchScope, words: readonly string[], others: readonly WordRange[]): RawBuilder<string> {
  return sql`select m.recording_id from (select distinct n.created_at, n.recording_id
    from unnest(${words}::text[]) as asked (word) cross join lateral (
      select w.created_at, w.recording_id ${matches(scope, sql`w.word = asked.word`, others)}
      order by w.created_at desc, w.recording_id desc limit ${scope.limit}) n
    order by n.created_at desc, n.recording_id desc limit ${scope.limit}) m`
}

function matches({ conditions, place }: MatchScope, word: RawBuilder<boolean>, others: readonly WordRange[]) {
  const recording =
    conditions.length === 0
      ? []
      : [sql<boolean>`exists (select 1 from recordings r where r.id = w.recording_id and ${all(conditions)})`]
  const beside = others.map((range) => has(sql`w.created_at`, sql`w.recording_id`, range))
  const here = place(sql`w.created_at`, sql`w.recording_id`)
  return sql`from recording_words w where ${all([word, ...here, ...beside, ...recording])}`
}

function within({ low, high }: WordRange): RawBuilder<boolean> {
  return low === high ? sql`w.word = ${low}` : sql`w.word >= ${low} and w.word <= ${high}`
}

function has(createdAt: RawBuilder<unknown>, id: RawBuilder<unknown>, { low, high }: WordRange): RawBuilder<boolean> {
  return sql`exists (select 1 from recording_words o where o.created_at = ${createdAt} and o.recording_id = ${id}
    and o.word >= ${low} and o.word <= ${high})`
}

function all(conditions: readonly RawBuilder<boolean>[]): RawBuilder<boolean> {
  return sql.join(conditions, sql` and `)
}
