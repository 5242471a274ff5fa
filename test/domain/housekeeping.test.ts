import { expect, test } from 'vitest'
import { isStrayRendition } from '../../src/domain/housekeeping.ts'

const ref = { accountId: 'a', recordingId: 'r' }
const named = new Set(['a/r/original.mp4', 'a/r/manifest.json', 'a/r/renditions/two/720p.mp4'])

test.each([
  ['an attempt that does not count', 'a/r/renditions/one/720p.mp4', named, true],
  ['its pieces', 'a/r/renditions/one/hls/0001.m4s', named, true],
  ['what a row names', 'a/r/renditions/two/720p.mp4', named, false],
  ['something else beside what counts', 'a/r/renditions/two/1080p.mp4', named, false],
  ['no attempt counts (yet)', 'a/r/renditions/one/720p.mp4', new Set(['a/r/original.mp4']), false],
  ['another original', 'a/r/original.avi', named, false],
  ['anything else', 'a/r/notes.txt', named, false],
  ['no attempt at all', 'a/r/renditions/', named, false],
  ['another recording whose id begins alike', 'a/r2/renditions/one/720p.mp4', named, false],
])('%s: %s', (_what, key, names, stray) => {
  expect(isStrayRendition(ref, key, names)).toBe(stray)
})
