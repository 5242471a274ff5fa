import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  choosePorts,
  endLeftOvers,
  endProcess,
  findHomeHolder,
  findService,
  isPortFree,
  isRunning,
  lockHome,
  markProcess,
  pickPort,
  recordPath,
  writeRecord,
} from '../../src/dev/processes.ts'
import { holdsPort } from '../../src/dev/listening.ts'
import { startService } from '../../src/dev/supervisor.ts'
import type { ServiceSpec } from '../../src/dev/supervisor.ts'

let home: string
let runDir: string
const cleanups: (() => unknown)[] = []

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'reelkeep-processes-'))
  runDir = join(home, 'run')
  await mkdir(runDir)
})

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
  await rm(home, { recursive: true, force: true })
})

async function sleeper() {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' })
  await once(child, 'spawn')
  cleanups.push(() => child.kill('SIGKILL'))
  const mark = await markProcess(child.pid!)
  return { child, mark: mark! }
}

test('a port belongs to the process that listens on it, not to one that would like to', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { mark } = await sleeper()
  expect(await holdsPort(process.pid, port)).toBe(true)
  expect(await holdsPort(mark.pid, port)).toBe(false)
  expect(await holdsPort(process.pid, 1)).toBe(false)
  expect(await isPortFree(port)).toBe(false)
})

function service(overrides: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    name: 'sleeper',
    command: process.execPath,
    args: ['-e', 'console.log("up"); setInterval(() => {}, 1000)'],
    ports: [],
    runDir,
    logFile: join(home, 'sleeper.log'),
    ready: async () => (await readFile(join(home, 'sleeper.log'), 'utf8')).includes('up'),
    ...overrides,
  }
}

async function until(check: () => Promise<boolean>) {
  const end = Date.now() + 10_000
  while (!(await check())) {
    if (Date.now() > end) throw new Error('did not happen within 10 s')
    await pause(20)
  }
}

describe('processes', () => {
  test('a killed process does not run, zombie or not', async () => {
    const { child, mark } = await sleeper()
    expect(await isRunning(mark)).toBe(true)
    child.kill('SIGKILL')
    await until(async () => !(await isRunning(mark)))
  })

  test('an unrelated process that got the pid of a dead service is left alone', async () => {
    const { mark } = await sleeper()
    const stale = {
      ...mark,
      born: 'before the reboot',
      recipe: 'x',
      ports: [],
      stopSignal: 'SIGKILL',
      graceMs: 10,
    } as const
    await writeRecord(runDir, 'postgres', stale)
    await endProcess(stale, 'SIGKILL', 10)
    expect(await endLeftOvers(runDir)).toEqual([])
    expect(await isRunning(mark)).toBe(true)
    expect(await findService(runDir, 'postgres')).toBeNull()
    await expect(readFile(recordPath(runDir, 'postgres'))).rejects.toThrow('ENOENT')
  })

  test('a left-over of a killed start is ended, with its group when it does not listen', async () => {
    const script = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)'
    const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
    cleanups.push(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    const mark = (await markProcess(child.pid!))!
    await writeRecord(runDir, 'deaf', { ...mark, recipe: 'x', ports: [], stopSignal: 'SIGTERM', graceMs: 100 })
    expect(await endLeftOvers(runDir)).toEqual(['deaf'])
    expect(await isRunning(mark)).toBe(false)
  })

  test('a record cut off in the middle is removed, not obeyed', async () => {
    await writeFile(recordPath(runDir, 'half'), '{"pid": 1, "bo')
    expect(await findService(runDir, 'half')).toBeNull()
  })
})

describe('ports', () => {
  test('the preferred port is taken when free, another one when not; none is given twice', async () => {
    const free = await pickPort()
    const server = createServer()
    await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: free }, resolve))
    cleanups.push(() => server.close())
    expect(await pickPort(free)).not.toBe(free)
    const ports = await Promise.all(Array.from({ length: 20 }, () => pickPort()))
    expect(new Set(ports).size).toBe(20)
  })

  test('ports of a running left-over are kept, unless another one is asked for', async () => {
    const { mark } = await sleeper()
    await writeRecord(runDir, 'db', { ...mark, recipe: 'x', ports: [1234], stopSignal: 'SIGTERM', graceMs: 10 })
    expect(await choosePorts(runDir, 'db', [undefined])).toEqual([1234])
    expect(await choosePorts(runDir, 'db', [1234])).toEqual([1234])
    const other = await pickPort()
    expect(await choosePorts(runDir, 'db', [other])).toEqual([other])
  })
})

describe('the lock of a home', () => {
  test('a second start is refused with the way out, and welcome after release', async () => {
    const lock = await lockHome(home)
    await expect(lockHome(home)).rejects.toMatchObject({
      code: 'already_running',
      message: expect.stringMatching(/reelkeep down.*REELKEEP_HOME/),
    })
    expect((await findHomeHolder(home))?.pid).toBe(process.pid)
    await lock.release()
    await (await lockHome(home)).release()
  })

  test('the lock of a killed process is taken over by exactly one of many', async () => {
    await writeFile(join(runDir, 'home.lock'), JSON.stringify({ pid: process.pid, born: 'before the reboot' }))
    const taken = await Promise.allSettled(Array.from({ length: 10 }, () => lockHome(home)))
    expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})

describe('a supervised service', () => {
  test('starts again after a crash, and not after a stop', async () => {
    const said: string[] = []
    const running = await startService(service({ say: (line) => said.push(line) }))
    cleanups.push(() => running.stop())
    const first = running.pid
    process.kill(first, 'SIGKILL')
    await until(async () => running.pid !== first && (await findService(runDir, 'sleeper'))?.pid === running.pid)
    expect(said).toEqual(['sleeper ended unexpectedly; starting it again…'])
    const second = (await markProcess(running.pid))!
    await running.stop()
    expect(await isRunning(second)).toBe(false)
    expect(await findService(runDir, 'sleeper')).toBeNull()
  })

  test('that ends while starting says why', async () => {
    const broken = service({
      args: ['-e', 'console.error("no such table"); process.exit(3)'],
      ready: () => Promise.resolve(false),
    })
    await expect(startService(broken)).rejects.toMatchObject({
      code: 'missing_tool',
      message: expect.stringMatching(/ended while starting.*no such table/s),
    })
    expect(await findService(runDir, 'sleeper')).toBeNull()
  })

  test('found running is adopted when started the same way, else replaced', async () => {
    const first = await startService(service())
    cleanups.push(() => first.stop())
    const second = await startService(service())
    cleanups.push(() => second.stop())
    expect([second.adopted, second.pid]).toEqual([true, first.pid])
    const third = await startService(service({ args: ['-e', 'console.log("up"); setInterval(() => {}, 2000)'] }))
    cleanups.push(() => third.stop())
    expect(third.adopted).toBe(false)
    expect(third.pid).not.toBe(second.pid)
  })
})
