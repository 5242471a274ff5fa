/** Where a command writes: answers go to stdout, everything that only tells what goes on to stderr. */
export interface Terminal {
  /** A line of the answer. */
  answer(line: string): void
  /** A line about what happens. */
  say(line: string): void
  /** The one line that changes in place, e.g. a progress bar; on a file or pipe it is not written. `''` removes it. */
  status(line: string): void
}

/** The process's own streams. */
export function openTerminal(): Terminal {
  let shown = false
  const clear = () => {
    if (shown) process.stderr.write('\r\u001b[K')
    shown = false
  }
  return {
    answer(line) {
      clear()
      process.stdout.write(`${line}\n`)
    },
    say(line) {
      clear()
      process.stderr.write(`${line}\n`)
    },
    status(line) {
      if (!process.stderr.isTTY) return
      clear()
      if (line === '') return
      process.stderr.write(line.slice(0, Math.max(20, process.stderr.columns - 1)))
      shown = true
    },
  }
}

/** `[########--------] 50 %` */
export function progressBar(percent: number, width = 24): string {
  const share = Math.min(100, Math.max(0, percent)) / 100
  const done = Math.round(share * width)
  return `[${'#'.repeat(done)}${'-'.repeat(width - done)}] ${Math.floor(share * 100)} %`
}

/** Columns as wide as their longest cell; the first row is the head. Cells never break a line. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map(oneLine))
  const widths = head.map((_, column) => Math.max(...all.map((row) => widthOf(row[column] ?? ''))))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** File names may hold line feeds and control characters; a terminal must not obey them. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are exactly what must not reach the terminal
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '�')
}

function widthOf(text: string): number {
  return Array.from(text).length
}

/** `2026-11-21 05:06` in the terminal's own time zone is ambiguous for a log: always UTC, and it says so. */
export function instant(ms: number | null): string {
  return ms === null ? '-' : `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`
}
