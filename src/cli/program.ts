import { Command } from 'commander'
import type { CliContext } from './context.ts'
import { addAccount } from './account.ts'
import { addAudit } from './audit.ts'
import { addDecisions } from './decisions.ts'
import { addDrop } from './drop.ts'
import { addFixity } from './fixity.ts'
import { addReading } from './reading.ts'
import { addRebuild } from './rebuild.ts'
import { addRecorder } from './recorder.ts'
import { addStackCommands } from './stack-commands.ts'
import { addVerify } from './verify.ts'

/** The command line `reelkeep`. Reading commands take `--json`; all but the stack's own talk to the HTTP API. */
export function createProgram(context: CliContext): Command {
  const program = new Command('reelkeep')
    .description('Keeps recordings from the first uploaded byte until the day their deletion is proven')
    .option('--url <url>', 'address of the API (REELKEEP_URL; else the local stack in REELKEEP_HOME)')
    .option('--key <key>', 'API key (REELKEEP_KEY; else the local administrator)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.answer(text.trimEnd()),
      writeErr: (text) => context.terminal.say(text.trimEnd()),
    })
    .showHelpAfterError('(--help shows what is possible)')
  addStackCommands(program, context)
  addReading(program, context)
  addDrop(program, context)
  addDecisions(program, context)
  addFixity(program, context)
  addRecorder(program, context)
  addVerify(program, context)
  addAudit(program, context)
  addAccount(program, context)
  addRebuild(program, context)
  return program
}
