/** Milliseconds in the usual spans. A year is 365 days here: retention dates are computed once and then shown as dates. */
export const msPer = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  year: 365 * 86_400_000,
} as const

/** Bytes in the usual binary multiples. */
export const bytesPer = { kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3, tib: 1024 ** 4 } as const

/** "3 d 4 h", "12 min", "40 s": at most two units, for people. */
export function describeDuration(ms: number): string {
  const parts: string[] = []
  let rest = Math.max(0, Math.round(ms / 1000))
  for (const [name, seconds] of [
    ['y', 31_536_000],
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(rest / seconds)
    if (count > 0) parts.push(`${count} ${name}`)
    rest -= count * seconds
    if (parts.length === 2) break
  }
  return parts.length === 0 ? '0 s' : parts.join(' ')
}

/** "1.4 GiB", "312 KiB": three significant digits, for people. */
export function describeBytes(bytes: number): string {
  let value = bytes
  for (const unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (value < 1000 || unit === 'TiB')
      return `${value >= 100 || unit === 'B' ? Math.round(value) : value.toPrecision(2)} ${unit}`
    value /= 1024
  }
  return `${bytes} B`
}
