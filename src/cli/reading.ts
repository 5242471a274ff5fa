import type { Command } from 'commander'
import { depositLabels, recordingLabels } from '../domain/wording.ts'
import { describeBytes, describeDuration } from '../domain/units.ts'
import type { DepositAnswer, RecordingAnswer, SummaryAnswer } from './answers.ts'
import { answer, connect, wholeNumber } from './context.ts'
import type { CliContext } from './context.ts'
import { describeRecording } from './show.ts'
import { instant, table } from './terminal.ts'

/** What only reads: lists, one recording, the audit trail. */
export function addReading(program: Command, context: CliContext): void {
  const limited = (command: Command) =>
    command.option('--limit <n>', 'at most this many', wholeNumber(1, 10_000), 50).option('--json', 'answer as JSON')

  limited(program.command('ls').description('list recordings, newest first'))
    .option('--state <state>', 'only those in this state')
    .action(async ({ state, limit }: { state?: string; limit: number }, command: Command) => {
      const api = await connect(context, command)
      answer(context, command, await api.list<SummaryAnswer>('/recordings', { state }, limit), listRecordings)
    })

  limited(program.command('deposits').description('list everything that was ever seen in an inbox'))
    .option('--state <state>', 'only those in this state')
    .action(async ({ state, limit }: { state?: string; limit: number }, command: Command) => {
      const api = await connect(context, command)
      answer(context, command, await api.list<DepositAnswer>('/deposits', { state }, limit), listDeposits)
    })

  program
    .command('show <id>')
    .description('one recording: timeline, copies, plan, what it waits for and why')
    .option('--json', 'answer as JSON')
    .action(async (id: string, _options: unknown, command: Command) => {
      const api = await connect(context, command)
      const recording = await api.get<RecordingAnswer>(`/recordings/${encodeURIComponent(id)}`)
      answer(context, command, recording, describeRecording)
    })
}

function listRecordings(recordings: readonly SummaryAnswer[]): string {
  if (recordings.length === 0) return 'No recordings. Drop one: reelkeep drop FILE --recorder NAME'
  return table(
    ['ID', 'TITLE', 'STATE', 'RECORDER', 'OWNER', 'SIZE', 'LENGTH', 'NEXT', 'WHEN'],
    recordings.map((one) => [
      one.id,
      one.title,
      stateOf(one),
      one.recorderName,
      one.ownerName ?? '-',
      describeBytes(Number(one.sizeBytes)),
      one.durationMs === null ? '-' : describeDuration(one.durationMs),
      one.nextStep,
      instant(one.nextAtMs),
    ]),
  )
}

function stateOf(one: SummaryAnswer): string {
  const notes = [
    one.progressPercent !== null && one.state === 'encoding' ? `${one.progressPercent} %` : '',
    one.onHold ? 'held' : '',
    one.problem === null ? '' : 'NEEDS ATTENTION',
  ].filter((note) => note !== '')
  return [recordingLabels[one.state].text, ...notes].join(', ')
}

function listDeposits(deposits: readonly DepositAnswer[]): string {
  if (deposits.length === 0) return 'Nothing was ever seen in an inbox.'
  return table(
    ['ID', 'PATH', 'STATE', 'RECORDER', 'SIZE', 'FIRST SEEN', 'WHY', 'NEXT'],
    deposits.map((one) => [
      one.id,
      one.path,
      depositLabels[one.state].text,
      one.recorderName ?? '-',
      describeBytes(Number(one.sizeBytes)),
      instant(one.firstSeenAtMs),
      one.reason ?? '-',
      one.nextStep,
    ]),
  )
}
