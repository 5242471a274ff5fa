import { expect, test } from 'vitest'
import { decideDamage } from '../../src/domain/mend.ts'
import type { DamageEvidence, DamageVerdict, Look } from '../../src/domain/mend.ts'

const right = { sizeBytes: 10, sha256: 'aa' }
const wrong = { sizeBytes: 10, sha256: 'bb' }
const short = { sizeBytes: 9, sha256: 'aa' }
const unasked = { scratch: 'no_place', stored: 'not_asked', copy: 'not_asked', source: 'not_asked' } as const
const evidenceOf = (given: Partial<DamageEvidence>): DamageEvidence => ({
  kind: 'original',
  recorded: right,
  ...unasked,
  ...given,
})

const cases: readonly (readonly [string, Partial<DamageEvidence>, DamageVerdict])[] = [
  ['nothing was asked', {}, { kind: 'look', at: 'stored' }],
  ['a bad working copy says nothing of the store', { scratch: wrong }, { kind: 'look', at: 'stored' }],
  ['a bad working copy beside a good object', { scratch: wrong, stored: right }, { kind: 'scratch' }],
  ['a bad working copy, and no object yet', { scratch: wrong, stored: 'no_place' }, { kind: 'scratch' }],
  ['a working copy of another length', { scratch: short, stored: 'no_place' }, { kind: 'scratch' }],
  ['a good working copy, and no object yet', { scratch: right, stored: 'no_place' }, { kind: 'none' }],
  ['everything is good', { scratch: right, stored: right }, { kind: 'none' }],
  ['the object is good', { stored: right, copy: wrong, source: 'replaced' }, { kind: 'none' }],
  ['a bad object, a good working copy', { stored: wrong, scratch: right }, { kind: 'store', from: 'scratch' }],
  ['a bad object: copies first', { stored: wrong }, { kind: 'look', at: 'copy' }],
  ['a lost object', { stored: 'missing' }, { kind: 'look', at: 'copy' }],
  ['a cut object', { stored: short }, { kind: 'look', at: 'copy' }],
  ['bad object and working copy', { stored: wrong, scratch: wrong }, { kind: 'look', at: 'copy' }],
  ['another store has it', { stored: wrong, copy: right }, { kind: 'store', from: 'copy' }],
  ['an original: the inbox then', { stored: wrong, copy: 'missing' }, { kind: 'look', at: 'source' }],
  ['a bad copy is no copy', { stored: wrong, copy: wrong }, { kind: 'look', at: 'source' }],
  ['the inbox has it', { stored: wrong, copy: 'missing', source: right }, { kind: 'store', from: 'source' }],
  ['another file in the inbox', { stored: wrong, copy: 'missing', source: 'replaced' }, ask('source_replaced')],
  ['other bytes in the inbox', { stored: wrong, copy: 'missing', source: wrong }, ask('source_replaced')],
  ['nothing in the inbox', { stored: wrong, copy: wrong, source: 'missing' }, ask('no_good_bytes')],
  ['a rendition is made again', { kind: 'hls', stored: wrong, copy: 'missing' }, { kind: 'make_again' }],
  [
    'a rendition of which there is a copy',
    { kind: 'video', stored: wrong, copy: right },
    { kind: 'store', from: 'copy' },
  ],
  ['a manifest is written again', { kind: 'manifest', stored: 'missing', copy: 'missing' }, { kind: 'make_again' }],
]

function ask(reason: 'source_replaced' | 'no_good_bytes'): DamageVerdict {
  return { kind: 'ask', reason }
}

test.each(cases)('%s', (_name, given, verdict) => {
  expect(decideDamage(evidenceOf(given))).toEqual(verdict)
})

test('whatever is seen, only bytes that are as recorded replace anything, and only what was seen wrong is replaced', () => {
  const looks: readonly Look[] = [right, wrong, short, 'missing', 'replaced', 'not_asked', 'no_place']
  for (const kind of ['original', 'video', 'manifest'] as const)
    for (const scratch of looks)
      for (const stored of looks)
        for (const copy of looks)
          for (const source of looks) {
            const evidence = evidenceOf({ kind, scratch, stored, copy, source })
            const verdict = decideDamage(evidence)
            if (verdict.kind === 'store') expect(evidence[verdict.from]).toBe(right)
            if (verdict.kind === 'store' || verdict.kind === 'make_again')
              expect([wrong, short, 'missing', 'replaced']).toContain(stored)
            if (verdict.kind === 'look') expect(evidence[verdict.at]).toBe('not_asked')
            if (stored === right) expect(['none', 'scratch']).toContain(verdict.kind)
          }
})
