import { createHmac, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import type { Handler } from 'hono'
import { z } from '@hono/zod-openapi'
import { takeSignedCall } from '../../db/notify-calls.ts'
import type { SignedCall } from '../../db/notify-calls.ts'
import { listRecordersAtAddress } from '../../db/recorders.ts'
import type { CallingRecorder } from '../../db/recorders.ts'
import { ReelkeepError } from '../../domain/errors.ts'
import { msPer } from '../../domain/units.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { problems } from '../requests.ts'
import { lookForRecorder } from './look.ts'

/** How far the caller's clock may be from ours. */
const windowMs = 300 * msPer.second
/** More signatures than a sender needs while it changes its secret would only be guesses. */
const mostSignatures = 5

const callSchema = z.strictObject({
  recordingPlace: z.string().max(100),
  mediapath: z.string().max(4096).optional(),
  course_title: z.string().max(4096).optional(),
})

/** The description of the call in `/openapi.json`; the signature is over the raw bytes, so nothing may parse them before. */
export const signedNotifyPath = {
  method: 'post' as const,
  path: '/record/recorder_notify/',
  operationId: 'notifySigned',
  tags: ['recorders'],
  summary: 'A recorder says, signed, that something arrived: its inbox is looked at now',
  security: [],
  request: {
    headers: z.object({
      'webhook-id': z.string().openapi({ description: 'Unique for each call; a second one is refused' }),
      'webhook-timestamp': z.string().openapi({ description: 'Seconds since 1970, at most 300 from now' }),
      'webhook-signature': z.string().openapi({
        description: '`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; several are separated by blanks',
      }),
    }),
    body: { content: { 'application/json': { schema: callSchema } } },
  },
  responses: {
    200: { description: 'It is looked', content: { 'text/plain': { schema: z.enum(['ok', 'auto']) } } },
    ...problems,
  },
}

/**
 * The signed variant of the notify call, for recorders that have a secret: the answer to it is still only a look.
 * @source Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`
 * @throws invalid_request, unauthenticated, already_received
 */
export function signedNotify(deps: ApiDeps): Handler<AppEnv> {
  return async (c) => {
    const text = await c.req.text()
    const header = (name: string) => c.req.header(name) ?? ''
    const call = readCall(header('webhook-id'), header('webhook-timestamp'))
    const place = readPlace(text)
    const recorders = isIP(place) === 0 ? [] : await listRecordersAtAddress(deps.db, place)
    const content = `${call.id}.${header('webhook-timestamp')}.${text}`
    const calling = recorders.filter((recorder) => hasSigned(recorder, content, header('webhook-signature')))
    if (calling.length === 0)
      throw new ReelkeepError(
        'unauthenticated',
        'No recorder at this address signs like this. Check its ip, its notifySecret, and that the signature covers id, timestamp and the body as sent.',
      )
    for (const recorder of calling) refuse(await takeSignedCall(deps.db, recorder, call, windowMs))
    await Promise.all(calling.map((recorder) => lookForRecorder(deps, recorder)))
    const answer = calling.some((recorder) => recorder.assignment === 'automatic') ? 'auto' : 'ok'
    return c.text(answer, 200, { 'Cache-Control': 'no-store' })
  }
}

function refuse(verdict: 'taken' | 'replayed' | 'stale'): void {
  if (verdict === 'stale')
    throw new ReelkeepError(
      'unauthenticated',
      'webhook-timestamp is more than 300 s from now. Set the clock of the recorder, then sign again.',
    )
  if (verdict === 'replayed')
    throw new ReelkeepError(
      'already_received',
      'This webhook-id was received already, and the inbox was looked at. Use a new id for a new call.',
    )
}

function readCall(id: string, timestamp: string): SignedCall {
  if (/^[\u0021-\u007e]{1,256}$/.test(id) && /^\d{1,11}$/.test(timestamp))
    return { id, sentAtMs: Number(timestamp) * msPer.second }
  throw new ReelkeepError(
    'invalid_request',
    'A signed call needs webhook-id (1 to 256 visible characters) and webhook-timestamp (seconds since 1970).',
  )
}

function readPlace(text: string): string {
  try {
    return callSchema.parse(JSON.parse(text)).recordingPlace.replaceAll('_', '.')
  } catch (cause) {
    const message = 'The body must be JSON with recordingPlace, and nothing but mediapath and course_title beside it.'
    throw new ReelkeepError('invalid_request', message, { cause })
  }
}

function hasSigned(recorder: CallingRecorder, content: string, signatures: string): boolean {
  if (recorder.notifySecret === null) return false
  const expected = Buffer.from(signCall(recorder.notifySecret, content))
  // Every one is compared, so that the time tells nothing.
  const given = signatures
    .split(' ')
    .slice(0, mostSignatures)
    .map((one) => Buffer.from(one))
  return given.map((one) => one.length === expected.length && timingSafeEqual(one, expected)).includes(true)
}

/** `v1,` and the HMAC of what is signed, with a secret of the form `whsec_` + base64. */
export function signCall(secret: string, content: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  return `v1,${createHmac('sha256', key).update(content).digest('base64')}`
}
