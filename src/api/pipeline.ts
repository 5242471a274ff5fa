import {
  Client,
  Connection,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  WorkflowNotFoundError,
} from '@temporalio/client'
import { ApplicationFailure, TimeoutFailure } from '@temporalio/common'
import { msToTs } from '@temporalio/common/lib/time.js'
import { isErrorCode, ReelkeepError } from '../domain/errors.ts'
import type { CommandRequest } from '../domain/commands.ts'
import { recordingWorkflowId, taskQueues } from '../workflows/names.ts'
import type { CommandResult, InboxScanInput, RecordingInput } from '../workflows/messages.ts'

/** The API's only door to Temporal. */
export interface Pipeline {
  /** Gives a command to a recording's life and waits for its answer. @throws the command's own codes, pipeline_unavailable */
  command(recordingId: string, request: CommandRequest): Promise<CommandResult>
  /** Begins (or finds) the life of a complete deposit. A second call changes nothing. */
  startRecording(input: RecordingInput): Promise<void>
  /** One look at an inbox, now. */
  lookAtInbox(accountId: string, inboxId: string): Promise<void>
  /**
   * Lets time pass for one recording, timer by timer; returns when its clock has arrived. Only for systems that were
   * created with fast-forward (the caller has checked).
   */
  fastForward(recordingId: string, durationMs: number, requestId: string): Promise<void>
  /** Answers when Temporal does. @throws pipeline_unavailable */
  ping(): Promise<void>
  close(): Promise<void>
}

const answerTimeoutMs = 15_000
const fastForwardTimeoutMs = 10 * 60_000

/** Connects lazily: the API starts and says what is wrong even while Temporal is away. */
export function openPipeline(options: { address: string; namespace: string }): Pipeline {
  const connection = Connection.lazy({ address: options.address })
  const client = new Client({ connection, namespace: options.namespace })
  const within = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await connection.withDeadline(Date.now() + answerTimeoutMs, work)
    } catch (error) {
      throw explain(error)
    }
  }

  return {
    command: (recordingId, request) =>
      within(() =>
        client.workflow
          .getHandle(recordingWorkflowId(recordingId))
          .executeUpdate<CommandResult, [CommandRequest]>(request.command.kind, {
            args: [request],
            updateId: request.requestId,
          }),
      ),
    async startRecording(input) {
      await within(() =>
        client.workflow.start('recordingWorkflow', {
          workflowId: recordingWorkflowId(input.recordingId),
          taskQueue: taskQueues.life,
          args: [input],
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'REJECT_DUPLICATE',
        }),
      ).catch((error: unknown) => {
        if (!(error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')) throw error
      })
    },
    async lookAtInbox(accountId, inboxId) {
      const input: InboxScanInput = { accountId, inboxId, lookForMs: 0 }
      await within(() =>
        client.workflow.start('inboxScanWorkflow', {
          workflowId: `look/${inboxId}`,
          taskQueue: taskQueues.life,
          args: [input],
          workflowIdConflictPolicy: 'USE_EXISTING',
        }),
      )
    },
    fastForward: (recordingId, durationMs, requestId) =>
      within(() => beginFastForward(client, recordingId, durationMs, requestId)).then(() =>
        awaitFastForward(client, connection, recordingId, requestId),
      ),
    async ping() {
      await within(() => client.workflowService.getSystemInfo({}))
    },
    close: () => connection.close(),
  }
}

async function beginFastForward(client: Client, recordingId: string, durationMs: number, id: string): Promise<void> {
  await client.workflowService.updateWorkflowExecutionOptions({
    namespace: client.options.namespace,
    workflowExecution: { workflowId: recordingWorkflowId(recordingId) },
    workflowExecutionOptions: {
      timeSkippingConfig: { enabled: true, fastForwardConfig: { id, duration: msToTs(Math.ceil(durationMs)) } },
    },
    updateMask: { paths: ['time_skipping_config'] },
  })
}

/** Years can hold many timers, and every activity between them takes its real time. */
async function awaitFastForward(
  client: Client,
  connection: Connection,
  recordingId: string,
  id: string,
): Promise<void> {
  await connection.withDeadline(Date.now() + fastForwardTimeoutMs, () =>
    client.workflowService.pollWorkflowExecutionTimeSkipping({
      namespace: client.options.namespace,
      workflowExecution: { workflowId: recordingWorkflowId(recordingId) },
      fastForwardId: id,
    }),
  )
}

/** A verdict that came back through Temporal keeps its code; silence is `pipeline_unavailable`. */
function explain(error: unknown): unknown {
  if (error instanceof ReelkeepError) return error
  const cause = error instanceof WorkflowUpdateFailedError ? error.cause : error
  if (cause instanceof ApplicationFailure && isErrorCode(cause.type))
    return new ReelkeepError(cause.type, cause.message, { cause: error })
  if (error instanceof WorkflowNotFoundError)
    return new ReelkeepError('wrong_state', "This recording's life is over: nothing more can happen to it.", {
      cause: error,
    })
  const silent =
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
    cause instanceof TimeoutFailure ||
    isServiceError(error)
  if (silent)
    return new ReelkeepError(
      'pipeline_unavailable',
      'The recording did not answer in time: Temporal or its workers are away. Repeat the request with the same Idempotency-Key; it counts once.',
      { cause: error },
    )
  return error
}

function isServiceError(error: unknown): boolean {
  return (
    error instanceof Error && (error.name === 'ServiceError' || ('code' in error && typeof error.code === 'number'))
  )
}
