import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Context } from '@temporalio/activity'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'

/**
 * Runs one attempt of an encode in a scratch folder of its own, with a place for what comes out, and removes it afterwards. The
 * attempt has a name that no other one has: a worker given up for dead may still be writing under its own.
 */
export async function inEncodeFolder<T>(
  { scratchDir }: Pick<ActivityDeps, 'scratchDir'>,
  { recordingId }: Pick<RecordingRef, 'recordingId'>,
  run: (work: string, attempt: string) => Promise<T>,
): Promise<T> {
  const { activityId, attempt: count, workflowExecution } = Context.current().info
  const attempt = `${workflowExecution?.runId.slice(0, 8) ?? 'run'}-${activityId}-${count}`
  const work = join(scratchDir, `encode-${recordingId}-${attempt}`)
  await rm(work, { recursive: true, force: true })
  await mkdir(join(work, 'out'), { recursive: true })
  try {
    return await run(work, attempt)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
