import type { End } from './stories.ts'

/** What stood under a story's final name after one of its steps; null = nothing. */
export interface Sighting {
  readonly atSecond: number
  readonly sha256: string | null
}

/** Everything that is known about one story when it is over. */
export interface Evidence {
  readonly title: string
  readonly ends: End
  /** Hashes of what its uploader meant as whole files. */
  readonly meant: readonly string[]
  readonly sightings: readonly Sighting[]
  /** Second of the last step of any kind. */
  readonly lastStepSecond: number
  /** When which bytes were accepted from its path. */
  readonly accepted: readonly { readonly atSecond: number; readonly sha256: string }[]
  /** Bytes of its originals in the primary store, hashed anew. */
  readonly kept: readonly string[]
  /** Its deposits' rows. */
  readonly deposits: readonly { readonly state: string; readonly reason: string | null }[]
  /** What stands in the inbox now. */
  readonly source: string | null
}

const visible = ['stalled', 'quarantined', 'vanished']

/** What is wrong with a story: false completes, misses, silence, sources that changed. Empty = nothing. */
export function judgeStory(evidence: Evidence, patienceSeconds: number): string[] {
  const problems: string[] = []
  const say = (what: string) => problems.push(`${evidence.title}: ${what}`)
  const { meant, accepted, kept, deposits, sightings, source } = evidence
  const last = sightings.at(-1)?.sha256 ?? null
  const end: End = last === null ? 'absent' : meant.includes(last) ? 'whole' : 'broken'
  if (end !== evidence.ends) say(`THE STORY ITSELF went wrong: it ended ${end}, not ${evidence.ends}`)
  if (source !== last) say('SOURCE CHANGED: the inbox does not hold what its uploader left there')

  for (const { atSecond, sha256 } of accepted) {
    const wholeSince = sightings.find((one) => one.sha256 === sha256)?.atSecond
    if (!meant.includes(sha256)) say(`FALSE COMPLETE at ${atSecond} s: bytes that nobody meant`)
    else if (wholeSince === undefined || wholeSince > atSecond) say(`FALSE COMPLETE at ${atSecond} s: not whole yet`)
  }
  for (const sha256 of new Set(accepted.map((one) => one.sha256)))
    if (accepted.filter((one) => one.sha256 === sha256).length > 1) say('TWICE: one content became two recordings')
  const sorted = (hashes: readonly string[]) => [...hashes].sort().join(' ')
  if (sorted(kept) !== sorted(accepted.map((one) => one.sha256))) say('KEPT OTHER BYTES than it accepted')

  if (end === 'whole') {
    const taken = accepted.find((one) => one.sha256 === last)
    if (taken === undefined) say(`MISSED: whole since ${evidence.lastStepSecond} s`)
    else if (taken.atSecond > evidence.lastStepSecond + patienceSeconds)
      say(`LATE: whole since ${evidence.lastStepSecond} s, accepted at ${taken.atSecond} s`)
    if (!deposits.some(({ state }) => state === 'accepted' || state === 'duplicate')) say('NO ROW of what was accepted')
  }
  const live = deposits.filter(({ state }) => state !== 'accepted' && state !== 'duplicate')
  if (end === 'broken' && live.length === 0) say('SILENT: nothing is said about a broken upload')
  for (const { state, reason } of live) {
    if (!visible.includes(state)) say(`LEFT as ${state}`)
    else if (reason === null || reason === '') say(`LEFT as ${state} without a reason`)
  }
  return problems
}
