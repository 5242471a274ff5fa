import type { EndSignal } from './deposit.ts'
import type { ErrorCode } from './errors.ts'
import { depositExtensions, extensionOf } from './inbox-names.ts'
import type { ListedFile } from './ingest.ts'
import { msPer } from './units.ts'

/** How long a file whose structure breaks off may rest before it is judged as it is. */
export const stallMs = 10 * msPer.minute

/** What a look alone can say against a file. */
export interface NameVerdict {
  readonly state: 'refused' | 'quarantined'
  readonly code: ErrorCode
  readonly reason: string
}

/** Against a file of no bytes. */
export const emptyVerdict: NameVerdict = {
  state: 'quarantined',
  code: 'empty_file',
  reason:
    'The file is empty and has not grown for its quiet period. Upload it again: it is taken up as soon as it grows.',
}

/** What is to be said against a file before anything of it is read; `null` = nothing. */
export function judgeByName(file: ListedFile): NameVerdict | null {
  if (!file.usable) {
    const reason = 'Its name cannot be used: it is too long, or contains a backslash, NUL or "..". Rename the file.'
    return { state: 'refused', code: 'unsafe_name', reason }
  }
  if (file.special === 'unreadable') {
    const reason = 'It cannot be read. Give the user that runs Reelkeep access to it; it is taken up by itself then.'
    return { state: 'quarantined', code: 'special_file', reason }
  }
  if (file.special !== null) {
    const reason = `It is a ${file.special.replace('_', ' ')}, not a plain file. Put the file itself there; it is taken up by itself then.`
    return { state: 'quarantined', code: 'special_file', reason }
  }
  if (depositExtensions.has(extensionOf(file.path))) return null
  const reason =
    'It is not a media file by its name. Rename it with the extension of its format, or remove it from the inbox.'
  return { state: 'refused', code: 'type_mismatch', reason }
}

/** What an upload that goes on can still mend: what is missing may come, reserved space may be filled. */
const mendable: readonly ErrorCode[] = ['truncated', 'undecodable', 'incomplete_package', 'zip_structure', 'zip_crc']

/**
 * What a complete deposit becomes whose content was found broken: back to stalled (the rest may still come), or into
 * quarantine because somebody said that this was all, or because nothing came for the stall time.
 */
export function decideStructureFailure(failure: {
  readonly code: ErrorCode
  readonly endSignal: EndSignal | null
  /** What its hash sidecar said. One that differs from cut bytes was there before them and ends nothing. */
  readonly checksum: 'none' | 'matches' | 'differs'
  readonly restedMs: number
}): 'stalled' | 'quarantined' {
  if (!mendable.includes(failure.code)) return 'quarantined'
  if (failure.endSignal === 'rename' || failure.checksum === 'matches') return 'quarantined'
  if (failure.endSignal === 'sidecar' && failure.checksum === 'none') return 'quarantined'
  return failure.restedMs >= stallMs ? 'quarantined' : 'stalled'
}
