import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import type { Command } from '../../src/domain/commands.ts'
import { hasCode } from '../../src/domain/errors.ts'
import { msPer } from '../../src/domain/units.ts'
import type { RecordingDetail } from '../../src/domain/recording.ts'
import { startChaosStand, twentyPercent } from './stand.ts'
import type { ChaosStand, Port } from './stand.ts'
import type { ProxyPlan } from '../servers/fault-proxy.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1_000_000))

/** One drop and how far its life was pushed. */
interface Drop {
  readonly path: string
  readonly sha256: string
  /** What was seen to hold while the copies still stood. */
  protectedWhenSeen: boolean
  sourceGone: boolean
  /** Requests keep their id: said again after a lost answer, they count once. */
  readonly requests: Map<string, string>
  forwarded: Set<string>
  lastPushMs: number
  last: RecordingDetail | null
}

async function drop(stand: ChaosStand, count: number, first = 1): Promise<Drop[]> {
  const drops: Drop[] = []
  for (let number = first; number < first + count; number += 1) {
    const file = join(stand.world.home, `sample-${number}.mp4`)
    await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed: seed + number, codec: 'h264-aac' })
    const path = `${number % 2 === 0 ? 'hall' : 'room'}/lecture-${number}.mp4`
    const sha256 = createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
    await stand.upload(file, path)
    drops.push({
      path,
      sha256,
      protectedWhenSeen: false,
      sourceGone: false,
      requests: new Map(),
      forwarded: new Set(),
      lastPushMs: 0,
      last: null,
    })
  }
  return drops
}

/** Looks at one recording and does what people would: claim, retry, approve; and lets its years pass. */
async function push(stand: ChaosStand, one: Drop): Promise<void> {
  const { world } = stand
  // The source is looked at first: once it is gone, what follows must already have been true.
  const sourceGone = !(await stand.holdsSource(one.path))
  const id = await findRecordingId(stand, one)
  if (id === null) {
    expect(sourceGone, `the source of ${one.path} is gone and there is no recording`).toBe(false)
    await resolveDeposit(stand, one)
    return
  }
  const seen = await world.detail(id)
  one.last = seen
  if (seen === null) return
  if (sourceGone && !one.sourceGone) expectProtected(seen, `${one.path}: its source left the inbox`)
  one.sourceGone ||= sourceGone
  if (Date.now() - one.lastPushMs < 2000) return
  one.lastPushMs = Date.now()
  if (seen.problem !== null) {
    await give(stand, one, id, { kind: 'resolve', option: 'retry' }, `retry-${Date.now()}`)
    return
  }
  if (seen.state === 'awaiting_claim') await give(stand, one, id, { kind: 'claim' }, 'claim', 'ben')
  if (seen.state === 'retained') {
    if (!one.protectedWhenSeen) await expectWholeCopies(stand, one, seen)
    one.protectedWhenSeen = true
    await forward(stand, one, id, 'retention', 2 * msPer.year + msPer.day)
  }
  if (seen.state === 'disposition_requested')
    await give(stand, one, id, { kind: 'approveDeletion', planHash: seen.facts.planHash ?? '' }, 'approve', 'ben')
  if (seen.state === 'trashed') await forward(stand, one, id, 'undo', 15 * msPer.day)
}

async function findRecordingId(stand: ChaosStand, one: Drop): Promise<string | null> {
  const rows = await stand.world.db.asAccount(stand.world.accountId, (tx) =>
    tx
      .selectFrom('recordings as r')
      .innerJoin('deposits as d', 'd.id', 'r.deposit_id')
      .select('r.id')
      .where('d.path', '=', one.path)
      .execute(),
  )
  expect(rows.length, `recordings of ${one.path}`).toBeLessThanOrEqual(1)
  return rows[0]?.id ?? null
}

