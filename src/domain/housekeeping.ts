import { partsPrefix, recordingPrefix } from './archive.ts'
import type { DepositState } from './deposit.ts'

const overForGood: readonly (DepositState | null)[] = [null, 'duplicate', 'refused', 'vanished', 'released']

/**
 * True for a deposit that is over under this id, and no recording by it: nothing ever takes it in. `null` = no deposit has the
 * id any more: it went on under another.
 */
export function isOverForGood(
  deposit: { readonly id: string; readonly state: DepositState; readonly recordingId: string | null } | null,
): boolean {
  if (deposit === null) return true
  return overForGood.includes(deposit.state) && deposit.recordingId !== deposit.id
}

/**
 * What becomes of an original that was announced long ago. `forget`: a row names it, it is a recording's. `keep`: its deposit
 * may still be taken in, or there is a recording under its id. `remove`: nobody can ever come to name it.
 */
export function decideLeftPut(put: {
  /** `null` = no deposit has this id any more: it went on under another. */
  readonly depositState: DepositState | null
  readonly hasRecording: boolean
  readonly isNamed: boolean
}): 'forget' | 'keep' | 'remove' {
  if (put.isNamed) return 'forget'
  if (put.hasRecording || !overForGood.includes(put.depositState)) return 'keep'
  return 'remove'
}

/** True for a part of an encode that no row counts: once the recording is kept, the encode is over and nobody goes on from it. */
export function isStrayPart(
  ref: { readonly accountId: string; readonly recordingId: string },
  key: string,
  named: ReadonlySet<string>,
): boolean {
  return key.startsWith(`${partsPrefix(ref.accountId, ref.recordingId)}/`) && !named.has(key)
}

/**
 * True for a rendition of an attempt that no row of a kept recording names: another attempt counts, or none does, because a person
 * went on without. Once the encode is over, no attempt can come to count (`publishRenditions`). Everything else that no row names
 * may be somebody's.
 */
export function isStrayRendition(
  ref: { readonly accountId: string; readonly recordingId: string },
  key: string,
  named: ReadonlySet<string>,
): boolean {
  const folder = `${recordingPrefix(ref.accountId, ref.recordingId)}/renditions/`
  const attemptOf = (one: string) => (one.startsWith(folder) ? one.slice(folder.length).split('/')[0] : undefined)
  const attempt = attemptOf(key)
  if (attempt === undefined || attempt === '') return false
  return ![...named].some((one) => attemptOf(one) === attempt)
}
