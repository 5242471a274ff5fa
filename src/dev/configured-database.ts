import { openDatabase } from '../db/connect.ts'
import { ReelkeepError } from '../domain/errors.ts'

/**
 * Makes sure that a database which somebody else runs can be used, before anything is changed in it.
 * @throws invalid_config with what to do; it never repeats the URL, which holds a password
 */
export async function requireDatabase(setting: 'DATABASE_URL' | 'DATABASE_OWNER_URL', url: string): Promise<void> {
  const place = readPlace(setting, url)
  const db = openDatabase(url, { maxConnections: 1 })
  try {
    await db.ping()
  } catch (cause) {
    throw new ReelkeepError('invalid_config', `${setting} cannot be used: ${explain(cause, place)}`, { cause })
  } finally {
    await db.close()
  }
}

interface Place {
  readonly server: string
  readonly role: string
  readonly database: string
}

function readPlace(setting: string, text: string): Place {
  try {
    const url = new URL(text)
    if (/^postgres(ql)?:$/.test(url.protocol) && url.hostname !== '')
      return {
        server: `${url.hostname}:${url.port || 5432}`,
        role: decodeURIComponent(url.username),
        database: decodeURIComponent(url.pathname.slice(1)),
      }
  } catch {
    // Answered below, without the text: it may hold a password anywhere.
  }
  throw new ReelkeepError(
    'invalid_config',
    `${setting} is no address of a database. Write postgres://role:password@host:5432/reelkeep.`,
  )
}

function explain(error: unknown, { server, role, database }: Place): string {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code.startsWith('28')) return `Postgres at ${server} refuses the role "${role}". Check the role and its password.`
  if (code === '3D000')
    return `Postgres at ${server} has no database "${database}". Create it, owned by the role of DATABASE_OWNER_URL.`
  if (code === '42501')
    return `Postgres at ${server} does not let the role "${role}" into "${database}". Grant it CONNECT there.`
  const reason = error instanceof ReelkeepError && error.cause instanceof Error ? error.cause : error
  const words = reason instanceof Error ? reason.message || code : String(reason)
  return `Postgres at ${server} does not answer (${words}). Check that it runs there, or correct the address.`
}
