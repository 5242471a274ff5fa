/** One line of the report. Everything is text already: a table shows it, nothing asserts it. */
export interface Row {
  readonly what: string
  readonly ours: string
  /** The bare tool's result for the same work, or empty where there is none. */
  readonly bare: string
  readonly ratio: string
  readonly budget: string
}

/** What one benchmark came to, and how it was measured. */
export interface BenchResult {
  readonly rows: readonly Row[]
  readonly notes: readonly string[]
}

/** One side of a pair. Only `run` is timed. */
export interface Job {
  prepare?(): Promise<void>
  run(): Promise<void>
  cleanUp?(): Promise<void>
}

/** Times in milliseconds, in the order they were measured. */
export interface Pairs {
  readonly oursMs: readonly number[]
  readonly bareMs: readonly number[]
}

/**
 * Runs both sides in turn (ours, bare, ours, bare ...), so that what else the machine does meets both alike. The first
 * pair warms caches up and is not counted.
 */
export async function runPairs(count: number, ours: Job, bare: Job, signal: AbortSignal): Promise<Pairs> {
  const oursMs: number[] = []
  const bareMs: number[] = []
  for (let pair = 0; pair <= count; pair += 1) {
    const times = [await timed(ours, signal), await timed(bare, signal)] as const
    if (pair === 0) continue
    oursMs.push(times[0])
    bareMs.push(times[1])
  }
  return { oursMs, bareMs }
}

async function timed(job: Job, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted()
  await job.prepare?.()
  try {
    const beganMs = performance.now()
    await job.run()
    return performance.now() - beganMs
  } finally {
    await job.cleanUp?.()
  }
}

/** The value below which this share of all values lies (0..1), by nearest rank; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** The middle value, or the mean of the two in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length / 2
  return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2
}

/** The report's line for a series of pairs: medians with their range, and the median of the pairs' ratios. */
export function pairRow(what: string, { oursMs, bareMs }: Pairs, budget = ''): Row {
  const ratios = oursMs.map((ms, index) => ms / (bareMs[index] ?? Number.NaN))
  return { what, ours: spread(oursMs), bare: spread(bareMs), ratio: `${median(ratios).toFixed(2)}x`, budget }
}

function spread(values: readonly number[]): string {
  return `${describeMs(median(values))} (${describeMs(Math.min(...values))}-${describeMs(Math.max(...values))})`
}

/** "840 us", "12.3 ms", "4.56 s": three digits, for people. */
export function describeMs(ms: number): string {
  if (Number.isNaN(ms)) return '-'
  if (Math.abs(ms) < 1) return `${Math.round(ms * 1000)} us`
  return Math.abs(ms) < 1000 ? `${ms.toPrecision(3)} ms` : `${(ms / 1000).toFixed(2)} s`
}

/** "1.7 GB/s" for these bytes in this time. */
export function describeRate(bytes: number, ms: number): string {
  const megabytesPerSecond = bytes / 1000 / ms
  return megabytesPerSecond < 1000
    ? `${Math.round(megabytesPerSecond)} MB/s`
    : `${(megabytesPerSecond / 1000).toFixed(2)} GB/s`
}
