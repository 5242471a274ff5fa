import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'
import type { RebuildSource } from '../db/rebuilt-account.ts'
import type { Loss } from '../domain/rebuild.ts'
import { openConfiguredStore, withDatabase } from './account.ts'
import { answer } from './context.ts'
import type { CliContext } from './context.ts'
import { rebuild } from './rebuild-run.ts'
import type { RebuildReport, RefusalKind } from './rebuild-run.ts'
import { oneLine, table } from './terminal.ts'

interface RebuildOptions {
  readonly from: string
  readonly as: 'primary' | 'backup'
  readonly site: string
  readonly name?: string
  readonly account?: string
  readonly accountName?: string
  readonly fast?: boolean
}

/** Recordings at a time: each lane of the run uses a connection for a moment. */
const connections = 4
/** What went well is shown up to here; what was refused is shown whole. */
const linesShown = 50

/** `reelkeep rebuild`: for the operator, on the database itself. */
export function addRebuild(program: Command, context: CliContext): void {
  program
    .command('rebuild')
    .description('restore a lost database from the manifests in a store (into DATABASE_URL; else the local stack)')
    .requiredOption('--from <address>', 'the store, as in `store add`; it is only read')
    .option(
      '--as <role>',
      'what the store is: primary, or backup to add the copies of a further store',
      roleOf,
      'primary',
    )
    .option('--site <site>', 'the place it stands in: what fails together', 'unknown')
    .option('--name <name>', 'what the store is called (Primary or Backup)')
    .option('--account <id>', 'only this account of the store')
    .option('--account-name <name>', 'what the account is called; no manifest says it')
    .option('--fast', 'compare sizes only and read no file back: then no copy counts as verified')
    .option('--json', 'answer as JSON')
    .action((options: RebuildOptions, command: Command) =>
      withDatabase(context, connections, async (db) => {
        const store = openConfiguredStore(context.env, options.from)
        try {
          const source: RebuildSource = {
            name: options.name ?? (options.as === 'primary' ? 'Primary' : 'Backup'),
            site: options.site,
            role: options.as,
            url: options.from,
            label: store.label,
          }
          const report = await rebuild({
            db,
            store,
            source,
            accountId: options.account ?? null,
            accountName: options.accountName ?? null,
            fast: options.fast ?? false,
            onProgress: (line) => context.terminal.status(line),
          })
          context.terminal.status('')
          answer(context, command, report, describe)
          if (report.refused.length > 0) process.exitCode = 1
        } finally {
          await store.close()
        }
      }),
    )
}

function roleOf(text: string): 'primary' | 'backup' {
  if (text === 'primary' || text === 'backup') return text
  throw new InvalidArgumentError('It must be primary or backup.')
}

const refusals: Readonly<Record<RefusalKind, string>> = {
  unsealed: 'unsealed',
  broken_manifest: 'broken manifest',
  broken_files: 'broken files',
  differs: 'differs',
  same_bytes: 'same bytes',
}

/** The report as people read it; titles and keys come from the store and must not move the terminal. */
function describe(report: RebuildReport): string {
  const { inserted, copiesAdded, unchanged, refused, strangers } = report
  return [
    `Rebuilt from ${report.from} (${report.role}, site ${report.site}), account ${report.accounts.join(', ') || '-'}`,
    report.checked === 'read back'
      ? 'Every file was read back: the copies are verified.'
      : 'ONLY SIZES WERE COMPARED (--fast): no copy is verified. Run it again without --fast before you rely on them.',
    '',
    `${inserted.length} inserted, ${copiesAdded.length} with copies added, ${unchanged} unchanged, ${refused.length} refused`,
    ...shorten(inserted.map((one) => `  inserted  ${one.recordingId}  ${one.files} files  ${one.title}`)),
    ...shorten(copiesAdded.map((one) => `  copies    ${one.recordingId}  ${one.copies}`)),
    ...refused.map((one) => `  REFUSED   ${one.accountId}/${one.recordingId}  ${refusals[one.why]}: ${one.reason}`),
    ...(report.lackingCopies === 0
      ? []
      : [
          `${report.lackingCopies} of them have fewer verified copies, or at fewer sites, than the policy asks for: rebuild from the other stores, too.`,
        ]),
    ...(strangers.count === 0
      ? []
      : [`${strangers.count} other object(s) in the store are no recording's: ${strangers.examples.join(', ')}`]),
    '',
    'What manifests cannot hold, and what stands there now:',
  ]
    .map(oneLine)
    .concat(describeLosses(report.notInManifests), '', ...nextSteps)
    .join('\n')
}

function shorten(lines: readonly string[]): readonly string[] {
  const more = lines.length - linesShown
  return more > 0 ? [...lines.slice(0, linesShown), `  … and ${more} more; --json lists them all`] : lines
}

function describeLosses(losses: readonly Loss[]): string {
  return table(
    ['NOT RESTORED', 'INSTEAD'],
    losses.map((loss) => [loss.what, loss.instead]),
  )
}

const nextSteps = [
  'Next: rebuild from the store of every other site with --as backup, so that deletions reach all copies;',
  'give an administrator a key (`reelkeep account add`), start API and workers; each recording is under a hold',
  'until a person has checked and released it.',
]
