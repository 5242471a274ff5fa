import { describe, expect, it } from 'vitest'
import { describeDuplicate, duplicateFates, planReturn, statesMeaning } from '../../src/domain/duplicate.ts'
import type { WaitingDuplicate } from '../../src/domain/duplicate.ts'
import { recordingStates } from '../../src/domain/recording.ts'
import type { RecordingState } from '../../src/domain/recording.ts'

const sinceMs = Date.UTC(2030, 0, 1)
const undoUntilMs = Date.UTC(2030, 0, 15)

describe('the fate of a later deposit of the same bytes', () => {
  it('is said for every state of the first, and each once', () => {
    const said = (['settled', 'waits', 'own'] as const).flatMap(statesMeaning)
    expect([...said].sort()).toEqual([...recordingStates].sort())
    expect(statesMeaning('own')).toEqual(['purged'])
  })

  it('is never settled where the bytes may go', () => {
    for (const state of ['disposition_requested', 'approved', 'trashed', 'purging'] as const)
      expect(duplicateFates[state]).toBe('waits')
  })

  const sentences: [RecordingState | null, RegExp][] = [
    [null, /already kept/],
    ['encoding', /leaves the inbox when that recording's copies are verified/],
    ['retained', /leaves the inbox when that recording's copies are verified/],
    ['disposition_requested', /requested at 2030-01-01T.*people decide.*source stays.*recording of its own/],
    ['approved', /in the trash since 2030-01-01T.*until 2030-01-15T.*recording of its own/],
    ['trashed', /in the trash since 2030-01-01T.*until 2030-01-15T.*recording of its own/],
    ['purging', /being deleted since 2030-01-01T.*recording of its own/],
  ]
  it.each(sentences)('says what it waits for, since when, and what follows: %s', (state, sentence) => {
    expect(describeDuplicate(state === null ? null : { state, sinceMs, undoUntilMs })).toMatch(sentence)
  })
})

describe('planReturn', () => {
  const waiting = (id: string, path: string, firstSeenAtMs = 1, inboxId = 'a'): WaitingDuplicate => ({
    id,
    inboxId,
    path,
    firstSeenAtMs,
  })
  const live = (path: string, inboxId = 'a') => ({ path, inboxId })
  const cases: [string, WaitingDuplicate[], { path: string; inboxId: string }[], string[], string[]][] = [
    ['none', [], [], [], []],
    ['one', [waiting('d', 'x')], [], ['d'], []],
    ['several paths', [waiting('d', 'x'), waiting('e', 'y')], [], ['d', 'e'], []],
    ['one path of two inboxes', [waiting('d', 'x'), waiting('e', 'x', 1, 'b')], [], ['d', 'e'], []],
    ['one path written twice', [waiting('d', 'x', 1), waiting('e', 'x', 2)], [], ['e'], ['d']],
    ['a path that something new arrives at', [waiting('d', 'x')], [live('x')], [], ['d']],
    ['the same path arriving elsewhere', [waiting('d', 'x')], [live('x', 'b')], ['d'], []],
  ]
  it.each(cases)('%s', (_name, duplicates, arriving, again, replaced) => {
    expect(planReturn(duplicates, arriving)).toEqual({ again, replaced })
  })
})
