import { describe, expect, test } from 'vitest'
import { decideFixity, describeDisagreement, judgeCopy, readManifest } from '../../src/domain/fixity.ts'
import type { Content, FileEvidence, FixityVerdict, Reading } from '../../src/domain/fixity.ts'

/*
 * One letter per statement: `X` is what was stored once; other letters are other contents; `-` is missing, `?` could not run,
 * `.` no manifest that says anything. Stores are written `copy/manifest`, e.g. `X/X`.
 */
const content = (letter: string): Content => ({ sizeBytes: 10, sha256: letter.repeat(64) })

function readingOf(letter: string): Reading {
  if (letter === '-') return { how: 'missing' }
  if (letter === '?') return { how: 'could_not_run', reason: 'store_unavailable' }
  return { how: 'read', content: content(letter) }
}

function evidence(database: string, stores: string): FileEvidence {
  return {
    database: database.split('').map(content),
    stores: stores.split(' ').map((text, index) => ({
      storeId: `s${index + 1}`,
      reading: readingOf(text[0]!),
      manifestSays: text[2] === '.' || text[2] === '?' ? null : content(text[2]!),
    })),
  }
}

function shown(verdict: FixityVerdict): string {
  if (verdict.kind === 'mend') return `mend ${verdict.bad.join(',')} from ${verdict.good.join(',')}`
  return verdict.kind === 'ask' ? `ask ${verdict.reason}` : verdict.kind
}

