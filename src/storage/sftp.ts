import { createHash } from 'node:crypto'
import SftpClient from 'ssh2-sftp-client'
import type { Client } from 'ssh2'
import { ReelkeepError } from '../domain/errors.ts'
import { msPer } from '../domain/units.ts'
import { proveAccess } from './check.ts'
import { directoryOfPrefix, requireSafeKey } from './keys.ts'
import { createPool } from './pool.ts'
import { deleteObject, look, putObject, readObject, statObject, sweep } from './sftp-operations.ts'
import type { SftpPlace } from './sftp-operations.ts'
import { unavailable, wrapSession } from './sftp-session.ts'
import type { SftpConnection, SftpSession } from './sftp-session.ts'
import type { Store } from './store.ts'
import { walkTree } from './tree.ts'
import { createTurns } from './turns.ts'

/** Where an SFTP store is and who may be believed to be it. */
export interface SftpStoreOptions {
  readonly host: string
  readonly port: number
  readonly user: string
  /** Absolute path on the server. */
  readonly root: string
  /** A password, or a private key in PEM or OpenSSH form. */
  readonly secret: string
  /** Accepted host keys as `SHA256:...`; more than one while a server changes its key. */
  readonly hostKeys: readonly string[]
  /** Connections at the same time: one alone moves 2 MiB for each round trip. */
  readonly connections?: number
  /** Longest wait for one answer. */
  readonly timeoutMs?: number
}

/** The client's types leave out the connection itself, but only there can Nagle's delay be switched off. */
class QuietClient extends SftpClient {
  declare readonly client: Client
}

/**
 * A directory on an SFTP server as a store. Writes go to `.tmp/` at its root and are renamed without overwriting. OpenSSH
 * refuses a taken name itself; for servers that overwrite, the name is looked at before, and puts of one key from this
 * process follow each other.
 *
 * Names that are not UTF-8 are listed as `unreadable`: the protocol's client can show but not say them.
 * @throws store_misconfigured without a host key to compare with
 */
export function openSftpStore(options: SftpStoreOptions): Store {
  const label = `sftp://${options.host}:${options.port}${options.root}`
  if (options.hostKeys.length === 0) throw noHostKey(label, options)
  const timeoutMs = options.timeoutMs ?? 30 * msPer.second
  const root = options.root === '/' ? '' : options.root
  const place: SftpPlace = {
    label,
    root,
    timeoutMs,
    pool: createPool(options.connections ?? 3, () => connect(label, options, timeoutMs)),
    path: (key) => `${root}/${key}`,
  }
  const turns = createTurns(1)
  const guarded = async <T>(key: string, job: () => Promise<T>): Promise<T> => {
    requireSafeKey(label, key)
    return job()
  }
  const store: Store = {
    label,
    remote: true,
    can: { fileIds: false, resume: true },
    list: (prefix, signal) => {
      const start = directoryOfPrefix(label, prefix)
      return walkTree(start, (at) => place.pool.use((session) => look(place, session, at, at === start)), signal)
    },
    stat: (key) => guarded(key, () => place.pool.use((session) => statObject(place, session, key))),
    read: (key, range, signal) => guarded(key, () => readObject(place, key, range, signal)),
    put: (key, source, put) => guarded(key, () => turns.take(key, () => putObject(store, place, key, source, put))),
    delete: (key) => guarded(key, () => place.pool.use((session) => deleteObject(place, session, key))),
    sweepUnfinished: (olderThanMs) => place.pool.use((session) => sweep(place, session, olderThanMs)),
    check: () => proveAccess(store),
    close: async () => place.pool.clear((session) => session.end()),
  }
  return store
}

async function connect(label: string, options: SftpStoreOptions, timeoutMs: number): Promise<SftpSession> {
  const quiet = () => {}
  const sftp = new QuietClient('reelkeep', { error: quiet, end: quiet, close: quiet })
  const { client } = sftp
  let lost = false
  client.on('close', () => (lost = true))
  const connection: SftpConnection = {
    heardAtMs: 0,
    isLost: () => lost,
    destroy() {
      lost = true
      client.destroy()
    },
  }
  let shown: string | null = null
  const timer = setTimeout(() => connection.destroy(), timeoutMs)
  try {
    const raw = await sftp.connect({
      host: options.host,
      port: options.port,
      username: options.user,
      ...(options.secret.includes('-----BEGIN') ? { privateKey: options.secret } : { password: options.secret }),
      readyTimeout: timeoutMs,
      keepaliveInterval: 10 * msPer.second,
      keepaliveCountMax: 3,
      hostVerifier(key: Buffer) {
        shown = `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
        return options.hostKeys.includes(shown)
      },
    })
    client.setNoDelay(true)
    return wrapSession(label, raw, timeoutMs, connection)
  } catch (error) {
    connection.destroy()
    throw explainConnect(label, options, shown, error)
  } finally {
    clearTimeout(timer)
  }
}

function explainConnect(label: string, options: SftpStoreOptions, shown: string | null, error: unknown): ReelkeepError {
  if (shown !== null && !options.hostKeys.includes(shown)) {
    const message =
      `${label} showed the host key ${shown}, which is not the configured one. Nothing was sent. ` +
      'If the server was changed on purpose, put this key into hostkey= of the store URL; if not, somebody is in between.'
    return new ReelkeepError('host_key_mismatch', message, { cause: error, details: { shown } })
  }
  const text = error instanceof Error ? error.message : String(error)
  if (/authentication/i.test(text)) {
    const message = `${label} refused the user ${options.user}. Check the user name and the secret.`
    return new ReelkeepError('store_denied', message, { cause: error })
  }
  if (/privateKey/i.test(text)) {
    const message = `${label}: the private key cannot be read. Give it in PEM or OpenSSH form without a passphrase.`
    return new ReelkeepError('store_misconfigured', message, { cause: error })
  }
  return unavailable(label, text, error)
}

function noHostKey(label: string, { host, port }: SftpStoreOptions): ReelkeepError {
  return new ReelkeepError(
    'store_misconfigured',
    `${label} has no host key to compare with, so it would believe any server. Get it over a way you trust, e.g. ` +
      `\`ssh-keyscan -t ed25519 -p ${port} ${host} | ssh-keygen -lf -\`, and add hostkey=SHA256:... to the store URL.`,
  )
}
