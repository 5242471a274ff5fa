import { expect, test } from 'vitest'
import { planOwed } from '../../src/domain/owed.ts'
import type { CopyStanding, OwedFacts, OwedPlan } from '../../src/domain/owed.ts'
import { recordingStates } from '../../src/domain/recording.ts'

const verified = { state: 'verified', wasVerified: true, lastResult: null } as const
type Standing = Omit<CopyStanding, 'fileId' | 'storeId'>

/** `video@backup` -> how that copy stands; what is not named is not there. */
function copiesOf(standings: Readonly<Record<string, Standing>>): CopyStanding[] {
  return Object.entries(standings).map(([place, standing]) => {
    const [fileId = '', storeId = ''] = place.split('@')
    return { fileId, storeId, ...standing }
  })
}

const whole = { 'video@p': verified, 'manifest@p': verified, 'video@b': verified, 'manifest@b': verified }
const facts: OwedFacts = {
  state: 'retained',
  isSealed: true,
  fileIds: ['video', 'manifest'],
  stores: [
    { id: 'b', role: 'backup', sinceMs: 10 },
    { id: 'p', role: 'primary', sinceMs: 20 },
  ],
  copies: copiesOf(whole),
  copiesVerified: true,
  sourcesSettledAtMs: [],
  copiesSkippedAtMs: null,
  sourceSkippedAtMs: null,
}
const { 'video@p': _p, 'manifest@p': _m, ...onlyBackup } = whole
const { 'video@b': _b, ...withoutVideo } = whole
const nothing: OwedPlan = { stores: [], source: false }
const videoOwed = [{ storeId: 'b', make: [{ fileId: 'video', from: ['p'] }], read: [] }]
const standing = (video: Standing) => ({ copies: copiesOf({ ...whole, 'video@b': video }) })

const table: Readonly<Record<string, readonly [Partial<OwedFacts>, Partial<OwedPlan>]>> = {
  'every file is verified in every store': [{}, {}],
  'one file lacks one copy': [{ copies: copiesOf(withoutVideo) }, { stores: videoOwed }],
  'a backup store was added': [
    { stores: [...facts.stores, { id: 'new', role: 'backup', sinceMs: 30 }] },
    {
      stores: [
        {
          storeId: 'new',
          make: [
            { fileId: 'video', from: ['p', 'b'] },
            { fileId: 'manifest', from: ['p', 'b'] },
          ],
          read: [],
        },
      ],
    },
  ],
  'the primary store has nothing': [
    { copies: copiesOf(onlyBackup) },
    {
      stores: [
        {
          storeId: 'p',
          make: [
            { fileId: 'video', from: ['b'] },
            { fileId: 'manifest', from: ['b'] },
          ],
          read: [],
        },
      ],
    },
  ],
  'a copy was made and never read back': [
    standing({ state: 'stored', wasVerified: false, lastResult: null }),
    { stores: [{ storeId: 'b', make: [], read: ['video'] }] },
  ],
  'a copy was announced, or read back as other bytes': [
    standing({ state: 'failed', wasVerified: false, lastResult: null }),
    { stores: videoOwed },
  ],
  'a copy turned out bad late, and no check has read it': [
    standing({ state: 'failed', wasVerified: true, lastResult: null }),
    { stores: videoOwed },
  ],
  'a check could not read what was announced': [
    standing({ state: 'failed', wasVerified: false, lastResult: 'could_not_run' }),
    { stores: videoOwed },
  ],
  'a check found a new copy bad: it mends it': [
    standing({ state: 'failed', wasVerified: false, lastResult: 'failed' }),
    {},
  ],
  'a check found an old copy bad: it mends it': [
    standing({ state: 'failed', wasVerified: true, lastResult: 'failed' }),
    {},
  ],
  'a check found it bad and cannot read it any more': [
    standing({ state: 'failed', wasVerified: true, lastResult: 'could_not_run' }),
    {},
  ],
  'a check mended it and will read it': [standing({ state: 'stored', wasVerified: true, lastResult: 'failed' }), {}],
  'a check read it and asked a person': [standing({ state: 'stored', wasVerified: false, lastResult: 'ok' }), {}],
  'a verified copy could not be read for a while': [
    standing({ state: 'verified', wasVerified: true, lastResult: 'could_not_run' }),
    {},
  ],
  'the only copy is bad: owed, and nothing to make it from': [
    {
      copies: copiesOf({
        ...withoutVideo,
        'video@p': { state: 'failed', wasVerified: true, lastResult: 'failed' },
      }),
    },
    { stores: [{ storeId: 'b', make: [{ fileId: 'video', from: [] }], read: [] }] },
  ],
  'a copy that only the database contradicts is nothing to copy from': [
    { copies: copiesOf({ ...withoutVideo, 'video@p': { ...verified, lastResult: 'failed' } }) },
    { stores: [{ storeId: 'b', make: [{ fileId: 'video', from: [] }], read: [] }] },
  ],
  'what was never read back comes first: others may be made from it': [
    {
      copies: copiesOf({
        'video@b': { state: 'stored', wasVerified: false, lastResult: null },
        'manifest@b': { state: 'stored', wasVerified: false, lastResult: null },
      }),
    },
    {
      stores: [
        { storeId: 'b', make: [], read: ['video', 'manifest'] },
        {
          storeId: 'p',
          make: [
            { fileId: 'video', from: [] },
            { fileId: 'manifest', from: [] },
          ],
          read: [],
        },
      ],
    },
  ],
  'the package is not sealed': [{ isSealed: false, copies: copiesOf(withoutVideo) }, {}],
  'a person let it be': [{ copies: copiesOf(withoutVideo), copiesSkippedAtMs: 15 }, {}],
  'a person let it be before the store was there': [
    { copies: copiesOf(withoutVideo), copiesSkippedAtMs: 9 },
    { stores: videoOwed },
  ],
  'a source lies in the inbox': [{ sourcesSettledAtMs: [100] }, { source: true }],
  'a source lies in the inbox, and copies are bad': [{ sourcesSettledAtMs: [100], copiesVerified: false }, {}],
  'a person let the source stay': [{ sourcesSettledAtMs: [100], sourceSkippedAtMs: 100 }, {}],
  'a person let one source stay, and another came later': [
    { sourcesSettledAtMs: [100, 200], sourceSkippedAtMs: 150 },
    { source: true },
  ],
  'the source waits, and another store owes copies': [
    { sourcesSettledAtMs: [100], copies: copiesOf(withoutVideo) },
    { stores: videoOwed, source: true },
  ],
}

test.each(Object.entries(table))('%s', (_name, [change, owed]) => {
  expect(planOwed({ ...facts, ...change })).toEqual({ ...nothing, ...owed })
})

test('nothing is owed before a recording is kept, nor once its deletion is requested', () => {
  for (const state of recordingStates) {
    const plan = planOwed({ ...facts, state, copies: copiesOf(withoutVideo), sourcesSettledAtMs: [100] })
    expect(plan, state).toEqual(state === 'retained' ? { stores: videoOwed, source: true } : nothing)
  }
})
