/** Task queues: what client, schedules and workers must agree on. Encodes have their own slots. */
export const taskQueues = { life: 'reelkeep', encode: 'reelkeep-encode' } as const

/** The signal that makes a life look at the database again. */
export const lookAgain = 'lookAgain'

/** The id of a recording's workflow: derived, so that starting it twice starts it once. */
export function recordingWorkflowId(recordingId: string): string {
  return `rec/${recordingId}`
}

/** The id of a check of one recording's copies: derived, so that two never run at once. */
export function fixityWorkflowId(recordingId: string): string {
  return `fixity/${recordingId}`
}

/** The id of a pass over one account that a person began. */
export function fixityPassId(accountId: string): string {
  return `fixity-pass/${accountId}`
}
