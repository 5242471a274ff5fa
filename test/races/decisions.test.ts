import { randomUUID, generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDeleteActivities } from '../../src/activities/delete.ts'
import { createRetainActivities } from '../../src/activities/retain.ts'
import { createSigner } from '../../src/activities/sign.ts'
import { applyCommand, writePlan } from '../../src/db/commands.ts'
import type { Command, Verdict } from '../../src/domain/commands.ts'
import type { Actor } from '../../src/domain/permissions.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { msPer } from '../../src/domain/units.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { throwDice } from './seed.ts'
import type { Dice } from './seed.ts'
import { planHash, stockRecordings } from './stock.ts'
import type { Before, Stock } from './stock.ts'

const rounds = 25

let world: World
let stock: Stock
let dice: Dice
let ada: Actor
let ben: Actor
let una: Actor
let retain: ReturnType<typeof createRetainActivities>
let remove: ReturnType<typeof createDeleteActivities>

beforeAll(async () => {
  dice = throwDice('decisions')
  world = await startWorld({ env: { WORKER_ROLES: 'life' } })
  ;({ ada, ben, una } = world.people)
  const recorderId = await world.addRecorder({ name: 'hall' })
  const { primary, backup, inbox } = world.stores
  const folders = { [primary]: join(world.home, 'primary'), [backup]: join(world.home, 'backup') }
  stock = { db: world.db, accountId: world.accountId, recorderId, inboxId: inbox, folders }
  retain = createRetainActivities({ db: world.db })
  const unused = async () => Promise.reject(new Error('not asked for here'))
  remove = createDeleteActivities({
    db: world.db,
    stores: { open: unused, primary: unused, backups: unused, close: unused },
    sign: createSigner(generateKeyPairSync('ed25519').privateKey),
  })
})
afterAll(() => world?.stop())

const approve: Command = { kind: 'approveDeletion', planHash }
const refOf = (recordingId: string) => ({ accountId: world.accountId, recordingId, atMs: Date.now() })
const factsOf = async (id: string) => (await world.detail(id))!.facts
const count = async (id: string, action: string) =>
  (await world.detail(id))!.timeline.filter((event) => event.action === action).length

async function tell(id: string, actor: Actor, command: Command, requestId: string = randomUUID()): Promise<Verdict> {
  return (await applyCommand(world.db, id, { command, actor, requestId })).verdict
}

const said = (verdict: Verdict) => (verdict.ok ? 'ok' : verdict.code)

async function wantApprovals(approvals: number): Promise<void> {
  const policy = { ...defaultPolicy, disposition: { ...defaultPolicy.disposition, approvals } }
  await world.db.asAccount(world.accountId, (tx) =>
    tx
      .updateTable('accounts')
      .set({ policy: JSON.stringify(policy) })
      .execute(),
  )
}

const stocked = async (state: Parameters<typeof stockRecordings>[2], before: Before = {}) =>
  (
    await stockRecordings(stock, 1, state, state === 'awaiting_claim' ? before : { ownerId: una.personId, ...before })
  )[0]!

/** Both at once, each after a moment of its own, many times; the outcomes are counted and none of them may be missing. */
async function race(
  outcomes: readonly string[],
  once: (soon: () => Promise<void>) => Promise<string>,
  forRounds = rounds,
): Promise<void> {
  const seen = new Map<string, number>(outcomes.map((outcome) => [outcome, 0]))
  const soon = () => pause(dice.below(12))
  for (let round = 0; round < forRounds || ([...seen.values()].includes(0) && round < forRounds * 8); round += 1) {
    const outcome = await once(soon)
    expect(outcomes).toContain(outcome)
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
  }
  process.stdout.write(`${JSON.stringify([...seen])}\n`)
  expect(Math.min(...seen.values())).toBeGreaterThan(0)
}

