import type { Context, Hono } from 'hono'
import { allowFastForward, arriveFastForward } from '../../db/clock.ts'
import { describeRecording, findRecording } from '../../db/recordings.ts'
import { insertAudit } from '../../db/audit.ts'
import { insertRecorder } from '../../db/recorders.ts'
import { ReelkeepError } from '../../domain/errors.ts'
import { msPer } from '../../domain/units.ts'
import { requireAdmin, requireRole } from '../auth.ts'
import { giveCommand } from '../commands.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { ownRequestId } from '../once.ts'
import { notFound } from '../requests.ts'
import { formOf, readCommand, readDays, readDescription, readRecorder, readRequest } from './forms.ts'
import { recordingUrl, safeReturn } from './links.ts'
import { idOf } from './recording-page.tsx'
import { describedAs, mayDescribe } from './recording.tsx'
import type { doneLabels } from '../../domain/wording.ts'

/** Forms: each changes one thing, then leads back to the page it was sent from. Sent twice, it counts once. */
export function addChanges(app: Hono<AppEnv>, deps: ApiDeps): void {
  app.post('/recordings/:id/commands', async (c) => {
    const form = await formOf(c)
    const command = readCommand(form)
    const { requestId, back } = readRequest(form)
    const id = idOf(c)
    const actor = c.get('actor')
    await giveCommand(deps, id, { command, actor, requestId: ownRequestId(actor, requestId) })
    return leadBack(c, back ?? recordingUrl(id), command.kind)
  })
  app.post('/recordings/:id/describe', async (c) => {
    const id = idOf(c)
    await describe(c, deps, id)
    return leadBack(c, recordingUrl(id), 'describe')
  })
  app.post('/recordings/:id/fast-forward', async (c) => {
    const id = idOf(c)
    await fastForward(c, deps, id)
    return leadBack(c, recordingUrl(id), 'fastForward')
  })
  app.post('/recorders', async (c) => {
    const actor = c.get('actor')
    requireRole(actor, 'operator')
    const recorder = readRecorder(await formOf(c))
    await deps.db.asAccount(actor.accountId, (tx) => insertRecorder(tx, { ...recorder, accountId: actor.accountId }), {
      actor: actor.name,
    })
    return leadBack(c, '/recorders', 'recorder')
  })
}

async function describe(c: Context<AppEnv>, deps: ApiDeps, id: string): Promise<void> {
  const actor = c.get('actor')
  const { was, title, description, tags } = readDescription(await formOf(c))
  await deps.db.asAccount(
    actor.accountId,
    async (tx) => {
      const recording = await findRecording(tx, id)
      if (recording === null) throw notFound('No recording')
      if (!mayDescribe({ recording, actor }))
        throw new ReelkeepError(
          'forbidden',
          "Only the owner, the recorder's manager or an operator may describe a recording, while it exists.",
        )
      if (describedAs({ title, description, tags }) === describedAs(recording)) return
      const changed =
        describedAs(recording) === was &&
        (await describeRecording(tx, id, { title, description, tags }, recording.version)) === 'ok'
      if (!changed)
        throw new ReelkeepError(
          'precondition_failed',
          'Somebody else changed this description meanwhile. Go back, reload, and edit it again.',
        )
      await insertAudit(tx, 'recording.described', { title, tags }, id)
    },
    { actor: actor.name },
  )
}

async function fastForward(c: Context<AppEnv>, deps: ApiDeps, id: string): Promise<void> {
  const actor = c.get('actor')
  requireAdmin(actor)
  const form = await formOf(c)
  const durationMs = readDays(form) * msPer.day
  const { requestId } = readRequest(form)
  await deps.db.asAccount(
    actor.accountId,
    async (tx) => {
      if ((await findRecording(tx, id)) === null) throw notFound('No recording')
      await allowFastForward(tx, id, durationMs)
    },
    { actor: actor.name },
  )
  await deps.pipeline.fastForward(id, durationMs, ownRequestId(actor, requestId))
  await deps.db.asAccount(actor.accountId, (tx) => arriveFastForward(tx, id), { actor: actor.name })
}

function leadBack(c: Context<AppEnv>, path: string, done: keyof typeof doneLabels): Response {
  const url = new URL(safeReturn(path), 'http://reelkeep.invalid')
  url.searchParams.set('done', done)
  return c.redirect(`${url.pathname}${url.search}${url.hash}`, 303)
}
