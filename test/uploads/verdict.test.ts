import { describe, expect, it } from 'vitest'
import { judgeStory } from './verdict.ts'
import type { Evidence } from './verdict.ts'

const whole: Evidence = {
  title: 'a story',
  ends: 'whole',
  meant: ['aaa', 'bbb'],
  sightings: [
    { atSecond: 10, sha256: 'part' },
    { atSecond: 50, sha256: 'aaa' },
  ],
  lastStepSecond: 50,
  accepted: [{ atSecond: 75, sha256: 'aaa' }],
  kept: ['aaa'],
  deposits: [{ state: 'accepted', reason: null }],
  source: 'aaa',
}
const broken: Evidence = {
  ...whole,
  ends: 'broken',
  sightings: [{ atSecond: 10, sha256: 'part' }],
  accepted: [],
  kept: [],
  deposits: [{ state: 'quarantined', reason: 'It is cut.' }],
  source: 'part',
}
const absent: Evidence = { ...broken, ends: 'absent', sightings: [], deposits: [], source: null }

describe('the judge of upload stories', () => {
  it.each([
    ['whole', whole],
    ['broken', broken],
    ['absent', absent],
  ])('finds nothing wrong with a good end: %s', (_name, evidence) => expect(judgeStory(evidence, 40)).toEqual([]))

  const part = { atSecond: 40, sha256: 'part' }
  it.each<[string, Evidence, string]>([
    ['a part was accepted', { ...broken, accepted: [part], kept: ['part'] }, 'FALSE COMPLETE'],
    ['it was accepted too early', { ...whole, accepted: [{ atSecond: 40, sha256: 'aaa' }] }, 'FALSE COMPLETE'],
    [
      'bytes were accepted that never stood there',
      { ...whole, accepted: [...whole.accepted, { atSecond: 90, sha256: 'bbb' }], kept: ['aaa', 'bbb'] },
      'FALSE COMPLETE',
    ],
    ['it was not accepted', { ...whole, accepted: [], kept: [] }, 'MISSED'],
    ['it was accepted late', { ...whole, accepted: [{ atSecond: 91, sha256: 'aaa' }] }, 'LATE'],
    [
      'it was accepted twice',
      { ...whole, accepted: [...whole.accepted, ...whole.accepted], kept: ['aaa', 'aaa'] },
      'TWICE',
    ],
    ['other bytes were kept', { ...whole, kept: ['part'] }, 'KEPT OTHER BYTES'],
    ['nothing was kept', { ...whole, kept: ['nothing'] }, 'KEPT OTHER BYTES'],
    ['no row says what became of it', { ...whole, deposits: [] }, 'NO ROW'],
    ['nothing is said', { ...broken, deposits: [] }, 'SILENT'],
    [
      'it goes on arriving for ever',
      { ...broken, deposits: [{ state: 'arriving', reason: null }] },
      'LEFT as arriving',
    ],
    ['no reason is given', { ...broken, deposits: [{ state: 'stalled', reason: null }] }, 'without a reason'],
    ['the source was removed', { ...whole, source: null }, 'SOURCE CHANGED'],
    ['the story took another end', { ...whole, ends: 'broken' }, 'THE STORY ITSELF'],
  ])('%s', (_name, evidence, problem) => {
    expect(judgeStory(evidence, 40).join('\n')).toContain(problem)
  })
})
