/** Memory of one size that is used again: allocated anew each time, collecting it costs more than hashing what is in it. */
export interface Buffers {
  readonly sizeBytes: number
  /** What was in it before is still there. */
  take(): Buffer
  /** Only when nobody can read from it or write to it any more. What is never given back is collected as usual. */
  give(buffer: Buffer): void
}

/** Keeps at most so many of them for later. */
export function keepBuffers(sizeBytes: number, mostKept: number): Buffers {
  const kept: Buffer[] = []
  return {
    sizeBytes,
    take: () => kept.pop() ?? Buffer.allocUnsafeSlow(sizeBytes),
    give(buffer) {
      if (kept.length < mostKept) kept.push(buffer)
    },
  }
}
