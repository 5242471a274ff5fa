import { readFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

/*
 * Loaded before a program (`--import`), it makes its wall clock wrong by the milliseconds that stand in the file CLOCK_FILE:
 * what happens to a process when somebody sets the machine's clock. Timers go on as they do then, too. It is no TypeScript,
 * because every thread of the program loads it, and before anything that could compile it.
 */

const { CLOCK_FILE: file } = process.env
const RightDate = Date
let offsetMs = 0

function readOffset() {
  try {
    offsetMs = Number(readFileSync(file ?? '', 'utf8')) || 0
  } catch {
    // Nobody has set it yet.
  }
}

if (file !== undefined && isMainThread) {
  globalThis.Date = new Proxy(RightDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [RightDate.now() + offsetMs] : args, newTarget),
    apply: () => new RightDate(RightDate.now() + offsetMs).toString(),
    get: (target, name, receiver) =>
      name === 'now' ? () => RightDate.now() + offsetMs : Reflect.get(target, name, receiver),
  })
  readOffset()
  setInterval(readOffset, 200).unref()
}
