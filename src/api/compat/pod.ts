import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import type { Handler } from 'hono'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { listRecordersAtAddress } from '../../db/recorders.ts'
import type { CallingRecorder } from '../../db/recorders.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { createRoutes } from '../requests.ts'
import { lookForRecorder } from './look.ts'
import { signedNotify, signedNotifyPath } from './signed-notify.ts'

const answers = {
  missing: 'nok: recordingPlace or mediapath or key are missing',
  unknown: 'nok: address_ip not valid or recorder not found in this site',
  wrongKey: 'nok: key is not valid',
} as const

/**
 * The notify call of Esup-Pod's recorders: a hint that makes us look at the recorder's inbox now. It never makes a file
 * complete, and what `mediapath` says is not even read. Calling twice looks twice. Always 200: the recorders expect it. A
 * recorder with a secret signs a POST instead; then this one is refused.
 * @source Esup-Pod 4.1.0 `recorder/views.py`: recorder_notify
 */
export function podRoutes(deps: ApiDeps): OpenAPIHono<AppEnv> {
  const notify: Handler<AppEnv> = async (c) => {
    const { recordingPlace = '', mediapath = '', key = '' } = c.req.query()
    return c.text(await answerNotify(deps, { recordingPlace, mediapath, key }), 200, { 'Cache-Control': 'no-store' })
  }
  const signed = signedNotify(deps)
  const routes = createRoutes()
  routes.openAPIRegistry.registerPath(signedNotifyPath)
  for (const path of ['/record/recorder_notify', '/mediacourses_notify'])
    for (const spelling of [path, `${path}/`]) routes.get(spelling, notify).post(spelling, signed)
  return routes
}

async function answerNotify(
  deps: ApiDeps,
  call: { recordingPlace: string; mediapath: string; key: string },
): Promise<string> {
  const { recordingPlace, mediapath, key } = call
  if (recordingPlace === '' || mediapath === '' || key === '') return answers.missing
  const ip = recordingPlace.replaceAll('_', '.')
  const recorders = isIP(ip) === 0 ? [] : await listRecordersAtAddress(deps.db, ip)
  if (recorders.length === 0) return answers.unknown
  const calling = recorders.filter((recorder) => knowsSalt(recorder, recordingPlace, ip, key))
  if (calling.length === 0) return answers.wrongKey
  await Promise.all(calling.map((recorder) => lookForRecorder(deps, recorder)))
  return calling.some((recorder) => recorder.assignment === 'automatic') ? 'auto' : 'ok'
}

/** The code hashes the address as sent, the documentation the one with dots: both are in the field. */
function knowsSalt(recorder: CallingRecorder, asSent: string, dotted: string, key: string): boolean {
  const salt = recorder.notifySalt
  // Whoever signs does not want a key that travels in addresses to count as well.
  if (salt === null || recorder.notifySecret !== null) return false
  // Every digest is compared, so that the time tells nothing.
  return [asSent, dotted].map((place) => isSame(notifyKey(place, salt), key)).includes(true)
}

/** The key that a recorder sends: MD5 is the contract's, and guards no more than a look at a directory. */
export function notifyKey(recordingPlace: string, salt: string): string {
  return createHash('md5')
    .update(recordingPlace + salt)
    .digest('hex')
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return a.length === b.length && timingSafeEqual(a, b)
}
