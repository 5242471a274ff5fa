import { ReelkeepError } from '../domain/errors.ts'
import { describeDuration } from '../domain/units.ts'
import type { Finished } from './jail.ts'

const sizeLimitSignal = 'SIGXFSZ'
/** A shell, or bubblewrap, reports a death by that signal as 128 + 25. */
const sizeLimitCode = 153

/**
 * What a finished media process says about the machine or the order to stop, whatever the file was: `null` where it
 * says nothing of the kind and the caller has to judge the file.
 */
export function machineFailure(finished: Finished, doing: string, wallMs: number): ReelkeepError | null {
  const { code, signal, stderr, stopped } = finished
  if (stopped === 'cancelled') return new ReelkeepError('cancelled', `${doing} was cancelled.`)
  if (stopped === 'timeout') {
    const message = `${doing} did not end within ${describeDuration(wallMs)} and was stopped. It is tried again; raise the limit for very long recordings.`
    return new ReelkeepError('encode_timeout', message)
  }
  // ffmpeg may exit with 0 although it could not write: its complaint counts, not its code.
  if (/No space left on device|Disk quota exceeded/.test(stderr)) {
    return new ReelkeepError(
      'scratch_full',
      `${doing} stopped: the scratch disk is full. Free space there; it is retried.`,
    )
  }
  if (signal === sizeLimitSignal || code === sizeLimitCode) {
    return new ReelkeepError(
      'encode_failed',
      `${doing} stopped: one output grew beyond the largest allowed size. Raise the limit.`,
    )
  }
  if (
    code === 127 ||
    /Unknown (?:encoder|decoder)|No such filter|error while loading shared libraries|execvp/.test(stderr)
  ) {
    const message = `${doing} failed: ffmpeg lacks something it needs (${lastComplaint(finished)}). Run reelkeep doctor.`
    return new ReelkeepError('encoder_missing', message)
  }
  return null
}

/** The process's last words for a message: one line, no control characters, no paths, at most 300 characters. */
export function lastComplaint(finished: Finished): string {
  const lines = finished.stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.includes('Last message repeated'))
  const words = (lines.at(-1) ?? '')
    .replaceAll(/\p{Cc}/gu, ' ')
    .replaceAll(/(?:file:)?\/[^\s:']+/g, 'the file')
    .replaceAll(/ @ 0x[0-9a-f]+/g, '')
  return words.trim().slice(0, 300) || `exit code ${finished.code ?? finished.signal ?? 'unknown'}`
}
