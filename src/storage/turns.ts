/** Runs a job when it is its turn among the jobs of the same key. */
export type TakeTurn = <T>(key: string, job: () => Promise<T>) => Promise<T>

/**
 * Lets jobs of one key follow each other and jobs of different keys run side by side. Stores need it where the far end
 * has no atomic "create only if absent": within this process, two puts of one key then cannot overtake each other.
 */
export function createTurns(): TakeTurn {
  const lastOf = new Map<string, Promise<unknown>>()
  return async (key, job) => {
    const before = lastOf.get(key) ?? Promise.resolve()
    const mine = before.then(job, job)
    lastOf.set(key, mine)
    try {
      return await mine
    } finally {
      if (lastOf.get(key) === mine) lastOf.delete(key)
    }
  }
}
