import { rm } from 'node:fs/promises'
import type { Command } from 'commander'
import { findDatabaseUrls } from '../dev/database-urls.ts'
import { runDoctor } from '../dev/doctor.ts'
import type { Check } from '../dev/doctor.ts'
import { findHome } from '../dev/home.ts'
import { endLeftOvers, endProcess, findHomeHolder } from '../dev/processes.ts'
import { msPer } from '../domain/units.ts'
import { migrateUp } from '../migrate.ts'
import { answer, wholeNumber } from './context.ts'
import type { CliContext } from './context.ts'
import { table } from './terminal.ts'
import { runUp } from './up.ts'
import type { UpOptions } from './up.ts'

/** A stack drains its workers before it ends. */
const downGraceMs = 90 * msPer.second

/** The local stack and the machine: up, down, doctor, migrate. */
export function addStackCommands(program: Command, context: CliContext): void {
  const { env, terminal } = context
  program
    .command('up')
    .description('start everything on this machine, show the demo, keep running')
    .option('--no-demo', 'start an empty system: an administrator and nothing else')
    .option('--once', "end when the sample's whole life was seen: exit code 0, or 1 and the reason")
    .option('--port <port>', 'port of API and console (API_PORT)', wholeNumber(1, 65_535))
    .action(async (options: UpOptions) => {
      process.exitCode = await runUp(context, options)
    })

  program
    .command('down')
    .description('stop the stack of REELKEEP_HOME, wherever it was started')
    .action(async () => {
      const home = findHome(env)
      const holder = await findHomeHolder(home.root)
      if (holder !== null) {
        terminal.say(`Stopping the stack in ${home.root} (process ${holder.pid})…`)
        await endProcess(holder, 'SIGTERM', downGraceMs)
      }
      const ended = await endLeftOvers(home.runDir)
      if (holder === null && ended.length === 0) terminal.answer(`Nothing runs in ${home.root}.`)
      else terminal.answer(`Stopped. Everything is kept in ${home.root}; \`reelkeep up\` continues it.`)
      if (holder !== null) await rm(`${home.runDir}/home.lock`, { force: true })
    })

  program
    .command('doctor')
    .description('check everything Reelkeep needs on this machine')
    .option('--json', 'answer as JSON')
    .action(async (_options: unknown, command: Command) => {
      const checks = await runDoctor(env, findHome(env))
      answer(context, command, checks, showChecks)
      if (checks.some((check) => check.verdict === 'failed')) process.exitCode = 1
    })

  program
    .command('migrate')
    .description('bring the database to the newest schema (DATABASE_OWNER_URL; else the local stack)')
    .action(async () => {
      const { ownerUrl } = await findDatabaseUrls(env, findHome(env))
      const applied = await migrateUp(ownerUrl)
      terminal.answer(applied.length === 0 ? 'The database is up to date.' : `Applied: ${applied.join(', ')}`)
    })
}

function showChecks(checks: readonly Check[]): string {
  return table(
    ['', 'WHAT', 'FOUND', 'NEXT STEP'],
    checks.map((check) => [marks[check.verdict], check.name, check.found, check.nextStep]),
  )
}

const marks: Readonly<Record<Check['verdict'], string>> = { ok: 'ok', skipped: '-', failed: 'FAILED' }
