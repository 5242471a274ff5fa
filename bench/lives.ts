import { cpus } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { describeBytes } from '../src/domain/units.ts'
import { prepareBareLives } from './bare-life.ts'
import type { BareLife } from './bare-life.ts'
import type { BenchContext } from './context.ts'
import { startLivesStack } from './lives-stack.ts'
import type { LivesStack, Milestones, StackBytes, StackMemory } from './lives-stack.ts'
import { describeMs, median, percentile } from './measure.ts'
import type { BenchResult, Row } from './measure.ts'

/** Long enough for at least one look to see an upload under its temporary name. */
const uploadMs = 3000
const mostBareLives = 100

/** Small recordings from their last byte to retention, on a stack of the benchmark's own: one by one, then all at once. */
export async function benchLives(context: BenchContext): Promise<BenchResult> {
  const stack = await startLivesStack(context)
  const bare = await prepareBareLives(context)
  const single = await oneByOne(context, stack, bare)
  const quiet = await withoutEndSignal(context, stack)
  const crowd = await allAtOnce(context, stack, bare)
  return { rows: [...single.rows, ...quiet.rows, ...crowd.rows], notes: [...single.notes, ...crowd.notes] }
}

async function oneByOne(context: BenchContext, stack: LivesStack, bare: BareLife): Promise<BenchResult> {
  const count = context.quick ? 3 : 12
  context.say(`  ${count} recordings, one after another…`)
  const accepting: number[] = []
  const living: number[] = []
  const working: number[] = []
  for (let index = 0; index <= count; index += 1) {
    const name = `single-${index}`
    await stack.upload(name)
    // Not in step with the looks.
    await pause(uploadMs + Math.random() * 1000, undefined, { signal: context.signal })
    const finishedAtMs = await stack.finish(name)
    await stack.untilRetained([name])
    const life = requireWhole((await stack.milestones([name])).get(name))
    const beganMs = performance.now()
    await bare.run(stack.sample, name)
    // The first one warms up.
    if (index === 0) continue
    working.push(performance.now() - beganMs)
    accepting.push(life.acceptedAtMs - finishedAtMs)
    living.push(life.retainedAtMs - life.completeAtMs)
  }
  const engine = median(living.map((ms, index) => ms - (working[index] ?? Number.NaN)))
  const ratio = `${(median(living) / median(working)).toFixed(2)}x`
  return {
    rows: [
      { ...empty, what: 'rename -> accepted, p50', ours: describeMs(percentile(accepting, 0.5)), budget: '<= 2 s' },
      { ...empty, what: 'rename -> accepted, p95', ours: describeMs(percentile(accepting, 0.95)), budget: '<= 2 s' },
      {
        what: 'complete -> retained, p50',
        ours: describeMs(median(living)),
        bare: describeMs(median(working)),
        ratio,
        budget: '',
      },
      { ...empty, what: 'engine time in it, p50', ours: describeMs(engine), budget: '<= 1 s' },
    ],
    notes: [
      `${count} recordings, one at a time on an idle stack. Bare: the same media work, copies and read-backs in one process, without Temporal and Postgres; engine time is the difference.`,
    ],
  }
}

/** Enough to know what one takes. */
const mostHistories = 50
const empty: Row = { what: '', ours: '', bare: '', ratio: '', budget: '' }
/** Of the demo's recorders. */
const quietMs = 5000

async function withoutEndSignal({ quick, signal, say }: BenchContext, stack: LivesStack): Promise<BenchResult> {
  const names = Array.from({ length: quick ? 2 : 10 }, (_, index) => `quiet-${index}`)
  say(`  ${names.length} recordings whose end nothing tells…`)
  const finished: number[] = []
  for (const name of names) {
    // Written and renamed between two looks: nobody saw the temporary name.
    await stack.upload(name)
    finished.push(await stack.finish(name))
    await pause(1370, undefined, { signal })
  }
  await stack.untilRetained(names)
  const lives = await stack.milestones(names)
  const accepting = names.map((name, index) => requireWhole(lives.get(name)).acceptedAtMs - (finished[index] ?? 0))
  return {
    rows: [
      {
        ...empty,
        what: `last byte -> accepted, no end signal, quiet period ${describeMs(quietMs)}: p50, p95`,
        ours: `${describeMs(percentile(accepting, 0.5))}, ${describeMs(percentile(accepting, 0.95))}`,
        budget: '<= quiet + 5 s',
      },
    ],
    notes: [],
  }
}

