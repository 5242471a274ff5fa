import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { findRoot } from '../dev/root.ts'
import type { CliContext } from './context.ts'

/** Runs the published, stand-alone script: what is verified here is what anybody can verify without us. */
export async function verifyCertificate(
  file: string,
  options: { keyFile?: string | undefined; json?: boolean | undefined } = {},
) {
  const script = join(await findRoot(), 'scripts', 'verify-certificate.mjs')
  const pin = options.keyFile === undefined ? [] : ['--key', resolve(options.keyFile)]
  const json = options.json === true ? ['--json'] : []
  const done = spawnSync(process.execPath, [script, file === '-' ? '-' : resolve(file), ...pin, ...json], {
    encoding: 'utf8',
    stdio: ['inherit', 'pipe', 'pipe'],
  })
  return { exitCode: done.status ?? 1, output: `${done.stdout}${done.stderr}`.trimEnd() }
}

/** `reelkeep verify CERTIFICATE`: offline, without a stack. */
export function addVerify(program: Command, context: CliContext): void {
  program
    .command('verify <certificate>')
    .description('verify a deletion certificate offline ("-" reads standard input)')
    .option('--public-key <file>', "the keeper's public key (PEM); without it, the certificate's own is used and shown")
    .option('--json', 'answer as JSON')
    .action(async (file: string, options: { publicKey?: string; json?: boolean }) => {
      const { exitCode, output } = await verifyCertificate(file, { keyFile: options.publicKey, json: options.json })
      context.terminal.answer(output)
      process.exitCode = exitCode
    })
}
