import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Surroundings of one run of a bare tool. */
export interface BareOptions {
  readonly signal: AbortSignal
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a bare tool as a person at a terminal would: no jail, no limits, its output thrown away. Throws when it fails. */
export async function runBare(command: string, args: readonly string[], { signal, env }: BareOptions): Promise<void> {
  const child = spawn(command, [...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    signal,
    env: { ...process.env, ...env },
  })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-2000)))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${command} failed (${String(code)}): ${complaint}`)
}
