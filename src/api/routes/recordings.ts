import { createRoute, z } from '@hono/zod-openapi'
import { insertAudit } from '../../db/audit.ts'
import { findFacts } from '../../db/facts.ts'
import { describeRecording, findRecording, listRecordings } from '../../db/recordings.ts'
import { ReelkeepError } from '../../domain/errors.ts'
import { hasRole } from '../../domain/permissions.ts'
import type { Actor } from '../../domain/permissions.ts'
import { recordingStates } from '../../domain/recording.ts'
import type { RecordingDetail, RecordingFacts } from '../../domain/recording.ts'
import type { ApiDeps } from '../env.ts'
import {
  body,
  createRoutes,
  cursorSchema,
  idParams,
  idSchema,
  instantSchema,
  json,
  limitSchema,
  notFound,
  problems,
  readCursor,
  textSchema,
  writeCursor,
} from '../requests.ts'
import { pageSchema, recordingDetailSchema, recordingSummarySchema, viewDetail, viewSummary } from '../views.ts'

const listRoute = createRoute({
  method: 'get',
  path: '/recordings',
  operationId: 'listRecordings',
  tags: ['recordings'],
  summary: 'Recordings, newest first',
  request: {
    query: z.strictObject({
      state: z.enum(recordingStates).optional(),
      recorderId: idSchema.optional(),
      ownerId: idSchema.optional(),
      text: textSchema(200).optional().openapi({
        description:
          'Words, each of which begins a word of the title, the description or a tag; case and accents do not count',
      }),
      tag: textSchema(60).optional().openapi({ description: 'A whole tag; case and accents do not count' }),
      createdFromMs: instantSchema.optional().openapi({ description: 'Accepted at this instant or later' }),
      createdBeforeMs: instantSchema.optional().openapi({ description: 'Accepted before this instant' }),
      problem: z.enum(['true']).optional().openapi({ description: 'Only what needs attention' }),
      limit: limitSchema,
      cursor: cursorSchema,
    }),
  },
  responses: { 200: json(pageSchema(recordingSummarySchema), 'One page'), ...problems },
})

const readRoute = createRoute({
  method: 'get',
  path: '/recordings/{id}',
  operationId: 'readRecording',
  tags: ['recordings'],
  summary: 'One recording with its files, copies, plan and timeline',
  request: { params: idParams },
  responses: { 200: json(recordingDetailSchema, 'The recording; its ETag is its version'), ...problems },
})

const descriptionSchema = z.strictObject({
  title: textSchema(300).optional(),
  description: textSchema(10_000, 0).optional(),
  tags: z.array(textSchema(60)).max(50).optional(),
})

const describeRoute = createRoute({
  method: 'patch',
  path: '/recordings/{id}',
  operationId: 'describeRecording',
  tags: ['recordings'],
  summary: 'Change title, description or tags',
  request: {
    params: idParams,
    headers: z.object({ 'if-match': z.string().optional().openapi({ description: 'The ETag you read; required' }) }),
    body: body(descriptionSchema),
  },
  responses: { 200: json(recordingDetailSchema, 'As it is now'), ...problems },
})

const certificateShape = z
  .looseObject({ payload: z.looseObject({}), signature: z.string(), keyId: z.string(), publicKey: z.string() })
  .openapi('Certificate')

const certificateRoute = createRoute({
  method: 'get',
  path: '/recordings/{id}/certificate',
  operationId: 'readCertificate',
  tags: ['recordings'],
  summary: 'The signed proof that a recording was deleted; check it with /verify.mjs',
  request: { params: idParams },
  responses: {
    200: json(certificateShape, 'Exactly as it was signed'),
    ...problems,
  },
})

