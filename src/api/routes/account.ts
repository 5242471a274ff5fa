import { createRoute, z } from '@hono/zod-openapi'
import { insertKey, listKeys, revokeKey } from '../../db/keys.ts'
import { insertPerson, listPeople, requirePeople } from '../../db/people.ts'
import { listStores } from '../../db/stores.ts'
import { roles, scopes } from '../../domain/permissions.ts'
import { hashSecret, makeKey, requireAdmin } from '../auth.ts'
import type { ApiDeps } from '../env.ts'
import { body, createRoutes, idParams, idSchema, json, notFound, problems, textSchema } from '../requests.ts'
import { keySchema, newKeySchema, personSchema, storeSchema, viewNewKey, viewStore } from '../views.ts'

const storesRoute = createRoute({
  method: 'get',
  path: '/stores',
  operationId: 'listStores',
  tags: ['account'],
  summary: 'The places that keep files',
  responses: { 200: json(z.object({ items: z.array(storeSchema) }), 'All of them'), ...problems },
})

const peopleRoute = createRoute({
  method: 'get',
  path: '/people',
  operationId: 'listPeople',
  tags: ['account'],
  summary: 'The people of the account',
  responses: { 200: json(z.object({ items: z.array(personSchema) }), 'All of them'), ...problems },
})

const addPersonRoute = createRoute({
  method: 'post',
  path: '/people',
  operationId: 'addPerson',
  tags: ['account'],
  summary: 'Add a person (administrators)',
  request: {
    body: body(
      z.strictObject({
        name: textSchema(200),
        email: z.email().max(254),
        roles: z.array(z.enum(roles)).min(1).max(roles.length),
      }),
    ),
  },
  responses: { 201: json(personSchema, 'The new person'), ...problems },
})

const keysRoute = createRoute({
  method: 'get',
  path: '/keys',
  operationId: 'listKeys',
  tags: ['account'],
  summary: 'The API keys of the account, without the keys themselves (administrators)',
  responses: { 200: json(z.object({ items: z.array(keySchema) }), 'All of them, revoked ones too'), ...problems },
})

const createKeyRoute = createRoute({
  method: 'post',
  path: '/keys',
  operationId: 'createKey',
  tags: ['account'],
  summary: 'Make an API key for a person; the answer shows it once (administrators)',
  request: {
    body: body(
      z.strictObject({
        personId: idSchema,
        label: textSchema(100),
        scopes: z.array(z.enum(scopes)).min(1).max(scopes.length),
      }),
    ),
  },
  responses: { 201: json(newKeySchema, 'The new key'), ...problems },
})

const revokeKeyRoute = createRoute({
  method: 'post',
  path: '/keys/{id}/revoke',
  operationId: 'revokeKey',
  tags: ['account'],
  summary: 'Revoke a key, and the sessions begun with it, at once (administrators)',
  request: { params: idParams },
  responses: { 200: json(keySchema, 'The revoked key'), ...problems },
})

/** Stores, people and keys of an account. */
export function accountRoutes(deps: ApiDeps) {
  return createRoutes()
    .openapi(storesRoute, async (c) => {
      const stores = await deps.db.asAccount(c.get('actor').accountId, listStores)
      return c.json({ items: stores.map(viewStore) }, 200)
    })
    .openapi(peopleRoute, async (c) => {
      const items = await deps.db.asAccount(c.get('actor').accountId, listPeople)
      return c.json({ items: items.map((person) => ({ ...person, roles: [...person.roles] })) }, 200)
    })
    .openapi(addPersonRoute, async (c) => {
      const actor = c.get('actor')
      requireAdmin(actor)
      const given = c.req.valid('json')
      const person = { ...given, roles: [...new Set(given.roles)], accountId: actor.accountId }
      const added = await deps.db.asAccount(actor.accountId, (tx) => insertPerson(tx, person), { actor: actor.name })
      return c.json(added, 201)
    })
    .openapi(keysRoute, async (c) => {
      const actor = c.get('actor')
      requireAdmin(actor)
      return c.json({ items: await deps.db.asAccount(actor.accountId, listKeys) }, 200)
    })
    .openapi(createKeyRoute, async (c) => {
      const actor = c.get('actor')
      requireAdmin(actor)
      const given = c.req.valid('json')
      const secret = makeKey()
      const key = await deps.db.asAccount(
        actor.accountId,
        async (tx) => {
          await requirePeople(tx, [given.personId])
          return insertKey(tx, { ...given, accountId: actor.accountId, keySha256: hashSecret(secret) })
        },
        { actor: actor.name },
      )
      c.set('storedAnswer', viewNewKey(key, null))
      return c.json(viewNewKey(key, secret), 201)
    })
    .openapi(revokeKeyRoute, async (c) => {
      const actor = c.get('actor')
      requireAdmin(actor)
      const revoked = await deps.db.asAccount(actor.accountId, (tx) => revokeKey(tx, c.req.valid('param').id), {
        actor: actor.name,
      })
      if (revoked === null) throw notFound('No key')
      return c.json(revoked, 200)
    })
}
