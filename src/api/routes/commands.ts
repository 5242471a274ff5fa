import { createRoute, z } from '@hono/zod-openapi'
import { allowFastForward, arriveFastForward } from '../../db/clock.ts'
import { findFacts } from '../../db/facts.ts'
import { findRecording } from '../../db/recordings.ts'
import type { Command } from '../../domain/commands.ts'
import { msPer } from '../../domain/units.ts'
import { requireAdmin } from '../auth.ts'
import { giveCommand } from '../commands.ts'
import type { ApiDeps } from '../env.ts'
import { requestIdOf } from '../once.ts'
import { body, createRoutes, idParams, idSchema, json, notFound, problems, textSchema } from '../requests.ts'
import { recordingDetailSchema, viewDetail } from '../views.ts'
import { etagOf, getRecording } from './recordings.ts'

const reason = textSchema(1000).openapi({ description: 'Why; kept in the timeline' })
const title = textSchema(300).optional()

/** Every command: its path, what it does, its body, and how the body becomes the command. */
const table = [
  entry('claim', 'Take an unassigned recording', z.strictObject({ title }), (given) => ({
    kind: 'claim',
    ...(given.title === undefined ? {} : { title: given.title }),
  })),
  entry('assign', 'Give a recording to a person', z.strictObject({ ownerId: idSchema, title }), (given) => ({
    kind: 'assign',
    ownerId: given.ownerId,
    ...(given.title === undefined ? {} : { title: given.title }),
  })),
  entry('not-mine', 'Give a recording back', z.strictObject({}), () => ({ kind: 'notMine' })),
  entry('hold', 'Place a legal hold: nothing is deleted while it stands', z.strictObject({ reason }), (given) => ({
    kind: 'hold',
    ...given,
  })),
  entry('release', 'Release a legal hold', z.strictObject({ holdId: idSchema }), (given) => ({
    kind: 'release',
    ...given,
  })),
  entry('extend', 'Keep it longer', z.strictObject({ untilMs: z.int(), reason }), (given) => ({
    kind: 'extend',
    ...given,
  })),
  entry('request-deletion', 'Ask for its deletion', z.strictObject({ reason }), (given) => ({
    kind: 'requestDeletion',
    ...given,
  })),
  entry(
    'approve-deletion',
    'Approve its deletion, as another person, for the plan that was shown',
    z.strictObject({
      planHash: z.string().regex(/^[0-9a-f]{64}$/, 'send the planHash of the disposition as you read it'),
    }),
    (given) => ({ kind: 'approveDeletion', ...given }),
  ),
  entry('reject-deletion', 'Refuse its deletion', z.strictObject({ reason }), (given) => ({
    kind: 'rejectDeletion',
    ...given,
  })),
  entry('undo', 'Bring it back from the trash', z.strictObject({}), () => ({ kind: 'undo' })),
  entry('cancel-encode', 'Stop its encode; a person then decides how it goes on', z.strictObject({}), () => ({
    kind: 'cancelEncode',
  })),
  entry('replan', 'Compute its plan anew from the policy in force', z.strictObject({}), () => ({ kind: 'replan' })),
  entry(
    'resolve',
    'Decide about what needs attention (also under the id of a deposit in quarantine)',
    z.strictObject({ option: z.enum(['retry', 'skip', 'replace', 'give_up']) }),
    (given) => ({ kind: 'resolve', ...given }),
  ),
] as const

interface Entry {
  readonly path: string
  readonly summary: string
  readonly schema: z.ZodType
  /** Reads a body that the schema let through. */
  readonly read: (given: unknown) => Command
}

function entry<S extends z.ZodType>(
  path: string,
  summary: string,
  schema: S,
  toCommand: (given: z.infer<S>) => Command,
): Entry {
  return { path, summary, schema, read: (given) => toCommand(schema.parse(given)) }
}

/** What people tell recordings to do: one route per command, all alike. */
export function commandRoutes(deps: ApiDeps) {
  const routes = createRoutes()
  for (const command of table) {
    const route = createRoute({
      method: 'post',
      path: `/recordings/{id}/${command.path}`,
      operationId: camel(command.path),
      tags: ['commands'],
      summary: command.summary,
      request: { params: idParams, headers: idempotencyHeader, body: bodyOf(command) },
      responses: {
        200: json(recordingDetailSchema, 'The recording as it is now'),
        204: { description: 'Done; the deposit has become no recording yet' },
        ...problems,
      },
    })
    routes.openapi(route, async (c) => {
      const actor = c.get('actor')
      const { id } = c.req.valid('param')
      await giveCommand(deps, id, { command: command.read(c.req.valid('json')), actor, requestId: requestIdOf(c) })
      const recording = await deps.db.asAccount(actor.accountId, (tx) => findRecording(tx, id))
      if (recording === null) return c.body(null, 204)
      c.header('ETag', etagOf(recording))
      return c.json(viewDetail(recording), 200)
    })
  }
  return routes.route('/', fastForwardRoutes(deps))
}

/** A body that may be empty may be missing, too. */
function bodyOf(command: Entry) {
  return { ...body(command.schema), required: !command.schema.safeParse({}).success }
}

/** Documents the header that makes a repeated command count once. */
const idempotencyHeader = z.object({
  'idempotency-key': z.string().optional().openapi({ description: 'Same key, same request: done once, same answer' }),
})

const fastForwardRoute = createRoute({
  method: 'post',
  path: '/recordings/{id}/fast-forward',
  operationId: 'fastForward',
  tags: ['commands'],
  summary: 'Let time pass for one recording, where the system was created with fast-forward',
  request: {
    params: idParams,
    headers: idempotencyHeader,
    body: body(
      z.strictObject({
        durationMs: z
          .int()
          .min(1)
          .max(100 * msPer.year),
      }),
    ),
  },
  responses: { 200: json(recordingDetailSchema, 'Its clock has arrived'), ...problems },
})

function fastForwardRoutes(deps: ApiDeps) {
  return createRoutes().openapi(fastForwardRoute, async (c) => {
    const actor = c.get('actor')
    requireAdmin(actor)
    const { id } = c.req.valid('param')
    const { durationMs } = c.req.valid('json')
    await deps.db.asAccount(actor.accountId, async (tx) => {
      if ((await findFacts(tx, id)) === null) throw notFound('No recording')
      await allowFastForward(tx, id, durationMs)
    })
    await deps.pipeline.fastForward(id, durationMs, requestIdOf(c))
    await deps.db.asAccount(actor.accountId, (tx) => arriveFastForward(tx, id))
    const recording = await getRecording(deps, actor, id)
    c.header('ETag', etagOf(recording))
    return c.json(viewDetail(recording), 200)
  })
}

function camel(path: string): string {
  return path.replaceAll(/-([a-z])/g, (_match, letter: string) => letter.toUpperCase())
}
