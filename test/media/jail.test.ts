import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { machineFailure } from '../../src/media/failures.ts'
import { createJail, type Finished } from '../../src/media/jail.ts'
import {
  codeOf,
  encoderWith,
  ffmpeg,
  ffmpegPath,
  newDirectory,
  portOf,
  picture,
  processesWith,
  removeDirectory,
  x264,
} from './fixtures.ts'

const limits = { maxMemoryBytes: 2 * 1024 ** 3, maxOutputBytes: 1024 ** 3 }
const jail = createJail(limits)
let dir = ''
const at = (name: string) => join(dir, name)
const run = async (
  binary: string,
  args: string[],
  change: Partial<Parameters<typeof jail.start>[0]> = {},
  within = jail,
): Promise<Finished> => {
  const command = { binary, args, readable: [], writable: [], wallMs: 10_000, maxStdoutBytes: 1 << 20, ...change }
  return (await within.start(command)).finished
}
/** Layers differ between machines: what a machine does not have cannot be tested on it. */
let layers = ''

beforeAll(async () => {
  dir = await newDirectory()
  layers = await jail.describe('sh')
})
afterAll(() => removeDirectory(dir))

describe('what a jailed process sees', () => {
  it('an empty environment and an empty directory', async () => {
    process.env.REELKEEP_TEST_SECRET = 'hunter2'
    const { stdout } = await run('sh', ['-c', 'env; echo "[$(ls -A)]"'])
    expect(stdout).not.toContain('hunter2')
    expect(stdout).toContain('[]')
    delete process.env.REELKEEP_TEST_SECRET
  })

  it('only the files it was given, and no network, where bubblewrap works', async (context) => {
    if (!(await jail.describe(ffmpegPath)).includes('bubblewrap')) context.skip()
    const server = createServer((_request, response) => response.end('reached')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${portOf(server)}/x`
    await ffmpeg(...picture('64x48', 0.5), ...x264, at('mine.mp4'))
    await mkdir(at('foreign'))
    await writeFile(at('foreign/secret.mp4'), await readFile(at('mine.mp4')))
    const read = (path: string) =>
      run(ffmpegPath, ['-v', 'error', '-i', path, '-f', 'null', '-'], { readable: [at('mine.mp4')] })
    expect((await read(at('mine.mp4'))).code).toBe(0)
    expect((await read(at('foreign/secret.mp4'))).stderr).toContain('No such file')
    expect((await read('/etc/passwd')).stderr).toContain('No such file')
    expect((await read(url)).stderr).toMatch(/Network is unreachable|Connection refused|Cannot assign/)
    server.close()
  })
})

describe('limits', () => {
  it('memory', async (context) => {
    if (!layers.includes('prlimit')) context.skip()
    const small = createJail({ ...limits, maxMemoryBytes: 64 * 1024 ** 2 })
    expect((await run('sh', ['-c', 'head -c 300000000 /dev/zero | tail | wc -c'], {}, small)).stderr).toMatch(
      /memory|allocate|map/i,
    )
    expect(await codeOf(encoderWith({ maxMemoryBytes: 64 * 1024 ** 2 }).probe('/dev/null'))).toMatch(
      /encoder_missing|undecodable/,
    )
  })

  it('file size', async (context) => {
    if (!layers.includes('prlimit')) context.skip()
    const small = createJail({ ...limits, maxOutputBytes: 10_000 })
    await mkdir(at('out'))
    const finished = await run(
      'sh',
      ['-c', `exec head -c 100000 /dev/zero > ${at('out')}/big`],
      { writable: [at('out')] },
      small,
    )
    expect((await readFile(at('out/big'))).length).toBeLessThanOrEqual(10_000)
    expect(machineFailure(finished, 'It', 1)?.code ?? finished.code).not.toBe(0)
  })

  it('wall clock, with children that ignore SIGTERM', async () => {
    const begun = performance.now()
    const finished = await run('sh', ['-c', "trap '' TERM; sleep 31.4159 & sleep 31.4159; wait"], { wallMs: 200 })
    expect(finished.stopped).toBe('timeout')
    expect(performance.now() - begun).toBeLessThan(2500)
    expect(await processesWith('31.4159')).toEqual([])
  })

  it('output, and complaints without end', async () => {
    expect((await run('sh', ['-c', 'while :; do echo yes; done'], { maxStdoutBytes: 1000 })).stopped).toBe(
      'too_much_output',
    )
    const noisy = await run('sh', [
      '-c',
      'i=0; while [ $i -lt 20000 ]; do echo complaint >&2; i=$((i+1)); done; echo last >&2',
    ])
    expect(noisy.stderr.length).toBeLessThanOrEqual(16 * 1024)
    expect(noisy.stderr).toContain('last')
  })

  it('a cancelled process group is gone within 2 s', async () => {
    const controller = new AbortController()
    const work = run('sh', ['-c', "trap '' TERM; sleep 27.1828 & sleep 27.1828"], { signal: controller.signal })
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect((await processesWith('27.1828')).length).toBeGreaterThan(0)
    const begun = performance.now()
    controller.abort()
    expect((await work).stopped).toBe('cancelled')
    expect(performance.now() - begun).toBeLessThan(2000)
    expect(await processesWith('27.1828')).toEqual([])
  })

  it('a worker killed by kill -9 takes its media processes with it', async (context) => {
    if (!/setpriv|bubblewrap/.test(layers)) context.skip()
    const jailUrl = pathToFileURL(join(dirname(fileURLToPath(import.meta.url)), '../../src/media/jail.ts')).href
    const script = `import { createJail } from ${JSON.stringify(jailUrl)}
      const jail = createJail(${JSON.stringify(limits)})
      await jail.start({ binary: 'sleep', args: ['16.1803'], readable: [], writable: [], wallMs: 60000, maxStdoutBytes: 10 })
      console.log('started')`
    const worker = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(worker.stdout, 'data')
    expect((await processesWith('16.1803')).length).toBeGreaterThan(1)
    worker.kill('SIGKILL')
    await once(worker, 'exit')
    await expect.poll(() => processesWith('16.1803'), { timeout: 2000 }).toEqual([])
  })
})

describe('what the machine says', () => {
  const ended = (change: Partial<Finished>): Finished => ({
    code: 1,
    signal: null,
    stdout: '',
    stderr: '',
    stopped: null,
    ...change,
  })
  it.each([
    [ended({ stopped: 'cancelled' }), 'cancelled'],
    [ended({ stopped: 'timeout' }), 'encode_timeout'],
    [ended({ code: 0, stderr: 'av_interleaved_write_frame(): No space left on device' }), 'scratch_full'],
    [ended({ stderr: 'Disk quota exceeded' }), 'scratch_full'],
    [ended({ signal: 'SIGXFSZ', code: null }), 'encode_failed'],
    [ended({ code: 153 }), 'encode_failed'],
    [ended({ stderr: "Unknown encoder 'libx264'" }), 'encoder_missing'],
    [ended({ stderr: "No such filter: 'zscale'" }), 'encoder_missing'],
    [ended({ stderr: 'Invalid data found when processing input' }), undefined],
  ])('%j is %s', (finished, code) => {
    expect(machineFailure(finished, 'Encoding', 1000)?.code).toBe(code)
  })

  it('a full scratch disk is a full scratch disk', async (context) => {
    const mount = at('tiny')
    await mkdir(mount)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40k', 'tmpfs', mount], { stdio: 'ignore' })
    } catch {
      context.skip()
    }
    try {
      await ffmpeg(...picture('320x180', 2), '-c:v', 'mpeg4', '-q:v', '2', at('much.avi'))
      const encoder = encoderWith()
      const facts = await encoder.probe(at('much.avi'))
      const { planEncode } = await import('../../src/domain/encode.ts')
      expect(await codeOf(encoder.encode(at('much.avi'), facts, planEncode(facts), mount))).toBe('scratch_full')
      expect(execFileSync('ls', ['-A', mount]).toString()).toBe('')
    } finally {
      execFileSync('umount', [mount])
    }
  })
})
