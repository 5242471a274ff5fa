import type { CallingRecorder } from '../../db/recorders.ts'
import type { ApiDeps } from '../env.ts'

/** Looks at the inbox of a recorder that called. Calling twice looks twice. */
export async function lookForRecorder(deps: ApiDeps, recorder: CallingRecorder): Promise<void> {
  try {
    await deps.pipeline.lookAtInbox(recorder.accountId, recorder.inboxId)
  } catch (error) {
    // The scheduled look finds the file anyway; a recorder could do nothing with an error.
    deps.log.warn(
      { err: error, inboxId: recorder.inboxId },
      'notified look did not start; the next scheduled one follows',
    )
  }
}
