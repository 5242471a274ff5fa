import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { findHome, keyFile, readStackFile } from '../dev/home.ts'
import { isErrorCode, ReelkeepError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/errors.ts'

/** The HTTP API as a person with a key uses it. Paths are relative to `/api/v1`. */
export interface ApiClient {
  readonly url: string
  get<T>(path: string, query?: Query): Promise<T>
  /** Every item of a list, page by page, at most `limit`. */
  list<T>(path: string, query?: Query, limit?: number): Promise<readonly T[]>
  /** Gives a command once: it is repeated under the same Idempotency-Key while the API is away for a moment. */
  post<T>(path: string, body?: unknown): Promise<T>
}

type Query = Readonly<Record<string, string | number | undefined>>

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[]
  readonly nextCursor: string | null
}

const attempts = 3
const pauseMs = 500

/** Where the API is and who asks. */
export interface Credentials {
  readonly url: string
  readonly key: string
}

/**
 * Address and key: given, else `REELKEEP_URL` and `REELKEEP_KEY`, else those of the local stack in `REELKEEP_HOME`.
 * @throws invalid_config naming what is missing
 */
export async function findCredentials(
  env: NodeJS.ProcessEnv,
  given: { url?: string | undefined; key?: string | undefined },
): Promise<Credentials> {
  const home = findHome(env)
  const url = given.url ?? env['REELKEEP_URL'] ?? (await readStackFile(home))?.url
  const key =
    given.key ?? env['REELKEEP_KEY'] ?? (await readFile(keyFile(home, 'admin'), 'utf8').catch(() => undefined))
  if (url === undefined)
    throw new ReelkeepError(
      'invalid_config',
      `There is no stack in ${home.root}. Start one with \`reelkeep up\`, or give --url.`,
    )
  if (key === undefined)
    throw new ReelkeepError('invalid_config', 'There is no API key. Give --key, or set REELKEEP_KEY.')
  return { url: url.replace(/\/+$/, ''), key: key.trim() }
}

/** Opens nothing: every call is a request of its own. */
export function openApi({ url, key }: Credentials): ApiClient {
  const get = <T>(path: string, query: Query = {}) => request<T>(`${url}/api/v1${path}${queryText(query)}`, key, 'GET')
  return {
    url,
    get,
    async list<T>(path: string, query: Query = {}, limit = 10_000) {
      const items: T[] = []
      let cursor: string | undefined
      do {
        const page = await get<Page<T>>(path, { ...query, limit: Math.min(100, limit), cursor })
        items.push(...page.items)
        cursor = page.nextCursor ?? undefined
      } while (cursor !== undefined && items.length < limit)
      return items.slice(0, limit)
    },
    post: <T>(path: string, body: unknown = {}) => request<T>(`${url}/api/v1${path}`, key, 'POST', body),
  }
}

function queryText(query: Query): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value))
  return parameters.size === 0 ? '' : `?${parameters.toString()}`
}

async function request<T>(url: string, key: string, method: 'GET' | 'POST', body?: unknown): Promise<T> {
  const headers = {
    Authorization: `Bearer ${key}`,
    ...(method === 'POST' && { 'Content-Type': 'application/json', 'Idempotency-Key': randomUUID() }),
  }
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => unreachable(url, cause))
    const failure = response instanceof ReelkeepError ? response : response.ok ? null : await readProblem(response)
    if (failure === null && !(response instanceof ReelkeepError)) return readAnswer<T>(response)
    if (failure !== null && (failure.kind !== 'unavailable' || attempt >= attempts)) throw failure
    await new Promise((resolve) => setTimeout(resolve, pauseMs * attempt))
  }
}

function unreachable(url: string, cause: unknown): ReelkeepError {
  const message = `The API at ${new URL(url).origin} does not answer. Start it with \`reelkeep up\`, or check --url.`
  return new ReelkeepError('pipeline_unavailable', message, { cause })
}

async function readAnswer<T>(response: Response): Promise<T> {
  const text = await response.text()
  // Client and API are one release; the API's own schema holds what it answers.
  const answer: T = JSON.parse(text === '' ? 'null' : text)
  return answer
}

/** The API's problem+json as the error it was; anything else (a proxy's page) by its status. */
async function readProblem(response: Response): Promise<ReelkeepError> {
  const text = await response.text()
  try {
    const problem: { code?: unknown; detail?: unknown } = JSON.parse(text)
    const { code, detail } = problem
    if (isErrorCode(code) && typeof detail === 'string') return new ReelkeepError(code, detail)
  } catch {
    // No JSON: answered below.
  }
  const what = new URL(response.url).pathname
  return new ReelkeepError(
    codeOf(response.status),
    `${what} answered ${response.status} ${response.statusText}. Check that --url is Reelkeep's API.`,
  )
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return 'unauthenticated'
  if (status === 403) return 'forbidden'
  if (status === 404) return 'not_found'
  return status >= 500 ? 'pipeline_unavailable' : 'invalid_request'
}
