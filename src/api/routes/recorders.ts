import { isIP } from 'node:net'
import { createRoute, z } from '@hono/zod-openapi'
import { findRecorder, insertRecorder, listRecorders, updateRecorder } from '../../db/recorders.ts'
import { msPer } from '../../domain/units.ts'
import { isSafeKey } from '../../storage/store.ts'
import { requireRole } from '../auth.ts'
import type { ApiDeps } from '../env.ts'
import { body, createRoutes, idParams, idSchema, json, notFound, problems, textSchema } from '../requests.ts'
import { recorderSchema } from '../views.ts'

const assignment = z.enum(['manager', 'claim', 'automatic']).openapi({
  description: 'manager: they get a mail; claim: listed for claiming; automatic: straight on to the default owner',
})
const decided = {
  description: textSchema(2000, 0).optional(),
  managerId: idSchema.nullable().optional(),
  defaultOwnerId: idSchema.nullable().optional(),
  isDefault: z.boolean().optional(),
  ip: z
    .string()
    .refine((text) => isIP(text) !== 0, 'it is no IP address')
    .nullable()
    .optional(),
  notifySalt: textSchema(200)
    .nullable()
    .optional()
    .openapi({ description: 'Secret of the notify URL; never shown again. null = no notify' }),
  notifySecret: z
    .string()
    .refine(isNotifySecret, 'it must be whsec_ and the base64 of 24 to 64 random bytes')
    .nullable()
    .optional()
    .openapi({ description: 'Secret of signed notify calls; never shown again. With one, unsigned calls are refused' }),
  quietMs: z.int().min(msPer.second).max(msPer.day).nullable().optional(),
}
/** As Standard Webhooks writes secrets; shorter ones could be guessed. */
function isNotifySecret(text: string): boolean {
  const bytes = /^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text.slice(6), 'base64').length : 0
  return bytes >= 24 && bytes <= 64
}

const directory = z
  .string()
  .refine((path) => isSafeKey(path), 'a directory is relative to the inbox, without "..", empty parts or backslashes')

const listRoute = createRoute({
  method: 'get',
  path: '/recorders',
  operationId: 'listRecorders',
  tags: ['recorders'],
  summary: 'Every recorder, by name',
  responses: { 200: json(z.object({ items: z.array(recorderSchema) }), 'All of them'), ...problems },
})

const createRecorderRoute = createRoute({
  method: 'post',
  path: '/recorders',
  operationId: 'createRecorder',
  tags: ['recorders'],
  summary: 'Set a recorder up',
  request: {
    body: body(z.strictObject({ name: textSchema(200), inboxId: idSchema, directory, assignment, ...decided })),
  },
  responses: { 201: json(recorderSchema, 'The new recorder'), ...problems },
})

const readRoute = createRoute({
  method: 'get',
  path: '/recorders/{id}',
  operationId: 'readRecorder',
  tags: ['recorders'],
  summary: 'One recorder',
  request: { params: idParams },
  responses: { 200: json(recorderSchema, 'The recorder'), ...problems },
})

const changeRoute = createRoute({
  method: 'patch',
  path: '/recorders/{id}',
  operationId: 'changeRecorder',
  tags: ['recorders'],
  summary: 'Change what was decided about a recorder; inbox and directory stay',
  request: {
    params: idParams,
    body: body(z.strictObject({ name: textSchema(200).optional(), assignment: assignment.optional(), ...decided })),
  },
  responses: { 200: json(recorderSchema, 'As it is now'), ...problems },
})

/** Recorders: everybody reads them, operators set them up. */
export function recorderRoutes(deps: ApiDeps) {
  return createRoutes()
    .openapi(listRoute, async (c) => {
      const items = await deps.db.asAccount(c.get('actor').accountId, listRecorders)
      return c.json({ items }, 200)
    })
    .openapi(createRecorderRoute, async (c) => {
      const actor = c.get('actor')
      requireRole(actor, 'operator')
      const recorder = { ...c.req.valid('json'), accountId: actor.accountId }
      const created = await deps.db.asAccount(actor.accountId, (tx) => insertRecorder(tx, recorder), {
        actor: actor.name,
      })
      return c.json(created, 201)
    })
    .openapi(readRoute, async (c) => {
      const recorder = await deps.db.asAccount(c.get('actor').accountId, (tx) =>
        findRecorder(tx, c.req.valid('param').id),
      )
      if (recorder === null) throw notFound('No recorder')
      return c.json(recorder, 200)
    })
    .openapi(changeRoute, async (c) => {
      const actor = c.get('actor')
      requireRole(actor, 'operator')
      const change = c.req.valid('json')
      const changed = await deps.db.asAccount(
        actor.accountId,
        (tx) => updateRecorder(tx, c.req.valid('param').id, change),
        {
          actor: actor.name,
        },
      )
      if (changed === null) throw notFound('No recorder')
      return c.json(changed, 200)
    })
}
