import { recordingStates } from './recording.ts'
import type { RecordingState } from './recording.ts'

/**
 * What a recording means for a later deposit of the same bytes. `settled`: the recording keeps them, the source leaves the
 * inbox by the usual rule. `waits`: whether they are kept is being decided, the source stays. `own`: nobody keeps them any
 * more, the deposit becomes a recording of its own.
 */
export type DuplicateFate = 'settled' | 'waits' | 'own'

/** The fate of a duplicate, by the state of the recording that has its bytes. */
export const duplicateFates: Readonly<Record<RecordingState, DuplicateFate>> = {
  accepted: 'settled',
  awaiting_claim: 'settled',
  claimed: 'settled',
  encoding: 'settled',
  archiving: 'settled',
  protected: 'settled',
  retained: 'settled',
  disposition_requested: 'waits',
  approved: 'waits',
  trashed: 'waits',
  purging: 'waits',
  purged: 'own',
}

/** The states of a recording that mean this for duplicates of it. */
export function statesMeaning(fate: DuplicateFate): readonly RecordingState[] {
  return recordingStates.filter((state) => duplicateFates[state] === fate)
}

/** A recording as a duplicate of it has to know it. */
export interface FirstOfItsBytes {
  readonly state: RecordingState
  readonly sinceMs: number
  /** When its undo window ends; `null` while nobody has approved its deletion. */
  readonly undoUntilMs: number | null
}

/** What happens next with a duplicate, and what it waits for: one sentence for people. */
export function describeDuplicate(first: FirstOfItsBytes | null): string {
  if (first === null || duplicateFates[first.state] === 'settled')
    return "The same bytes are already kept. The source leaves the inbox when that recording's copies are verified."
  const since = new Date(first.sinceMs).toISOString()
  if (first.state === 'purging' || first.state === 'purged')
    return `The recording with the same bytes is being deleted since ${since}. When it is gone, this file is taken in as a recording of its own.`
  const decision =
    first.state === 'disposition_requested'
      ? `The deletion of the recording with the same bytes was requested at ${since}, and people decide on it.`
      : `The recording with the same bytes is in the trash since ${since}${first.undoUntilMs === null ? '' : `, until ${new Date(first.undoUntilMs).toISOString()}`}.`
  return `${decision} The source stays until then: it leaves the inbox if the recording is kept after all; if it is deleted, this file is taken in as a recording of its own.`
}

/** A duplicate that still lies in its inbox. */
export interface WaitingDuplicate {
  readonly id: string
  readonly inboxId: string
  readonly path: string
  readonly firstSeenAtMs: number
}

/**
 * Which of the duplicates become deposits of their own again when the recording they were linked to is purged: the latest of
 * each path. The file of an earlier one was written over, like that of one whose path another live deposit holds.
 */
export function planReturn(
  waiting: readonly WaitingDuplicate[],
  live: readonly Pick<WaitingDuplicate, 'inboxId' | 'path'>[],
): { readonly again: readonly string[]; readonly replaced: readonly string[] } {
  const placeOf = ({ inboxId, path }: Pick<WaitingDuplicate, 'inboxId' | 'path'>) => `${inboxId} ${path}`
  const held = new Set(live.map(placeOf))
  const again: string[] = []
  const replaced: string[] = []
  for (const duplicate of [...waiting].sort((a, b) => b.firstSeenAtMs - a.firstSeenAtMs)) {
    const place = placeOf(duplicate)
    if (held.has(place)) replaced.push(duplicate.id)
    else again.push(duplicate.id)
    held.add(place)
  }
  return { again, replaced }
}
