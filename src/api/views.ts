import { z } from '@hono/zod-openapi'
import type { KeyView } from '../db/keys.ts'
import type { StoreView } from '../db/stores.ts'
import { depositStates } from '../domain/deposit.ts'
import type { DepositView } from '../domain/deposit.ts'
import { roles, scopes } from '../domain/permissions.ts'
import { recordingStates } from '../domain/recording.ts'
import type { RecordingDetail, RecordingSummary } from '../domain/recording.ts'
import { idSchema } from './requests.ts'

/** Sizes travel as strings: JSON readers lose digits beyond 2^53. */
const bytes = z.string().regex(/^\d+$/).openapi({ description: 'Bytes, as a decimal string', example: '734003200' })
const instant = z.int().openapi({ description: 'Milliseconds since 1970-01-01T00:00:00Z', example: 1790000000000 })
const maybeInstant = instant.nullable()
const list = <T extends z.ZodType>(item: T) => z.array(item).readonly()

/** A page of a list. */
export function pageSchema<T extends z.ZodType>(item: T) {
  return z.object({
    items: list(item),
    nextCursor: z
      .string()
      .nullable()
      .openapi({ description: 'Give it as `cursor` for the next page; null = this was the last' }),
  })
}

/** Why something needs attention. */
export const attentionSchema = z
  .object({
    stage: z.string(),
    code: z.string(),
    message: z.string(),
    attempts: z.int(),
    sinceMs: instant,
    nextRetryAtMs: maybeInstant,
    options: list(z.enum(['retry', 'skip', 'replace', 'give_up'])),
  })
  .openapi('Attention')

/** One recording in a list. */
export const recordingSummarySchema = z
  .object({
    id: idSchema,
    title: z.string(),
    state: z.enum(recordingStates),
    stateSinceMs: instant,
    waitingFor: z.string().openapi({ description: 'What it waits for now' }),
    nextStep: z.string().openapi({ description: 'What happens next' }),
    nextAtMs: maybeInstant.openapi({ description: 'When that happens by itself' }),
    recorderName: z.string(),
    ownerName: z.string().nullable(),
    sizeBytes: bytes,
    durationMs: z.number().nullable(),
    progressPercent: z.number().nullable(),
    onHold: z.boolean(),
    problem: attentionSchema.nullable(),
    retainUntilMs: maybeInstant,
    hasPoster: z.boolean(),
    createdAtMs: instant,
    clockOffsetMs: z.int().openapi({ description: "How far this recording's clock was moved ahead; 0 = real time" }),
    version: z.int(),
  })
  .openapi('RecordingSummary')

const fileSchema = z.object({
  id: idSchema,
  name: z.string(),
  kind: z.enum(['original', 'video', 'hls', 'poster', 'sprite', 'audio', 'manifest']),
  contentType: z.string(),
  sizeBytes: bytes,
  sha256: z.string(),
  widthPx: z.int().nullable(),
  heightPx: z.int().nullable(),
  durationMs: z.number().nullable(),
})

const copySchema = z.object({
  fileId: idSchema,
  fileName: z.string(),
  kind: z.string(),
  storeName: z.string(),
  site: z.string(),
  role: z.enum(['inbox', 'primary', 'backup']),
  key: z.string(),
  sizeBytes: bytes,
  sha256: z.string(),
  state: z.enum(['stored', 'verified', 'failed', 'purged']),
  verifiedAtMs: maybeInstant,
  purgedAtMs: maybeInstant,
  checkedAtMs: maybeInstant.openapi({ description: 'When it was last read again, or that was tried' }),
  checkResult: z.enum(['ok', 'failed', 'could_not_run']).nullable(),
  checkSinceMs: maybeInstant.openapi({ description: 'Since when the result is this one' }),
  mending: z.boolean(),
  checkNote: z.string().nullable().openapi({ description: 'What was seen, where it is not ok' }),
})

const planSchema = z.object({
  policyVersion: z.int(),
  ruleId: z.string(),
  retainUntilMs: instant,
  reason: z.string(),
  extendedToMs: maybeInstant,
  actions: list(
    z.object({
      kind: z.enum(['remind', 'request_disposition', 'purge_after_approval']),
      atMs: instant,
      reason: z.string(),
    }),
  ),
})

const dispositionSchema = z.object({
  id: idSchema,
  requestedBy: idSchema.nullable(),
  requestedAtMs: instant,
  reason: z.string(),
  planHash: z.string().openapi({ description: 'Send this back when you approve: it says which plan you saw' }),
  state: z.enum(['requested', 'approved', 'rejected', 'undone', 'cancelled', 'purging', 'done']),
  approvedBy: list(idSchema),
  undoUntilMs: maybeInstant,
})

/** One recording, whole. */
export const recordingDetailSchema = recordingSummarySchema
  .extend({
    description: z.string(),
    tags: list(z.string()),
    depositPath: z.string(),
    sha256: z.string(),
    media: z.looseObject({ sizeBytes: bytes }).openapi({ description: 'What the prober found' }),
    encodePlan: z.looseObject({ reason: z.string() }).nullable(),
    recorderId: idSchema,
    ownerId: idSchema.nullable(),
    plan: planSchema.nullable(),
    planHash: z.string().nullable(),
    holds: list(z.object({ id: idSchema, reason: z.string(), placedBy: idSchema, placedAtMs: instant })),
    disposition: dispositionSchema.nullable(),
    copiesVerified: z.boolean(),
    files: list(fileSchema),
    copies: list(copySchema),
    timeline: list(
      z.object({
        seq: z.int(),
        atMs: instant,
        clockAtMs: maybeInstant,
        actor: z.string(),
        action: z.string(),
        detail: z.record(z.string(), z.unknown()),
      }),
    ),
    hasCertificate: z.boolean(),
  })
  .openapi('Recording')

