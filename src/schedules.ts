import { Client, Connection, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'
import type { ScheduleOptions } from '@temporalio/client'
import { ReelkeepError } from './domain/errors.ts'
import { msPer } from './domain/units.ts'
import type { FixityPassInput, InboxScanInput } from './workflows/messages.ts'
import { taskQueues } from './workflows/names.ts'

/** An inbox that is to be looked at. */
export interface InboxRef {
  readonly accountId: string
  readonly inboxId: string
}

/** A run looks for almost the whole interval: an upload's end is noticed by a look, not by the next schedule. */
const scanEveryMs = msPer.minute
const lookForMs = 58 * msPer.second

/** The id of an inbox's schedule: derived, so that setting it up twice sets it up once. */
export function scanScheduleId(inboxId: string): string {
  return `scan/${inboxId}`
}

/**
 * Makes sure that every inbox is looked at every minute, beginning now, that the reconciliation (rows without a
 * workflow, overdue plans) runs every minute, and that copies are checked and stores swept every day. Called at every worker start and when an inbox is created; a schedule that
 * exists is brought up to date, so that a release can change it. Schedules of inboxes not named here are left alone.
 * @throws pipeline_unavailable
 */
export async function ensureSchedules(
  temporal: { readonly address: string; readonly namespace: string },
  inboxes: readonly InboxRef[],
): Promise<void> {
  const connection = await connect(temporal.address)
  try {
    const client = new Client({ connection, namespace: temporal.namespace })
    await ensureSchedule(client, schedule('reconcile', 'reconcileWorkflow', []))
    const pass: FixityPassInput = { accountId: null, everything: false }
    await ensureSchedule(client, daily(schedule('fixity', 'fixityPassWorkflow', [pass])))
    await ensureSchedule(client, daily(schedule('housekeeping', 'housekeepingWorkflow', [])))
    for (const { accountId, inboxId } of inboxes) {
      const input: InboxScanInput = { accountId, inboxId, lookForMs }
      await ensureSchedule(client, schedule(scanScheduleId(inboxId), 'inboxScanWorkflow', [input]))
    }
  } finally {
    await connection.close()
  }
}

/**
 * Makes sure that a Temporal which somebody else runs has the namespace and what recordings are found by in it. A life
 * cannot go on in a namespace without these search attributes, and nothing but Temporal's own log would say why.
 * @throws pipeline_unavailable, invalid_config with the command that adds what is missing
 */
export async function requireNamespace(
  { address, namespace }: { readonly address: string; readonly namespace: string },
  searchAttributes: Readonly<Record<string, string>>,
): Promise<void> {
  const connection = await connect(address)
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
    const missing = Object.entries(searchAttributes).filter(([name]) => !Object.hasOwn(customAttributes, name))
    if (missing.length === 0) return
    const names = missing.map(([name, type]) => `--name ${name} --type ${type}`).join(' ')
    const message = `The namespace "${namespace}" of Temporal at ${address} has no search attributes ${missing.map(([name]) => name).join(', ')}. Add them with \`temporal operator search-attribute create --address ${address} --namespace ${namespace} ${names}\`, then start again.`
    throw new ReelkeepError('invalid_config', message)
  } catch (error) {
    throw explainNamespace(error, address, namespace)
  } finally {
    await connection.close()
  }
}

function explainNamespace(error: unknown, address: string, namespace: string): unknown {
  if (error instanceof ReelkeepError) return error
  const notFound = 5
  const known = error instanceof Error && 'code' in error && error.code === notFound
  if (!known)
    return new ReelkeepError(
      'pipeline_unavailable',
      `Temporal at ${address} did not say what its namespace "${namespace}" holds (${error instanceof Error ? error.message : String(error)}). Check that a Temporal frontend runs there, then start again.`,
      { cause: error },
    )
  return new ReelkeepError(
    'invalid_config',
    `Temporal at ${address} has no namespace "${namespace}". Create it with \`temporal operator namespace create --address ${address} --namespace ${namespace}\`, or set TEMPORAL_NAMESPACE to another.`,
    { cause: error },
  )
}

async function connect(address: string): Promise<Connection> {
  try {
    return await Connection.connect({ address, connectTimeout: 10 * msPer.second })
  } catch (cause) {
    const message = `Temporal at ${address} does not answer, so the inboxes have no schedules. Check that it runs and TEMPORAL_ADDRESS; a restart tries again.`
    throw new ReelkeepError('pipeline_unavailable', message, { cause })
  }
}

function schedule(scheduleId: string, workflowType: string, args: unknown[]): ScheduleOptions {
  return {
    scheduleId,
    spec: { intervals: [{ every: scanEveryMs }] },
    action: { type: 'startWorkflow', workflowType, workflowId: scheduleId, taskQueue: taskQueues.life, args },
    policies: {
      // A look that takes longer than the interval is followed by exactly one more, not by a queue of them.
      overlap: ScheduleOverlapPolicy.BUFFER_ONE,
      catchupWindow: msPer.hour,
    },
  }
}

/** Once a day; a run that takes longer is not followed by another at its heels. */
function daily(options: ScheduleOptions): ScheduleOptions {
  return {
    ...options,
    spec: { intervals: [{ every: msPer.day }] },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: msPer.day },
  }
}

async function ensureSchedule(client: Client, { scheduleId, ...wanted }: ScheduleOptions): Promise<void> {
  try {
    await client.schedule.create({ scheduleId, ...wanted, state: { triggerImmediately: true } })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    // A person's pause stays: only what the product decides is renewed.
    await client.schedule.getHandle(scheduleId).update(({ state }) => ({ ...wanted, state }))
  }
}
