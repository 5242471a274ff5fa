import { Client } from 'pg'
import { fillRows } from './stock-rows.ts'

/** An account that is to be filled, and how much with. */
export interface StockSize {
  readonly accountId: string
  readonly inboxId: string
  readonly recordings: number
  /** Files, copies and audit rows too, as every kept recording has them. */
  readonly whole: boolean
}

/** Different words, tags, recorders and owners. Of each, the n-th is chosen an n-th as often as the first. */
export const stockOf = { words: 30_000, tags: 400, recorders: 80, owners: 500, years: 5 } as const

/** Tables of which every recording of a stock has its rows, and those of which only a whole one has. */
const everywhere = ['recordings', 'recording_words', 'deposits', 'problems'] as const
const wholeOnly = ['files', 'copies', 'audit_events'] as const

/** Bytes of each table with its indexes, for one recording. */
export async function measureStock(
  ownerUrl: string,
  sizes: readonly StockSize[],
): Promise<ReadonlyMap<string, number>> {
  const client = new Client({ connectionString: ownerUrl })
  await client.connect()
  try {
    const count = (some: readonly StockSize[]) => some.reduce((sum, { recordings }) => sum + recordings, 0)
    const [all, whole] = [count(sizes), count(sizes.filter((size) => size.whole))]
    const { rows } = await client.query<{ name: string; bytes: string }>(
      'select t.name, pg_total_relation_size(t.name::regclass) as bytes from unnest($1::text[]) as t (name)',
      [[...everywhere, ...wholeOnly]],
    )
    const isWholeOnly = (name: string) => wholeOnly.some((one) => one === name)
    return new Map(rows.map(({ name, bytes }) => [name, Number(bytes) / (isWholeOnly(name) ? whole : all)]))
  } finally {
    await client.end()
  }
}

/**
 * Fills accounts with recordings whose titles, descriptions, tags, recorders, owners and states are spread as real ones
 * are: a few are everywhere, most are rare. They are written in sets, not one by one; what triggers keep otherwise is
 * written by the same functions, and afterwards every trigger, key and index stands as before.
 */
export async function fillStock(ownerUrl: string, sizes: readonly StockSize[]): Promise<void> {
  const client = new Client({ connectionString: ownerUrl })
  await client.connect()
  try {
    await client.query(
      `set maintenance_work_mem = '512MB'; set work_mem = '128MB'; set synchronous_commit = off; set jit = off`,
    )
    await client.query(generators)
    const restore = await takeOff(client)
    for (const size of sizes) await fillAccount(client, size)
    for (const statement of restore) await client.query(statement)
    await client.query('vacuum analyze')
  } finally {
    await client.end()
  }
}

/** Sets triggers, keys and indexes aside while tables are filled, and says how to put them back. */
async function takeOff(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ off: string; back: string }>(
    `select format('alter table %s disable trigger user', t) as off, format('alter table %s enable trigger user', t) as back
       from unnest($1::regclass[]) t
     union all
     select format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
       from pg_index i where indrelid = any($1::regclass[]) and not exists (select 1 from pg_constraint where conindid = i.indexrelid)
     union all
     select format('alter table %s drop constraint %I', conrelid::regclass, conname),
         format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
       from pg_constraint c where conrelid = any($1::regclass[]) and (contype = 'f' or contype in ('p', 'u')
         and not exists (select 1 from pg_constraint key where key.contype = 'f' and key.conindid = c.conindid))`,
    [['deposits', 'recordings', 'recording_words']],
  )
  for (const { off } of rows) await client.query(off)
  return rows.map(({ back }) => back)
}

const syllables = 'tamorilesukavinopedagufihobaceduwejyloxsiqmubeanirotelapuzkigo'

