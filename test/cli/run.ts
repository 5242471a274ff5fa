import { createProgram } from '../../src/cli/program.ts'
import type { Terminal } from '../../src/cli/terminal.ts'

/** Runs the command line in this process: what it answered, what it threw, and with which code it would have ended. */
export async function runCli(
  env: NodeJS.ProcessEnv,
  args: readonly string[],
): Promise<{ out: string; error: unknown; exitCode: unknown }> {
  const out: string[] = []
  const terminal: Terminal = { answer: (line) => out.push(line), say: () => undefined, status: () => undefined }
  const error = await createProgram({ env, terminal })
    .parseAsync(['node', 'reelkeep', ...args])
    .then(
      () => null,
      (thrown: unknown) => thrown,
    )
  const { exitCode } = process
  process.exitCode = undefined
  return { out: out.join('\n'), error, exitCode }
}
