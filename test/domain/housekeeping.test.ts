import { expect, test } from 'vitest'
import { depositStates } from '../../src/domain/deposit.ts'
import { decideLeftPut, isOverForGood, isStrayPart, isStrayRendition } from '../../src/domain/housekeeping.ts'

const ref = { accountId: 'a', recordingId: 'r' }
const named = new Set(['a/r/original.mp4', 'a/r/manifest.json', 'a/r/renditions/two/720p.mp4'])

test.each([
  ['an attempt that does not count', 'a/r/renditions/one/720p.mp4', named, true],
  ['its pieces', 'a/r/renditions/one/hls/0001.m4s', named, true],
  ['what a row names', 'a/r/renditions/two/720p.mp4', named, false],
  ['something else beside what counts', 'a/r/renditions/two/1080p.mp4', named, false],
  ['a person went on without any', 'a/r/renditions/one/720p.mp4', new Set(['a/r/original.mp4']), true],
  ['another original', 'a/r/original.avi', named, false],
  ['anything else', 'a/r/notes.txt', named, false],
  ['no attempt at all', 'a/r/renditions/', named, false],
  ['another recording whose id begins alike', 'a/r2/renditions/one/720p.mp4', named, false],
])('%s: %s', (_what, key, names, stray) => {
  expect(isStrayRendition(ref, key, names)).toBe(stray)
})

const partOf = (recording: string) => ['a', recording, 'work', 'plan', 'attempt', '0-54p'].join('/')

test.each([
  ['a part that no row counts', partOf('r'), named, true],
  ['a part that a row counts', partOf('r'), new Set([partOf('r')]), false],
  ['something else that is called alike', 'a/r/works/0-54p', named, false],
  ['the original', 'a/r/original.mp4', named, false],
  ['a part of another recording', partOf('r2'), named, false],
])('%s: %s', (_what, key, names, stray) => {
  expect(isStrayPart(ref, key, names)).toBe(stray)
})

test.each([null, ...depositStates])('an original that was announced long ago, its deposit being %s', (depositState) => {
  const isOver = depositState === null || ['duplicate', 'refused', 'vanished', 'released'].includes(depositState)
  const alone = { depositState, hasRecording: false, isNamed: false }
  expect(decideLeftPut(alone)).toBe(isOver ? 'remove' : 'keep')
  expect(decideLeftPut({ ...alone, hasRecording: true })).toBe('keep')
  expect(decideLeftPut({ ...alone, hasRecording: true, isNamed: true })).toBe('forget')
})

test('a deposit that became a recording is never over under its id', () => {
  for (const state of depositStates) expect(isOverForGood({ id: 'd', state, recordingId: 'd' })).toBe(false)
  expect(isOverForGood({ id: 'd', state: 'released', recordingId: 'first' })).toBe(true)
  expect(isOverForGood({ id: 'd', state: 'quarantined', recordingId: null })).toBe(false)
  expect(isOverForGood(null)).toBe(true)
})
