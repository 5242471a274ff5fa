import type { Command } from 'commander'
import { ReelkeepError } from '../domain/errors.ts'
import type { RecorderAnswer, StoreAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { answer, connect } from './context.ts'
import type { CliContext } from './context.ts'
import { oneLine, table } from './terminal.ts'

interface AddOptions {
  readonly directory?: string
  readonly inbox?: string
  readonly assignment: string
  readonly manager?: string
  readonly owner?: string
}

/** The recorder of this name or id. @throws not_found with the names there are */
export async function findRecorder(api: ApiClient, wanted: string): Promise<RecorderAnswer> {
  const recorders = await listRecorders(api)
  const found = recorders.find((one) => one.name === wanted || one.id === wanted || one.directory === wanted)
  if (found !== undefined) return found
  const names = recorders.map((one) => `"${one.name}"`).join(', ')
  throw new ReelkeepError(
    'not_found',
    `There is no recorder "${wanted}". ${names === '' ? 'Add one with `reelkeep recorder add`.' : `There are: ${names}.`}`,
  )
}

async function listRecorders(api: ApiClient): Promise<readonly RecorderAnswer[]> {
  return (await api.get<{ items: readonly RecorderAnswer[] }>('/recorders')).items
}

/** `reelkeep recorder add|ls`. */
export function addRecorder(program: Command, context: CliContext): void {
  const recorder = program.command('recorder').description('devices and gateways that deposit recordings')
  recorder
    .command('ls')
    .description('list recorders')
    .option('--json', 'answer as JSON')
    .action(async (_options: unknown, command: Command) => {
      const api = await connect(context, command)
      answer(context, command, await listRecorders(api), (rows) =>
        table(
          ['ID', 'NAME', 'DIRECTORY', 'ASSIGNMENT'],
          rows.map((one) => [one.id, one.name, one.directory, one.assignment]),
        ),
      )
    })
  recorder
    .command('add <name>')
    .description('add a recorder with its publication directory in an inbox')
    .option('--directory <name>', 'its directory in the inbox (default: made from the name)')
    .option('--inbox <name>', 'which inbox, where there are several')
    .option('--assignment <how>', 'manager, claim or automatic', 'claim')
    .option('--manager <personId>', 'who is told about new recordings, for manager')
    .option('--owner <personId>', 'who owns new recordings, for automatic')
    .action(async (name: string, options: AddOptions, command: Command) => {
      const api = await connect(context, command)
      const added = await api.post<RecorderAnswer>('/recorders', {
        name,
        inboxId: await findInbox(api, options.inbox),
        directory: options.directory ?? directoryOf(name),
        assignment: options.assignment,
        ...(options.manager !== undefined && { managerId: options.manager }),
        ...(options.owner !== undefined && { defaultOwnerId: options.owner }),
      })
      context.terminal.answer(
        oneLine(`Added recorder "${added.name}" (${added.id}): it deposits into ${added.directory}/ of its inbox.`),
      )
    })
}

function directoryOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, '-')
    .replaceAll(/^-|-$/g, '')
}

async function findInbox(api: ApiClient, wanted: string | undefined): Promise<string> {
  const inboxes = (await api.get<{ items: readonly StoreAnswer[] }>('/stores')).items.filter(
    (store) => store.role === 'inbox',
  )
  const found = wanted === undefined ? inboxes : inboxes.filter((store) => store.name === wanted || store.id === wanted)
  const [inbox, second] = found
  if (inbox === undefined)
    throw new ReelkeepError(
      'not_found',
      wanted === undefined
        ? 'There is no inbox yet. Add a store with the role inbox first.'
        : `There is no inbox "${wanted}".`,
    )
  if (second === undefined) return inbox.id
  throw new ReelkeepError(
    'invalid_request',
    `There are several inboxes: ${found.map((one) => `"${one.name}"`).join(', ')}. Name one with --inbox.`,
  )
}
