import { parseArgs } from 'node:util'
import { inContext } from './context.ts'
import type { BenchContext, BenchOptions } from './context.ts'
import { benchDetect } from './detect.ts'
import { benchEncode } from './encode.ts'
import { benchHash } from './hash.ts'
import { benchInbox } from './inbox.ts'
import { benchLives } from './lives.ts'
import { describeMachine } from './machine.ts'
import type { BenchResult, Row } from './measure.ts'
import { benchSearch } from './search.ts'
import { benchTransfer } from './transfer.ts'

const benches: Readonly<Record<string, (context: BenchContext) => Promise<BenchResult>>> = {
  hash: benchHash,
  encode: benchEncode,
  inbox: benchInbox,
  transfer: benchTransfer,
  search: benchSearch,
  detect: benchDetect,
  lives: benchLives,
}

const usage = `npm run bench -- [${Object.keys(benches).join('|')} ...] [--quick] [--pairs N] [--lives N]`

interface Request extends BenchOptions {
  readonly names: readonly string[]
}

/** What was asked for, or null where it cannot be understood. */
function readRequest(args: string[]): Request | null {
  try {
    const options = { quick: { type: 'boolean' }, pairs: { type: 'string' }, lives: { type: 'string' } } as const
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
    const quick = values.quick ?? false
    const [pairs, lives] = [Number(values.pairs ?? (quick ? 1 : 5)), Number(values.lives ?? (quick ? 10 : 100))]
    const names = positionals.length === 0 ? Object.keys(benches) : [...new Set(positionals)]
    const isWhole = [pairs, lives].every((number) => Number.isInteger(number) && number >= 1)
    return isWhole && names.every((name) => name in benches) ? { quick, pairs, lives, names } : null
  } catch {
    return null
  }
}

async function report(context: BenchContext, names: readonly string[]): Promise<void> {
  const write = (line: string) => process.stdout.write(`${line}\n`)
  write(`Reelkeep benchmarks, ${new Date().toISOString()}${context.quick ? ', quick: small sizes' : ''}`)
  for (const line of await describeMachine(context)) write(`  ${line}`)
  write(
    `Medians (smallest-largest) of ${context.pairs} pairs, run in turn: ours, bare, ours, bare. Nothing is asserted.`,
  )
  for (const name of names) {
    context.say(`${name}…`)
    const result = await benches[name]?.(context)
    await context.stopStarted()
    context.signal.throwIfAborted()
    write(`\n${name}`)
    for (const line of layOut(result?.rows ?? [])) write(`  ${line}`)
    for (const note of result?.notes ?? []) write(`  * ${note}`)
  }
}

function layOut(rows: readonly Row[]): readonly string[] {
  const head: Row = { what: '', ours: 'ours', bare: 'bare', ratio: 'ratio', budget: 'budget' }
  const columns = ['what', 'ours', 'bare', 'ratio', 'budget'] as const
  const widths = columns.map((column) => Math.max(...[head, ...rows].map((row) => row[column].length)))
  return [head, ...rows].map((row) =>
    columns
      .map((column, index) => row[column].padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

async function main(): Promise<number> {
  const request = readRequest(process.argv.slice(2))
  if (request === null) {
    process.stderr.write(`${usage}\n`)
    return 2
  }
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (!interrupted.signal.aborted) process.stderr.write('Interrupted: stopping what was started…\n')
      interrupted.abort()
    })
  }
  try {
    await inContext(request, interrupted.signal, (context) => report(context, request.names))
    return 0
  } catch (error) {
    if (interrupted.signal.aborted) return 130
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return 1
  }
}

process.exit(await main())
