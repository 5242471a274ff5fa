import { cpus, totalmem, loadavg } from 'node:os'
import { findOnPath, runCommand } from '../src/dev/commands.ts'
import { describeBytes } from '../src/domain/units.ts'
import type { BenchContext } from './context.ts'

/** What the numbers were measured on: without it they mean nothing. */
export async function describeMachine({ ffmpeg, folder }: BenchContext): Promise<readonly string[]> {
  const processors = cpus()
  const [minute = 0] = loadavg()
  const fileSystem = await runCommand('df', ['--output=fstype', folder])
  const openssl = (await findOnPath('openssl')) === null ? 'none' : (await runCommand('openssl', ['version'])).stdout
  return [
    `processor   ${processors[0]?.model.trim() ?? 'unknown'}, ${processors.length} cores; load before the run ${minute.toFixed(2)}`,
    `memory      ${describeBytes(totalmem())}`,
    `disk        ${fileSystem.stdout.trim().split('\n').at(-1) ?? 'unknown'} (temporary files)`,
    `system      ${(await runCommand('uname', ['-sr'])).stdout.trim()}`,
    `node        ${process.version}`,
    `ffmpeg      ${ffmpeg.version}`,
    `openssl     ${openssl.trim()}`,
  ]
}