async function allAtOnce(context: BenchContext, stack: LivesStack, bare: BareLife): Promise<BenchResult> {
  const { lives: count, signal, say } = context
  say(`  ${count} recordings at once…`)
  const names = Array.from({ length: count }, (_, index) => `crowd-${index}`)
  for (const name of names) await stack.upload(name)
  await pause(uploadMs, undefined, { signal })
  const before = await stack.measureBytes()
  const memory = [{ retained: 0, ...(await stack.measureMemory()) }]
  const beganMs = Date.now()
  for (const name of names) await stack.finish(name)
  await stack.untilRetained(names, async (retained) => {
    memory.push({ retained, ...(await stack.measureMemory()) })
  })
  const lives = await stack.milestones(names)
  const after = await stack.measureBytes()
  const whole = names.map((name) => requireWhole(lives.get(name)))
  const wallMs = Math.max(...whole.map(({ retainedAtMs }) => retainedAtMs)) - beganMs
  const bareEachMs = await bareAtOnce(Math.min(count, mostBareLives), stack, bare)
  const eachMs = wallMs / count
  const growth = (part: 'temporal' | 'postgres') => `${describeBytes((after[part] - before[part]) / count)} each`
  const quarters = (of: keyof StackMemory) =>
    [0, 0.25, 0.5, 0.75, 1]
      .map((share) => describeBytes(memory.find(({ retained }) => retained >= share * count)?.[of] ?? Number.NaN))
      .join(', ')
  const histories = await stack.measureHistories(names.slice(0, mostHistories))
  return {
    rows: [
      {
        ...empty,
        what: `${count} at once, rename -> retained, per recording`,
        ours: describeMs(eachMs),
        bare: describeMs(bareEachMs),
        ratio: `${(eachMs / bareEachMs).toFixed(2)}x`,
      },
      {
        ...empty,
        what: 'worker memory, largest',
        ours: describeBytes(Math.max(...memory.map(({ worker }) => worker))),
        budget: '< 600 MB (572 MiB)',
      },
      { ...empty, what: 'Temporal, history of a kept recording', ours: `${describeBytes(median(histories))} each` },
      { ...empty, what: 'Temporal database, with what ended', ours: growth('temporal') },
      { ...empty, what: 'Postgres database', ours: growth('postgres'), budget: '<= 10 KB (9.8 KiB)' },
    ],
    notes: [
      `${count} recordings took ${describeMs(wallMs)} together; bare: ${cpus().length} at once.`,
      `Of the Postgres database, with indexes: ${describeGrowth(before, after, count)}.`,
      `Memory with 0, 25, 50, 75 and 100 % retained: worker ${quarters('worker')}; Temporal ${quarters('temporal')}.`,
    ],
  }
}

/** The tables that grew most, per recording. */
function describeGrowth(before: StackBytes, after: StackBytes, count: number): string {
  return [...after.tables]
    .map(([name, bytes]) => ({ name, each: (bytes - (before.tables.get(name) ?? 0)) / count }))
    .filter(({ each }) => each > 0)
    .toSorted((a, b) => b.each - a.each)
    .slice(0, 8)
    .map(({ name, each }) => `${name} ${describeBytes(each)}`)
    .join(', ')
}

async function bareAtOnce(count: number, stack: LivesStack, bare: BareLife): Promise<number> {
  let next = 0
  const beganMs = performance.now()
  const work = async () => {
    while (next < count) await bare.run(stack.sample, `crowd-${next++}`)
  }
  await Promise.all(cpus().map(work))
  return (performance.now() - beganMs) / count
}

type Whole = { readonly [Key in keyof Milestones]: number }

function requireWhole(life: Milestones | undefined): Whole {
  const { completeAtMs, acceptedAtMs, retainedAtMs } = life ?? {}
  if (completeAtMs == null || acceptedAtMs == null || retainedAtMs == null)
    throw new Error('A recording is retained, but its milestones are not all known.')
  return { completeAtMs, acceptedAtMs, retainedAtMs }
}
