import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { ensureSamples, playDemo } from './demo.ts'
import type { DemoDeps } from './demo.ts'
import { findHome, keyFile } from '../dev/home.ts'
import type { Home } from '../dev/home.ts'
import { startStack } from '../dev/stack.ts'
import type { Stack } from '../dev/stack.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { openApi } from './client.ts'
import type { CliContext } from './context.ts'

/** What `reelkeep up` is told. */
export interface UpOptions {
  readonly demo: boolean
  readonly once?: boolean
  readonly port?: number
}

/** Ctrl-C in a terminal reaches npm and this process, and npm passes it on: two signals, one wish. */
const sameCtrlCMs = 1000

/** Starts the stack, plays the demo where it belongs, keeps running until Ctrl-C, then stops what it started. Returns the exit code. */
export async function runUp(context: CliContext, options: UpOptions): Promise<number> {
  const { env, terminal } = context
  const home = findHome(env)
  const leave = listenForLeave((line) => terminal.say(line))
  try {
    return await startAndServe(context, options, { home, leave })
  } finally {
    // Also after a start that failed: nothing may keep the process.
    leave.forget()
  }
}

async function startAndServe(
  context: CliContext,
  options: UpOptions,
  { home, leave }: Omit<Running, 'stack'>,
): Promise<number> {
  const { env, terminal } = context
  const say = (line: string) => terminal.say(line)
  say(`Reelkeep in ${home.root}`)
  const starting = startStack({ home, env, demo: options.demo, port: options.port ?? null, say })
  const stack = await Promise.race([starting, leave.wish])
  if (stack === null) {
    say('Stopping as soon as the start is through…')
    // Half a start cannot be stopped in order: let it get up (or fail) first.
    await starting.then((started) => started.stop()).catch(() => undefined)
    return 130
  }
  try {
    return await serve(context, options, { stack, home, leave })
  } finally {
    terminal.status('')
    say('Stopping: workers drain, then the servers end…')
    await stack.stop()
    say(`Stopped. Everything is kept in ${home.root}; the next start continues it.`)
  }
}

interface Running {
  readonly stack: Stack
  readonly home: Home
  readonly leave: Leave
}

async function serve({ terminal }: CliContext, options: UpOptions, { stack, home, leave }: Running): Promise<number> {
  const reason = options.demo ? await showDemo(terminal, options, { stack, home, leave }) : null
  if (leave.signal.aborted) return 130
  if (reason !== null) terminal.say(`The demo did not get to its end: ${reason}`)
  if (options.once === true) return reason === null ? 0 : 1
  terminal.answer(describeStack(stack, home))
  await leave.wish
  return 0
}

/** Plays the demo; returns why it did not get to its end, or null. The system itself keeps running either way. */
async function showDemo(
  terminal: CliContext['terminal'],
  options: UpOptions,
  { stack, home, leave }: Running,
): Promise<string | null> {
  if (!stack.demo || stack.approverKey === null)
    return 'this system was created empty (--no-demo). Start a demo beside it with another REELKEEP_HOME.'
  const deps: DemoDeps = {
    admin: openApi({ url: stack.url, key: stack.adminKey }),
    approver: openApi({ url: stack.url, key: stack.approverKey }),
    home,
    ffmpegPath: stack.ffmpegPath,
    fastForward: stack.fastForward,
    terminal,
    signal: leave.signal,
  }
  try {
    const reason = await playDemo(deps)
    if (options.once !== true) await ensureSamples(deps)
    return reason
  } catch (error) {
    if (leave.signal.aborted) return null
    if (error instanceof ReelkeepError) return error.message
    throw error
  }
}

function describeStack(stack: Stack, home: Home): string {
  const rows = [
    ['Console', stack.url],
    ['API', `${stack.url}/docs`],
    ...(stack.temporalUiUrl === null ? [] : [['Temporal UI', stack.temporalUiUrl]]),
    ['Sign in with', `${stack.adminKey}   (administrator; ${keyFile(home, 'admin')})`],
    ...(stack.approverKey === null
      ? []
      : [['or with', `${stack.approverKey}   (Ben, who approves; ${keyFile(home, 'ben')})`]]),
    ...(stack.demo
      ? [
          ['Drop files into', `${home.inboxDir}/hall-a (kept at once) or room-12 (waits to be claimed)`],
          ['or', 'reelkeep drop FILE --recorder "Lecture hall A"   (bin/reelkeep.mjs in the checkout)'],
        ]
      : [['Next', 'reelkeep store add …, reelkeep recorder add … (--help shows how)']]),
    ['Mail, logs', `${home.mailDir}, ${home.logsDir}`],
    ['Stop', 'Ctrl-C'],
  ]
  const line = '─'.repeat(78)
  return [
    line,
    '  Reelkeep is running',
    '',
    ...rows.map(([name = '', value = '']) => `  ${name.padEnd(16)} ${value}`),
    line,
  ].join('\n')
}

interface Leave {
  /** Resolves with null when somebody wants this to end. */
  readonly wish: Promise<null>
  readonly signal: AbortSignal
  forget(): void
}

/** The first Ctrl-C (or SIGTERM) drains and stops; a second one, a while later, gives up waiting. */
function listenForLeave(say: (line: string) => void): Leave {
  const abort = new AbortController()
  let firstAtMs = 0
  const onSignal = () => {
    if (firstAtMs === 0) {
      firstAtMs = Date.now()
      abort.abort()
    } else if (Date.now() - firstAtMs > sameCtrlCMs) {
      say('Leaving at once. What still runs is adopted or ended by the next start, or by `reelkeep down`.')
      process.exit(130)
    }
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of signals) process.on(name, onSignal)
  // Signal handlers alone do not keep a process alive; this does, for its longest possible 24 days at a time.
  const awake = pause(2 ** 31 - 1, undefined, { signal: abort.signal }).catch(() => undefined)
  return {
    wish: once(abort.signal, 'abort').then(async () => {
      await awake
      return null
    }),
    signal: abort.signal,
    forget: () => {
      abort.abort()
      for (const name of signals) process.off(name, onSignal)
    },
  }
}
