import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ReelkeepError } from './domain/errors.ts'

/** One setting: the README's table and `loadConfig` both come from this list. */
export interface Setting {
  readonly name: string
  readonly meaning: string
  /** `null` = must be given; a secret never has a default. */
  readonly fallback: string | null
  readonly secret?: boolean
}

/** Every setting of API and workers. */
export const settings = [
  { name: 'DATABASE_URL', meaning: 'Postgres as the application role', fallback: null, secret: true },
  { name: 'DATABASE_OWNER_URL', meaning: 'Postgres as the owner; only `migrate` uses it', fallback: '', secret: true },
  { name: 'TEMPORAL_ADDRESS', meaning: 'host:port of the Temporal frontend', fallback: null },
  { name: 'TEMPORAL_NAMESPACE', meaning: 'Temporal namespace', fallback: 'reelkeep' },
  { name: 'API_HOST', meaning: 'address the API and console listen on', fallback: '127.0.0.1' },
  { name: 'API_PORT', meaning: 'port of API and console', fallback: '8700' },
  { name: 'BASE_URL', meaning: 'where people reach the console; used in links', fallback: '' },
  { name: 'TEMPORAL_UI_URL', meaning: 'where operators reach the Temporal UI; used in links', fallback: '' },
  {
    name: 'SCRATCH_DIR',
    meaning: 'fast local disk for work in progress',
    fallback: join(tmpdir(), 'reelkeep-scratch'),
  },
  { name: 'SECRETS_DIR', meaning: 'directory with one file per secret that store URLs name', fallback: '' },
  { name: 'SIGNING_KEY_FILE', meaning: 'Ed25519 private key (PEM) that signs certificates', fallback: null },
  { name: 'SMTP_URL', meaning: 'mail server, e.g. smtp://user:pass@host:587', fallback: '', secret: true },
  { name: 'MAIL_DIR', meaning: 'without SMTP_URL, mail is written here as .eml files', fallback: '' },
  { name: 'MAIL_FROM', meaning: 'sender of all mail', fallback: 'Reelkeep <reelkeep@localhost>' },
  { name: 'FFMPEG_PATH', meaning: 'ffmpeg >= 5.1', fallback: 'ffmpeg' },
  { name: 'FFPROBE_PATH', meaning: 'ffprobe of the same version', fallback: 'ffprobe' },
  { name: 'WORKER_ROLES', meaning: 'what a worker process does: life, encode, or both', fallback: 'life,encode' },
  { name: 'ENCODE_SLOTS', meaning: 'encodes a worker runs at once', fallback: '2' },
  { name: 'METRICS_PORT', meaning: "port of a worker's Prometheus metrics; 0 = none", fallback: '0' },
  { name: 'LOG_LEVEL', meaning: 'trace, debug, info, warn or error', fallback: 'info' },
] as const satisfies readonly Setting[]

type SettingName = (typeof settings)[number]['name']

/** The settings, checked and typed. */
export interface Config {
  readonly databaseUrl: string
  readonly databaseOwnerUrl: string | null
  readonly temporal: { readonly address: string; readonly namespace: string; readonly uiUrl: string | null }
  readonly api: { readonly host: string; readonly port: number; readonly baseUrl: string }
  readonly scratchDir: string
  readonly signingKeyFile: string
  readonly mail: { readonly smtpUrl: string | null; readonly directory: string | null; readonly from: string }
  readonly ffmpegPath: string
  readonly ffprobePath: string
  readonly worker: {
    readonly roles: readonly ('life' | 'encode')[]
    readonly encodeSlots: number
    readonly metricsPort: number
  }
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  /** The secret a store URL names: `REELKEEP_SECRET_<NAME>` or the file of that name in SECRETS_DIR. @throws store_misconfigured */
  readonly resolveSecret: (name: string) => string
}