/** Reading and describing recordings. Commands have their own file. */
export function recordingRoutes(deps: ApiDeps) {
  return createRoutes()
    .openapi(listRoute, async (c) => {
      const { cursor, problem, ...query } = c.req.valid('query')
      const last = cursor === undefined ? null : readCursor(cursor)
      const filter = {
        limit: query.limit + 1,
        ...(query.state === undefined ? {} : { state: query.state }),
        ...(query.recorderId === undefined ? {} : { recorderId: query.recorderId }),
        ...(query.ownerId === undefined ? {} : { ownerId: query.ownerId }),
        ...(query.text === undefined ? {} : { text: query.text }),
        ...(query.tag === undefined ? {} : { tag: query.tag }),
        ...(query.createdFromMs === undefined ? {} : { createdFromMs: query.createdFromMs }),
        ...(query.createdBeforeMs === undefined ? {} : { createdBeforeMs: query.createdBeforeMs }),
        ...(problem === undefined ? {} : { problem: true }),
        ...(last === null ? {} : { before: { createdAtMs: last.atMs, id: last.id } }),
      }
      const found = await deps.db.asAccount(c.get('actor').accountId, (tx) => listRecordings(tx, filter))
      const items = found.slice(0, query.limit)
      const end = found.length > query.limit ? items.at(-1) : undefined
      const nextCursor = end === undefined ? null : writeCursor({ atMs: end.createdAtMs, id: end.id })
      return c.json({ items: items.map(viewSummary), nextCursor }, 200)
    })
    .openapi(readRoute, async (c) => {
      const recording = await getRecording(deps, c.get('actor'), c.req.valid('param').id)
      c.header('ETag', etagOf(recording))
      return c.json(viewDetail(recording), 200)
    })
    .openapi(describeRoute, async (c) => {
      const actor = c.get('actor')
      const { id } = c.req.valid('param')
      const version = readIfMatch(c.req.valid('header')['if-match'])
      await describe(deps, actor, { id, version, said: c.req.valid('json') })
      const recording = await getRecording(deps, actor, id)
      c.header('ETag', etagOf(recording))
      return c.json(viewDetail(recording), 200)
    })
    .openapi(certificateRoute, async (c) => {
      const { certificate } = await getRecording(deps, c.get('actor'), c.req.valid('param').id)
      const parsed = certificateShape.safeParse(certificate)
      if (!parsed.success)
        throw new ReelkeepError('not_found', 'There is no certificate: this recording was not purged (yet).')
      return c.json(parsed.data, 200)
    })
}

/** @throws not_found, forbidden, precondition_failed */
async function describe(
  deps: Pick<ApiDeps, 'db'>,
  actor: Actor,
  change: { readonly id: string; readonly version: number; readonly said: z.infer<typeof descriptionSchema> },
): Promise<void> {
  const { title, description, tags } = change.said
  const fields = {
    ...(title === undefined ? {} : { title }),
    ...(description === undefined ? {} : { description }),
    ...(tags === undefined ? {} : { tags: [...new Set(tags)] }),
  }
  const outcome = await deps.db.asAccount(
    actor.accountId,
    async (tx) => {
      const facts = await findFacts(tx, change.id)
      if (facts === null) return 'missing'
      requireDescriber(facts, actor)
      const result = await describeRecording(tx, change.id, fields, change.version)
      if (result === 'ok') await insertAudit(tx, 'recording.described', fields, change.id)
      return result
    },
    { actor: actor.name },
  )
  if (outcome === 'missing') throw notFound('No recording')
  if (outcome === 'stale')
    throw new ReelkeepError(
      'precondition_failed',
      'The recording changed since you read it: read it again, then send your change with its new ETag.',
    )
}

/** One recording of the actor's account. @throws not_found */
export async function getRecording(deps: Pick<ApiDeps, 'db'>, actor: Actor, id: string): Promise<RecordingDetail> {
  const recording = await deps.db.asAccount(actor.accountId, (tx) => findRecording(tx, id))
  if (recording === null) throw notFound('No recording')
  return recording
}

/** A recording's entity tag: its version, which every change raises. */
export function etagOf(recording: { readonly version: number }): string {
  return `"${recording.version}"`
}

function readIfMatch(header: string | undefined): number {
  if (header === undefined)
    throw new ReelkeepError(
      'precondition_required',
      'Say which version you change: send the ETag you read as If-Match.',
    )
  const version = /^"(\d{1,15})"$/.exec(header.trim())?.[1]
  if (version === undefined)
    throw new ReelkeepError(
      'precondition_failed',
      'If-Match is no ETag of this recording: read it again and send its ETag as it is.',
    )
  return Number(version)
}

function requireDescriber(facts: RecordingFacts, actor: Actor): void {
  const may = facts.ownerId === actor.personId || facts.managerId === actor.personId || hasRole(actor, 'operator')
  if (!may)
    throw new ReelkeepError(
      'forbidden',
      "Only the owner, the recorder's manager or an operator may describe this recording.",
    )
}
