import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { ReelkeepError } from '../domain/errors.ts'
import { writeWhole } from './processes.ts'

/** Where everything of one local stack lies: one folder that can be moved, backed up, or removed. */
export interface Home {
  readonly root: string
  readonly secretsDir: string
  readonly logsDir: string
  readonly runDir: string
  readonly scratchDir: string
  readonly mailDir: string
  readonly inboxDir: string
  readonly storesDir: string
  readonly certificatesDir: string
  /** What verifies this stack's certificates; safe to publish. */
  readonly publicKeyFile: string
  readonly temporalDb: string
}

const stackFile = z.object({
  /** Decided when the stack was created; the database holds the same and refuses a change. */
  fastForward: z.boolean(),
  demo: z.boolean(),
  url: z.string(),
  ports: z.object({
    api: z.number(),
    postgres: z.number().nullable(),
    temporal: z.number().nullable(),
    temporalUi: z.number().nullable(),
  }),
})

/** What a stack remembers from start to start. */
export type StackFile = Readonly<z.infer<typeof stackFile>>

/** The folder of a stack: `REELKEEP_HOME`, else `.reelkeep` where the command runs. */
export function findHome(env: NodeJS.ProcessEnv): Home {
  const root = resolve(
    env['REELKEEP_HOME'] === undefined || env['REELKEEP_HOME'] === '' ? '.reelkeep' : env['REELKEEP_HOME'],
  )
  return {
    root,
    secretsDir: join(root, 'secrets'),
    logsDir: join(root, 'logs'),
    runDir: join(root, 'run'),
    scratchDir: join(root, 'scratch'),
    mailDir: join(root, 'mail'),
    inboxDir: join(root, 'inbox'),
    storesDir: join(root, 'stores'),
    certificatesDir: join(root, 'certificates'),
    publicKeyFile: join(root, 'certificates', 'public-key.pem'),
    temporalDb: join(root, 'temporal', 'temporal.sqlite'),
  }
}

/** Makes the folders; a second run finds them. Secrets are readable by their owner only. */
export async function createFolders(home: Home): Promise<void> {
  await mkdir(home.root, { recursive: true, mode: 0o711 })
  await mkdir(home.secretsDir, { recursive: true, mode: 0o700 })
  for (const folder of [home.logsDir, home.runDir, home.scratchDir, home.mailDir, home.certificatesDir])
    await mkdir(folder, { recursive: true, mode: 0o755 })
}

/** What the stack remembers, or null before its first start. @throws invalid_config for a damaged file */
export async function readStackFile(home: Home): Promise<StackFile | null> {
  const path = join(home.root, 'stack.json')
  const text = await readFile(path, 'utf8').catch(() => null)
  if (text === null) return null
  try {
    return stackFile.parse(JSON.parse(text))
  } catch (cause) {
    const message = `${path} is damaged. Restore it, or remove ${home.root} to start empty.`
    throw new ReelkeepError('invalid_config', message, { cause })
  }
}

/** Remembers for the next start, as one whole file. */
export async function writeStackFile(home: Home, stack: StackFile): Promise<void> {
  await writeWhole(join(home.root, 'stack.json'), `${JSON.stringify(stack, null, 2)}\n`)
}

/** Where a person's API key is kept. */
export function keyFile(home: Home, name: string): string {
  return join(home.secretsDir, `${name}.key`)
}

/** A person's API key, made on first use: 256 random bits. Only its hash enters the database. */
export async function ensureApiKey(home: Home, name: string): Promise<{ key: string; keySha256: string }> {
  const key = await ensureSecret(keyFile(home, name), () => `rk_${randomBytes(32).toString('base64url')}`)
  return { key, keySha256: createHash('sha256').update(key).digest('hex') }
}

/** The file with the key that signs certificates, made on first use; its public half is written beside the certificates. */
export async function ensureSigningKey(home: Home): Promise<string> {
  const path = join(home.secretsDir, 'signing-key.pem')
  const pem = await ensureSecret(path, () =>
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  )
  await writeWhole(home.publicKeyFile, createPublicKey(pem).export({ type: 'spki', format: 'pem' }).toString())
  return path
}

async function ensureSecret(path: string, make: () => string): Promise<string> {
  const known = (await readFile(path, 'utf8').catch(() => '')).trim()
  if (known !== '') return known
  const secret = make().trim()
  await writeWhole(path, `${secret}\n`)
  return secret
}
