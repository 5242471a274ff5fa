import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Actor } from '../../src/domain/permissions.ts'
import { msPer } from '../../src/domain/units.ts'
import type { Told } from '../oracle/judge.ts'
import type { Random } from './random.ts'

/** A person with a key, at the API. */
export interface Person {
  readonly actor: Actor
  readonly key: string
}

/** A recording as the API lists it, as far as people look. */
export interface Listed {
  readonly id: string
  readonly state: string
  readonly onHold: boolean
  readonly problem: { readonly options: readonly string[] } | null
}

interface Detail extends Listed {
  readonly planHash: string | null
  readonly holds: readonly { readonly id: string }[]
}

/** Calls the API as one person, the same request again while nobody answers: the answer, or null when none came in time. */
async function ask(
  url: string,
  person: Person,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response | null> {
  const idempotencyKey = randomUUID()
  for (const untilMs = Date.now() + 90_000; Date.now() < untilMs; await pause(500)) {
    try {
      const answer = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${person.key}`,
          ...(method === 'POST' ? { 'content-type': 'application/json', 'idempotency-key': idempotencyKey } : {}),
        },
        signal: AbortSignal.timeout(20_000),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      // 409 "still running" is the answer to a repetition whose first attempt has not ended.
      const again =
        answer.status >= 500 ||
        (answer.status === 409 && (await answer.clone().text()).includes('idempotency_in_progress'))
      if (!again) return answer
    } catch {
      // The API was killed, or does not answer: the same request, again.
    }
  }
  return null
}

/** Everything the account has, newest first, up to a page. Null while nobody answers. */
export async function listAll(url: string, person: Person): Promise<readonly Listed[] | null> {
  const answer = await ask(url, person, 'GET', '/recordings?limit=100')
  return answer?.ok === true ? ((await answer.json()) as { items: Listed[] }).items : null
}

async function look(url: string, person: Person, id: string): Promise<Detail | null> {
  const answer = await ask(url, person, 'GET', `/recordings/${id}`)
  if (answer?.ok !== true) return null
  return (await answer.json()) as Detail
}

type Order = { readonly path: string; readonly kind: string; readonly body: Record<string, unknown> }

/** What a person might do with a recording as it stands, sensible or not. */
function think(random: Random, found: Detail): Order | null {
  const hold = { path: 'hold', kind: 'hold', body: { reason: 'a storm' } }
  const problem = found.problem?.options.find((option) => option === 'retry')
  if (problem !== undefined && random.chance(0.5))
    return { path: 'resolve', kind: 'resolve', body: { option: 'retry' } }
  const [standing] = found.holds
  if (standing !== undefined && random.chance(0.6))
    return { path: 'release', kind: 'release', body: { holdId: standing.id } }
  switch (found.state) {
    case 'awaiting_claim':
      return random.pick([{ path: 'claim', kind: 'claim', body: {} }, hold])
    case 'retained':
      return random.pick([
        hold,
        { path: 'request-deletion', kind: 'requestDeletion', body: { reason: 'a storm' } },
        { path: 'extend', kind: 'extend', body: { untilMs: Date.now() + 60_000, reason: 'a storm' } },
        {
          path: 'fast-forward',
          kind: 'fastForward',
          body: { durationMs: random.pick([msPer.minute, msPer.day, msPer.year]) },
        },
      ])
    case 'disposition_requested':
      return random.chance(0.7)
        ? { path: 'approve-deletion', kind: 'approveDeletion', body: { planHash: found.planHash } }
        : random.pick([hold, { path: 'reject-deletion', kind: 'rejectDeletion', body: { reason: 'a storm' } }])
    case 'trashed':
      return random.chance(0.5) ? random.pick([hold, { path: 'undo', kind: 'undo', body: {} }]) : null
    default:
      return random.chance(0.2) ? hold : null
  }
}

/** One act of one person, and what they were told. */
export async function act(url: string, person: Person, random: Random, told: Told[]): Promise<void> {
  const all = await listAll(url, person)
  const open = (all ?? []).filter(({ state }) => state !== 'purged')
  if (open.length === 0) return
  const found = await look(url, person, random.pick(open).id)
  const order = found === null ? null : think(random, found)
  if (found === null || order === null) return
  await give(url, person, found.id, order, told)
}

async function give(url: string, person: Person, id: string, order: Order, told: Told[]): Promise<void> {
  const beganAtMs = Date.now()
  const answer = await ask(url, person, 'POST', `/recordings/${id}/${order.path}`, order.body)
  if (answer === null) return
  told.push({
    recordingId: id,
    kind: order.kind,
    personId: person.actor.personId,
    accepted: answer.ok,
    beganAtMs,
    endedAtMs: Date.now(),
    detail: order.body,
  })
}

/** When the storm is over people tidy up: what is parked is retried, what is asked for is approved. Holds stay. */
export async function tidyUp(url: string, person: Person, told: Told[]): Promise<void> {
  for (const { id, state, problem } of (await listAll(url, person)) ?? []) {
    if (problem?.options.includes('retry') === true)
      await give(url, person, id, { path: 'resolve', kind: 'resolve', body: { option: 'retry' } }, told)
    if (state !== 'disposition_requested') continue
    const found = await look(url, person, id)
    if (found?.state === 'disposition_requested')
      await give(
        url,
        person,
        id,
        { path: 'approve-deletion', kind: 'approveDeletion', body: { planHash: found.planHash } },
        told,
      )
  }
}
