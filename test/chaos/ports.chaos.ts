import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import type { Command } from '../../src/domain/commands.ts'
import { msPer } from '../../src/domain/units.ts'
import { describeViolations, judge } from '../oracle/judge.ts'
import type { Dropped, Told } from '../oracle/judge.ts'
import type { ProxyPlan } from '../servers/fault-proxy.ts'
import { startChaosStand, twentyPercent } from './stand.ts'
import type { ChaosStand, Port } from './stand.ts'
import { command, describeDrop, makeUnique, Watcher } from './system.ts'
import type { Sight } from './system.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1_000_000))

/** A stand, what recorders left on it and what people were told there. */
interface Scene {
  readonly stand: ChaosStand
  readonly watcher: Watcher
  readonly base: Buffer
  readonly dropped: Dropped[]
  readonly told: Told[]
}

async function openScene(primaryKind: 'double' | 'seaweed'): Promise<Scene> {
  const stand = await startChaosStand(seed, primaryKind)
  const { world } = stand
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  await world.addRecorder({ name: 'room', assignment: 'manager', managerId: world.people.ben.personId })
  const file = join(world.home, 'base.mp4')
  await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'h264-aac' })
  const watcher = await Watcher.open(world.adminUrl)
  return { stand, watcher, base: await readFile(file), dropped: [], told: [] }
}

async function closeScene({ stand, watcher }: Scene): Promise<void> {
  await watcher.close()
  await stand.stop()
}

/** Drops recordings, by turns where they go to their owner by themselves and where they wait for a claim. */
async function drop({ stand, base, dropped }: Scene, directories: readonly ('hall' | 'room')[]): Promise<string[]> {
  const paths = directories.map((directory, index) => `${directory}/lecture-${dropped.length + index}.mp4`)
  for (const path of paths) {
    const bytes = makeUnique(base)
    dropped.push(describeDrop('inbox', path, bytes, 'whole'))
    await stand.upload(bytes, path)
  }
  return paths
}

/** What people do about what they see: claim, retry, approve. */
function answerTo(sight: Sight): { command: Command; who: 'ada' | 'ben' } | null {
  if (sight.problems.length > 0) return { command: { kind: 'resolve', option: 'retry' }, who: 'ada' }
  if (sight.state === 'awaiting_claim') return { command: { kind: 'claim' }, who: 'ben' }
  if (sight.state === 'disposition_requested')
    return { command: { kind: 'approveDeletion', planHash: sight.planHash ?? '' }, who: 'ben' }
  return null
}

/** Until the recordings at these paths are purged, or time is up. The oracle looks in every few seconds. */
async function live(scene: Scene, paths: readonly string[], forMs: number): Promise<readonly Sight[]> {
  const { stand, watcher, told } = scene
  const untilMs = Date.now() + forMs
  const sights = () => watcher.sights.filter(({ path }) => paths.includes(path))
  const isOver = () => sights().filter(({ state }) => state === 'purged').length === paths.length
  const person = async (path: string) => {
    while (Date.now() < untilMs && !isOver()) {
      await pause(1000)
      const sight = sights().find((one) => one.path === path)
      const answer = sight === undefined ? null : answerTo(sight)
      if (sight === undefined || answer === null) continue
      await command(stand.world, told, sight.depositId, stand.world.people[answer.who], answer.command)
      await pause(2000)
    }
  }
  const oracle = async () => {
    while (Date.now() < untilMs && !isOver()) {
      await pause(5000)
      await expectPromisesKept(scene, false)
    }
  }
  await Promise.all([oracle(), ...paths.map(person)])
  return sights()
}

async function expectPromisesKept({ stand, dropped, told }: Scene, settled: boolean): Promise<void> {
  const { world } = stand
  const violations = await judge({
    databaseUrl: world.adminUrl,
    temporal: world.config.temporal,
    places: stand.places,
    dropped,
    told,
    settled,
    graceMs: 120_000,
  })
  expect(violations, describeViolations(violations)).toEqual([])
}

