import { createRoute, z } from '@hono/zod-openapi'
import { insertAudit } from '../../db/audit.ts'
import type { AccountTx } from '../../db/connect.ts'
import { databaseNowMs, findFacts } from '../../db/facts.ts'
import { isChecked, readStanding } from '../../db/fixity-standing.ts'
import { ReelkeepError } from '../../domain/errors.ts'
import { requireRole } from '../auth.ts'
import type { ApiDeps } from '../env.ts'
import { createRoutes, idParams, json, notFound, problems } from '../requests.ts'

const instant = z.int().openapi({ description: 'Milliseconds since 1970-01-01T00:00:00Z' })
const begunSchema = z
  .object({ beganAtMs: instant.openapi({ description: 'What is checked later than this belongs to it' }) })
  .openapi('FixityBegun')

/** How an account's copies stand, as it is sent. */
export const standingSchema = z
  .object({
    recordings: z.int().openapi({ description: 'Recordings whose copies are checked' }),
    waiting: z.int().openapi({ description: 'Of these, not checked since `sinceMs`' }),
    oldestCheckAtMs: instant.nullable().openapi({ description: 'null = one was never checked since it was made' }),
    failed: z.int().openapi({ description: 'Copies that do not match' }),
    couldNotRun: z.int().openapi({ description: 'Copies whose store could not be asked' }),
    mending: z.int().openapi({ description: 'Of the failed ones, being made again from a good copy' }),
    asked: z.int().openapi({ description: 'Recordings where a person has to decide' }),
  })
  .openapi('FixityStanding')

const checkRoute = createRoute({
  method: 'post',
  path: '/recordings/{id}/fixity',
  operationId: 'checkCopies',
  tags: ['fixity'],
  summary: 'Read every copy of a recording again now, and mend what has a good copy',
  request: { params: idParams },
  responses: { 202: json(begunSchema, 'It has begun; the copies of the recording say how it goes'), ...problems },
})

const checkAllRoute = createRoute({
  method: 'post',
  path: '/fixity',
  operationId: 'checkAllCopies',
  tags: ['fixity'],
  summary: 'Read every copy of everything the account keeps again, beginning now',
  responses: { 202: json(begunSchema, 'It has begun; see GET /fixity'), ...problems },
})

const standingRoute = createRoute({
  method: 'get',
  path: '/fixity',
  operationId: 'readFixity',
  tags: ['fixity'],
  summary: 'How the copies of everything the account keeps stand',
  request: { query: z.strictObject({ sinceMs: z.coerce.number().int().min(0).max(8.64e15).default(0) }) },
  responses: { 200: json(standingSchema, 'Counts, as of the last checks'), ...problems },
})

/** Checking copies again, beside the daily pass. */
export function fixityRoutes(deps: ApiDeps) {
  return createRoutes()
    .openapi(checkRoute, async (c) => {
      const actor = c.get('actor')
      const { id } = c.req.valid('param')
      const beganAtMs = await deps.db.asAccount(
        actor.accountId,
        async (tx) => {
          const facts = await findFacts(tx, id)
          if (facts === null) throw notFound('No recording')
          requireRole(actor, 'operator', 'manager')
          if (!(await isChecked(tx, id)))
            throw new ReelkeepError(
              'wrong_state',
              `Copies are checked while a recording is kept; this one is ${facts.state.replaceAll('_', ' ')}.`,
            )
          return begin(tx, id)
        },
        { actor: actor.name },
      )
      await deps.pipeline.checkCopies(actor.accountId, id)
      return c.json({ beganAtMs }, 202)
    })
    .openapi(checkAllRoute, async (c) => {
      const actor = c.get('actor')
      requireRole(actor, 'operator')
      const beganAtMs = await deps.db.asAccount(actor.accountId, (tx) => begin(tx, null), { actor: actor.name })
      await deps.pipeline.checkAllCopies(actor.accountId)
      return c.json({ beganAtMs }, 202)
    })
    .openapi(standingRoute, async (c) => {
      const { sinceMs } = c.req.valid('query')
      return c.json(await deps.db.asAccount(c.get('actor').accountId, (tx) => readStanding(tx, sinceMs)), 200)
    })
}

/** By the database's clock, which also dates the checks. */
async function begin(tx: AccountTx, recordingId: string | null): Promise<number> {
  await insertAudit(tx, 'fixity.requested', {}, recordingId)
  return databaseNowMs(tx)
}
