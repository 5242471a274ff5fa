import type { CopyRow, RecordingRow } from '../database.ts'
import { isLeaving } from '../snapshot.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding } from '../subject.ts'
import { isUnfinishedPut, ownerOfKey } from '../words.ts'

/** 5: no copy goes but by a deletion of the whole recording; then all of them go. Whether it was allowed says promise 6. */
export function judgeCopies(snapshot: Snapshot): Finding[] {
  const { rows, find } = snapshot
  const findings: Finding[] = []
  for (const recording of rows.recordings) {
    const copies = find.copiesOf(recording.id)
    if (recording.state === 'purged') findings.push(...judgeLeft(recording, copies, snapshot))
    if (isLeaving(recording, find)) continue
    for (const copy of copies) {
      const what = wrongWith(snapshot, copy)
      if (what !== null)
        findings.push({ promise: 5, recordingId: recording.id, what, evidence: { copy, state: recording.state } })
    }
  }
  return [...findings, ...judgeRemains(snapshot)]
}

function wrongWith({ find, subject }: Snapshot, copy: CopyRow): string | null {
  const { place, objects } = find.placeOf(copy.store_id)
  const file = find.file.get(copy.file_id)
  const name = `the copy of ${file?.name ?? copy.file_id} in ${place.name}`
  if (copy.state === 'purged') return `${name} was purged, and no deletion of the recording is under way`
  if (file === undefined || objects.has(file.key)) return null
  if (copy.state === 'verified') return `${name} is gone, and no deletion of the recording is under way`
  // A copy that failed its check is removed and made again; until it was, somebody has to know.
  const isKnown = find.openProblemsOf(copy.recording_id).length > 0
  return subject.settled && !isKnown ? `${name} was stored and is gone` : null
}

/** A purged recording whose rows still keep a copy. */
function judgeLeft(recording: RecordingRow, copies: readonly CopyRow[], { find }: Snapshot): Finding[] {
  const left = copies.filter(({ state }) => state !== 'purged').map((copy) => find.file.get(copy.file_id)?.key)
  if (left.length === 0) return []
  return [
    {
      promise: 5,
      recordingId: recording.id,
      what: 'it is purged, but copies are written down as kept',
      evidence: { left },
    },
  ]
}

/** Objects of a purged recording that still stand somewhere. */
function judgeRemains({ places, find }: Snapshot): Finding[] {
  return places.flatMap(({ place, objects }) =>
    [...objects.keys()].flatMap((key) => {
      const owner = place.role === 'inbox' || isUnfinishedPut(key) ? null : ownerOfKey(key)
      const recording = owner === null ? undefined : find.recording.get(owner.recordingId)
      if (recording?.state !== 'purged') return []
      const evidence = { place: place.name, key, copies: find.copiesOf(recording.id).length }
      return [
        {
          promise: 5 as const,
          recordingId: recording.id,
          what: `it is purged, but ${key} still stands in ${place.name}`,
          evidence,
        },
      ]
    }),
  )
}
