import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** A server that a test started; stopping it ends its whole process group and removes its files. */
export interface RunningServer {
  /** Its directory, removed on stop. */
  readonly home: string
  /** Freezes (`SIGSTOP`) or thaws (`SIGCONT`) the server: a peer that is there and says nothing. */
  signal(signal: NodeJS.Signals): void
  stop(): Promise<void>
}

/** Free TCP ports on the loopback address, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(holders.map((holder) => once(holder, 'listening')))
  const ports = holders.map((holder) => {
    const address = holder.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
    return address.port
  })
  await Promise.all(holders.map((holder) => once(holder.close(), 'close')))
  return ports
}

/** A fresh directory for one server. */
export async function serverHome(name: string): Promise<string> {
  return mkdtemp(join(tmpdir(), `reelkeep-${name}-`))
}

/** Runs a server and ends its whole process group as soon as the other end of descriptor 3 is gone. */
const guardian = '"$@" 3<&- & server=$!; { cat <&3 >/dev/null; kill -KILL 0; } & wait $server'

/**
 * Starts a server in its own process group and waits until it is ready. Fails with the end of its output. The server
 * dies with this process, however that dies.
 */
export async function startServer(options: {
  home: string
  command: string
  args: readonly string[]
  env?: NodeJS.ProcessEnv
  ready: () => Promise<boolean>
  timeoutMs?: number
}): Promise<RunningServer> {
  const child = spawn('sh', ['-c', guardian, 'sh', options.command, ...options.args], {
    cwd: options.home,
    env: { PATH: process.env['PATH'], HOME: options.home, ...options.env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit').then(
    () => true,
    () => true,
  )
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-8000)))
  }
  const toGroup = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal)
    } catch {
      // The group is gone.
    }
  }
  const stop = async () => {
    toGroup('SIGCONT')
    toGroup('SIGTERM')
    await Promise.race([ended, pause(2000)])
    toGroup('SIGKILL')
    await ended
    await rm(options.home, { recursive: true, force: true, maxRetries: 5 })
  }
  const deadline = Date.now() + (options.timeoutMs ?? 30_000)
  while (!(await options.ready().catch(() => false))) {
    const dead = child.exitCode !== null || child.signalCode !== null || child.pid === undefined
    if (dead || Date.now() > deadline) {
      await stop()
      throw new Error(`${options.command} did not get ready:\n${output}`)
    }
    await pause(50)
  }
  return { home: options.home, signal: toGroup, stop }
}

/** True when something accepts connections on the port. */
export async function answersTcp(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } finally {
    socket.destroy()
  }
}
