import { transfers } from './activity-options.ts'

/** Runs every minute, from a schedule: finds lives that should run and do not. */
export async function reconcileWorkflow(): Promise<number> {
  return transfers.startMissingLives()
}
