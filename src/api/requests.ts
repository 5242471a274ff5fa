import { OpenAPIHono, z } from '@hono/zod-openapi'
import { ReelkeepError } from '../domain/errors.ts'
import type { AppEnv } from './env.ts'

/** A router whose refusals are the product's: an id that is no id is `not_found`, everything else `invalid_request`. */
export function createRoutes(): OpenAPIHono<AppEnv> {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (result.success) return
      if (result.target === 'param') throw notFound('Nothing')
      const [issue] = result.error.issues
      const where = issue?.path.map(String).join('.') ?? ''
      throw new ReelkeepError(
        'invalid_request',
        `The request is not as described${where === '' ? '' : ` at "${where.slice(0, 100)}"`}: ${issue?.message ?? 'unknown'}. See /docs.`,
      )
    },
  })
}

/** What belongs to others and what never was look the same. */
export function notFound(what: string): ReelkeepError {
  return new ReelkeepError('not_found', `${what} with this id is in this account; check the id.`)
}

/** An id of anything. */
export const idSchema = z.guid().openapi({ format: 'uuid', example: '5f2c1e0a-9a44-4b7e-8a53-0d6f7f1f8c11' })

/** The path parameter of one thing. */
export const idParams = z.object({ id: idSchema })

/** Text that people type: trimmed, limited, without the characters that databases and headers choke on. */
export function textSchema(longest: number, shortest = 1) {
  return z
    .string()
    .trim()
    .min(shortest)
    .max(longest)
    .refine((text) => !/[^\P{Cc}\n\r\t]|\p{Surrogate}/u.test(text), 'it contains control characters')
}

/** An instant in a query. */
export const instantSchema = z.coerce
  .number()
  .int()
  .min(0)
  .max(8.64e15)
  .openapi({ type: 'integer', description: 'Milliseconds since 1970-01-01T00:00:00Z', example: 1790000000000 })

/** How many of a list at once. */
export const limitSchema = z.coerce.number().int().min(1).max(200).default(50).openapi({ type: 'integer', example: 50 })

/** Where a page begins: the `nextCursor` of the page before, nothing else. */
export const cursorSchema = z.string().max(200).optional().openapi({ description: '`nextCursor` of the page before' })

const cursorContent = z.strictObject({ t: z.int().min(0).max(8.64e15), id: z.guid() })

/** The last item of a page, as text for clients to hand back. */
export function writeCursor(last: { readonly atMs: number; readonly id: string }): string {
  return Buffer.from(JSON.stringify({ t: last.atMs, id: last.id })).toString('base64url')
}

/** Reads a cursor; only exactly what `writeCursor` writes is one. @throws invalid_cursor */
export function readCursor(text: string): { readonly atMs: number; readonly id: string } {
  const content = cursorContent.safeParse(parse(Buffer.from(text, 'base64url').toString('utf8')))
  const cursor = content.success ? { atMs: content.data.t, id: content.data.id } : null
  if (cursor === null || writeCursor(cursor) !== text)
    throw new ReelkeepError('invalid_cursor', 'This cursor is none of ours; begin again without one.')
  return cursor
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().openapi({ description: 'One of the stable codes; never renamed' }),
    detail: z.string(),
    next: z.string().openapi({ description: 'What to do now' }),
    instance: z.string(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
  })
  .openapi('Problem')

const problem = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: problemSchema } },
})

/** The refusals that every route can give. */
export const problems = {
  '4XX': problem('The request, its key or the state of the thing does not allow it'),
  '5XX': problem('Something behind the API does not answer, or is broken'),
} as const

/** An answer of JSON. */
export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } }
}

/** A JSON body. Unknown fields are refused: a misspelt one would silently do something else. */
export function body<T extends z.ZodType>(schema: T) {
  return { required: true, content: { 'application/json': { schema } } }
}
