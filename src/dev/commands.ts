import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { ReelkeepError } from '../domain/errors.ts'

/** Takes one line of progress for the person at the terminal. */
export type Say = (line: string) => void

/** The user a command or service runs as, where it must not be this one. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

/** How a finished command ended. `code` is null when it could not be started or was killed. */
export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Limits and surroundings of one command. */
export interface CommandOptions {
  readonly cwd?: string
  /** Added to this process's environment. */
  readonly env?: NodeJS.ProcessEnv
  /** Afterwards the command is killed. */
  readonly timeoutMs?: number
  readonly runAs?: RunAs
  /** Given to the command's standard input. */
  readonly input?: string
}

/** Runs a command to its end without a shell and without input; never throws, the caller reads the result. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      [...args],
      {
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
        timeout: options.timeoutMs ?? 0,
        maxBuffer: 64 * 1024 * 1024,
        killSignal: 'SIGKILL',
        ...options.runAs,
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, stdout, stderr: stderr === '' && error !== null ? error.message : stderr })
      },
    )
    // A command that ends without reading its input is judged by its exit code, not by the broken pipe.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input ?? '')
  })
}

/** The last lines of a command's error output, for an error message. */
export function lastLines(text: string, count = 5): string {
  return text.trim().split('\n').slice(-count).join('\n')
}

/** Absolute path of an executable on PATH, or null. */
export async function findOnPath(name: string): Promise<string | null> {
  const found = await runCommand('/bin/sh', ['-c', 'command -v "$0"', name])
  const path = found.stdout.trim()
  return found.code === 0 && path.startsWith('/') ? path : null
}

/** True where this process may install Debian packages: root, with apt-get. */
export async function canInstallPackages(): Promise<boolean> {
  return process.getuid?.() === 0 && (await findOnPath('apt-get')) !== null
}

/**
 * Installs Debian packages, as root, without asking. Refreshes the package lists only when the first try fails, so
 * that a machine with fresh lists does not wait for the network twice. A second run finds them installed and returns.
 * @throws missing_tool
 */
export async function installPackages(packages: readonly string[], say: Say): Promise<void> {
  const line = `apt-get install -y --no-install-recommends ${packages.join(' ')}`
  if (!(await canInstallPackages())) {
    throw new ReelkeepError(
      'missing_tool',
      `Missing on this machine: ${packages.join(', ')}. Install with: sudo ${line}`,
    )
  }
  say(`Installing ${packages.join(', ')} (${line})…`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['-o', 'DPkg::Lock::Timeout=300', 'install', '-y', '--no-install-recommends', ...packages]
  let result = await runCommand('apt-get', install, { env })
  if (result.code !== 0) {
    await runCommand('apt-get', ['-o', 'DPkg::Lock::Timeout=300', 'update'], { env })
    result = await runCommand('apt-get', install, { env })
  }
  if (result.code !== 0) {
    throw new ReelkeepError(
      'missing_tool',
      `Installing ${packages.join(', ')} failed: ${lastLines(result.stderr)}. Run by hand: ${line}`,
    )
  }
}

/** True when something exists at this path. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