/** A deposit can be parked before it is a recording: the problem then stands on the deposit's own life. */
async function resolveDeposit(stand: ChaosStand, one: Drop): Promise<void> {
  if (Date.now() - one.lastPushMs < 5000) return
  one.lastPushMs = Date.now()
  const rows = await stand.world.db.asAccount(stand.world.accountId, (tx) =>
    tx.selectFrom('deposits').select(['id', 'state']).where('path', '=', one.path).execute(),
  )
  for (const { id, state } of rows)
    if (state === 'complete' || state === 'quarantined')
      await give(stand, one, id, { kind: 'resolve', option: 'retry' }, `retry-${Date.now()}`)
}

/** As the API does: an answer that did not come is asked for again, under the same id; a refusal is an answer. */
async function give(
  stand: ChaosStand,
  one: Drop,
  id: string,
  command: Command,
  what: string,
  who: 'ada' | 'ben' = 'ada',
): Promise<void> {
  const requestId = `${id}-${what}`
  one.requests.set(what, requestId)
  await stand.world.give(id, stand.world.people[who], command, requestId).catch((error: unknown) => {
    const passes =
      hasCode(error, 'pipeline_unavailable') || hasCode(error, 'wrong_state') || hasCode(error, 'not_claimable')
    if (!passes && !hasCode(error, 'already_claimed')) throw error
  })
}

async function forward(stand: ChaosStand, one: Drop, id: string, what: string, ms: number): Promise<void> {
  if (one.forwarded.has(what)) return
  one.forwarded.add(what)
  await stand.world.fastForward(id, ms)
}

function expectProtected(seen: RecordingDetail, when: string): void {
  const verified = seen.copies.filter((copy) => copy.state === 'verified' || copy.state === 'purged')
  const files = new Set(seen.copies.map((copy) => copy.fileName))
  for (const file of files) {
    const sites = new Set(verified.filter((copy) => copy.fileName === file).map((copy) => copy.site))
    expect(sites.size, `${when}: verified sites of ${file}`).toBe(2)
  }
}

/** Every file is read by the test itself, in both stores, and hashed. */
async function expectWholeCopies(stand: ChaosStand, one: Drop, seen: RecordingDetail): Promise<void> {
  expectProtected(seen, one.path)
  for (const store of ['primary', 'backup'] as const) {
    const hashes = await stand.hashes(store)
    for (const copy of seen.copies.filter((copy) => copy.storeName === store))
      expect(hashes.get(copy.key), `${copy.key} in ${store}`).toBe(copy.sha256)
  }
  const original = seen.copies.find((copy) => copy.kind === 'original')
  expect(original?.sha256, `the original of ${one.path}`).toBe(one.sha256)
}

/** The judgement at the end. Everything it says, it looked up itself. */
async function judge(stand: ChaosStand, drops: readonly Drop[]): Promise<void> {
  const { world } = stand
  const count = await world.db.asAccount(world.accountId, (tx) =>
    tx
      .selectFrom('recordings')
      .select('id')
      .execute()
      .then((rows) => rows.length),
  )
  expect(count, 'recordings').toBe(drops.length)
  for (const one of drops) {
    expect(one.last?.state, `${one.path}: ${JSON.stringify(one.last?.problem)}`).toBe('purged')
    expect(one.protectedWhenSeen, `${one.path} was seen whole`).toBe(true)
    const certificate = join(world.home, 'certificate.json')
    await writeFile(certificate, JSON.stringify(one.last?.certificate))
    const script = new URL('../../scripts/verify-certificate.mjs', import.meta.url).pathname
    execFileSync(process.execPath, [script, certificate])
    for (const action of ['command.claim', 'command.approveDeletion'])
      expect(one.last?.timeline.filter((event) => event.action === action).length, action).toBeLessThanOrEqual(1)
  }
  for (const store of ['primary', 'backup'] as const)
    expect([...(await stand.hashes(store)).keys()], `left in ${store}`).toEqual([])
  // Each occasion is one Message-ID for each person, however often it had to be handed over.
  const notices = await world.db.asAccount(world.accountId, (tx) => tx.selectFrom('notices').selectAll().execute())
  const mailed = new Set(stand.mails.map(({ messageId, to }) => `${messageId} ${to}`))
  for (const { kind, occasion, recipient, recording_id: id } of notices) {
    const ids = [...mailed].filter(
      (mail) => mail.startsWith(`${kind}.${occasion}.`) && mail.endsWith(`.${id}@reelkeep ${recipient}`),
    )
    expect(ids, `${kind} ${occasion} to ${recipient}`).toHaveLength(1)
  }
}

