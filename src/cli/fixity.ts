import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import type { FixityAnswer, RecordingAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { answer, connect } from './context.ts'
import type { CliContext } from './context.ts'
import { instant, oneLine, table } from './terminal.ts'
import type { Terminal } from './terminal.ts'

const lookEveryMs = 500

/** `reelkeep fixity`: starts a check now, waits for its end and says what it found; exit code 1 where not everything is good. */
export function addFixity(program: Command, context: CliContext): void {
  program
    .command('fixity')
    .description('read every copy again now, mend what has a good copy, and say what was found')
    .option('--recording <id>', 'only this recording; without it, everything the account keeps')
    .option('--json', 'answer as JSON')
    .action(async ({ recording }: { recording?: string }, command: Command) => {
      const api = await connect(context, command)
      const good =
        recording === undefined
          ? await checkAll(api, context, command)
          : await checkOne(api, context, command, recording)
      if (!good) process.exitCode = 1
    })
}

async function checkAll(api: ApiClient, context: CliContext, command: Command): Promise<boolean> {
  const { beganAtMs } = await api.post<{ beganAtMs: number }>('/fixity')
  const standing = await untilNothingWaits(api, beganAtMs, context.terminal)
  answer(context, command, standing, describeStanding)
  return standing.failed + standing.couldNotRun + standing.asked === 0
}

async function untilNothingWaits(api: ApiClient, sinceMs: number, terminal: Terminal): Promise<FixityAnswer> {
  for (;;) {
    const standing = await api.get<FixityAnswer>('/fixity', { sinceMs })
    if (standing.waiting + standing.mending === 0) return standing
    // A mending that failed stands in needs attention: waiting for it would be waiting for a person.
    if (standing.waiting === 0 && standing.asked > 0) return standing
    terminal.status(`  ${standing.recordings - standing.waiting} of ${standing.recordings} recordings checked`)
    await pause(lookEveryMs)
  }
}

function describeStanding(standing: FixityAnswer): string {
  const { recordings, failed, couldNotRun, asked } = standing
  return [
    `${recordings} recording(s) checked: ${failed} bad copies left, ${couldNotRun} could not be read, ${asked} recording(s) need a person.`,
    ...(failed + asked === 0 ? [] : ['See the page Needs attention, or `reelkeep ls` and `reelkeep show ID`.']),
    ...(couldNotRun === 0 ? [] : ['What could not be read is tried again by the next daily pass.']),
  ].join('\n')
}

async function checkOne(api: ApiClient, context: CliContext, command: Command, id: string): Promise<boolean> {
  const path = `/recordings/${encodeURIComponent(id)}`
  const { beganAtMs } = await api.post<{ beganAtMs: number }>(`${path}/fixity`)
  for (;;) {
    const recording = await api.get<RecordingAnswer>(path)
    if (isOver(recording, beganAtMs)) {
      answer(context, command, recording.copies, () => describeCopies(recording, beganAtMs))
      return recording.copies.every((copy) => copy.state === 'purged' || copy.checkResult === 'ok')
    }
    context.terminal.status(`  ${oneLine(recording.title)}: its copies are being read`)
    await pause(lookEveryMs)
  }
}

function isOver({ copies, problem }: RecordingAnswer, beganAtMs: number): boolean {
  if (problem !== null && problem.sinceMs >= beganAtMs) return true
  const standing = copies.filter((copy) => copy.state !== 'purged')
  const read = standing.every((copy) => (copy.checkedAtMs ?? 0) >= beganAtMs)
  const underWay = standing.some((copy) => copy.mending || copy.state === 'stored')
  return read && (!underWay || problem !== null)
}

function describeCopies({ copies, problem, timeline }: RecordingAnswer, beganAtMs: number): string {
  const bad = copies.filter((copy) => copy.state !== 'purged' && copy.checkResult !== 'ok')
  const changes = timeline.filter((event) => event.atMs >= beganAtMs && event.action.startsWith('copy.'))
  const rows = bad.map((copy) => [
    copy.fileName,
    copy.storeName,
    copy.checkResult === 'could_not_run' ? `could not run, since ${instant(copy.checkSinceMs)}` : 'failed',
    copy.checkNote ?? '-',
  ])
  return [
    `${copies.length} copies read, ${copies.length - bad.length} good.`,
    ...changes.map((event) => `${event.action}: ${oneLine(changeOf(event.detail))}`),
    ...(rows.length === 0 ? [] : [table(['FILE', 'STORE', 'RESULT', 'WHY'], rows)]),
    ...(problem === null ? [] : [`NEEDS ATTENTION: ${oneLine(problem.message)}`]),
  ].join('\n')
}

function changeOf(detail: Readonly<Record<string, unknown>>): string {
  const { copies, store, files } = detail
  return `${String(copies)} in ${String(store)} (${Array.isArray(files) ? files.join('; ') : ''})`
}
