/** Randomness that can be had again: the seed is printed, and `SEED=n` repeats it. */
export interface Dice {
  readonly seed: number
  /** From 0 up to, but not, 1. */
  next(): number
  /** A whole number from 0 up to, but not, `below`. */
  below(below: number): number
  pick<T>(from: readonly T[]): T
}

/** @source Tommy Ettinger's Mulberry32 */
export function throwDice(what: string): Dice {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_000)
  process.stdout.write(`SEED=${seed} (${what})\n`)
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    seed,
    next,
    below,
    pick: (from) => {
      const one = from[below(from.length)]
      if (one === undefined) throw new Error('Nothing to pick from.')
      return one
    },
  }
}
