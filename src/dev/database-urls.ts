import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ReelkeepError } from '../domain/errors.ts'
import { readStackFile } from './home.ts'
import type { Home } from './home.ts'

const passwordFile = z.object({ owner: z.string(), app: z.string() })

/**
 * The database that operators' commands work on: `DATABASE_URL` (and `DATABASE_OWNER_URL`), else the local stack's.
 * @throws invalid_config where there is neither
 */
export async function findDatabaseUrls(
  env: NodeJS.ProcessEnv,
  home: Home,
): Promise<{ appUrl: string; ownerUrl: string }> {
  const configured = env['DATABASE_URL'] || env['DATABASE_OWNER_URL']
  if (configured) return { appUrl: configured, ownerUrl: env['DATABASE_OWNER_URL'] || configured }
  const port = (await readStackFile(home))?.ports.postgres ?? null
  const passwords = await readFile(join(home.secretsDir, 'postgres.json'), 'utf8').catch(() => null)
  if (port === null || passwords === null)
    throw new ReelkeepError(
      'invalid_config',
      `There is no database: set DATABASE_URL, or start the stack in ${home.root} with \`reelkeep up\`.`,
    )
  const { owner, app } = passwordFile.parse(JSON.parse(passwords))
  const url = (role: string, password: string) => `postgres://${role}:${password}@127.0.0.1:${port}/reelkeep`
  return { appUrl: url('reelkeep_app', app), ownerUrl: url('reelkeep_owner', owner) }
}
