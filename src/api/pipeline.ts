import { setTimeout as pause } from 'node:timers/promises'
import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  WorkflowNotFoundError,
} from '@temporalio/client'
import type { WorkflowStartOptions } from '@temporalio/client'
import { ApplicationFailure, TimeoutFailure } from '@temporalio/common'
import { msToTs } from '@temporalio/common/lib/time.js'
import { isErrorCode, ReelkeepError } from '../domain/errors.ts'
import type { CommandRequest } from '../domain/commands.ts'
import { createTurns } from '../storage/turns.ts'
import { fixityPassId, fixityWorkflowId, lookAgain, recordingWorkflowId, taskQueues } from '../workflows/names.ts'
import type {
  CommandResult,
  FixityInput,
  FixityPassInput,
  InboxScanInput,
  RecordingInput,
} from '../workflows/messages.ts'

/** The API's only door to Temporal. */
export interface Pipeline {
  /**
   * Gives a command to a recording's life and waits for its answer. A life hears ten at once; whoever comes on top of
   * them waits, and then `askAgain` may throw what is known by now.
   * @throws the command's own codes, pipeline_unavailable
   */
  command(recordingId: string, request: CommandRequest, askAgain?: () => Promise<void>): Promise<CommandResult>
  /**
   * Begins (or finds) the life of a complete deposit, or (`accepted`) of a recording that lost its own. A second call
   * changes nothing: one that runs is left alone, or, with `wake`, told to look at its rows again; one that came to its
   * end is never begun again, unless it was terminated or failed while its recording still exists.
   */
  startRecording(input: RecordingInput, options?: { wake: boolean }): Promise<void>
  /** One look at an inbox, now. */
  lookAtInbox(accountId: string, inboxId: string): Promise<void>
  /** Begins a check of one recording's copies, or finds the one that runs. */
  checkCopies(accountId: string, recordingId: string): Promise<void>
  /** Begins a check of everything the account keeps. One that a person began before ends: the new one reads all of it again. */
  checkAllCopies(accountId: string): Promise<void>
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
/** Fewer than the ten that Temporal lets one workflow hear, so that other processes of the API are heard, too. */
const commandsAtOnce = 4
const busyPauseMs = { first: 200, longest: 2000 } as const

/** The client's own retries, but for a life that hears ten commands already: it would wait for seconds, and ask nobody. */
const { delayFunction, retryableDecider } = defaultGrpcRetryOptions()
const retries = makeGrpcRetryInterceptor({
  delayFunction,
  retryableDecider: (attempt, status) => !isBusy(status) && retryableDecider(attempt, status),
})

/** Connects lazily: the API starts and says what is wrong even while Temporal is away. */
export function openPipeline(options: { address: string; namespace: string }): Pipeline {
  const connection = Connection.lazy({ address: options.address, interceptors: [retries] })
  const client = new Client({ connection, namespace: options.namespace })
  const within = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await connection.withDeadline(Date.now() + answerTimeoutMs, work)
    } catch (error) {
      throw explain(error)
    }
  }
  const turns = createTurns(commandsAtOnce)

  return {
    command: (recordingId, request, askAgain = async () => undefined) =>
      turns.take(
        recordingId,
        async (waited) => {
          if (waited) await askAgain()
          return within(() => untilHeard(() => update(client, recordingId, request), askAgain))
        },
        { withinMs: answerTimeoutMs, tooLate: noAnswer },
      ),
    async startRecording(input, { wake } = { wake: false }) {
      await within(() => beginLife(client, input, wake)).catch((error: unknown) => {
        if (!(error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')) throw error
      })
    },
    async lookAtInbox(accountId, inboxId) {
      const input: InboxScanInput = { accountId, inboxId, lookForMs: 0 }
      await within(() => start(client, 'inboxScanWorkflow', `look/${inboxId}`, input))
    },
    async checkCopies(accountId, recordingId) {
      const input: FixityInput = { accountId, recordingId }
      await within(() => start(client, 'fixityWorkflow', fixityWorkflowId(recordingId), input))
    },
    async checkAllCopies(accountId) {
      const input: FixityPassInput = { accountId, everything: true }
      await within(() => start(client, 'fixityPassWorkflow', fixityPassId(accountId), input, 'TERMINATE_EXISTING'))
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

function update(client: Client, recordingId: string, request: CommandRequest): Promise<CommandResult> {
  return client.workflow
    .getHandle(recordingWorkflowId(recordingId))
    .executeUpdate<CommandResult, [CommandRequest]>(request.command.kind, {
      args: [request],
      updateId: request.requestId,
    })
}

async function beginLife(client: Client, input: RecordingInput, wake: boolean): Promise<void> {
  const life: WorkflowStartOptions = {
    workflowId: recordingWorkflowId(input.recordingId),
    taskQueue: taskQueues.life,
    args: [input],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: input.accepted === true ? 'ALLOW_DUPLICATE_FAILED_ONLY' : 'REJECT_DUPLICATE',
  }
  if (wake) await client.workflow.signalWithStart('recordingWorkflow', { ...life, signal: lookAgain })
  else await client.workflow.start('recordingWorkflow', life)
}

/** Tries again while the life has its hands full, until the deadline around it, asking before each further try. */
async function untilHeard<T>(work: () => Promise<T>, askAgain: () => Promise<void>): Promise<T> {
  const untilMs = Date.now() + answerTimeoutMs
  for (let pauseMs: number = busyPauseMs.first; ; pauseMs = Math.min(pauseMs * 2, busyPauseMs.longest)) {
    try {
      return await work()
    } catch (error) {
      if (!isBusy(serviceErrorIn(error)) || Date.now() > untilMs) throw error
      await pause(pauseMs * (0.5 + Math.random()))
      await askAgain()
    }
  }
}

/** Temporal's refusal of the eleventh command that one life would have to hear at once. */
function isBusy(status: { readonly details?: string | undefined } | null): boolean {
  return /in-flight updates/.test(status?.details ?? '')
}

function serviceErrorIn(error: unknown): { readonly details?: string } | null {
  if (isGrpcServiceError(error)) return error
  return error instanceof Error && isGrpcServiceError(error.cause) ? error.cause : null
}

/** Starts a workflow that anybody may ask for; while it runs, asking again finds it (or begins it anew). */
async function start(
  client: Client,
  type: string,
  workflowId: string,
  input: unknown,
  workflowIdConflictPolicy: 'USE_EXISTING' | 'TERMINATE_EXISTING' = 'USE_EXISTING',
): Promise<void> {
  await client.workflow.start(type, {
    workflowId,
    taskQueue: taskQueues.life,
    args: [input],
    workflowIdConflictPolicy,
  })
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
  return silent ? noAnswer(error) : error
}

function noAnswer(cause?: unknown): ReelkeepError {
  return new ReelkeepError(
    'pipeline_unavailable',
    'The recording did not answer in time: Temporal or its workers are away. Repeat the request with the same Idempotency-Key; it counts once.',
    { cause },
  )
}

function isServiceError(error: unknown): boolean {
  return (
    error instanceof Error && (error.name === 'ServiceError' || ('code' in error && typeof error.code === 'number'))
  )
}
