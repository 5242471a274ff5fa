/** A few connections to one server, made when needed and replaced when lost. */
export interface Pool<T> {
  /** The least busy member; `release` must be called once, a second call does nothing. */
  acquire(): Promise<{ member: T; release: () => void }>
  /** Runs a job with a member. */
  use<R>(job: (member: T) => Promise<R>): Promise<R>
  /** Forgets all members after ending each; the pool can be used again. */
  clear(end: (member: T) => void): Promise<void>
}

interface Slot<T> {
  readonly member: Promise<T>
  users: number
  settled: T | null
}

/** Makes an empty pool: nothing is connected before the first use. */
export function createPool<T extends { isLost(): boolean }>(limit: number, connect: () => Promise<T>): Pool<T> {
  let slots: Slot<T>[] = []
  function choose(): Slot<T> {
    slots = slots.filter((slot) => slot.settled?.isLost() !== true)
    const leastBusy = slots.toSorted((a, b) => a.users - b.users)[0]
    if (leastBusy !== undefined && (leastBusy.users === 0 || slots.length >= limit)) return leastBusy
    const slot: Slot<T> = { member: connect(), users: 0, settled: null }
    slots.push(slot)
    slot.member.then(
      (member) => (slot.settled = member),
      () => (slots = slots.filter((other) => other !== slot)),
    )
    return slot
  }
  async function acquire(): Promise<{ member: T; release: () => void }> {
    const slot = choose()
    slot.users += 1
    let held = true
    const release = () => {
      if (held) slot.users -= 1
      held = false
    }
    try {
      return { member: await slot.member, release }
    } catch (error) {
      release()
      throw error
    }
  }
  return {
    acquire,
    async use(job) {
      const { member, release } = await acquire()
      try {
        return await job(member)
      } finally {
        release()
      }
    },
    async clear(end) {
      const all = slots
      slots = []
      for (const { member } of all) await member.then(end, () => {})
    },
  }
}