/** Anything that was ever seen in an inbox. */
export const depositSchema = z
  .object({
    id: idSchema,
    inboxName: z.string(),
    recorderName: z.string().nullable(),
    path: z.string(),
    sizeBytes: bytes,
    state: z.enum(depositStates),
    endSignal: z.enum(['sidecar', 'rename', 'quiet']).nullable(),
    firstSeenAtMs: instant,
    changedAtMs: instant,
    reasonCode: z.string().nullable(),
    reason: z.string().nullable(),
    nextStep: z.string(),
    recordingId: idSchema.nullable(),
  })
  .openapi('Deposit')

/** A recorder. */
export const recorderSchema = z
  .object({
    id: idSchema,
    inboxId: idSchema,
    inboxName: z.string(),
    name: z.string(),
    description: z.string(),
    directory: z.string(),
    assignment: z.enum(['manager', 'claim', 'automatic']),
    managerId: idSchema.nullable(),
    defaultOwnerId: idSchema.nullable(),
    isDefault: z.boolean(),
    ip: z.string().nullable(),
    canNotify: z.boolean(),
    signsNotify: z.boolean(),
    quietMs: z.int().nullable(),
    createdAtMs: instant,
  })
  .openapi('Recorder')

/** A place that keeps files. */
export const storeSchema = z
  .object({
    id: idSchema,
    name: z.string(),
    site: z.string(),
    role: z.enum(['inbox', 'primary', 'backup']),
    url: z.string(),
    createdAtMs: instant,
  })
  .openapi('Store')

/** A person. */
export const personSchema = z
  .object({ id: idSchema, name: z.string(), email: z.string(), roles: list(z.enum(roles)), createdAtMs: instant })
  .openapi('Person')

/** An API key, without the key. */
export const keySchema = z
  .object({
    id: idSchema,
    personId: idSchema,
    personName: z.string(),
    label: z.string(),
    scopes: list(z.enum(scopes)),
    createdAtMs: instant,
    revokedAtMs: maybeInstant,
  })
  .openapi('Key')

/** A key that was just made: the only answer that ever holds the key itself. */
export const newKeySchema = keySchema
  .extend({ key: z.string().nullable().openapi({ description: 'Shown once; null where the request was repeated' }) })
  .openapi('NewKey')

/** A recording as lists send it. */
export function viewSummary(recording: RecordingSummary): z.infer<typeof recordingSummarySchema> {
  return {
    id: recording.id,
    title: recording.title,
    state: recording.state,
    stateSinceMs: recording.stateSinceMs,
    waitingFor: recording.waitingFor,
    nextStep: recording.nextStep,
    nextAtMs: recording.nextAtMs,
    recorderName: recording.recorderName,
    ownerName: recording.ownerName,
    sizeBytes: String(recording.sizeBytes),
    durationMs: recording.durationMs,
    progressPercent: recording.progressPercent,
    onHold: recording.onHold,
    problem: recording.problem,
    retainUntilMs: recording.retainUntilMs,
    hasPoster: recording.hasPoster,
    createdAtMs: recording.createdAtMs,
    clockOffsetMs: recording.clockOffsetMs,
    version: recording.version,
  }
}

/** A recording as it is sent whole. */
export function viewDetail(recording: RecordingDetail): z.infer<typeof recordingDetailSchema> {
  const { facts } = recording
  return {
    ...viewSummary(recording),
    description: recording.description,
    tags: recording.tags,
    depositPath: recording.depositPath,
    sha256: recording.sha256,
    media: { ...recording.media, sizeBytes: String(recording.media.sizeBytes) },
    encodePlan: recording.encodePlan === null ? null : { ...recording.encodePlan },
    recorderId: facts.recorderId,
    ownerId: facts.ownerId,
    plan: facts.plan,
    planHash: facts.planHash,
    holds: facts.holds,
    disposition: facts.disposition,
    copiesVerified: facts.copiesVerified,
    files: recording.files.map(withTextSize),
    copies: recording.copies.map(withTextSize),
    timeline: recording.timeline,
    hasCertificate: recording.certificate !== null,
  }
}

/** A deposit as it is sent. */
export function viewDeposit(deposit: DepositView): z.infer<typeof depositSchema> {
  return withTextSize(deposit)
}

/** A store as it is sent: its address without its parameters, which are the operator's business. */
export function viewStore(store: StoreView): z.infer<typeof storeSchema> {
  return { ...store, url: store.url.replace(/\?.*$/s, '') }
}

/** A new key as it is sent: with the secret the first time, without it to whoever repeats the request. */
export function viewNewKey(key: KeyView, secret: string | null): z.infer<typeof newKeySchema> {
  return { ...key, key: secret }
}

function withTextSize<T extends { readonly sizeBytes: number }>(
  thing: T,
): Omit<T, 'sizeBytes'> & { sizeBytes: string } {
  return { ...thing, sizeBytes: String(thing.sizeBytes) }
}
