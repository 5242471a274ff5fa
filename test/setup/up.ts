import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { endLeftOvers } from '../../src/dev/processes.ts'

const launcher = fileURLToPath(new URL('../../scripts/run.mjs', import.meta.url))
const cleanups: (() => Promise<unknown>)[] = []

/** Ends and removes what a test started here: call it after each. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
}

/** A folder for one stack. */
export async function newHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'reelkeep-stack-'))
  await chmod(home, 0o711)
  cleanups.push(async () => {
    await endLeftOvers(join(home, 'run'))
    await rm(home, { recursive: true, force: true })
  })
  return home
}

/** A stack that was started the way people do. */
export interface Up {
  readonly child: ChildProcess
  readonly text: () => string
  readonly exit: Promise<number | null>
  /** Waits for words on its terminal. */
  readonly says: (words: string) => Promise<void>
}

/** `npm start -- ...`, with nothing of this shell's settings: a developer's DATABASE_URL must not become the tests' database. */
export function up(home: string, args: readonly string[], settings: Readonly<Record<string, string>> = {}): Up {
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], REELKEEP_HOME: home, ...settings }
  const child = spawn(process.execPath, [launcher, 'up', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const exit = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null)
  cleanups.push(async () => {
    child.kill('SIGKILL')
    await exit
  })
  const says = async (words: string) => {
    while (!text.includes(words)) {
      if (child.exitCode !== null) throw new Error(`up ended with ${child.exitCode} before "${words}":\n${text}`)
      await pause(50)
    }
  }
  return { child, text: () => text, exit, says }
}

/** What the stack in this folder remembers. */
export async function readStack(home: string): Promise<{ url: string; fastForward: boolean }> {
  const { url, fastForward }: { url: string; fastForward: boolean } = JSON.parse(
    await readFile(join(home, 'stack.json'), 'utf8'),
  )
  return { url, fastForward }
}
