import { setTimeout as pause } from 'node:timers/promises'
import type { HashMemory } from './places.ts'
import { judgeUploads } from './promises/01-uploads.ts'
import { judgeOnce } from './promises/02-once.ts'
import { judgeWholeFiles } from './promises/03-whole-files.ts'
import { judgeSources } from './promises/04-source.ts'
import { judgeCopies } from './promises/05-last-copy.ts'
import { judgeDeletions } from './promises/06-deletion.ts'
import { judgeDecisions } from './promises/07-decisions.ts'
import { judgeWaiting } from './promises/08-waiting.ts'
import { judgeNothingLost } from './promises/09-nothing-lost.ts'
import { judgeAccounts } from './promises/10-accounts.ts'
import { takeSnapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import type { Finding, Subject, Violation } from './subject.ts'

export type { Dropped, OraclePlace, PromiseNumber, Subject, Told, Violation } from './subject.ts'

const promises: readonly ((snapshot: Snapshot) => Finding[])[] = [
  judgeUploads,
  judgeOnce,
  judgeWholeFiles,
  judgeSources,
  judgeCopies,
  judgeDeletions,
  judgeDecisions,
  judgeWaiting,
  judgeNothingLost,
  judgeAccounts,
]

/** Between two looks: a transaction that was open at the first is over at the second. */
const betweenLooksMs = 1000

/**
 * Every promise of the product that this system broke, with the recording and the evidence. It shares no code with the
 * product: it reads the rows, the stores, the inboxes and Temporal by doors of its own and computes every hash anew.
 *
 * May be asked while the system runs: rows are read before stores, and what is amiss counts only when a second look at all of
 * it, a moment later, finds the same. Each revision of an object is read once. Only where `settled` is said do
 * unfinished things count: what is overdue, stands still, was missed or belongs to nothing.
 *
 * One fault is one promise's: bytes that differ are 3; bytes that are gone are 5, and whether they might go is 6; copies never
 * verified when the source went are 4; what a person was told falsely is 6 for holds and undos, 7 for claims and
 * approvals, else 9.
 *
 * Whoever asks keeps to three things. A drop is written down when its last byte is, before it gets its final name, and an
 * upload that was cut after its last byte is `whole`. No recorder takes a whole file away by itself, unless it drops
 * another under the same name. The doors of the places and of the database show the truth: faults stand in front of
 * other doors.
 * @throws where the database, a place or Temporal does not answer: then nothing is known
 */
export async function judge(subject: Subject): Promise<Violation[]> {
  const memory: HashMemory = new Map()
  const first = await lookOnce(subject, memory)
  if (first.length === 0) return []
  await pause(betweenLooksMs)
  const second = await lookOnce(subject, memory)
  const seenBefore = new Set(first.map(nameOf))
  const kept = [
    ...first.filter(({ certain }) => certain === true),
    ...second.filter((one) => seenBefore.has(nameOf(one))),
  ]
  const byName = new Map(kept.map((one) => [nameOf(one), one]))
  return [...byName.values()]
    .sort((a, b) => a.promise - b.promise)
    .map(({ promise, recordingId, what, evidence }) => ({ promise, recordingId, what, evidence }))
}

async function lookOnce(subject: Subject, memory: HashMemory): Promise<Finding[]> {
  const snapshot = await takeSnapshot(subject, memory)
  return promises.flatMap((judgeOne) => judgeOne(snapshot))
}

function nameOf({ promise, recordingId, what }: Finding): string {
  return `${promise} ${recordingId} ${what}`
}

/** The verdict for people: one line a violation, its evidence below it. */
export function describeViolations(violations: readonly Violation[]): string {
  if (violations.length === 0) return 'Every promise holds.'
  const lines = violations.map(
    ({ promise, recordingId, what, evidence }) =>
      `promise ${promise}, ${recordingId ?? 'no recording'}: ${what}\n    ${JSON.stringify(evidence)}`,
  )
  return `${violations.length} broken:\n${lines.join('\n')}`
}
