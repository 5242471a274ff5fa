import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ReelkeepError } from '../domain/errors.ts'
import type { MediaLimits } from './encoder.ts'

/** One process to run in the jail. */
export interface JailedCommand {
  readonly binary: string
  readonly args: readonly string[]
  /** Files and directories it may read; nothing else of ours exists for it where bubblewrap works. */
  readonly readable: readonly string[]
  /** Directories it may write into. */
  readonly writable: readonly string[]
  readonly wallMs: number
  /** Standard output beyond this ends the process. */
  readonly maxStdoutBytes: number
  /** Where given, standard output goes here instead of being collected. */
  readonly onStdout?: (text: string) => void
  readonly signal?: AbortSignal | undefined
}

/** How a jailed process ended. Only the last 16 KiB of its complaints are kept: a hostile file can cause gigabytes. */
export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** Why we stopped it; `null` where it ended by itself. */
  readonly stopped: 'cancelled' | 'timeout' | 'too_much_output' | null
}

/** A process that runs in its own process group. */
export interface JailedProcess {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
}

/** Starts media processes so that a hostile file can reach neither network, nor other files, nor all the memory. */
export interface Jail {
  /** @throws encoder_missing, cancelled */
  start(command: JailedCommand): Promise<JailedProcess>
  /** What holds on this machine, for `reelkeep doctor`: "nice, prlimit, setpriv, bubblewrap without network". */
  describe(binary: string): Promise<string>
}

const searchPath = ['/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin']
/** Nothing of the worker's environment (its secrets!) is passed on. */
const environment = { PATH: searchPath.join(':'), LANG: 'C.UTF-8', HOME: '/nonexistent', AV_LOG_FORCE_NOCOLOR: '1' }
const stderrTailChars = 16 * 1024
/** ffmpeg finishes its files on SIGTERM, which nobody wants any more; so not for long. */
const politeMs = 800
/** What dynamically linked programs need of the system; all of it read-only. */
const systemPaths = ['/usr', '/lib', '/lib64', '/bin', '/etc/alternatives', '/etc/ld.so.cache']

/**
 * A jail with these limits. Every layer is used where the machine has it: `nice`, `prlimit` (memory, file size, open
 * files), `setpriv` (dies with the worker, even by kill -9), bubblewrap (no network, no foreign files). Whether bubblewrap
 * works (containers often forbid it) is tried once per binary.
 */
export function createJail(limits: Pick<MediaLimits, 'maxMemoryBytes' | 'maxOutputBytes'>): Jail {
  const tools = findTools()
  const bubbles = new Map<string, Promise<boolean>>()

  const outerLayers = async (): Promise<readonly string[]> => {
    const { nice, prlimit, setpriv } = await tools
    const rlimits = [`--as=${limits.maxMemoryBytes}`, `--fsize=${limits.maxOutputBytes}`, '--nofile=256', '--core=0']
    return [
      ...(nice === null ? [] : [nice, '-n', '10']),
      ...(prlimit === null ? [] : [prlimit, ...rlimits, '--']),
      ...(setpriv === null ? [] : [setpriv, '--pdeathsig', 'KILL', '--']),
    ]
  }

  const bubbleWorks = async (binary: string): Promise<boolean> => {
    const { bwrap } = await tools
    if (bwrap === null) return false
    const args = [...bubbleArgs({ binary, readable: [], writable: [] }), binary, '-version']
    const trial = await launch([bwrap, ...args], '/', { wallMs: 10_000, maxStdoutBytes: 1 << 16 }).finished
    return trial.code === 0
  }

  const hasBubble = (binary: string): Promise<boolean> => {
    const known = bubbles.get(binary) ?? bubbleWorks(binary)
    bubbles.set(binary, known)
    return known
  }

  return {
    async start(command) {
      const binary = await findBinary(command.binary)
      const { bwrap } = await tools
      const bubble = bwrap !== null && (await hasBubble(binary)) ? [bwrap, ...bubbleArgs({ ...command, binary })] : []
      const line = [...(await outerLayers()), ...bubble, binary, ...command.args]
      if (command.signal?.aborted === true)
        throw new ReelkeepError('cancelled', 'The work was cancelled before it began.')
      // In the bubble there is an empty directory already.
      if (bubble.length > 0) return launch(line, '/', command)
      const directory = await mkdtemp(join(tmpdir(), 'reelkeep-jail-'))
      const { child, finished } = launch(line, directory, command)
      return { child, finished: removeAfter(finished, directory) }
    },
    async describe(name) {
      const binary = await findBinary(name)
      const found = await tools
      const layers = (['nice', 'prlimit', 'setpriv'] as const).filter((layer) => found[layer] !== null)
      return [...layers, ...((await hasBubble(binary)) ? ['bubblewrap without network'] : [])].join(', ') || 'none'
    },
  }
}