describe('an approval', () => {
  test('delivered twenty times at once counts once; another request of the same person is refused', async () => {
    await wantApprovals(2)
    const id = await stocked('disposition_requested')
    const requestId = randomUUID()
    const answers = await Promise.all(Array.from({ length: 20 }, () => tell(id, ben, approve, requestId)))
    expect(answers.map(said)).toEqual(Array.from({ length: 20 }, () => 'ok'))
    expect((await factsOf(id)).disposition?.approvedBy).toEqual([ben.personId])
    expect(await count(id, 'command.approveDeletion')).toBe(1)
    const again = await Promise.all(Array.from({ length: 10 }, () => tell(id, ben, approve)))
    expect(again.map(said)).toEqual(Array.from({ length: 10 }, () => 'already_approved'))
    expect(await factsOf(id)).toMatchObject({ state: 'disposition_requested' })
  })

  test('under the request id of another person is an approval of its own', async () => {
    await wantApprovals(2)
    const id = await stocked('disposition_requested')
    const requestId = randomUUID()
    await Promise.all([tell(id, ben, approve, requestId), tell(id, ada, approve, requestId)])
    const { state, disposition } = await factsOf(id)
    // Both were told yes: then both have to count.
    expect([state, disposition?.approvedBy.length]).toEqual(['trashed', 2])
  })

  test('is remembered by its life after the worker began anew', async () => {
    await wantApprovals(2)
    const id = await stocked('disposition_requested')
    await world.pipeline.startRecording({ accountId: world.accountId, recordingId: id, accepted: true })
    const requestId = randomUUID()
    await Promise.all([1, 2, 3].map(() => world.give(id, ben, approve, requestId)))
    await world.restartWorkers()
    await world.give(id, ben, approve, requestId)
    await expect(world.give(id, ben, approve)).rejects.toMatchObject({ code: 'already_approved' })
    expect((await factsOf(id)).disposition?.approvedBy).toEqual([ben.personId])
    await world.give(id, ada, approve)
    expect(await factsOf(id)).toMatchObject({
      state: 'trashed',
      disposition: { approvedBy: [ben.personId, ada.personId] },
    })
  })

  test('by whoever asked never counts, whatever their role, and however often they try', async () => {
    await wantApprovals(1)
    const id = await stocked('disposition_requested', { requestedBy: ada.personId })
    const answers = await Promise.all(Array.from({ length: 20 }, () => tell(id, ada, approve)))
    expect([...new Set(answers.map(said))]).toEqual(['self_approval'])
    expect(said(await tell(id, ben, approve))).toBe('ok')
    expect(await factsOf(id)).toMatchObject({ state: 'trashed' })
  })

  test('for a plan that changed between what was shown and the approval is refused', async () => {
    await wantApprovals(1)
    const id = await stocked('disposition_requested')
    await world.db.asAccount(world.accountId, (tx) => writePlan(tx, id, null))
    expect(said(await tell(id, ben, approve))).toBe('plan_changed')
    // Asked anew, for the new plan, the old hash still does not count.
    const asked = await stocked('retained', { retainedForMs: -1000 })
    await retain.requestByPolicy(refOf(asked), 'Retention ended')
    await tell(asked, ben, { kind: 'rejectDeletion', reason: 'wait' })
    const untilMs = Date.now() + msPer.day
    await tell(asked, ben, { kind: 'extend', untilMs, reason: 'wait' })
    expect(said(await tell(asked, ada, { kind: 'requestDeletion', reason: 'now' }))).toBe('retention_not_ended')
    expect(said(await tell(asked, ben, approve))).toBe('wrong_state')
  })

  test('racing a change of the plan: a trashed recording is one whose plan was the approved one', async () => {
    await wantApprovals(1)
    await race(['ok', 'plan_changed'], async (soon) => {
      const id = await stocked('disposition_requested')
      const [verdict] = await Promise.all([
        soon().then(() => tell(id, ben, approve)),
        soon().then(() => world.db.asAccount(world.accountId, (tx) => writePlan(tx, id, null))),
      ])
      const facts = await factsOf(id)
      expect(facts.state).toBe(verdict.ok ? 'trashed' : 'disposition_requested')
      // A plan that changed afterwards is found at the last moment.
      if (verdict.ok) expect(await remove.beginPurge(refOf(id))).toMatchObject({ ok: false, code: 'plan_changed' })
      return said(verdict)
    })
  })

  test('two approvers at once, where two are asked for: both count, and the trash is reached once', async () => {
    await wantApprovals(2)
    for (let round = 0; round < rounds; round += 1) {
      const id = await stocked('disposition_requested')
      const answers = await Promise.all([tell(id, ada, approve), tell(id, ben, approve)])
      expect(answers.map(said)).toEqual(['ok', 'ok'])
      const facts = await factsOf(id)
      expect(facts.state).toBe('trashed')
      expect([...(facts.disposition?.approvedBy ?? [])].sort()).toEqual([ada.personId, ben.personId].sort())
      expect(await count(id, 'recording.approved')).toBe(1)
    }
  })

  test('against an undo: undone only after it counted', async () => {
    await wantApprovals(1)
    await race(['ok ok', 'ok wrong_state'], async (soon) => {
      const id = await stocked('disposition_requested')
      const [approved, undone] = await Promise.all([
        soon().then(() => tell(id, ben, approve)),
        soon().then(() => tell(id, una, { kind: 'undo' })),
      ])
      const facts = await factsOf(id)
      expect(facts.state).toBe(undone.ok ? 'retained' : 'trashed')
      expect(facts.disposition === null).toBe(undone.ok)
      return `${said(approved)} ${said(undone)}`
    })
  })

  test('against an extension: whoever extended keeps it, and nobody approved a shorter plan', async () => {
    await wantApprovals(1)
    await race(['extended', 'trashed'], async (soon) => {
      const id = await stocked('retained')
      const untilMs = Date.now() + msPer.day
      const [, extended] = await Promise.all([
        soon()
          .then(() => tell(id, ada, { kind: 'requestDeletion', reason: 'done' }))
          .then(() => tell(id, ben, approve)),
        soon().then(() => tell(id, una, { kind: 'extend', untilMs, reason: 'needed' })),
      ])
      const facts = await factsOf(id)
      if (extended.ok) expect(facts).toMatchObject({ state: 'retained', disposition: null })
      else expect(facts).toMatchObject({ state: 'trashed', planHash, disposition: { planHash } })
      if (extended.ok) expect(facts.retainUntilMs).toBeGreaterThanOrEqual(untilMs)
      return extended.ok ? 'extended' : 'trashed'
    })
  })
})

