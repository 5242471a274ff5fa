import type { Context, Hono } from 'hono'
import { isFastForward } from '../../db/clock.ts'
import { recordingNowMs } from '../../db/facts.ts'
import { listPeople } from '../../db/people.ts'
import { findRecording } from '../../db/recordings.ts'
import { msPer } from '../../domain/units.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { notFound } from '../requests.ts'
import { verdicts } from './verdicts.ts'
import type { ActionsView } from './actions.tsx'
import { findDepositByPath } from './deposit-path.ts'
import { recordingUrl } from './links.ts'
import { isGone, playableSources } from './player.tsx'
import { Part, RecordingPage, recordingParts } from './recording.tsx'
import type { RecordingPart, RecordingView } from './recording.tsx'
import { nameOfContent } from './seen.ts'

const idPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** A recording's id from the path. What is no id is nothing that exists. @throws not_found */
export function idOf(c: Context<AppEnv>): string {
  const id = c.req.param('id') ?? ''
  if (!idPattern.test(id)) throw notFound('No recording')
  return id
}

/** One recording, and the links in mails that lead to it. */
export function addRecordingPage(app: Hono<AppEnv>, deps: ApiDeps): void {
  app.get('/recordings/:id', async (c) => {
    const view = await recordingView(c, deps)
    const part = recordingParts.find((known) => known === c.req.query('part'))
    if (part === undefined || c.req.header('HX-Request') === undefined) return c.html(<RecordingPage view={view} />)
    return c.req.query('seen') === view.seen[part] ? c.body(null, 204) : c.html(<Part view={view} part={part} />)
  })
  for (const path of ['/record/add_recording', '/record/add_recording/', '/mediacourses_add', '/mediacourses_add/'])
    app.get(path, async (c) => c.redirect(await claimUrl(c, deps), 303))
}

async function recordingView(c: Context<AppEnv>, deps: ApiDeps): Promise<RecordingView> {
  const actor = c.get('actor')
  const id = idOf(c)
  const view = await deps.db.asAccount(actor.accountId, async (tx) => {
    const recording = await findRecording(tx, id)
    if (recording === null) throw notFound('No recording')
    return {
      actor,
      recording,
      people: await listPeople(tx),
      fastForward: await isFastForward(tx),
      nowMs: await recordingNowMs(tx, id),
    }
  })
  return { ...view, seen: seenOf(view), done: c.req.query('done') }
}

/** Each part is named by what it shows and nothing else: a running encode must not swap the form somebody types in. */
function seenOf(view: ActionsView): Readonly<Record<RecordingPart, string>> {
  const { recording, actor, nowMs } = view
  const { version: _version, clockOffsetMs, ...facts } = recording.facts
  return {
    player: nameOfContent([recording.title, recording.hasPoster, playableSources(recording)]),
    status: nameOfContent([
      [recording.state, recording.onHold, recording.problem, recording.progressPercent, recording.certificate],
      [recording.waitingFor, recording.nextStep, recording.nextAtMs, clockOffsetMs, Math.floor(nowMs / msPer.minute)],
    ]),
    actions: nameOfContent([facts, [...verdicts(recording.facts, actor, nowMs)]]),
    keeping: nameOfContent([facts.plan, clockOffsetMs, recording.copies]),
    history: nameOfContent([recording.files, isGone(recording.state), recording.timeline.length]),
  }
}

/**
 * Where the link in a mail leads: the page of the recording that this deposit became.
 * @source Esup-Pod: GET /record/add_recording/?mediapath=&course_title=&recorder=
 */
async function claimUrl(c: Context<AppEnv>, deps: ApiDeps): Promise<string> {
  const mediapath = c.req.query('mediapath') ?? ''
  const recorder = c.req.query('recorder') ?? ''
  const found = await deps.db.asAccount(c.get('actor').accountId, (tx) =>
    findDepositByPath(tx, mediapath.slice(0, 4096), idPattern.test(recorder) ? recorder : null),
  )
  return found === null ? '/claims' : recordingUrl(found)
}
