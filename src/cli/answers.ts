import type { z } from '@hono/zod-openapi'
import type { standingSchema } from '../api/routes/fixity.ts'
import type {
  depositSchema,
  recorderSchema,
  recordingDetailSchema,
  recordingSummarySchema,
  storeSchema,
} from '../api/views.ts'

/** One recording, whole, as the API answers. */
export type RecordingAnswer = z.infer<typeof recordingDetailSchema>
/** One recording in a list. */
export type SummaryAnswer = z.infer<typeof recordingSummarySchema>
/** Anything that was seen in an inbox. */
export type DepositAnswer = z.infer<typeof depositSchema>
/** How the copies of everything that is kept stand. */
export type FixityAnswer = z.infer<typeof standingSchema>
/** A recorder. */
export type RecorderAnswer = z.infer<typeof recorderSchema>
/** A place that keeps files. */
export type StoreAnswer = z.infer<typeof storeSchema>
