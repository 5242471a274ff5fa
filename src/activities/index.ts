import { createArchiveActivities } from './archive.ts'
import { createClaimActivities } from './claim.ts'
import { createDeleteActivities } from './delete.ts'
import type { ActivityDeps } from './deps.ts'
import { createEncodeActivities } from './encode.ts'
import { createFixityActivities } from './fixity.ts'
import { createHousekeepingActivities } from './housekeeping.ts'
import { createIngestActivities } from './ingest.ts'
import { createOwedActivities } from './owed.ts'
import { createQuarantineActivities } from './quarantine.ts'
import { createReconcileActivities } from './reconcile.ts'
import { createRecordActivities } from './records.ts'
import { createReplicateActivities } from './replicate.ts'
import { createRetainActivities } from './retain.ts'

/** Everything that touches the world: one factory per stage. */
export function createActivities(deps: ActivityDeps) {
  return {
    ...createRecordActivities(deps),
    ...createIngestActivities(deps),
    ...createQuarantineActivities(deps),
    ...createClaimActivities(deps),
    ...createEncodeActivities(deps),
    ...createArchiveActivities(deps),
    ...createReplicateActivities(deps),
    ...createOwedActivities(deps),
    ...createRetainActivities(deps),
    ...createDeleteActivities(deps),
    ...createReconcileActivities(deps),
    ...createFixityActivities(deps),
    ...createHousekeepingActivities(deps),
  }
}

/** What workflows call, by type only. */
export type Activities = ReturnType<typeof createActivities>

export type { FixityFound } from './fixity.ts'
export type { SweepResult } from './housekeeping.ts'