/** Reads the settings; every problem is named in one error. @throws invalid_config */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const problems: string[] = []
  const read = (name: SettingName): string => {
    const setting: Setting | undefined = settings.find((candidate) => candidate.name === name)
    const value = env[name] ?? setting?.fallback ?? null
    if (value === null || (value === '' && setting?.fallback === null))
      problems.push(`${name} is not set (${setting?.meaning})`)
    return value ?? ''
  }
  const optional = (name: SettingName) => (read(name) === '' ? null : read(name))
  const whole = (name: SettingName, low: number, high: number): number => {
    const number = Number(read(name))
    if (!Number.isInteger(number) || number < low || number > high)
      problems.push(`${name} must be a whole number from ${low} to ${high}`)
    return number
  }
  // What cannot be read as an address is refused here, by name: libraries that fail at it later repeat it, password and all.
  const hidden = (name: SettingName, readable: (value: string) => boolean): string | null => {
    const value = optional(name)
    if (value !== null && !readable(value))
      problems.push(`${name} is no URL that can be read; percent-encode special characters of its user and password`)
    return value
  }
  const level = read('LOG_LEVEL')
  if (!isLevel(level)) problems.push('LOG_LEVEL must be trace, debug, info, warn or error')
  const roles = read('WORKER_ROLES')
    .split(',')
    .map((role) => role.trim())
  if (!roles.every((role) => role === 'life' || role === 'encode'))
    problems.push('WORKER_ROLES must name life, encode, or both')
  const port = whole('API_PORT', 0, 65_535)
  const config: Config = {
    databaseUrl: hidden('DATABASE_URL', isPostgresUrl) ?? read('DATABASE_URL'),
    databaseOwnerUrl: hidden('DATABASE_OWNER_URL', isPostgresUrl),
    temporal: {
      address: read('TEMPORAL_ADDRESS'),
      namespace: read('TEMPORAL_NAMESPACE'),
      uiUrl: optional('TEMPORAL_UI_URL'),
    },
    api: {
      host: read('API_HOST'),
      port,
      baseUrl: (optional('BASE_URL') ?? `http://${read('API_HOST')}:${port}`).replace(/\/+$/, ''),
    },
    scratchDir: resolve(read('SCRATCH_DIR')),
    signingKeyFile: read('SIGNING_KEY_FILE'),
    mail: { smtpUrl: hidden('SMTP_URL', isSmtpUrl), directory: optional('MAIL_DIR'), from: read('MAIL_FROM') },
    ffmpegPath: read('FFMPEG_PATH'),
    ffprobePath: read('FFPROBE_PATH'),
    worker: {
      roles: roles.filter((role): role is 'life' | 'encode' => role === 'life' || role === 'encode'),
      encodeSlots: whole('ENCODE_SLOTS', 1, 256),
      metricsPort: whole('METRICS_PORT', 0, 65_535),
    },
    logLevel: isLevel(level) ? level : 'info',
    resolveSecret: secretsFrom(env, optional('SECRETS_DIR')),
  }
  if (problems.length > 0) throw new ReelkeepError('invalid_config', `Settings are wrong: ${problems.join('; ')}.`)
  return config
}

/** Postgres' own forms without a host, and its paths to sockets, are for its driver to read. */
function isPostgresUrl(text: string): boolean {
  return !text.includes('://') || URL.canParse(text.replace('@/', '@host/'))
}

function isSmtpUrl(text: string): boolean {
  return /^smtps?:\/\//.test(text) && URL.canParse(text)
}

function isLevel(text: string): text is Config['logLevel'] {
  return ['trace', 'debug', 'info', 'warn', 'error'].includes(text)
}

function secretsFrom(env: NodeJS.ProcessEnv, directory: string | null): (name: string) => string {
  return (name) => {
    if (!/^[A-Za-z0-9_-]{1,100}$/.test(name))
      throw new ReelkeepError(
        'store_misconfigured',
        `"${name}" cannot be a secret's name: use letters, digits, _ and -.`,
      )
    const value = env[`REELKEEP_SECRET_${name}`]
    if (value !== undefined) return value
    try {
      if (directory !== null) return readFileSync(join(directory, name), 'utf8').trimEnd()
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
    throw new ReelkeepError(
      'store_misconfigured',
      `The secret "${name}" is not there: set REELKEEP_SECRET_${name}, or put it into a file of that name in SECRETS_DIR.`,
    )
  }
}
