import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { actionsAt, failpoints } from '../../src/failpoints/names.ts'
import type { FailpointName } from '../../src/failpoints/names.ts'

/** `npm run chaos`: lists the failpoints, or runs the suites that break things on purpose. */
const usage = `npm run chaos -- --list                        every failpoint, what it stands between, what is played there
npm run chaos -- --matrix [--full] [--only P]  every failpoint (full: with every action, once and twice)
npm run chaos -- --ports [--seed N]            whole lives while every port fails, and each port alone
npm run chaos -- --seed N --minutes M          a storm: random drops, deaths, freezes, full disks, commands`

const { values } = parseArgs({
  options: {
    list: { type: 'boolean' },
    matrix: { type: 'boolean' },
    full: { type: 'boolean' },
    ports: { type: 'boolean' },
    only: { type: 'string' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
    help: { type: 'boolean' },
  },
})

function runSuite(file: string, env: NodeJS.ProcessEnv): never {
  const done = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--config', 'vitest.chaos.config.ts', file],
    { cwd: new URL('../../', import.meta.url).pathname, stdio: 'inherit', env: { ...process.env, ...env } },
  )
  process.exit(done.status ?? 1)
}

if (values.list === true) {
  for (const name of Object.keys(failpoints) as FailpointName[])
    process.stdout.write(`${name.padEnd(34)} ${failpoints[name].what} [${actionsAt(name).join(', ')}]\n`)
  process.stdout.write(`${Object.keys(failpoints).length} failpoints\n`)
} else if (values.matrix === true) {
  runSuite('test/chaos/matrix.chaos.ts', {
    ...(values.full === true ? { REELKEEP_CHAOS_MATRIX: 'full' } : {}),
    ...(values.only === undefined ? {} : { REELKEEP_CHAOS_ONLY: values.only }),
  })
} else if (values.ports === true) {
  runSuite('test/chaos/ports.chaos.ts', values.seed === undefined ? {} : { SEED: values.seed })
} else if (values.seed !== undefined || values.minutes !== undefined) {
  runSuite('test/chaos/storm.chaos.ts', {
    REELKEEP_CHAOS_SEED: values.seed ?? String(randomInt(1, 1_000_000)),
    REELKEEP_CHAOS_MINUTES: values.minutes ?? '3',
  })
} else {
  process.stdout.write(`${usage}\n`)
  process.exitCode = values.help === true ? 0 : 2
}
