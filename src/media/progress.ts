/** How far an ffmpeg process has come, by its own account. */
export interface Progress {
  /** Output time in ms: the end of the last packet written, over all outputs; `null` before the first. */
  readonly outMs: number | null
  readonly frames: number
}

/**
 * Reads `-progress` blocks from chunks of text, however they are cut, and reports after each block.
 * `out_time_us` is microseconds; `out_time_ms` is microseconds too (ffmpeg's own slip) and not used.
 */
export function progressReader(report: (progress: Progress) => void): (text: string) => void {
  let rest = ''
  let outMs: number | null = null
  let frames = 0
  return (text) => {
    const lines = (rest + text).split('\n')
    rest = (lines.pop() ?? '').slice(-1000)
    for (const line of lines) {
      const at = line.indexOf('=')
      const value = Number(line.slice(at + 1))
      switch (line.slice(0, Math.max(0, at))) {
        case 'out_time_us':
          if (Number.isFinite(value)) outMs = Math.max(outMs ?? 0, Math.round(value / 1000))
          break
        case 'frame':
          if (Number.isFinite(value)) frames = value
          break
        case 'progress':
          report({ outMs, frames })
          break
        default:
      }
    }
  }
}

/** A progress callback that takes part `from..to` of the whole and never lets the number fall. */
export function partOf(
  onProgress: ((fraction: number) => void) | undefined,
): (from: number, to: number) => (fraction: number) => void {
  let highest = 0
  return (from, to) => (fraction) => {
    const whole = from + (to - from) * Math.min(1, Math.max(0, fraction))
    if (whole <= highest) return
    highest = whole
    onProgress?.(whole)
  }
}
