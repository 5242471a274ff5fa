import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStage } from '../api/stage.ts'
import type { Stage, TestAccount } from '../api/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage?.close())

interface Described {
  readonly title: string
  readonly description?: string
  readonly tags?: readonly string[]
}

async function keep(described: Described, account: TestAccount = stage.a): Promise<string> {
  const id = await stage.addRecording(account, { title: described.title })
  await stage.owner.query('update recordings set description = $2, tags = $3 where id = $1', [
    id,
    described.description ?? '',
    described.tags ?? [],
  ])
  return id
}

async function find(query: Record<string, string>): Promise<string[]> {
  const answer = await stage.request(`/api/v1/recordings?${new URLSearchParams(query).toString()}`)
  expect(answer.status).toBe(200)
  return (await answer.json()).items.map(({ id }: { id: string }) => id)
}

describe('a search', () => {
  let id = ''
  beforeAll(async () => {
    id = await keep({
      title: 'Défense de thèse: quantum_optics-07.mp4',
      description: 'Straße im Übungsraum, ЛЕКЦИЯ по физике',
      tags: ['Summer School', 'R&D'],
    })
    await keep({ title: 'quantum of something else' })
  })

  test.each([
    ['a word of the title', 'thèse'],
    ['without its accents', 'these'],
    ['in other capitals', 'DEFENSE'],
    ['composed otherwise', 'de\u0301fense'],
    ['a beginning of a word', 'opt'],
    ['a part of a file name', '07.mp4'],
    ['a word of the description', 'straße'],
    ['beginning with an umlaut, written without', 'ubung'],
    ['another alphabet, in other capitals', 'лекция'],
    ['a word of a tag', 'school'],
    ['a tag with a sign in it', 'r&d'],
    ['several words from everywhere, in any order', 'summer quantum straße'],
    ['a word twice, and its own beginning', 'thèse the thèse'],
    ['signs around it', '"(thèse)!'],
  ])('finds %s', async (_what, text) => {
    expect(await find({ text })).toEqual([id])
  })

  test.each([
    ['the middle of a word', 'hese'],
    ['a word that nothing has', 'chemistry'],
    ['two words that no recording has together', 'something thèse'],
    ['only signs', '%_#'],
    ['a sign for anything', 'th%se'],
    ['a whole tag as a word', '#summer school2'],
  ])('finds nothing by %s', async (_what, text) => {
    expect(await find({ text })).toEqual([])
  })

  test('by tag takes whole tags only', async () => {
    expect(await find({ tag: 'summer school' })).toEqual([id])
    expect(await find({ tag: 'R&D', text: 'quantum' })).toEqual([id])
    expect(await find({ tag: 'summer' })).toEqual([])
    expect(await find({ tag: 'summer school', text: 'something' })).toEqual([])
  })

  test('goes on finding what was changed, by its new words and not by its old ones', async () => {
    const changing = await keep({ title: 'Before', tags: ['old', 'stays'] })
    await stage.owner.query(`update recordings set title = 'After', tags = '{new,stays}' where id = $1`, [changing])
    for (const [text, found] of [
      ['before', false],
      ['old', false],
      ['after', true],
      ['new', true],
      ['stays', true],
    ] as const)
      expect(await find({ text }), text).toEqual(found ? [changing] : [])
  })

  test('finds nothing of another account', async () => {
    const theirs = await keep({ title: 'Bassoon quantum', tags: ['bassoon'] }, stage.b)
    expect(await find({ text: 'bassoon' })).toEqual([])
    expect(await find({ tag: 'bassoon' })).toEqual([])
    expect(await find({ text: 'quantum' })).not.toContain(theirs)
  })
})

/**
 * Words are looked up in other ways when they are frequent, have many forms, or stand beside a filter. Every way finds what
 * reading all recordings would.
 */
