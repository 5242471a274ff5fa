import { readFileSync } from 'node:fs'

/*
 * Loaded before a program (`--import`), it makes its wall clock wrong by the milliseconds that stand in the file CLOCK_FILE:
 * what happens to a process when somebody sets the machine's clock. Timers go on as they do then, too.
 */

const { CLOCK_FILE: file } = process.env
const RightDate = Date
let offsetMs = 0

function readOffset(): void {
  try {
    offsetMs = Number(readFileSync(file ?? '', 'utf8')) || 0
  } catch {
    // Nobody has set it yet.
  }
}

if (file !== undefined) {
  globalThis.Date = new Proxy(RightDate, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [RightDate.now() + offsetMs] : args, newTarget) as object,
    apply: () => new RightDate(RightDate.now() + offsetMs).toString(),
    get: (target, name, receiver) =>
      name === 'now' ? () => RightDate.now() + offsetMs : (Reflect.get(target, name, receiver) as unknown),
  })
  readOffset()
  setInterval(readOffset, 200).unref()
}