const table: readonly (readonly [what: string, database: string, stores: string, verdict: string])[] = [
  // everything agrees
  ['one copy', 'X', 'X/X', 'ok'],
  ['two copies', 'X', 'X/X X/X', 'ok'],
  ['three copies', 'X', 'X/X X/X X/X', 'ok'],
  ['four copies', 'X', 'X/X X/X X/X X/X', 'ok'],
  ['the manifest itself: nothing else speaks for it', 'X', 'X/. X/.', 'ok'],
  ['an original, which two rows describe', 'XX', 'X/X X/X', 'ok'],
  // k of n flipped, truncated or rolled back, each to something of its own
  ['1 of 1', 'X', 'A/X', 'ask no_good_copy'],
  ['1 of 2', 'X', 'X/X A/X', 'mend s2 from s1'],
  ['2 of 2', 'X', 'A/X B/X', 'ask no_good_copy'],
  ['2 of 2, the same damage in both', 'X', 'A/X A/X', 'ask no_good_copy'],
  ['1 of 3', 'X', 'A/X X/X X/X', 'mend s1 from s2,s3'],
  ['2 of 3', 'X', 'A/X X/X B/X', 'mend s1,s3 from s2'],
  ['2 of 3, the same damage in both', 'X', 'A/X X/X A/X', 'mend s1,s3 from s2'],
  ['3 of 3', 'X', 'A/X B/X C/X', 'ask no_good_copy'],
  ['1 of 4', 'X', 'X/X X/X A/X X/X', 'mend s3 from s1,s2,s4'],
  ['2 of 4', 'X', 'X/X B/X A/X X/X', 'mend s2,s3 from s1,s4'],
  ['3 of 4', 'X', 'C/X B/X A/X X/X', 'mend s1,s2,s3 from s4'],
  ['4 of 4', 'X', 'C/X B/X A/X D/X', 'ask no_good_copy'],
  // missing
  ['1 of 2 missing', 'X', 'X/X -/X', 'mend s2 from s1'],
  ['1 of 2 missing with its manifest', 'X', 'X/X -/.', 'mend s2 from s1'],
  ['2 of 2 missing', 'X', '-/X -/X', 'ask no_good_copy'],
  ['2 of 2 missing with every manifest', 'X', '-/. -/.', 'ask no_good_copy'],
  ['1 missing, 1 damaged', 'X', '-/X A/X', 'ask no_good_copy'],
  ['1 missing, 1 damaged, 1 good', 'X', '-/X A/X X/X', 'mend s1,s2 from s3'],
  ['a file that was never copied', 'X', '-/.', 'ask no_good_copy'],
  // the database's hash is the damaged one
  ['the database alone, one copy: word against word', 'Z', 'X/X', 'ask no_majority'],
  ['the database alone, two copies', 'Z', 'X/X X/X', 'ask database_disagrees'],
  ['the database alone, three copies', 'Z', 'X/X X/X X/X', 'ask database_disagrees'],
  ['the database and a copy, each in its own way', 'Z', 'X/X A/X', 'ask database_disagrees'],
  ['the database and a copy, no manifest left', 'Z', 'X/. A/.', 'ask no_majority'],
  ['the database and one of three', 'Z', 'X/X X/X A/X', 'ask database_disagrees'],
  ['the database and the manifest rows (manifest itself)', 'Z', 'X/. X/.', 'ask database_disagrees'],
  ['one of the two rows of an original', 'XZ', 'X/X X/X', 'ask database_disagrees'],
  ['one of the two rows, and a copy', 'ZX', 'X/X A/X', 'ask database_disagrees'],
  ['copies replaced and manifests rewritten everywhere, alike', 'X', 'Y/Y Y/Y', 'ask database_disagrees'],
  // manifests rewritten
  ['the manifest of one store', 'X', 'X/Y X/X', 'ok'],
  ['the manifests of all stores, alike', 'X', 'X/Y X/Y', 'ok'],
  ['no row says anything: one place alone is not believed', '', 'X/X', 'ask no_majority'],
  ['the manifests of all stores, alike, of three', 'X', 'X/Y X/Y X/Y', 'ok'],
  ['one manifest rewritten, another copy damaged', 'X', 'X/Y A/X', 'mend s2 from s1'],
  ['all manifests rewritten to vouch for the bad copy of two', 'X', 'X/Y Y/Y', 'ask no_majority'],
  ['all manifests rewritten to vouch for the bad copy of three', 'X', 'X/Y X/Y Y/Y', 'ask no_majority'],
  ['the manifest itself, in one of two', 'X', 'X/. Y/.', 'mend s2 from s1'],
  ['the manifest itself, in all, alike', 'X', 'Y/. Y/.', 'ask database_disagrees'],
  ['the manifest itself, in all, each in its own way', 'X', 'Y/. A/.', 'ask no_majority'],
  // a whole store rolled back: its copy and its manifest agree with each other
  ['one of two stores rolled back', 'X', 'X/X Y/Y', 'mend s2 from s1'],
  ['one of three stores rolled back', 'X', 'X/X Y/Y X/X', 'mend s2 from s1,s3'],
  ['two of three stores rolled back alike', 'X', 'X/X Y/Y Y/Y', 'ask no_majority'],
  ['three of four stores rolled back alike', 'X', 'X/X Y/Y Y/Y Y/Y', 'ask database_disagrees'],
  ['the only copy rolled back with its manifest', 'X', 'Y/Y', 'ask no_majority'],
  // two files swapped: as seen by one of them, whose neighbour is B
  ['swapped in one store', 'X', 'B/X X/X', 'mend s1 from s2'],
  ['swapped in every store', 'X', 'B/X B/X', 'ask no_good_copy'],
  ['swapped in one store, all manifests gone', 'X', 'B/. X/.', 'mend s1 from s2'],
  // a store that cannot be asked says nothing
  ['all', 'X', '?/? ?/?', 'could_not_run'],
  ['one of two, the other good', 'X', 'X/X ?/?', 'could_not_run'],
  ['one of two, the other damaged', 'X', 'A/X ?/?', 'could_not_run'],
  ['one of two, the other missing', 'X', '-/X ?/?', 'could_not_run'],
  ['one of two, the other missing with its manifest', 'X', '-/. ?/?', 'could_not_run'],
  ['one of two, the other rolled back', 'X', 'Y/Y ?/?', 'could_not_run'],
  ['one of three, one damaged', 'X', 'X/X A/X ?/?', 'mend s2 from s1'],
  ['one of three, one missing', 'X', 'X/X -/X ?/?', 'mend s2 from s1'],
  ['one of three, one rolled back: it may be two', 'X', 'X/X Y/Y ?/?', 'could_not_run'],
  ['one of three, the others against the database: it may stand by it', 'Z', 'X/X X/X ?/?', 'could_not_run'],
  ['one of four, the others against the database', 'Z', 'X/X X/X X/X ?/?', 'ask database_disagrees'],
  ['two of three, the third good', 'X', 'X/X ?/? ?/?', 'could_not_run'],
]

