/** Stands in for `src/workflows/timeouts.ts` where workers die by the hundred. A beat is sent every 5 s. */
export const timeouts = { rows: '8 seconds', beat: '12 seconds', lookBeat: '12 seconds' } as const

/** Longer than any of them: who hangs this long is given up for dead, and comes back as a zombie. */
export const hangMs = 16_000
