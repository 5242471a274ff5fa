import type { DepositState } from './deposit.ts'
import { describeDuplicate } from './duplicate.ts'
import type { FirstOfItsBytes } from './duplicate.ts'
import { stallMs } from './quarantine.ts'
import { describeDuration } from './units.ts'

/** What the next-step sentence of a deposit needs to know. */
export interface DepositStanding {
  readonly state: DepositState
  readonly changedAtMs: number
  readonly quietMs: number
  /** Of a duplicate: the recording that it is linked to. */
  readonly first: FirstOfItsBytes | null
}

const nextSteps: Readonly<Record<DepositState, (standing: DepositStanding) => string>> = {
  arriving: ({ changedAtMs, quietMs }) =>
    `Taken in when it has not changed for ${describeDuration(quietMs)} (not before ${instant(changedAtMs + quietMs)}), or at once when a .sha256, .md5 or .done file stands beside it.`,
  stalled: ({ changedAtMs }) =>
    `It is not whole. It goes on by itself when the upload resumes; otherwise it is judged as it is at ${instant(changedAtMs + stallMs)}.`,
  orphan: () =>
    'No recorder owns this directory. Add a recorder for it, or a default recorder for the inbox; it is taken up by itself then.',
  complete: () => 'It is being read, checked and taken in now.',
  accepted: () => 'It became a recording. The source leaves the inbox when all its copies are verified.',
  duplicate: ({ first }) => describeDuplicate(first),
  quarantined: () => 'Its source is kept. Upload a good file under the same name, or retry it after a fix.',
  refused: () => 'Nothing happens with it by itself. Rename it or remove it from the inbox.',
  vanished: () => 'Nothing: the file is gone. Upload it again if it is still needed.',
  released: () => 'Nothing: its copies were verified and the source left the inbox.',
}

/** What happens next with a deposit, when, and who has to do something: one sentence for people. */
export function describeNextStep(standing: DepositStanding): string {
  return nextSteps[standing.state](standing)
}

function instant(ms: number): string {
  return new Date(ms).toISOString()
}