/** The n-th commonest word: computed, so that a word as common as wanted can be asked for. */
export function stockWord(rank: number): string {
  const length = rank < 31 ? 3 : rank < 961 ? 4 : 5
  const at = Array.from({ length }, (_, index) => 2 * (Math.floor((rank * 7919) / 31 ** index) % 31))
  return at.map((from) => syllables.slice(from, from + 2)).join('')
}

/** The n-th commonest tag. */
export function stockTag(rank: number): string {
  return `${stockWord(rank)} ${rank % 15}`
}

/** The name of the n-th busiest recorder. */
export function stockRecorder(rank: number): string {
  return `Room ${rank}`
}

const generators = `
  create function pg_temp.rank_of(most integer) returns integer language sql volatile as
    $$select least(most, floor(exp(random() * ln(most + 1)))::integer)$$;
  create temp table vocabulary as
    select rank, (select string_agg(substr('${syllables}', 1 + 2 * (((rank * 7919) / (31 ^ i)::integer) % 31), 2), '' order by i)
      from generate_series(0, case when rank < 31 then 2 when rank < 961 then 3 else 4 end) i) as word
    from generate_series(1, ${stockOf.words}) rank;
  analyze vocabulary`

async function fillAccount(client: Client, { accountId, inboxId, recordings, whole }: StockSize): Promise<void> {
  await client.query(`select set_config('app.account', $1, false), setseed(0.5)`, [accountId])
  await client.query(
    `insert into recorders (account_id, inbox_id, name, directory, assignment)
     select $1, $2, 'Room ' || n, 'room-' || n, 'claim' from generate_series(1, ${stockOf.recorders}) n`,
    [accountId, inboxId],
  )
  await client.query(
    `insert into people (account_id, name, email, roles)
     select $1, 'Owner ' || n, 'owner-' || n || '@example.org', '{user}' from generate_series(1, ${stockOf.owners}) n`,
    [accountId],
  )
  await client.query(stock, [recordings])
  await client.query('analyze stock')
  await client.query(depositRows, [accountId, inboxId])
  await client.query(recordingRows, [accountId])
  await client.query(wordRows)
  await client.query(problemRows, [accountId])
  await client.query(countRows, [accountId])
  await client.query('drop table stock')
  if (whole) await fillRows(client, accountId)
}

const said = (many: string) => `
  select n, string_agg(word, ' ') as words
  from (select n, pg_temp.rank_of(${stockOf.words}) as rank from generate_series(1, $1::integer) n, generate_series(1, ${many})) chosen
    join vocabulary using (rank) group by n`

const stock = `
  create temp table stock as
  with titles as (${said('2 + n % 3')}), descriptions as (${said('case n % 3 when 0 then 8 + n % 17 else 0 end')}),
    tags as (select n, array_agg(word || ' ' || rank % 15) as tags
      from (select n, pg_temp.rank_of(${stockOf.tags}) as rank from generate_series(1, $1::integer) n, generate_series(1, n % 4)) chosen
        join vocabulary using (rank) group by n)
  select n, gen_random_uuid() as id,
    now() - interval '${stockOf.years} years' * (($1::integer - n + random()) / $1::integer) as created_at,
    pg_temp.rank_of(${stockOf.recorders}) as recorder, pg_temp.rank_of(${stockOf.owners}) as owner, random() as fate,
    (array['Lecture', 'Seminar', 'Call', 'Übung', 'Défense', 'Session'])[pg_temp.rank_of(6)]
      || ' ' || titles.words || case n % 4 when 0 then ' ' || n else '' end as title,
    coalesce(descriptions.words, '') as description, coalesce(tags.tags, '{}') as tags
  from titles left join descriptions using (n) left join tags using (n)`

const depositRows = `
  insert into deposits (id, account_id, inbox_id, recorder_id, path, size_bytes, mtime_ms, file_id, first_seen_at, changed_at,
    looks, state, end_signal, sha256, recording_id, complete_at, settled_at)
  select s.id, $1, $2, r.id, r.directory || '/2026/lecture-' || s.n || '.mp4', 700000000 + s.n, 1700000000000 + s.n, '64769:' || s.n,
    s.created_at - interval '1 minute', s.created_at - interval '1 minute', 2, 'released', 'rename',
    encode(sha256(s.id::text::bytea), 'hex'), s.id, s.created_at, s.created_at
  from stock s join recorders r on r.account_id = $1 and r.name = 'Room ' || s.recorder
  order by s.n`