async function addRecorders({ world }: ChaosStand): Promise<void> {
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
  await world.addRecorder({ name: 'room', assignment: 'manager', managerId: world.people.ben.personId })
}

async function live(stand: ChaosStand, drops: readonly Drop[], forMs: number, over: () => boolean): Promise<void> {
  const untilMs = Date.now() + forMs
  while (Date.now() < untilMs && !over()) {
    await Promise.all(drops.filter((one) => one.last?.state !== 'purged').map((one) => push(stand, one)))
    await pause(200)
  }
}

function report(stand: ChaosStand): string {
  const lines = Object.entries(stand.proxies).map(([name, { log, calls }]) => {
    const kinds = [...new Set(log.map(({ kind }) => kind))].map(
      (kind) => `${kind} ${log.filter((event) => event.kind === kind).length}`,
    )
    return `${name}: ${log.length} faults in ${calls} calls (${kinds.join(', ')})`
  })
  return [...lines, `primary, by itself: ${JSON.stringify(stand.double?.struck ?? {})}`].join('\n')
}

const minute = msPer.minute

describe.each(['double', 'seaweed'] as const)('whole lives, the primary store on %s', (primaryKind) => {
  test(
    '20 % of the calls fail on every port; when that ends, everything comes to rest',
    { timeout: 20 * minute },
    async () => {
      process.stdout.write(`SEED=${seed}\n`)
      const stand = await startChaosStand(seed, primaryKind)
      try {
        await addRecorders(stand)
        for (const [name, plan] of Object.entries(twentyPercent))
          if (name !== 'primary' || stand.double === null) stand.proxies[name as Port].setPlan(plan)
        stand.double?.setRandomFaults({ seed, rate: 0.2, without: ['corrupt_at_rest', 'no_effect'] })
        // A worker that gives up ends its process in production; here it must not come to that.
        let gaveUp: unknown = null
        stand.world.workers.done.catch((error: unknown) => (gaveUp = error))
        const drops = await drop(stand, 4)
        const done = () => drops.every((one) => one.last?.state === 'purged')
        await live(stand, drops, Number(process.env['CHAOS_MS'] ?? 1.5 * minute), done)
        process.stdout.write(
          `${drops.map((one) => `${one.path} ${one.last?.state} ${one.last?.problem?.code ?? ''}`).join('\n')}\n${report(stand)}\n`,
        )
        for (const proxy of Object.values(stand.proxies)) proxy.heal()
        stand.double?.setRandomFaults(null)
        await live(stand, drops, 5 * minute, done)
        await judge(stand, drops)
        expect(gaveUp).toBeNull()
      } finally {
        process.stdout.write(`SEED=${seed}\n${report(stand)}\n`)
        await stand.stop()
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
  let stand: ChaosStand
  const all: Drop[] = []
  beforeAll(async () => {
    stand = await startChaosStand(seed, 'double')
    await addRecorders(stand)
  })
  afterAll(() => stand?.stop())

  test.each(Object.entries(alone))('%s', { timeout: 10 * minute }, async (name, plan) => {
    const proxy = stand.proxies[name as Port]
    proxy.setPlan(plan)
    // An odd one waits for a claim and is told of by mail.
    const drops = await drop(stand, 1, all.length * 2 + 1)
    all.push(...drops)
    const done = () => drops.every((one) => one.last?.state === 'purged')
    await live(stand, drops, minute / 2, done)
    proxy.heal()
    await live(stand, drops, 4 * minute, done)
    process.stdout.write(`SEED=${seed} ${report(stand)}\n`)
    await judge(stand, all)
  })
})