describe('at the edge', () => {
  test('an undo and a purge: the window is over for one of them, and only one is carried out', async () => {
    await race(['undone', 'purging'], async (soon) => {
      const id = await stocked('trashed', { approvedBy: [ben.personId], undoForMs: 15 + dice.below(10) })
      const purge = async (): Promise<Verdict> => {
        for (;;) {
          const verdict = await remove.beginPurge(refOf(id))
          if (verdict.ok || verdict.code !== 'retention_not_ended') return verdict
          await pause(1)
        }
      }
      const [undone, purged] = await Promise.all([
        soon().then(() => tell(id, una, { kind: 'undo' })),
        soon().then(purge),
      ])
      expect(undone.ok).toBe(!purged.ok)
      if (!undone.ok) expect(['undo_window_over', 'wrong_state']).toContain(undone.code)
      const { state } = await factsOf(id)
      expect(state).toBe(undone.ok ? 'retained' : 'purging')
      return undone.ok ? 'undone' : 'purging'
    })
  })

  test('a claim and the expiry of the time to claim: one of them', async () => {
    await race(['claimed', 'expired'], async (soon) => {
      const id = await stocked('awaiting_claim')
      const [claimed] = await Promise.all([
        soon().then(() => tell(id, una, { kind: 'claim' })),
        soon().then(() => retain.requestByPolicy(refOf(id), 'Nobody claimed it')),
      ])
      const facts = await factsOf(id)
      if (claimed.ok) expect(facts).toMatchObject({ state: 'claimed', ownerId: una.personId, disposition: null })
      else expect(facts).toMatchObject({ state: 'disposition_requested', disposition: { requestedBy: null } })
      if (!claimed.ok) expect(claimed.code).toBe('not_claimable')
      return claimed.ok ? 'claimed' : 'expired'
    })
  })

  test('a release and the end of retention: asked for only without a hold, and approved only without one', async () => {
    await wantApprovals(1)
    await race(['kept', 'requested'], async (soon) => {
      const id = await stocked('retained')
      await tell(id, ben, { kind: 'hold', reason: 'court' })
      const holdId = (await factsOf(id)).holds[0]!.id
      const [released] = await Promise.all([
        soon().then(() => tell(id, ben, { kind: 'release', holdId })),
        soon().then(() => retain.requestByPolicy(refOf(id), 'Retention ended')),
      ])
      expect(said(released)).toBe('ok')
      const { state, holds } = await factsOf(id)
      expect(holds).toEqual([])
      const requested = state === 'disposition_requested'
      if (!requested) {
        // What came while the hold stood asked in vain; the life asks again when it hears of the release.
        await retain.requestByPolicy(refOf(id), 'Retention ended')
        expect(await factsOf(id)).toMatchObject({ state: 'disposition_requested' })
      }
      return requested ? 'requested' : 'kept'
    })
  })

  test('twenty releases of one hold: one is carried out', async () => {
    const id = await stocked('retained', { retainedForMs: msPer.day })
    await tell(id, ben, { kind: 'hold', reason: 'court' })
    const holdId = (await factsOf(id)).holds[0]!.id
    const answers = await Promise.all(Array.from({ length: 20 }, () => tell(id, ben, { kind: 'release', holdId })))
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1)
    expect([...new Set(answers.map(said))].sort()).toEqual(['not_found', 'ok'])
  })
})
