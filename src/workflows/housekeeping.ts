import type { SweepResult } from '../activities/index.ts'
import { transfers } from './activity-options.ts'

/** Runs every day, from a schedule: what interrupted writes left in stores is removed. */
export async function housekeepingWorkflow(): Promise<SweepResult> {
  return transfers.sweepStores()
}