/** The absolute path of a program given by path or bare name. @throws encoder_missing */
export async function findBinary(name: string): Promise<string> {
  const found = await locate(name)
  if (found !== null) return found
  const advice = 'Install ffmpeg 5.1 or newer (Debian: apt-get install ffmpeg) or correct the configured path.'
  throw new ReelkeepError('encoder_missing', `The program ${name} is not on this machine. ${advice}`)
}

async function locate(name: string): Promise<string | null> {
  const candidates = name.includes('/') ? [name] : searchPath.map((directory) => join(directory, name))
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK)
      return await realpath(candidate)
    } catch {
      continue
    }
  }
  return null
}

type Tools = Readonly<Record<'nice' | 'prlimit' | 'setpriv' | 'bwrap', string | null>>

async function findTools(): Promise<Tools> {
  const [nice = null, prlimit = null, setpriv = null, bwrap = null] = await Promise.all(
    ['nice', 'prlimit', 'setpriv', 'bwrap'].map(locate),
  )
  return { nice, prlimit, setpriv, bwrap }
}

/** An empty root with the system's libraries, the given files and nothing else; no network; no capabilities. */
function bubbleArgs(command: Pick<JailedCommand, 'binary' | 'readable' | 'writable'>): readonly string[] {
  const bind = (how: string, path: string): readonly string[] => [how, path, path]
  const home = dirname(command.binary)
  return [
    '--unshare-all',
    '--die-with-parent',
    '--cap-drop',
    'ALL',
    ...systemPaths.flatMap((path) => bind('--ro-bind-try', path)),
    ...(home.startsWith('/usr/') ? [] : bind('--ro-bind', home)),
    '--dev',
    '/dev',
    '--proc',
    '/proc',
    '--tmpfs',
    '/tmp',
    ...command.readable.flatMap((path) => bind('--ro-bind', path)),
    ...command.writable.flatMap((path) => bind('--bind', path)),
    '--dir',
    '/empty',
    '--chdir',
    '/empty',
    '--',
  ]
}

type LaunchOptions = Pick<JailedCommand, 'wallMs' | 'maxStdoutBytes' | 'onStdout' | 'signal'>

/** Starts a line in a process group of its own and follows it to its end; stops the whole group, never one process. */
function launch(line: readonly string[], cwd: string, options: LaunchOptions): JailedProcess {
  const [program = '', ...args] = line
  const child = spawn(program, args, { cwd, env: environment, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let stopped: Finished['stopped'] = null
  let stdout = ''
  let stdoutChars = 0
  let stderr = ''
  let killTimer: NodeJS.Timeout | undefined
  const stop = (why: NonNullable<Finished['stopped']>): void => {
    if (stopped !== null) return
    stopped = why
    signalGroup(child, 'SIGTERM')
    killTimer = setTimeout(() => signalGroup(child, 'SIGKILL'), politeMs)
  }
  const onAbort = (): void => stop('cancelled')
  const wallTimer = setTimeout(() => stop('timeout'), options.wallMs)
  options.signal?.addEventListener('abort', onAbort, { once: true })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdoutChars += text.length
    if (options.onStdout !== undefined) options.onStdout(text)
    else if (stdoutChars <= options.maxStdoutBytes) stdout += text
    if (stdoutChars > options.maxStdoutBytes) stop('too_much_output')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-stderrTailChars)
  })
  const finished = new Promise<Finished>((resolve, reject) => {
    const cleanUp = (): void => {
      clearTimeout(wallTimer)
      clearTimeout(killTimer)
      options.signal?.removeEventListener('abort', onAbort)
    }
    child.once('error', (cause) => {
      cleanUp()
      reject(new ReelkeepError('encoder_missing', `The program ${program} did not start: ${cause.message}.`, { cause }))
    })
    // 'close', not 'exit': it waits until every process of the group has let go of the pipes.
    child.once('close', (code, signal) => {
      cleanUp()
      if (stopped !== null) signalGroup(child, 'SIGKILL')
      resolve({ code, signal, stdout, stderr, stopped })
    })
  })
  return { child, finished }
}

async function removeAfter(finished: Promise<Finished>, directory: string): Promise<Finished> {
  try {
    return await finished
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // The group is gone already, which is what was wanted.
  }
}
