import { fileURLToPath } from 'node:url'
import { ReelkeepError } from '../domain/errors.ts'
import { openLocalStore } from './local.ts'
import { openS3Store } from './s3.ts'
import type { S3StoreOptions } from './s3-place.ts'
import { openSftpStore } from './sftp.ts'
import type { Store } from './store.ts'

/** Finds a secret by the name that a store URL gives. @throws invalid_config when there is none */
export type ResolveSecret = (name: string) => string

/** Storage classes that S3 knows; others are refused before the first upload, not after it. */
const storageClasses = ['STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR'] as const
const coldClasses = ['GLACIER', 'DEEP_ARCHIVE'] as const

/** Which parameters each scheme knows; the text of the error and the check are the same list. */
const parametersOf = {
  local: ['prune'],
  s3: ['endpoint', 'region', 'secret', 'checksums', 'sse', 'kmskey', 'class'],
  sftp: ['hostkey', 'secret'],
} as const

/**
 * Opens the store that a URL names. Nothing is connected before its first use.
 *
 * - `local:/abs/path` or `file:///abs/path`, `?prune=yes` removes directories that a deletion emptied
 * - `s3://bucket/prefix?region=eu-west-1&secret=NAME&endpoint=http://127.0.0.1:8333&checksums=required&sse=AES256&class=STANDARD`
 * - `sftp://user@host:22/abs/path?hostkey=SHA256:...&secret=NAME`, `hostkey` once for each accepted key
 *
 * A URL is shown in logs and pages, so secrets are named in it, never contained: `accessKeyId:secretAccessKey` for S3, a
 * password or a private key for SFTP.
 * @throws invalid_config for a URL that is not one of these, store_misconfigured for SFTP without a host key
 */
export function openStore(url: string, resolveSecret: ResolveSecret): Store {
  const parsed = parse(url)
  if (parsed.password !== '') {
    throw invalid(redact(parsed), 'it contains a password. Remove it and name a secret with secret=NAME')
  }
  switch (parsed.protocol) {
    case 'local:':
    case 'file:':
      return openLocal(parsed)
    case 's3:':
      return openS3(parsed, resolveSecret)
    case 'sftp:':
      return openSftp(parsed, resolveSecret)
    case 'unset:':
      throw new ReelkeepError(
        'store_misconfigured',
        'The address of this store is not known since the database was rebuilt from manifests. Say it with `reelkeep store add`.',
      )
    default:
      throw invalid(redact(parsed), 'its scheme is none of local, file, s3, sftp')
  }
}

function openLocal(url: URL): Store {
  const parameter = readParameters(url, 'local')
  const path = url.protocol === 'file:' ? fileURLToPath(url) : decodeURIComponent(url.pathname)
  if (url.host !== '' || !path.startsWith('/') || path.split('/').includes('..')) {
    throw invalid(redact(url), 'its path must be absolute, as in local:/srv/recordings')
  }
  const root = path.length > 1 ? path.replace(/\/+$/, '') : path
  return openLocalStore({
    root,
    pruneEmptyDirectories: oneOf(url, 'prune', parameter('prune'), ['yes', 'no']) === 'yes',
  })
}

function openS3(url: URL, resolveSecret: ResolveSecret): Store {
  const parameter = readParameters(url, 's3')
  const [endpoint, kmsKeyId] = [parameter('endpoint'), parameter('kmskey')]
  if (url.host === '' || url.username !== '') throw invalid(redact(url), 'it must begin with s3://bucket')
  const [accessKeyId = '', ...rest] = resolveSecret(required(url, 'secret', parameter('secret')))
    .trim()
    .split(':')
  const secretAccessKey = rest.join(':')
  if (accessKeyId === '' || secretAccessKey === '') {
    throw invalid(
      redact(url),
      `its secret ${String(parameter('secret'))} must have the form accessKeyId:secretAccessKey`,
    )
  }
  if (endpoint !== undefined && !/^https?:\/\/[^/@?#]+\/?$/.test(endpoint)) {
    throw invalid(redact(url), 'endpoint must be like https://host:port')
  }
  const storageClass = oneOf(url, 'class', parameter('class'), [...storageClasses, ...coldClasses])
  const encryption = oneOf(url, 'sse', parameter('sse'), ['AES256', 'aws:kms'])
  const options: S3StoreOptions = {
    bucket: url.host,
    prefix: decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, ''),
    region: parameter('region') ?? 'us-east-1',
    accessKeyId,
    secretAccessKey,
    checksums: oneOf(url, 'checksums', parameter('checksums'), ['supported', 'required']) ?? 'supported',
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(encryption === undefined ? {} : { encryption }),
    ...(kmsKeyId === undefined ? {} : { kmsKeyId }),
    ...(storageClass === undefined ? {} : { storageClass }),
  }
  return openS3Store(options)
}

function openSftp(url: URL, resolveSecret: ResolveSecret): Store {
  const parameter = readParameters(url, 'sftp')
  if (url.hostname === '' || url.username === '') throw invalid(redact(url), 'it must begin with sftp://user@host')
  const path = decodeURIComponent(url.pathname).replace(/\/+$/, '')
  return openSftpStore({
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 22 : Number(url.port),
    user: decodeURIComponent(url.username),
    root: path === '' ? '/' : path,
    // A plus in the base64 of a fingerprint is usually typed as it is, and arrives as a space.
    hostKeys: url.searchParams.getAll('hostkey').map((key) => key.replaceAll(' ', '+').replace(/=+$/, '')),
    secret: resolveSecret(required(url, 'secret', parameter('secret'))),
  })
}

function parse(url: string): URL {
  try {
    return new URL(url)
  } catch {
    // The text may hold a password in a place that no parser recognises: it is not repeated.
    throw invalid('A store URL', 'it is no URL. Write local:/path, s3://bucket/prefix?... or sftp://user@host/path?...')
  }
}

function readParameters<S extends keyof typeof parametersOf>(
  url: URL,
  scheme: S,
): (name: (typeof parametersOf)[S][number]) => string | undefined {
  const allowed: readonly string[] = parametersOf[scheme]
  const unknown = [...url.searchParams.keys()].filter((name) => !allowed.includes(name))
  if (unknown.length > 0 || url.hash !== '') {
    const problem = unknown.length > 0 ? `it has unknown parameters: ${unknown.join(', ')}` : 'it has a fragment (#)'
    throw invalid(redact(url), `${problem}. Allowed for ${scheme}: ${allowed.join(', ')}`)
  }
  const repeated = allowed.find((name) => name !== 'hostkey' && url.searchParams.getAll(name).length > 1)
  if (repeated !== undefined) throw invalid(redact(url), `${repeated} is given more than once`)
  return (name) => url.searchParams.get(name) ?? undefined
}

function required(url: URL, name: string, value: string | undefined): string {
  if (value !== undefined && value !== '') return value
  throw invalid(redact(url), `it needs ${name}=NAME`)
}

function oneOf<T extends string>(
  url: URL,
  name: string,
  value: string | undefined,
  allowed: readonly T[],
): T | undefined {
  const found = allowed.find((one) => one === value)
  if (value === undefined || found !== undefined) return found
  throw invalid(redact(url), `${name} must be one of ${allowed.join(', ')}`)
}

/** Scheme, host and path: enough to find the URL in a configuration, without anything that may be secret. */
function redact(url: URL): string {
  return `${url.protocol}${url.host === '' ? '' : `//${url.host}`}${url.pathname}`
}

function invalid(what: string, problem: string): ReelkeepError {
  return new ReelkeepError('invalid_config', `The store URL ${what} cannot be used: ${problem}.`)
}
