import { msPer } from './units.ts'

/** One age rule: recordings it matches are kept this long. The longest match wins: keeping wins over deleting. */
export interface RetentionRule {
  readonly id: string
  /** For people: "Lectures are kept for two years". */
  readonly name: string
  /** Every given condition must hold; none = matches everything. */
  readonly when: { readonly recorderIds?: readonly string[]; readonly tag?: string; readonly minDurationMs?: number }
  readonly keepMs: number
}

/** What an account's recordings are subject to. Travels as data; workflows never read it from anywhere else. */
export interface Policy {
  readonly version: number
  readonly claim: {
    /** Reminders to the manager, counted from the first notice. */
    readonly remindAfterMs: readonly number[]
    /** Then administrators are told. */
    readonly escalateAfterMs: number
    /** Then deletion is requested (people still approve it). */
    readonly expireAfterMs: number
  }
  readonly retention: {
    readonly rules: readonly RetentionRule[]
    /** The owner is told this long before retention ends. */
    readonly remindBeforeMs: readonly number[]
  }
  readonly disposition: {
    readonly approvals: number
    readonly undoMs: number
    /** An unanswered request is repeated this often. */
    readonly remindEveryMs: number
  }
  readonly copies: { readonly count: number; readonly sites: number }
}

/** What a new account starts with. */
export const defaultPolicy: Policy = {
  version: 1,
  claim: {
    remindAfterMs: [3 * msPer.day, 7 * msPer.day],
    escalateAfterMs: 14 * msPer.day,
    expireAfterMs: 90 * msPer.day,
  },
  retention: {
    rules: [{ id: 'default', name: 'Recordings are kept for two years', when: {}, keepMs: 2 * msPer.year }],
    remindBeforeMs: [30 * msPer.day, 7 * msPer.day],
  },
  disposition: { approvals: 1, undoMs: 14 * msPer.day, remindEveryMs: 14 * msPer.day },
  copies: { count: 2, sites: 2 },
}
