/** Lets a few jobs of one key run at once; the others come in order. */
export interface Turns {
  /**
   * Runs `job` when it is its turn and tells it whether it had to wait. `late` makes the error of one that waited longer than
   * `withinMs`; without it, a job waits as long as it takes.
   */
  take<T>(
    key: string,
    job: (waited: boolean) => Promise<T>,
    late?: { readonly withinMs: number; readonly tooLate: () => Error },
  ): Promise<T>
}

interface Line {
  running: number
  readonly waiting: Set<() => void>
}

/**
 * One process's lines, `atOnce` jobs of each key at a time; jobs of different keys run side by side. Stores need it (one at a
 * time) where the far end has no atomic "create only if absent": two puts of one key then cannot overtake each other. A line
 * that nobody stands in is forgotten.
 */
export function createTurns(atOnce: number): Turns {
  const lines = new Map<string, Line>()
  const leave = (key: string, line: Line) => {
    const [next] = line.waiting
    if (next !== undefined) return next()
    line.running -= 1
    if (line.running === 0) lines.delete(key)
  }
  return {
    async take(key, job, late) {
      const line = lines.get(key) ?? { running: 0, waiting: new Set() }
      lines.set(key, line)
      const waited = line.running >= atOnce
      if (waited) await stand(line, late)
      else line.running += 1
      try {
        return await job(waited)
      } finally {
        leave(key, line)
      }
    },
  }
}

/** Waits for a place that somebody leaves: it is handed over, so nobody who comes later can slip in. */
async function stand(line: Line, late: Parameters<Turns['take']>[2]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const called = () => {
      clearTimeout(timer)
      line.waiting.delete(called)
      resolve()
    }
    const giveUp = () => {
      line.waiting.delete(called)
      reject(late?.tooLate())
    }
    const timer = late === undefined ? undefined : setTimeout(giveUp, late.withinMs)
    line.waiting.add(called)
  })
}
