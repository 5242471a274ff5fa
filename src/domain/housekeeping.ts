import { recordingPrefix } from './archive.ts'

/**
 * True for a rendition of an attempt that does not count: its own attempt is named by no row, and another attempt's is, so
 * that it is known which one counts. Everything else that no row names may be somebody's.
 */
export function isStrayRendition(
  ref: { readonly accountId: string; readonly recordingId: string },
  key: string,
  named: ReadonlySet<string>,
): boolean {
  const folder = `${recordingPrefix(ref.accountId, ref.recordingId)}/renditions/`
  const attemptOf = (one: string) => (one.startsWith(folder) ? one.slice(folder.length).split('/')[0] : undefined)
  const attempt = attemptOf(key)
  if (attempt === undefined || attempt === '' || named.has(key)) return false
  const counting = new Set([...named].map(attemptOf).filter((one) => one !== undefined))
  return counting.size > 0 && !counting.has(attempt)
}
