import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { ReelkeepError } from '../domain/errors.ts'
import { bytesPer } from '../domain/units.ts'
import type { AppEnv } from './env.ts'
import { findJsonTrick } from './json-text.ts'

/** Refuses bodies over 1 MiB before they are read. @throws body_too_large */
export const limitBody: MiddlewareHandler<AppEnv> = bodyLimit({
  maxSize: bytesPer.mib,
  onError: () => {
    throw new ReelkeepError('body_too_large', 'The request body is larger than 1 MiB; send less at once.')
  },
})

/**
 * Lets only plain, unambiguous JSON through to the handlers.
 * @throws unsupported_media_type, invalid_request
 */
export const readStrictJson: MiddlewareHandler<AppEnv> = async (c, next) => {
  // A compressed body can be a thousand times what its length says.
  const encoding = c.req.header('Content-Encoding')
  if (encoding !== undefined && encoding !== 'identity')
    throw new ReelkeepError('unsupported_media_type', 'Compressed request bodies are not read; send the JSON as it is.')
  if (c.req.method !== 'POST' && c.req.method !== 'PATCH') return next()
  const declared = c.req.header('Content-Type')
  const text = await c.req.text()
  if (text === '' && declared === undefined) return next()
  if (!/^application\/json *(; *charset="?utf-8"?)? *$/i.test(declared ?? ''))
    throw new ReelkeepError('unsupported_media_type', 'The body must be JSON: send "Content-Type: application/json".')
  try {
    JSON.parse(text)
  } catch (error) {
    throw new ReelkeepError('invalid_request', 'The body is no JSON; where a command needs no fields, send {}.', {
      cause: error,
    })
  }
  const trick = findJsonTrick(text)
  if (trick !== null) throw new ReelkeepError('invalid_request', `The body cannot be read in one way only: ${trick}`)
  return next()
}