describe('what a file is, and which copies are bad', () => {
  test.each(table)('%s: %s, %s', (_what, database, stores, verdict) => {
    expect(shown(decideFixity(evidence(database, stores)))).toBe(verdict)
  })

  test('whatever the evidence: a copy that is as the database says is never written over, and nothing else is a source', () => {
    const letters = ['X', 'A', 'B', '-', '?']
    const manifests = ['X', 'A', '.']
    const pairs = letters.flatMap((copy) => manifests.map((manifest) => `${copy}/${manifest}`))
    let mended = 0
    for (const database of ['X', 'A', 'XA'])
      for (const first of pairs)
        for (const second of pairs)
          for (const third of pairs) {
            const known = evidence(database, `${first} ${second} ${third}`)
            const verdict = decideFixity(known)
            if (verdict.kind !== 'mend') continue
            mended += 1
            const copyOf = (id: string) => known.stores.find((store) => store.storeId === id)!.reading
            for (const id of verdict.good) expect(copyOf(id)).toEqual({ how: 'read', content: content(database[0]!) })
            for (const id of verdict.bad) {
              expect(copyOf(id)).not.toEqual({ how: 'read', content: content(database[0]!) })
              expect(copyOf(id).how).not.toBe('could_not_run')
            }
            // Nobody has more places on their side than what is written.
            const sides = (letter: string) =>
              known.stores.filter(
                ({ reading, manifestSays }) =>
                  (reading.how === 'read' && reading.content.sha256[0] === letter) ||
                  manifestSays?.sha256[0] === letter,
              ).length + (database.includes(letter) ? 1 : 0)
            for (const other of ['X', 'A', 'B'].filter((letter) => letter !== database[0]))
              expect(sides(database[0]!)).toBeGreaterThan(sides(other))
          }
    expect(mended).toBeGreaterThan(500)
  })

  test('the order of the stores changes nothing', () => {
    for (const [, database, stores] of table) {
      const known = evidence(database, stores)
      const turned = decideFixity({ ...known, stores: known.stores.toReversed() })
      expect(turned.kind).toBe(decideFixity(known).kind)
    }
  })
})

test.each([
  ['good', 'X', 'X/X X/X', 'ok verified'],
  ['to be mended', 'X', 'A/X X/X', 'failed failed'],
  ['missing', 'X', '-/X X/X', 'failed failed'],
  ['not asked', 'X', '?/? X/X', 'could_not_run stays'],
  ['damaged while the other store is away', 'X', 'A/X ?/?', 'failed failed'],
  ['only the database says otherwise', 'Z', 'X/X X/X', 'failed stays'],
  ['nobody knows', 'Z', 'X/. A/.', 'failed failed'],
  ['as the database says, and outvoted', 'X', 'X/Y Y/Y', 'ok stays'],
])('a copy that is %s', (_what, database, stores, expected) => {
  const known = evidence(database, stores)
  const { result, state } = judgeCopy(known.stores[0]!, known.database, decideFixity(known))
  expect(`${result} ${state ?? 'stays'}`).toBe(expected)
})

test('a manifest that is damaged says nothing, or only what can still be read', () => {
  const good = { key: 'a/b', sha256: 'x', sizeBytes: 1 }
  expect(readManifest(JSON.stringify({ files: [good, null, 7, { key: 'c' }] }))).toEqual(
    new Map([['a/b', { sha256: 'x', sizeBytes: 1 }]]),
  )
  for (const text of ['', '{', 'null', '[]', '{"files":7}', '\u0000', '{"files":[{"key":1}]}'])
    expect(readManifest(text).size).toBe(0)
})

test('a disagreement names three files and counts the rest', () => {
  const files = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name, reason: 'no_majority' as const }))
  const sentence = describeDisagreement(files)
  expect(sentence).toContain('a: ')
  expect(sentence).toContain('(and 2 more)')
  expect(sentence).not.toContain('d: ')
})
