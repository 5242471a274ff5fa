import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import type { Actor } from '../../src/domain/permissions.ts'
import type { FailpointAction, FailpointName } from '../../src/failpoints/names.ts'
import { ensureSchedules } from '../../src/schedules.ts'
import type { Dropped, Told } from '../oracle/judge.ts'
import type { World } from '../setup/world.ts'
import { arm, command, deposit, describeDrop, makeUnique, untilMet } from './system.ts'
import type { Sight, Watcher } from './system.ts'

/** What is armed for one life. */
export interface Fault {
  readonly point: FailpointName
  readonly action: FailpointAction
  /** 1 = the first attempt meets it, 2 = the second one too. */
  readonly times: number
}

/** Everything a life is driven with. */
export interface Stage {
  readonly world: World
  readonly watcher: Watcher
  readonly arms: string
  readonly dropped: Dropped[]
  readonly told: Told[]
  readonly base: Buffer
  readonly notMedia: Buffer
  /** How long a life may take to come to rest. */
  readonly forMs: number
  /** A complete deposit whose worker died before it began its life. */
  readonly leaveWithoutLife: (inbox: { readonly id: string; readonly path: string }, path: string) => Promise<void>
  /** Runs the reconciliation once, under a workflow id that ends like this. */
  readonly reconcile: (name: string) => Promise<void>
}

/** One life and its fault. */
export interface Run {
  readonly name: string
  readonly fault: Fault | null
}

/** Where a life came to rest. */
export interface Rest {
  readonly how: 'purged' | 'refused' | 'duplicate' | 'needs attention'
  readonly reason: string | null
}

/** A way of living that passes certain failpoints. */
export type Scenario = (stage: Stage, run: Run) => Promise<Rest>

async function put(
  stage: Stage,
  path: string,
  bytes: Buffer,
  how: 'rename' | 'write',
  kind: Dropped['kind'] = 'whole',
): Promise<void> {
  stage.dropped.push(describeDrop('inbox', path, bytes, kind))
  await deposit(join(stage.world.home, 'inbox', path), bytes, how)
}

/** Drops without an end signal, and arms the fault while the deposit still rests: by then its id is known. */
async function dropArmed(stage: Stage, path: string, bytes: Buffer, fault: Fault | null): Promise<Sight> {
  await put(stage, path, bytes, 'write')
  const sight = await stage.watcher.until(path, 'a deposit', () => true, stage.forMs)
  if (fault !== null) await arm(stage.arms, { ...fault, subject: sight.depositId })
  return sight
}

/** Waits for a state. A recording that is parked is retried by a person, twice; then it needs attention for good. */
async function reach(stage: Stage, path: string, wanted: (sight: Sight) => boolean): Promise<Sight | Rest> {
  const { watcher, world, told, forMs } = stage
  for (let helped = 0; ; helped += 1) {
    const parked = (sight: Sight) => sight.problems.some((problem) => problem.next_retry_at === null)
    const sight = await watcher.until(path, 'what comes next', (seen) => wanted(seen) || parked(seen), forMs)
    if (wanted(sight)) return sight
    const problem = sight.problems.find((one) => one.next_retry_at === null)
    if (helped === 2 || problem === undefined)
      return { how: 'needs attention', reason: `${problem?.stage}: ${problem?.code}: ${problem?.message}` }
    await command(world, told, sight.depositId, world.people.ben, { kind: 'resolve', option: 'retry' })
    // The row of the problem goes a moment after the answer.
    await watcher
      .until(
        path,
        'the retry',
        (seen) => wanted(seen) || JSON.stringify(seen.problems) !== JSON.stringify(sight.problems),
        30_000,
      )
      .catch(() => undefined)
  }
}

const isRest = (found: Sight | Rest): found is Rest => 'how' in found

/** From "deletion requested" to "purged": somebody else approves what the plan says. */
async function end(stage: Stage, path: string, approver: Actor): Promise<Rest> {
  for (let asked = 0; asked < 5; asked += 1) {
    const found = await reach(stage, path, ({ state }) => state === 'disposition_requested' || state === 'purged')
    if (isRest(found)) return found
    if (found.state === 'purged') break
    const { world, told } = stage
    await command(world, told, found.depositId, approver, { kind: 'approveDeletion', planHash: found.planHash ?? '' })
    const gone = await reach(
      stage,
      path,
      ({ state }) => state === 'purged' || state === 'retained' || state === 'awaiting_claim',
    )
    if (isRest(gone)) return gone
    if (gone.state === 'purged') break
  }
  return { how: 'purged', reason: null }
}

