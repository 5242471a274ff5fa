import type { Subject, Told } from './subject.ts'

/**
 * What was confirmed to each person about a recording, by kind of command. The same request delivered again gets the same
 * yes and is one answer; without a request's id, answers of one person cannot be told apart and count as one.
 */
export function confirmedTo(
  { told }: Subject,
  recordingId: string,
  kind: string,
): ReadonlyMap<string, readonly [Told, ...Told[]]> {
  const answers = new Map<string, [Told, ...Told[]]>()
  const seen = new Set<string>()
  for (const one of told) {
    if (!one.accepted || one.kind !== kind || one.recordingId !== recordingId) continue
    const request = one.detail?.['requestId']
    const key = `${one.personId} ${typeof request === 'string' ? request : ''}`
    if (seen.has(key)) continue
    seen.add(key)
    const before = answers.get(one.personId)
    if (before === undefined) answers.set(one.personId, [one])
    else before.push(one)
  }
  return answers
}
