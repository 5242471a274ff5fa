import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { openSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

/** Worker processes that are started again whenever they die. */
export interface WorkerPool {
  readonly deaths: number
  /** Kills one with SIGKILL; it is started again. */
  kill(index: number): void
  /** Freezes one for a while: given up for dead, it comes back. */
  freeze(index: number, forMs: number): void
  stop(): Promise<void>
}

const root = new URL('../../', import.meta.url).pathname
const restartMs = 300
const stopMs = 15_000

/** Starts this many workers. What they say goes to one file. */
export function startWorkerPool(options: {
  readonly count: number
  readonly env: NodeJS.ProcessEnv
  readonly logFile: string
}): WorkerPool {
  const log = openSync(options.logFile, 'a')
  const children: (ChildProcess | null)[] = []
  let deaths = 0
  let stopping = false
  const launch = (index: number) => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--import', './test/chaos/jumping-clock.mjs', 'test/chaos/worker.ts'],
      {
        cwd: root,
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...options.env },
        stdio: ['ignore', log, log],
        detached: true,
      },
    )
    children[index] = child
    child.once('exit', () => {
      children[index] = null
      // What it had started (ffmpeg) is in its group and must not outlive the test.
      signalGroup(child, 'SIGKILL')
      if (stopping) return
      deaths += 1
      setTimeout(() => !stopping && launch(index), restartMs)
    })
  }
  for (let index = 0; index < options.count; index += 1) launch(index)
  return {
    get deaths() {
      return deaths
    },
    kill: (index) => void children[index]?.kill('SIGKILL'),
    freeze(index, forMs) {
      const child = children[index]
      if (child === undefined || child === null) return
      child.kill('SIGSTOP')
      setTimeout(() => child.kill('SIGCONT'), forMs)
    },
    async stop() {
      stopping = true
      const running = children.filter((child) => child !== null)
      for (const child of running) child.kill('SIGCONT')
      for (const child of running) child.kill('SIGTERM')
      const untilMs = Date.now() + stopMs
      while (children.some((child) => child !== null) && Date.now() < untilMs) await pause(100)
      for (const child of running) signalGroup(child, 'SIGKILL')
    },
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // The group is gone.
  }
}