/** The scenarios by name. */
export const scenarios = {
  async whole(stage, { name, fault }) {
    const path = `hall/${name}.mp4`
    await dropArmed(stage, path, makeUnique(stage.base), fault)
    return end(stage, path, stage.world.people.ben)
  },
  async large(stage, { name, fault }) {
    const path = `hall/${name}.mp4`
    await dropArmed(stage, path, makeUnique(stage.base, 17 * 1024 * 1024), fault)
    return end(stage, path, stage.world.people.ben)
  },
  async mended(stage, { name, fault }) {
    const path = `hall/${name}.mp4`
    const { depositId } = await dropArmed(stage, path, makeUnique(stage.base), fault)
    // The original goes bad as it is stored.
    await arm(stage.arms, { point: 'local.after-write', action: 'corrupt', times: 1, subject: depositId })
    return end(stage, path, stage.world.people.ben)
  },
  async owed(stage, { name, fault }) {
    const path = `hall/${name}.mp4`
    const { depositId } = await dropArmed(stage, path, makeUnique(stage.base), null)
    const { world, told, forMs } = stage
    const kept = await reach(stage, path, ({ state }) => state === 'retained')
    if (isRest(kept)) return kept
    await command(world, told, depositId, world.people.ben, { kind: 'hold', reason: 'it is looked at' })
    await stage.watcher.until(path, 'a hold', ({ state, holds }) => state === 'retained' && holds === 1, forMs)
    if (fault !== null) await arm(stage.arms, { ...fault, subject: depositId })
    const holdId = await forgetCopies(world, depositId)
    const recording = { accountId: world.accountId, recordingId: depositId, accepted: true }
    await world.pipeline.startRecording(recording, { wake: true })
    for (const untilMs = Date.now() + forMs; !(await hasEveryCopy(world, depositId)); await pause(500))
      if (Date.now() > untilMs) return { how: 'needs attention', reason: 'its copies were not made' }
    await command(world, told, depositId, world.people.ben, { kind: 'release', holdId })
    return end(stage, path, world.people.ben)
  },
  async managed(stage, { name, fault }) {
    const path = `managed/${name}.mp4`
    await dropArmed(stage, path, makeUnique(stage.base), fault)
    const waiting = await reach(stage, path, ({ state }) => state === 'awaiting_claim')
    if (isRest(waiting)) return waiting
    // Whoever claims before the mail is out makes the mail unnecessary, and its faults with it.
    if (fault?.point.startsWith('notice.') === true) await untilMet(stage.arms, fault, waiting.depositId)
    await command(stage.world, stage.told, waiting.depositId, stage.world.people.ben, { kind: 'claim', title: name })
    return end(stage, path, stage.world.people.ada)
  },
  async unclaimed(stage, { name, fault }) {
    const path = `managed/${name}.mp4`
    await dropArmed(stage, path, makeUnique(stage.base), fault)
    return end(stage, path, stage.world.people.ben)
  },
  async quarantined(stage, { name, fault }) {
    const path = `hall/${name}.mp4`
    const bytes = Buffer.concat([stage.notMedia, Buffer.from(name)])
    await put(stage, path, bytes, 'write', 'broken')
    const seen = await stage.watcher.until(path, 'a deposit', () => true, stage.forMs)
    if (fault !== null) await arm(stage.arms, { ...fault, subject: seen.depositId })
    const parked = ({ depositState, problems }: Sight) => depositState === 'quarantined' && problems.length > 0
    const { depositId } = await stage.watcher.until(path, 'quarantine', parked, stage.forMs)
    await command(stage.world, stage.told, depositId, stage.world.people.ben, { kind: 'resolve', option: 'give_up' })
    await stage.watcher.until(path, 'refused', ({ depositState }) => depositState === 'refused', stage.forMs)
    return { how: 'refused', reason: null }
  },
  async duplicate(stage, { name, fault }) {
    const bytes = makeUnique(stage.base)
    await put(stage, `kept/${name}.mp4`, bytes, 'rename')
    await stage.watcher.until(`kept/${name}.mp4`, 'the first', ({ state }) => state === 'retained', stage.forMs)
    await dropArmed(stage, `kept/${name}-again.mp4`, bytes, fault)
    const linked = ({ depositState }: Sight) => depositState === 'duplicate' || depositState === 'released'
    await stage.watcher.until(`kept/${name}-again.mp4`, 'the link to the first', linked, stage.forMs)
    return { how: 'duplicate', reason: null }
  },
  async revised(stage, { name, fault }) {
    const path = `hall/${name}.mp4`
    const whole = makeUnique(stage.base)
    const cut = whole.subarray(0, Math.floor(whole.length / 2))
    const seen = await dropCut(stage, path, cut)
    if (fault !== null) await arm(stage.arms, { ...fault, subject: seen.depositId })
    await stage.watcher.until(path, 'stalled', ({ depositState }) => depositState === 'stalled', stage.forMs)
    await put(stage, path, whole, 'write')
    return end(stage, path, stage.world.people.ben)
  },
  async looked(stage, { name, fault }) {
    const inbox = await addInbox(stage, `inbox-${name}`)
    const path = `${name}.mp4`
    const bytes = makeUnique(stage.base)
    stage.dropped.push(describeDrop(`inbox-${name}`, path, bytes, 'whole'))
    await deposit(join(inbox.path, path), bytes, 'write')
    await ensureSchedules(stage.world.config.temporal, [{ accountId: stage.world.accountId, inboxId: inbox.id }])
    await stage.watcher.until(path, 'a deposit', () => true, stage.forMs)
    if (fault !== null) await arm(stage.arms, { ...fault, subject: inbox.id })
    return end(stage, path, stage.world.people.ben)
  },
  async reconciled(stage, { name, fault }) {
    const inbox = await addInbox(stage, `inbox-${name}`)
    const path = `${name}.mp4`
    const bytes = makeUnique(stage.base)
    stage.dropped.push(describeDrop(`inbox-${name}`, path, bytes, 'whole'))
    await deposit(join(inbox.path, path), bytes, 'write')
    if (fault !== null) await arm(stage.arms, { ...fault, subject: name })
    await stage.leaveWithoutLife(inbox, path)
    await stage.reconcile(name)
    return end(stage, path, stage.world.people.ben)
  },
} as const satisfies Record<string, Scenario>

