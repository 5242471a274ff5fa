import type { Command } from 'commander'
import { ReelkeepError } from '../domain/errors.ts'
import type { ProblemOption } from '../domain/recording.ts'
import type { RecordingAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { connect, instantArgument } from './context.ts'
import type { CliContext } from './context.ts'
import { instant, oneLine } from './terminal.ts'

type Give = (api: ApiClient, id: string) => Promise<unknown>

const problemOptions = ['retry', 'skip', 'replace', 'give_up'] as const satisfies readonly ProblemOption[]

/** What people tell a recording to do. Each is given once, however often its answer is lost. */
export function addDecisions(program: Command, context: CliContext): void {
  const tell = (command: Command, id: string, give: Give) => giveAndTell(context, command, id, give)
  const path = (id: string, name: string) => `/recordings/${encodeURIComponent(id)}/${name}`

  program
    .command('claim <id>')
    .description('take a recording that waits for an owner')
    .option('--title <text>', 'give it this title')
    .action((id: string, { title }: { title?: string }, command: Command) =>
      tell(command, id, (api) => api.post(path(id, 'claim'), title === undefined ? {} : { title })),
    )
  reasoned(program.command('hold <id>').description('place a legal hold: nothing is deleted while it stands')).action(
    (id: string, { reason }: { reason: string }, command: Command) =>
      tell(command, id, (api) => api.post(path(id, 'hold'), { reason })),
  )
  program
    .command('release <id>')
    .description('release a hold; without --hold, the only one that stands')
    .option('--hold <id>', 'which hold, where several stand')
    .action((id: string, { hold }: { hold?: string }, command: Command) =>
      tell(command, id, async (api) => api.post(path(id, 'release'), { holdId: hold ?? (await onlyHold(api, id)) })),
    )
  reasoned(program.command('extend <id>').description('keep a recording longer than its rule says'))
    .requiredOption('--until <date>', 'the new end of retention', instantArgument)
    .action((id: string, { until, reason }: { until: number; reason: string }, command: Command) =>
      tell(command, id, (api) => api.post(path(id, 'extend'), { untilMs: until, reason })),
    )
  addDeletion(program, tell, path)
  program
    .command('retry <id>')
    .description('resolve what needs attention')
    .option('--option <what>', `one of ${problemOptions.join(', ')}`, 'retry')
    .action((id: string, { option }: { option: string }, command: Command) => {
      if (!problemOptions.some((known) => known === option))
        throw new ReelkeepError('invalid_request', `--option must be one of ${problemOptions.join(', ')}.`)
      return tell(command, id, (api) => api.post(path(id, 'resolve'), { option }))
    })
}

function addDeletion(
  program: Command,
  tell: (command: Command, id: string, give: Give) => Promise<void>,
  path: (id: string, name: string) => string,
): void {
  reasoned(
    program.command('delete <id>').description('request the deletion of a recording; another person approves it'),
  ).action((id: string, { reason }: { reason: string }, command: Command) =>
    tell(command, id, (api) => api.post(path(id, 'request-deletion'), { reason })),
  )
  program
    .command('approve <id>')
    .description('approve a requested deletion, for the plan that `reelkeep show` shows')
    .option('--plan <hash>', 'approve only this plan; without it, the plan of the request as it stands now')
    .action((id: string, { plan }: { plan?: string }, command: Command) =>
      tell(command, id, async (api) =>
        api.post(path(id, 'approve-deletion'), { planHash: plan ?? (await requestedPlan(api, id)) }),
      ),
    )
  reasoned(program.command('reject <id>').description('reject a requested deletion')).action(
    (id: string, { reason }: { reason: string }, command: Command) =>
      tell(command, id, (api) => api.post(path(id, 'reject-deletion'), { reason })),
  )
  program
    .command('undo <id>')
    .description('bring a recording back from the trash')
    .action((id: string, _options: unknown, command: Command) => tell(command, id, (api) => api.post(path(id, 'undo'))))
}

function reasoned(command: Command): Command {
  return command.requiredOption('--reason <text>', 'why: it goes into the audit trail')
}

async function giveAndTell(context: CliContext, command: Command, id: string, give: Give): Promise<void> {
  const api = await connect(context, command)
  await give(api, id)
  const after = await api.get<RecordingAnswer>(`/recordings/${encodeURIComponent(id)}`).catch((error: unknown) => {
    // A deposit that was retried has no recording yet.
    if (error instanceof ReelkeepError && error.code === 'not_found') return null
    throw error
  })
  if (after === null) context.terminal.answer(`${id}: done. It is taken in again; see \`reelkeep deposits\`.`)
  else
    context.terminal.answer(
      oneLine(
        `${after.title}: ${after.state.replaceAll('_', ' ')}. Next: ${after.nextStep} (${instant(after.nextAtMs)})`,
      ),
    )
}

async function onlyHold(api: ApiClient, id: string): Promise<string> {
  const { holds } = await api.get<RecordingAnswer>(`/recordings/${encodeURIComponent(id)}`)
  const [hold, second] = holds
  if (hold === undefined) throw new ReelkeepError('not_found', `No hold stands on ${id}; there is nothing to release.`)
  if (second === undefined) return hold.id
  const list = holds.map((each) => `${each.id} (${each.reason})`).join(', ')
  throw new ReelkeepError('invalid_request', `Several holds stand on ${id}: ${list}. Name one with --hold.`)
}

async function requestedPlan(api: ApiClient, id: string): Promise<string> {
  const { disposition } = await api.get<RecordingAnswer>(`/recordings/${encodeURIComponent(id)}`)
  if (disposition?.state === 'requested') return disposition.planHash
  throw new ReelkeepError(
    'wrong_state',
    `No deletion of ${id} is requested; \`reelkeep delete ${id} --reason …\` requests one.`,
  )
}