const media =
  '{"container":"mov,mp4,m4a,3gp,3g2,mj2","durationMs":5400000,"sizeBytes":700000000,"video":{"codec":"h264","profile":"High","level":40,"pixelFormat":"yuv420p","widthPx":1920,"heightPx":1080,"framesPerSecond":25,"interlaced":false,"hdr":false,"rotationDegrees":0},"audio":{"codec":"aac","profile":"LC","channels":2,"sampleRateHz":48000},"streamCount":2,"title":null,"notes":[]}'
const encodePlan =
  '{"hls":true,"kind":"remux","rungs":[{"name":"source","audio":"copy","video":"copy","heightPx":null}],"poster":true,"reason":"H.264 High + AAC plays in browsers as it is: copied, not encoded","sprite":true,"audioOnly":true}'
const retention =
  '{"reason":"Recordings are kept for two years (rule default, 2 y)","ruleId":"default","actions":[{"atMs":1856097901716,"kind":"remind","reason":"30 d before retention ends"},{"atMs":1858085101716,"kind":"remind","reason":"7 d before retention ends"},{"atMs":1858689901716,"kind":"request_disposition","reason":"Recordings are kept for two years (rule default, 2 y)"},{"atMs":1859899501716,"kind":"purge_after_approval","reason":"1 approval(s), then 14 d to undo"}],"extendedToMs":null,"policyVersion":1,"retainUntilMs":1858689901716}'

const recordingRows = `
  insert into recordings (id, account_id, recorder_id, deposit_id, state, title, description, tags, owner_id, sha256, size_bytes,
    media, encode_plan, plan, waiting_for, next_step, next_at, plan_hash, retain_until, created_at, state_since)
  select s.id, $1, r.id, s.id,
    case when s.fate < 0.004 then 'awaiting_claim' when s.fate < 0.005 then 'encoding' when s.fate < 0.007 then 'trashed'
      when s.fate < 0.045 then 'purged' else 'retained' end,
    s.title, s.description, s.tags, p.id,
    encode(sha256(s.id::text::bytea), 'hex'), 700000000 + s.n,
    '${media}', '${encodePlan}', '${retention}',
    'The end of its retention', 'its deletion is requested', s.created_at + interval '6 years',
    encode(sha256('plan'), 'hex'), s.created_at + interval '6 years', s.created_at, s.created_at
  from stock s join recorders r on r.account_id = $1 and r.name = 'Room ' || s.recorder
    left join people p on p.account_id = $1 and p.name = 'Owner ' || s.owner and s.fate >= 0.004
  order by s.n`

/** As the migration fills the words of recordings that were there before. */
const wordRows = `
  insert into recording_words (account_id, recording_id, created_at, word)
  select r.account_id, r.id, r.created_at, word
  from recordings r, unnest(words_of_recording(r.title, r.description, r.tags)) word`

/** As the migration counts the recordings that were there before. */
const countRows = `
  insert into state_counts (account_id, state, recordings, bytes)
  select account_id, state, count(*), sum(size_bytes) from recordings where account_id = $1 group by account_id, state`

/** Some of those that are kept had a problem once, and a few have one now. */
const problemRows = `
  insert into problems (account_id, recording_id, stage, code, message, attempts, since, options, resolved_at, resolution)
  select $1, id, 'encode', 'undecodable', 'The picture cannot be decoded.', 3, created_at, '{retry,give_up}',
    case when fate > 0.0505 then created_at end, case when fate > 0.0505 then 'retry' end
  from stock where fate between 0.05 and 0.07`
