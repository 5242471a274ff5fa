import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { copyFile, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { endLeftOvers, findService, pickPort } from '../../src/dev/processes.ts'

const root = new URL('../../', import.meta.url).pathname

interface Up {
  readonly process: ChildProcess
  readonly output: () => string
  readonly ended: Promise<number | null>
}

function up(home: string, args: readonly string[]): Up {
  const child = spawn(process.execPath, ['scripts/run.mjs', 'up', ...args], {
    cwd: root,
    env: { ...process.env, REELKEEP_HOME: home, VITEST: undefined, NODE_ENV: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  return { process: child, output: () => text, ended: new Promise((resolve) => child.on('close', resolve)) }
}

async function until<T>(what: string, look: () => Promise<T | null | undefined | false>, forMs = 90_000): Promise<T> {
  const untilMs = Date.now() + forMs
  let last: unknown = null
  while (Date.now() < untilMs) {
    try {
      const found = await look()
      if (found !== null && found !== undefined && found !== false) return found
    } catch (error) {
      last = error
    }
    await pause(200)
  }
  throw new Error(`Waited ${forMs} ms for ${what}`, { cause: last })
}

test('npm start -- --once shows a whole life and ends well', { timeout: 240_000 }, async () => {
  const home = await mkdtemp(join(tmpdir(), 'reelkeep-once-'))
  try {
    const run = up(home, ['--once', '--port', String(await pickPort())])
    const code = await run.ended
    expect(run.output()).toContain('VALID')
    expect(code).toBe(0)
    expect(await readdir(join(home, 'run'))).toEqual([])
  } finally {
    await endLeftOvers(join(home, 'run'))
    await rm(home, { recursive: true, force: true })
  }
})

describe('killed in the middle of a life, it completes', { timeout: 240_000 }, () => {
  let home: string
  let run: Up
  let seed = 100

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'reelkeep-kill-'))
    run = up(home, ['--port', String(await pickPort())])
    await until(
      'the stack',
      async () => (await readFile(join(home, 'stack.json'), 'utf8')) && (await api('/readyz')).ok,
    )
  })
  afterAll(async () => {
    run.process.kill('SIGTERM')
    await run.ended
    await endLeftOvers(join(home, 'run'))
    await rm(home, { recursive: true, force: true })
  })

  async function api(path: string): Promise<Response> {
    const { url } = JSON.parse(await readFile(join(home, 'stack.json'), 'utf8')) as { url: string }
    const key = (await readFile(join(home, 'secrets', 'admin.key'), 'utf8').catch(() => '')).trim()
    return fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` }, signal: AbortSignal.timeout(5000) })
  }

  async function drop(name: string): Promise<void> {
    seed += 1
    const file = join(home, `drop-${seed}.webm`)
    await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'vp8-webm', seconds: 4 })
    await copyFile(file, join(home, 'inbox', 'hall-a', `.${name}.part`))
    await rename(join(home, 'inbox', 'hall-a', `.${name}.part`), join(home, 'inbox', 'hall-a', name))
  }

  async function stateOf(name: string): Promise<string | null> {
    const deposits = (await (await api('/api/v1/deposits?limit=100')).json()) as {
      items: { path: string; recordingId: string | null }[]
    }
    const found = deposits.items.find((deposit) => deposit.path.endsWith(name))
    if (found?.recordingId === null || found === undefined) return null
    const recording = (await (await api(`/api/v1/recordings/${found.recordingId}`)).json()) as { state: string }
    return recording.state
  }

  async function kill(service: string): Promise<void> {
    const record = await findService(join(home, 'run'), service)
    if (record === null) throw new Error(`${service} does not run`)
    process.kill(record.pid, 'SIGKILL')
  }

  test.each(['worker', 'api', 'temporal', 'postgres'])('%s', async (service) => {
    const name = `kill-${service}.webm`
    await drop(name)
    await until('the deposit to be under way', async () => (await stateOf(name)) !== null)
    await kill(service)
    await until(`${name} to be kept`, async () => (await stateOf(name)) === 'retained', 120_000)
  })

  test('everything at once, the supervisor too: the next start goes on', async () => {
    const name = 'kill-all.webm'
    await drop(name)
    await until('the deposit to be under way', async () => (await stateOf(name)) !== null)
    run.process.kill('SIGKILL')
    for (const service of ['worker', 'api', 'temporal', 'postgres']) await kill(service)
    await run.ended
    run = up(home, ['--port', String(await pickPort())])
    await until(`${name} to be kept`, async () => (await stateOf(name)) === 'retained', 120_000).catch(
      (error: unknown) => {
        throw new Error(`The next start said:\n${run.output()}`, { cause: error })
      },
    )
  })
})
