import type { Command } from 'commander'
import { depositLabels, recordingLabels } from '../api/console/wording.ts'
import type { DepositView } from '../domain/deposit.ts'
import { ReelkeepError } from '../domain/errors.ts'
import type { RecordingDetail, RecordingSummary } from '../domain/recording.ts'
import { describeBytes, describeDuration } from '../domain/units.ts'
import { answer, connect, wholeNumber } from './context.ts'
import type { CliContext } from './context.ts'
import { describeRecording } from './show.ts'
import { instant, table } from './terminal.ts'

/** What only reads: lists, one recording, the audit trail. */
export function addReading(program: Command, context: CliContext): void {
  const limited = (command: Command) =>
    command
      .option('--limit <n>', 'at most this many', wholeNumber(1, 10_000), 50)
      .option('--json', 'answer as JSON')

  limited(program.command('ls').description('list recordings, newest first'))
    .option('--state <state>', 'only those in this state')
    .action(async ({ state, limit }: { state?: string; limit: number }, command: Command) => {
      const api = await connect(context, command)
      answer(context, command, await api.list<RecordingSummary>('/recordings', { state }, limit), listRecordings)
    })

  limited(program.command('deposits').description('list everything that was ever seen in an inbox'))
    .option('--state <state>', 'only those in this state')
    .action(async ({ state, limit }: { state?: string; limit: number }, command: Command) => {
      const api = await connect(context, command)
      answer(context, command, await api.list<DepositView>('/deposits', { state }, limit), listDeposits)
    })

  program
    .command('show <id>')
    .description('one recording: timeline, copies, plan, what it waits for and why')
    .option('--json', 'answer as JSON')
    .action(async (id: string, _options: unknown, command: Command) => {
      const api = await connect(context, command)
      const recording = await api.get<RecordingDetail>(`/recordings/${encodeURIComponent(id)}`)
      answer(context, command, recording, describeRecording)
    })

  program
    .command('audit')
    .description('the audit trail')
    .command('verify')
    .description('check that no entry of the audit trail was changed, removed or slipped in')
    .option('--json', 'answer as JSON')
    .action(async (_options: unknown, command: Command) => {
      const api = await connect(context, command)
      const verdict = await api.get<AuditVerdict>('/audit/verify')
      answer(context, command, verdict, describeVerdict)
      if (!verdict.ok)
        throw new ReelkeepError('object_corrupt', `The audit trail is broken at entry ${verdict.brokenSeq}. Compare it with a backup of the database.`)
    })
}

/** The API's answer to whether the hash chain of the audit trail holds. */
interface AuditVerdict {
  readonly ok: boolean
  readonly entries: number
  readonly brokenSeq: number | null
  readonly head: { readonly seq: number; readonly hash: string } | null
}

function describeVerdict({ ok, entries, head }: AuditVerdict): string {
  return ok ? `The audit trail is whole: ${entries} entries, head ${head === null ? 'none' : `${head.seq} ${head.hash}`}` : 'The audit trail is BROKEN.'
}

function listRecordings(recordings: readonly RecordingSummary[]): string {
  if (recordings.length === 0) return 'No recordings. Drop one: reelkeep drop FILE --recorder NAME'
  return table(
    ['ID', 'TITLE', 'STATE', 'RECORDER', 'OWNER', 'SIZE', 'LENGTH', 'NEXT', 'WHEN'],
    recordings.map((one) => [
      one.id,
      one.title,
      stateOf(one),
      one.recorderName,
      one.ownerName ?? '-',
      describeBytes(one.sizeBytes),
      one.durationMs === null ? '-' : describeDuration(one.durationMs),
      one.nextStep,
      instant(one.nextAtMs),
    ]),
  )
}

function stateOf(one: RecordingSummary): string {
  const notes = [
    one.progressPercent !== null && one.state === 'encoding' ? `${one.progressPercent} %` : '',
    one.onHold ? 'held' : '',
    one.problem === null ? '' : 'NEEDS ATTENTION',
  ].filter((note) => note !== '')
  return [recordingLabels[one.state].text, ...notes].join(', ')
}

function listDeposits(deposits: readonly DepositView[]): string {
  if (deposits.length === 0) return 'Nothing was ever seen in an inbox.'
  return table(
    ['ID', 'PATH', 'STATE', 'RECORDER', 'SIZE', 'FIRST SEEN', 'WHY', 'NEXT'],
    deposits.map((one) => [
      one.id,
      one.path,
      depositLabels[one.state].text,
      one.recorderName ?? '-',
      describeBytes(one.sizeBytes),
      instant(one.firstSeenAtMs),
      one.reason ?? '-',
      one.nextStep,
    ]),
  )
}
