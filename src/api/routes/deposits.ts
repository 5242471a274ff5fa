import { createRoute, z } from '@hono/zod-openapi'
import { listDeposits } from '../../db/deposits.ts'
import { depositStates } from '../../domain/deposit.ts'
import type { ApiDeps } from '../env.ts'
import { createRoutes, cursorSchema, json, limitSchema, problems, readCursor, writeCursor } from '../requests.ts'
import { depositSchema, pageSchema, viewDeposit } from '../views.ts'

const listRoute = createRoute({
  method: 'get',
  path: '/deposits',
  operationId: 'listDeposits',
  tags: ['deposits'],
  summary: 'Everything ever seen in an inbox, with the reason and the next step, newest first',
  request: {
    query: z.strictObject({ state: z.enum(depositStates).optional(), limit: limitSchema, cursor: cursorSchema }),
  },
  responses: { 200: json(pageSchema(depositSchema), 'One page'), ...problems },
})

/** What was seen in the inboxes. */
export function depositRoutes(deps: ApiDeps) {
  return createRoutes().openapi(listRoute, async (c) => {
    const { cursor, state, limit } = c.req.valid('query')
    const last = cursor === undefined ? null : readCursor(cursor)
    const filter = {
      limit: limit + 1,
      ...(state === undefined ? {} : { state }),
      ...(last === null ? {} : { before: { firstSeenAtMs: last.atMs, id: last.id } }),
    }
    const found = await deps.db.asAccount(c.get('actor').accountId, (tx) => listDeposits(tx, filter))
    const items = found.slice(0, limit)
    const end = found.length > limit ? items.at(-1) : undefined
    const nextCursor = end === undefined ? null : writeCursor({ atMs: end.firstSeenAtMs, id: end.id })
    return c.json({ items: items.map(viewDeposit), nextCursor }, 200)
  })
}
