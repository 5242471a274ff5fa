import { appendFileSync, closeSync, fstatSync, openSync, readdirSync, readSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Context } from '@temporalio/activity'
import { failpointActions } from './names.ts'
import type { FailpointAction, FailpointName } from './names.ts'

/*
 * Places where tests make this process die, hang, fail or lie. The build takes every call and this folder out of what is
 * shipped (scripts/build.mjs); without `enableFailpoints`, which only tests call, a call returns at once.
 *
 * What is to happen stands as empty files in one folder, so that it outlives the processes it kills:
 * `<point>~<recording id or how its workflow's begins, or any>~<action>~<how often>~<unique>`. Taking one is a rename: done once.
 */

/** How failpoints are played in this process. */
export interface FailpointPlay {
  readonly directory: string
  /** Longer than the heartbeat and row timeouts of the workflows under test. */
  readonly hangMs: number
}

let play: FailpointPlay | null = null
const failing = new WeakSet<Context>()

/** Plays failpoints in this process from now on; `null` ends it. Only tests call this. */
export function enableFailpoints(wanted: FailpointPlay | null): void {
  play = wanted
}

/** The name of the file that makes something happen; `subject` null = whoever comes first. */
export function armName(arm: {
  readonly point: FailpointName
  readonly subject: string | null
  readonly action: FailpointAction
  readonly times: number
  readonly id: string
}): string {
  return [arm.point, arm.subject ?? 'any', arm.action, arm.times, arm.id].join('~')
}

/**
 * A place where a crash would matter. `path` is the file whose bytes were just written.
 * @throws whatever a test asks for
 */
export async function failpoint(name: FailpointName, path: string | Buffer | null = null): Promise<void> {
  if (play === null) return
  const context = currentContext()
  if (name === 'activity.after' && context !== null && failing.delete(context))
    throw new Error('failpoint: done, but reported as failed')
  const action = take(play, name, subjectOf(context))
  if (action !== null) await act(play, { name, action, path, context })
}

function currentContext(): Context | null {
  try {
    return Context.current()
  } catch {
    return null
  }
}

function subjectOf(context: Context | null): string {
  return context?.info.workflowExecution?.workflowId.split('/').at(-1) ?? 'none'
}

function take({ directory }: FailpointPlay, name: FailpointName, subject: string): FailpointAction | null {
  for (const file of readdirSync(directory)) {
    const [point, whose, action, times, id] = file.split('~')
    if (point !== name || whose === undefined || (whose !== 'any' && !subject.startsWith(whose))) continue
    const left = Number(times) - 1
    const next = left > 0 ? [point, subject, action, left, id].join('~') : join('played', file)
    try {
      renameSync(join(directory, file), join(directory, next))
    } catch {
      // Another process, or the same one a moment earlier, took it.
      continue
    }
    appendFileSync(
      join(directory, 'played', 'log.jsonl'),
      `${JSON.stringify({ atMs: Date.now(), pid: process.pid, point, subject, action, left, id })}\n`,
    )
    return failpointActions.find((one) => one === action) ?? null
  }
  return null
}

interface Acting {
  readonly name: FailpointName
  readonly action: FailpointAction
  readonly path: string | Buffer | null
  readonly context: Context | null
}

async function act({ hangMs }: FailpointPlay, { name, action, path, context }: Acting): Promise<void> {
  switch (action) {
    case 'die':
      process.kill(process.pid, 'SIGKILL')
      return pause(60_000)
    case 'throw':
      throw new Error(`failpoint ${name}: thrown on purpose`)
    case 'hang':
      // Given up for dead, it comes back as a zombie and goes on beside its successor.
      if (context !== null) Object.assign(context, { heartbeat: () => undefined })
      return pause(hangMs)
    case 'report_failure':
      if (context !== null) failing.add(context)
      return
    case 'enospc':
      throw Object.assign(new Error(`ENOSPC: no space left on device (failpoint ${name})`), {
        code: 'ENOSPC',
        errno: -28,
        syscall: 'write',
      })
    case 'corrupt':
      if (path !== null) flipOneBit(path)
  }
}

function flipOneBit(path: string | Buffer): void {
  const file = openSync(path, 'r+')
  try {
    const at = Math.floor(fstatSync(file).size / 2)
    const byte = Buffer.alloc(1)
    if (readSync(file, byte, 0, 1, at) === 1) writeSync(file, Buffer.from([(byte[0] ?? 0) ^ 4]), 0, 1, at)
  } finally {
    closeSync(file)
  }
}
