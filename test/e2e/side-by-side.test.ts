import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, inject, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { cleanUp, newHome, readStack, up } from '../setup/up.ts'

afterEach(cleanUp)

async function reelkeep(home: string, ...args: string[]): Promise<void> {
  const terminal = { answer: () => undefined, say: () => undefined, status: () => undefined }
  await createProgram({ env: { REELKEEP_HOME: home }, terminal }).parseAsync(['node', 'reelkeep', ...args])
}

async function ask(home: string, path: string): Promise<Response> {
  const { url } = await readStack(home)
  const key = (await readFile(join(home, 'secrets', 'admin.key'), 'utf8')).trim()
  return fetch(`${url}${path}`, { headers: { Authorization: `Bearer ${key}` } })
}

async function furnish(home: string): Promise<void> {
  for (const role of ['inbox', 'primary', 'backup']) {
    await mkdir(join(home, role))
    const site = role === 'backup' ? 'b' : 'a'
    await reelkeep(home, 'store', 'add', role, `local:${join(home, role)}`, '--role', role, '--site', site)
  }
  await reelkeep(home, 'recorder', 'add', 'hall')
  await mkdir(join(home, 'inbox', 'hall'))
}

async function drop(home: string, name: string, seed: number): Promise<void> {
  const file = join(home, 'inbox', 'hall', name)
  await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'vp8-webm' })
  await writeFile(`${file}.done`, '')
}

async function deposits(home: string): Promise<{ path: string; state: string }[]> {
  const { items } = (await (await ask(home, '/api/v1/deposits')).json()) as { items: { path: string; state: string }[] }
  return items.map(({ path, state }) => ({ path, state }))
}

async function accepted(home: string, path: string): Promise<void> {
  for (;;) {
    const found = await deposits(home)
    if (found.some((deposit) => deposit.path === path && deposit.state === 'accepted')) return
    await pause(200)
  }
}

test(
  'two stacks that start in the same moment keep apart, and one goes on when the other stops',
  { timeout: 240_000 },
  async () => {
    const [a, b] = [await newHome(), await newHome()]
    // Neither is told a port: both want the same ones.
    const stacks = [up(a, ['--no-demo']), up(b, ['--no-demo'])]
    await Promise.all(stacks.map((stack) => stack.says('Reelkeep is running')))
    expect((await readStack(a)).url).not.toBe((await readStack(b)).url)
    for (const home of [a, b]) {
      const ready = await ask(home, '/readyz')
      expect(ready.status).toBe(200)
      // Its own API, database and key: another stack's would not know the key.
      expect((await ask(home, '/api/v1/recordings')).status).toBe(200)
      await furnish(home)
    }

    await drop(a, 'one.webm', 401)
    await accepted(a, 'hall/one.webm')
    expect(await deposits(b)).toEqual([])

    stacks[1]?.child.kill('SIGTERM')
    expect(await stacks[1]?.exit, stacks[1]?.text()).toBe(0)
    await expect(ask(b, '/readyz')).rejects.toThrow()

    expect((await ask(a, '/readyz')).status).toBe(200)
    await drop(a, 'two.webm', 402)
    await accepted(a, 'hall/two.webm')
    expect(stacks[0]?.text()).not.toContain('ended unexpectedly')
  },
)
