/** Task queues: what client, schedules and workers must agree on. Encodes have their own slots. */
export const taskQueues = { life: 'reelkeep', encode: 'reelkeep-encode' } as const

/** The id of a recording's workflow: derived, so that starting it twice starts it once. */
export function recordingWorkflowId(recordingId: string): string {
  return `rec/${recordingId}`
}