/** Each occasion is one Message-ID for each person, however often it had to be handed over. */
async function expectOneMailEach({ stand }: Scene): Promise<void> {
  const { world, mails } = stand
  const notices = await world.db.asAccount(world.accountId, (tx) => tx.selectFrom('notices').selectAll().execute())
  const mailed = new Set(mails.map(({ messageId, to }) => `${messageId} ${to}`))
  for (const { kind, occasion, recipient, recording_id: id } of notices) {
    const ids = [...mailed].filter(
      (mail) => mail.startsWith(`${kind}.${occasion}.`) && mail.endsWith(`.${id}@reelkeep ${recipient}`),
    )
    expect(ids, `${kind} ${occasion} to ${recipient}`).toHaveLength(1)
  }
}

async function expectRest(scene: Scene, sights: readonly Sight[]): Promise<void> {
  for (const { path, state, problems } of sights) expect(state, `${path}: ${JSON.stringify(problems)}`).toBe('purged')
  await expectPromisesKept(scene, true)
  await expectOneMailEach(scene)
}

function report({ stand }: Scene): string {
  const lines = Object.entries(stand.proxies).map(([name, { log, calls }]) => {
    const kinds = [...new Set(log.map(({ kind }) => kind))].map(
      (kind) => `${kind} ${log.filter((event) => event.kind === kind).length}`,
    )
    return `${name}: ${log.length} faults in ${calls} calls (${kinds.join(', ')})`
  })
  return [`SEED=${seed}`, ...lines, `primary, by itself: ${JSON.stringify(stand.double?.struck ?? {})}`].join('\n')
}

const { minute } = msPer

describe.each(['double', 'seaweed'] as const)('whole lives, the primary store on %s', (primaryKind) => {
  test(
    '20 % of the calls fail on every port; when that ends, everything comes to rest',
    { timeout: 20 * minute },
    async () => {
      const scene = await openScene(primaryKind)
      const { stand } = scene
      try {
        for (const [name, plan] of Object.entries(twentyPercent))
          if (name !== 'primary' || stand.double === null) stand.proxies[name as Port].setPlan(plan)
        stand.double?.setRandomFaults({ seed, rate: 0.2, without: ['corrupt_at_rest', 'no_effect'] })
        // A worker that gives up ends its process in production; here it must not come to that.
        let gaveUp: unknown = null
        stand.world.workers.done.catch((error: unknown) => (gaveUp = error))
        const paths = await drop(scene, ['room', 'hall', 'room', 'hall'])
        const stormy = await live(scene, paths, Number(process.env['CHAOS_MS'] ?? 1.5 * minute))
        process.stdout.write(
          `${stormy.map(({ path, state, problems }) => `${path} ${state} ${problems.map(({ code }) => code).join()}`).join('\n')}\n`,
        )
        for (const proxy of Object.values(stand.proxies)) proxy.heal()
        stand.double?.setRandomFaults(null)
        await expectRest(scene, await live(scene, paths, 5 * minute))
        expect(gaveUp).toBeNull()
      } finally {
        process.stdout.write(`${report(scene)}\n`)
        await closeScene(scene)
      }
    },
  )
})

/** Each port alone, with every way its protocol can fail in, more often than together with the others. */
const alone: Readonly<Record<Port, ProxyPlan>> = {
  inbox: { ...twentyPercent.inbox, rate: 0.06 },
  primary: { rate: 0.25, kinds: ['drop', 'stall', 'cut', 'slow', 'half_open', 'lose_answer'], stallMs: 1000 },
  backup: { ...twentyPercent.backup, rate: 0.06 },
  smtp: { ...twentyPercent.smtp, rate: 0.1 },
  postgres: { ...twentyPercent.postgres, rate: 0.04 },
  temporal: { ...twentyPercent.temporal, everyMs: 5000 },
}

describe('one port fails, the others do not', () => {
  let scene: Scene
  beforeAll(async () => {
    scene = await openScene('double')
  })
  afterAll(() => closeScene(scene))

  test.each(Object.entries(alone))('%s', { timeout: 10 * minute }, async (name, plan) => {
    const proxy = scene.stand.proxies[name as Port]
    proxy.setPlan(plan)
    // One that waits for a claim and is told of by mail.
    const paths = await drop(scene, ['room'])
    await live(scene, paths, minute / 2)
    proxy.heal()
    await expectRest(scene, await live(scene, paths, 4 * minute))
    process.stdout.write(`${report(scene)}\n`)
  })
})
