import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { endLeftOvers } from '../../src/dev/processes.ts'

const launcher = fileURLToPath(new URL('../../scripts/run.mjs', import.meta.url))
const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function newHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'reelkeep-stack-'))
  await chmod(home, 0o711)
  cleanups.push(async () => {
    await endLeftOvers(join(home, 'run'))
    await rm(home, { recursive: true, force: true })
  })
  return home
}

interface Up {
  readonly child: ChildProcess
  readonly text: () => string
  readonly exit: Promise<number | null>
  /** Waits for words on its terminal. */
  readonly says: (words: string) => Promise<void>
}

function up(home: string, ...args: string[]): Up {
  // Nothing of this shell's settings: a developer's DATABASE_URL must not become the tests' database.
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], REELKEEP_HOME: home }
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

async function readStack(home: string): Promise<{ url: string; fastForward: boolean }> {
  const { url, fastForward }: { url: string; fastForward: boolean } = JSON.parse(
    await readFile(join(home, 'stack.json'), 'utf8'),
  )
  return { url, fastForward }
}

test(
  'npm start -- --once shows a whole life; killed in the middle, the next start continues it',
  { timeout: 180_000 },
  async () => {
    const home = await newHome()
    const first = up(home, '--once')
    await first.says('deposit arriving')
    first.child.kill('SIGKILL')
    await first.exit

    const second = up(home, '--once')
    expect(await second.exit, second.text()).toBe(0)
    for (const words of ['Kept', 'retention ending', 'Deletion requested', 'approved', 'VALID   Welcome to Reelkeep'])
      expect(second.text()).toContain(words)
    expect(await readdir(join(home, 'run'))).toEqual([])

    const third = up(home, '--once')
    expect(await third.exit, third.text()).toBe(0)
    expect(third.text()).toContain('has lived its life')
  },
)

test(
  'an empty system: one start at a time, no clocks moved, Ctrl-C twice is one Ctrl-C',
  { timeout: 100_000 },
  async () => {
    const home = await newHome()
    const stack = up(home, '--no-demo')
    await stack.says('Reelkeep is running')
    const { url, fastForward } = await readStack(home)
    expect(fastForward).toBe(false)
    const key = (await readFile(join(home, 'secrets', 'admin.key'), 'utf8')).trim()
    const list = await fetch(`${url}/api/v1/recordings`, { headers: { Authorization: `Bearer ${key}` } })
    expect(await list.json()).toMatchObject({ items: [] })

    const beside = up(home)
    expect(await beside.exit).toBe(1)
    expect(beside.text()).toContain('already runs')

    stack.child.kill('SIGINT')
    await pause(200)
    stack.child.kill('SIGINT')
    expect(await stack.exit, stack.text()).toBe(0)
    expect(stack.text()).toContain('the next start continues it')
    expect(await readdir(join(home, 'run'))).toEqual([])

    const demo = up(home, '--once')
    expect(await demo.exit).toBe(1)
    expect(demo.text()).toContain('created empty')
  },
)
