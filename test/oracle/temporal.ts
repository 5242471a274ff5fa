import { Client, Connection } from '@temporalio/client'
import type { Subject } from './subject.ts'

/** One run of a workflow. */
export interface Run {
  readonly workflowId: string
  readonly runId: string
  readonly status: string
}

/** What Temporal says. */
export interface Workflows {
  readonly lives: ReadonlyMap<string, readonly Run[]>
  /** Runs of any workflow that ended badly. */
  readonly ended: readonly Run[]
  /** Lives in which some activity is scheduled, under way or waiting for its next try right now. */
  readonly busy: ReadonlySet<string>
  /** Lives whose own code fails again and again, with the number of tries. */
  readonly stuck: ReadonlyMap<string, number>
}

const atOnce = 16
/** A worker that dies in the middle costs a try; more of them are no accident. */
const triesAfterACrash = 2
const deadlineMs = 5 * 60_000

/** Reads every life; which of them are at work only where the system has settled, for it costs one call each. */
export async function readWorkflows({ temporal, settled }: Subject): Promise<Workflows | null> {
  if (temporal === null) return null
  const connection = await Connection.connect({ address: temporal.address })
  const client = new Client({ connection, namespace: temporal.namespace })
  try {
    return await connection.withDeadline(Date.now() + deadlineMs, () => readAll(client, settled))
  } finally {
    await connection.close()
  }
}

async function readAll(client: Client, settled: boolean): Promise<Workflows> {
  const lives = new Map<string, Run[]>()
  for (const run of await list(client, 'WorkflowId STARTS_WITH "rec/"')) {
    const recordingId = run.workflowId.slice('rec/'.length)
    lives.set(recordingId, [...(lives.get(recordingId) ?? []), run])
  }
  const ended = await list(client, "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut', 'Canceled')")
  const running = [...lives].filter(([, runs]) => runs.some(({ status }) => status === 'RUNNING')).map(([id]) => id)
  return { lives, ended, ...(await lookInto(client, settled ? running : [])) }
}

async function list(client: Client, query: string): Promise<Run[]> {
  const runs: Run[] = []
  for await (const { workflowId, runId, status } of client.workflow.list({ query }))
    runs.push({ workflowId, runId, status: status.name })
  return runs
}

async function lookInto(client: Client, recordingIds: readonly string[]): Promise<Pick<Workflows, 'busy' | 'stuck'>> {
  const busy = new Set<string>()
  const stuck = new Map<string, number>()
  const waiting = [...recordingIds]
  const work = async () => {
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const handle = client.workflow.getHandle(`rec/${id}`)
      const { raw } = await handle.describe()
      if ((raw.pendingActivities ?? []).length > 0) busy.add(id)
      const tries = raw.pendingWorkflowTask?.attempt ?? 0
      if (tries > triesAfterACrash) stuck.set(id, tries)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return { busy, stuck }
}
