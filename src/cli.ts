import { CommanderError } from 'commander'
import { createProgram } from './cli/program.ts'
import { openTerminal } from './cli/terminal.ts'
import { ReelkeepError } from './domain/errors.ts'

/** Acts when it is imported: the launcher sets `process.argv` and becomes this program. */
const terminal = openTerminal()
try {
  await createProgram({ env: process.env, terminal }).parseAsync(process.argv)
} catch (error) {
  terminal.status('')
  process.exitCode = tellFailure(error)
}

/** One sentence for what is expected to go wrong; the whole error for what is a bug. Returns the exit code. */
function tellFailure(error: unknown): number {
  // Usage errors and help were already written.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  terminal.say(
    error instanceof ReelkeepError
      ? `${error.message} [${error.code}]`
      : String(error instanceof Error ? error.stack : error),
  )
  return 1
}
