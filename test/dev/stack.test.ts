import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { cleanUp, newHome, readStack, up } from '../setup/up.ts'

afterEach(cleanUp)

test(
  'npm start -- --once shows a whole life; killed in the middle, the next start continues it',
  { timeout: 180_000 },
  async () => {
    const home = await newHome()
    const first = up(home, ['--once'])
    await first.says('deposit arriving')
    first.child.kill('SIGKILL')
    await first.exit

    const second = up(home, ['--once'])
    expect(await second.exit, second.text()).toBe(0)
    for (const words of ['Kept', 'retention ending', 'Deletion requested', 'approved', 'VALID   Welcome to Reelkeep'])
      expect(second.text()).toContain(words)
    expect(await readdir(join(home, 'run'))).toEqual([])

    const third = up(home, ['--once'])
    expect(await third.exit, third.text()).toBe(0)
    expect(third.text()).toContain('has lived its life')
  },
)

test(
  'an empty system: one start at a time, no clocks moved, Ctrl-C twice is one Ctrl-C',
  { timeout: 100_000 },
  async () => {
    const home = await newHome()
    const stack = up(home, ['--no-demo'])
    await stack.says('Reelkeep is running')
    const { url, fastForward } = await readStack(home)
    expect(fastForward).toBe(false)
    const key = (await readFile(join(home, 'secrets', 'admin.key'), 'utf8')).trim()
    const list = await fetch(`${url}/api/v1/recordings`, { headers: { Authorization: `Bearer ${key}` } })
    expect(await list.json()).toMatchObject({ items: [] })

    const beside = up(home, [])
    expect(await beside.exit).toBe(1)
    expect(beside.text()).toContain('already runs')

    stack.child.kill('SIGINT')
    await pause(200)
    stack.child.kill('SIGINT')
    expect(await stack.exit, stack.text()).toBe(0)
    expect(stack.text()).toContain('the next start continues it')
    expect(await readdir(join(home, 'run'))).toEqual([])

    const demo = up(home, ['--once'])
    expect(await demo.exit).toBe(1)
    expect(demo.text()).toContain('created empty')
  },
)