describe('of a large stock', () => {
  interface Row {
    readonly id: string
    readonly words: readonly string[]
    readonly state: string
    readonly createdAtMs: number
  }
  let stock: Row[] = []

  beforeAll(async () => {
    const { rows } = await stage.owner.query<{ id: string; title: string; state: string; created_at: Date }>(
      `with made as (
         insert into deposits (id, account_id, inbox_id, recorder_id, path, size_bytes, mtime_ms, file_id, state, recording_id)
         select id, $1, $2, $3, 'stock/' || n || '.mp4', 1, n, n, 'accepted', id from
           (select n, gen_random_uuid() as id from generate_series(1, 2600) n) numbered returning id, mtime_ms)
       insert into recordings (id, account_id, recorder_id, deposit_id, title, sha256, size_bytes, media, created_at)
       select id, $1, $3, id, 'mass' || case when mtime_ms % 2 = 0 then ' even' else ' odd' end || ' form' || mtime_ms
           || case when mtime_ms % 3 = 0 then ' third' else '' end || case when mtime_ms % 400 = 7 then ' scarce' else '' end,
         encode(sha256(id::text::bytea), 'hex'), 1,
         '{"container":"mp4","durationMs":1,"sizeBytes":1,"video":null,"audio":null,"streamCount":1,"title":null,"notes":[]}',
         now() - mtime_ms * interval '1 hour'
       from made returning id, title, state, created_at`,
      [stage.a.id, stage.a.inboxId, stage.a.recorderId],
    )
    await stage.owner.query(
      `update recordings set state = 'awaiting_claim' where title ~ '^mass' and right(id::text, 1) in ('1', '2')`,
    )
    const waiting = await stage.owner.query<{ id: string }>(
      `select id from recordings where state = 'awaiting_claim' and title ~ '^mass'`,
    )
    const waits = new Set(waiting.rows.map(({ id }) => id))
    stock = rows
      .map((row) => ({
        id: row.id,
        words: row.title.split(' '),
        state: waits.has(row.id) ? 'awaiting_claim' : 'accepted',
        createdAtMs: row.created_at.getTime(),
      }))
      .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
    await stage.owner.query('analyze')
  })

  test.each<[string, Record<string, string>]>([
    ['a word that all have', { text: 'mass' }],
    ['a beginning that all have, of one word each', { text: 'form' }],
    ['a beginning of very many words', { text: 'form1' }],
    ['one word', { text: 'form1234' }],
    ['two words', { text: 'mass third' }],
    ['two words that exclude each other', { text: 'even odd' }],
    ['a scarce word beside beginnings', { text: 'form scarce' }],
    ['many words beside one that half have', { text: 'form even' }],
    ['a word and a state that few have', { text: 'mass', state: 'awaiting_claim' }],
    ['a word and a state that most have', { text: 'third', state: 'accepted' }],
    ['a scarce word and a state that most have', { text: 'scarce', state: 'accepted' }],
    ['many words and a state', { text: 'form odd', state: 'awaiting_claim' }],
  ])('%s: page by page, each once, newest first', async (_what, query) => {
    const asked = (query['text'] ?? '').split(' ')
    const expected = stock.filter(
      ({ words, state }) =>
        asked.every((start) => words.some((word) => word.startsWith(start))) && (query['state'] ?? state) === state,
    )
    const seen: string[] = []
    let cursor: string | null | undefined
    for (let pages = 0; pages < 4 && cursor !== null; pages += 1) {
      const parameters = new URLSearchParams({ ...query, limit: '97', ...(cursor === undefined ? {} : { cursor }) })
      const page = await (await stage.request(`/api/v1/recordings?${parameters.toString()}`)).json()
      seen.push(...page.items.map(({ id }: { id: string }) => id))
      cursor = page.nextCursor
    }
    expect(seen).toEqual(expected.slice(0, 4 * 97).map(({ id }) => id))
  })

  test('of a time: from this instant on, and before that one', async () => {
    const [from, before] = [stock[300]!.createdAtMs, stock[200]!.createdAtMs]
    const range = { createdFromMs: String(from), createdBeforeMs: String(before), limit: '200' }
    const within = stock.filter(({ createdAtMs }) => createdAtMs >= from && createdAtMs < before)
    expect(await find(range)).toEqual(within.map(({ id }) => id))
    expect(await find({ ...range, text: 'third' })).toEqual(
      within.filter(({ words }) => words.includes('third')).map(({ id }) => id),
    )
  })
})

test('every recording has its words, and the words have no other rows', async () => {
  await keep({ title: randomUUID(), tags: ['A b', 'a B', ''] })
  const { rows } = await stage.owner.query(
    `select count(*)::int as wrong from
       (select r.id, r.created_at, unnest(words_of_recording(r.title, r.description, r.tags)) as word from recordings r) due
       full join recording_words w on w.recording_id = due.id and w.created_at = due.created_at and w.word = due.word
     where due.id is null or w.recording_id is null`,
  )
  expect(rows).toEqual([{ wrong: 0 }])
})

test('recordings that were there before the words get theirs from the migration, in every account', async () => {
  await keep({ title: 'Older than words', tags: ['Vintage'] }, stage.b)
  const words = 'select account_id, recording_id, created_at, word from recording_words'
  await stage.owner.query(`create temp table before as ${words}`)
  await stage.owner.query(`
    drop table recording_words;
    drop trigger recordings_words on recordings;
    drop trigger recordings_words_anew on recordings;
    drop function keep_words, words_of_recording, words_of, fold_text;
    drop index recordings_by_recorder, recordings_by_owner, problems_open`)
  const owner = new Client(stage.ownerUrl)
  await owner.connect()
  await owner.query(await readFile(new URL('../../migrations/0011_words.sql', import.meta.url), 'utf8'))
  await owner.end()
  for (const [a, b] of [
    ['table before', words],
    [words, 'table before'],
  ])
    expect((await stage.owner.query(`(${a}) except (${b})`)).rows).toEqual([])
  expect(await find({ text: 'thèse' })).toHaveLength(1)
})