/** The database forgets what stands in the backup store, and the store loses it. Returns the id of the hold that stands. */
async function forgetCopies(world: World, recordingId: string): Promise<string> {
  await rm(join(world.home, 'backup', world.accountId, recordingId), { recursive: true, force: true })
  return asAdmin(world, async (admin) => {
    // Only somebody above every rule can: rows of copies are never removed.
    await admin.query('set session_replication_role = replica')
    await admin.query('delete from copies where recording_id = $1 and store_id = $2', [
      recordingId,
      world.stores.backup,
    ])
    const { rows } = await admin.query<{ id: string }>('select id from holds where recording_id = $1', [recordingId])
    return rows[0]?.id ?? ''
  })
}

function hasEveryCopy(world: World, recordingId: string): Promise<boolean> {
  return asAdmin(world, async (admin) => {
    const { rows } = await admin.query<{ whole: boolean }>(
      `select bool_and(exists (select from copies c where c.file_id = f.id and c.store_id = $2 and c.state = 'verified')) as whole
       from files f where f.recording_id = $1`,
      [recordingId, world.stores.backup],
    )
    return rows[0]?.whole ?? false
  })
}

async function asAdmin<T>({ adminUrl }: World, work: (admin: Client) => Promise<T>): Promise<T> {
  const admin = new Client(adminUrl)
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.end()
  }
}

/** An inbox of its own, so that a fault of its looks meets nobody else. */
async function addInbox({ world }: Stage, name: string): Promise<{ id: string; path: string }> {
  const path = join(world.home, name)
  await mkdir(path, { recursive: true })
  const id = await world.db.asAccount(world.accountId, async (tx) => {
    const inboxId = await ensureStore(tx, { name, site: 'a', role: 'inbox', url: `local:${path}` })
    const owner = { defaultOwnerId: world.people.ada.personId, quietMs: 2000 }
    await ensureRecorder(tx, { inboxId, name, directory: '', assignment: 'automatic', ...owner })
    return inboxId
  })
  return { id, path }
}

async function dropCut(stage: Stage, path: string, cut: Buffer): Promise<Sight> {
  await put(stage, path, cut, 'write', 'interrupted')
  return stage.watcher.until(path, 'a deposit', () => true, stage.forMs)
}

/** Which life passes a failpoint; whatever is not named here is passed by a whole life. */
export const scenarioOf: Partial<Record<FailpointName, keyof typeof scenarios>> = {
  'look.after-list': 'looked',
  'look.before-commit': 'looked',
  'look.after-commit': 'looked',
  'look.after-start': 'looked',
  'reconcile.before-start': 'reconciled',
  'quarantine.after-row': 'quarantined',
  'refuse.after-row': 'quarantined',
  'park.after-write': 'quarantined',
  'unpark.after-write': 'quarantined',
  'duplicate.after-row': 'duplicate',
  'duplicate.after-removal': 'duplicate',
  'revision.after-drop': 'revised',
  'notice.before-send': 'managed',
  'notice.after-send': 'managed',
  'notice.after-row': 'managed',
  'command.after-lock': 'managed',
  'command.before-commit': 'managed',
  'command.after-commit': 'managed',
  'mend.after-delete': 'mended',
  'mend.after-put': 'mended',
  'owed.after-announce': 'owed',
  'owed.after-copy': 'owed',
  'owed.after-read-back': 'owed',
  'purge.source-before-delete': 'unclaimed',
  'purge.source-after-delete': 'unclaimed',
  's3.after-create': 'large',
  's3.after-part': 'large',
  's3.after-complete': 'large',
}
