import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'
import { Client } from 'pg'
import { hasCode, ReelkeepError } from '../../src/domain/errors.ts'
import type { Command } from '../../src/domain/commands.ts'
import type { Actor } from '../../src/domain/permissions.ts'
import type { Policy } from '../../src/domain/policy.ts'
import { msPer } from '../../src/domain/units.ts'
import { armName } from '../../src/failpoints/failpoint.ts'
import type { FailpointAction, FailpointName } from '../../src/failpoints/names.ts'
import type { Dropped, Told } from '../oracle/judge.ts'
import type { S3Server } from '../servers/s3.ts'
import type { World } from '../setup/world.ts'

/** Retention that is over in seconds, so that whole lives pass on the real clock. */
export const hastyPolicy: Policy = {
  version: 1,
  claim: { remindAfterMs: [2000], escalateAfterMs: 4000, expireAfterMs: 20_000 },
  retention: {
    rules: [{ id: 'hasty', name: 'Recordings are kept for seconds', when: {}, keepMs: 5000 }],
    remindBeforeMs: [1000],
  },
  disposition: { approvals: 1, undoMs: 2000, remindEveryMs: msPer.minute },
  copies: { count: 2, sites: 2 },
}

/** A deposit and what it became, as a look at the database shows it. */
export interface Sight {
  readonly depositId: string
  readonly path: string
  readonly depositState: string
  readonly recordingId: string | null
  readonly state: string | null
  readonly planHash: string | null
  readonly ownerId: string | null
  readonly holds: number
  readonly problems: readonly {
    stage: string
    code: string
    message: string
    options: string[]
    next_retry_at: string | null
  }[]
}

/** Looks at all deposits at once, again and again: a hundred lives must not cost a hundred looks. */
export class Watcher {
  /** What the last look saw, the newest first. */
  get sights(): readonly Sight[] {
    return this.#sights
  }

  readonly #client: Client
  #sights: readonly Sight[] = []
  #stopped = false
  readonly #watching: Promise<void>

  private constructor(client: Client) {
    this.#client = client
    this.#watching = this.#watch()
  }

  static async open(url: string): Promise<Watcher> {
    const client = new Client(url)
    await client.connect()
    return new Watcher(client)
  }

  /** Waits until the newest deposit at this path is wanted. */
  async until(path: string, what: string, wanted: (sight: Sight) => boolean, forMs: number): Promise<Sight> {
    const untilMs = Date.now() + forMs
    for (;;) {
      const found = this.#sights.find((sight) => sight.path === path)
      if (found !== undefined && wanted(found)) return found
      if (Date.now() > untilMs)
        throw new Error(`${path}: waited ${forMs} ms for ${what}; it is ${JSON.stringify(found)}`)
      await pause(100)
    }
  }

  async close(): Promise<void> {
    this.#stopped = true
    await this.#watching
    await this.#client.end()
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const { rows } = await this.#client.query<Sight>(`
        select d.id as "depositId", d.path, d.state as "depositState", d.recording_id as "recordingId", r.state,
               r.plan_hash as "planHash", r.owner_id as "ownerId",
               (select count(*)::integer from holds h where h.recording_id = d.id and h.released_at is null) as holds,
               coalesce((select jsonb_agg(p) from problems p where p.recording_id = d.id and p.resolved_at is null), '[]') as problems
        from deposits d left join recordings r on r.id = d.id order by d.first_seen_at desc`)
      this.#sights = rows
      await pause(150)
    }
  }
}

/** Arms one failpoint. */
export async function arm(
  directory: string,
  wanted: { point: FailpointName; subject: string | null; action: FailpointAction; times: number },
): Promise<void> {
  await writeFile(join(directory, armName({ ...wanted, id: randomUUID() })), '')
}

/** Waits until what was armed for this subject was played as often as it was to be. */
export async function untilMet(
  directory: string,
  { point }: { readonly point: FailpointName },
  subject: string,
  forMs = 60_000,
): Promise<void> {
  for (const untilMs = Date.now() + forMs; Date.now() < untilMs; await pause(100))
    if (!(await readdir(directory)).some((name) => name.startsWith(`${point}~${subject}`))) return
}

/** The workflows with short timeouts, as workers load them from a file. */
export async function writeBundle(path: string): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: new URL('../../src/workflows/index.ts', import.meta.url).pathname,
    logger: new DefaultLogger('WARN'),
    webpackConfigHook: (config) => ({
      ...config,
      resolve: {
        ...config.resolve,
        alias: {
          ...(config.resolve?.alias as Record<string, string> | undefined),
          './timeouts.ts$': new URL('./short-timeouts.ts', import.meta.url).pathname,
        },
      },
    }),
  })
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, code)
  return path
}

/**
 * Gives a command as a patient person does: the same request again while nobody answers. Returns the refusal, if it was one.
 */
export async function command(
  world: Pick<World, 'pipeline'>,
  told: Told[],
  recordingId: string,
  actor: Actor,
  what: Command,
  forMs = 120_000,
): Promise<ReelkeepError | null> {
  const requestId = randomUUID()
  const beganAtMs = Date.now()
  const note = (accepted: boolean) =>
    told.push({
      recordingId,
      kind: what.kind,
      personId: actor.personId,
      accepted,
      beganAtMs,
      endedAtMs: Date.now(),
      detail: { ...what, requestId },
    })
  for (;;) {
    try {
      await world.pipeline.command(recordingId, { command: what, actor, requestId })
      note(true)
      return null
    } catch (error) {
      if (!(error instanceof ReelkeepError)) throw error
      if (!hasCode(error, 'pipeline_unavailable') && !hasCode(error, 'database_unavailable')) {
        note(false)
        return error
      }
      if (Date.now() > beganAtMs + forMs) throw error
      await pause(500)
    }
  }
}

const uniqueBoxBytes = 24

/**
 * A playable file of its own bytes at no cost: a good MP4 with a `free` box behind it, as any tool may leave one.
 * `padBytes` makes it as large as a test needs.
 */
export function makeUnique(base: Buffer, padBytes = 0): Buffer {
  const box = Buffer.alloc(uniqueBoxBytes + padBytes)
  box.writeUInt32BE(box.length)
  box.write('free', 4, 'latin1')
  box.write(randomUUID().replaceAll('-', '').slice(0, 16), 8, 'latin1')
  return Buffer.concat([base, box])
}

/** What the oracle is told of bytes that were dropped. */
export function describeDrop(inbox: string, path: string, bytes: Buffer, kind: Dropped['kind']): Dropped {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { inbox, path, sha256, sizeBytes: bytes.length, kind, finishedAtMs: Date.now() }
}

/** A prefix of an S3 server's bucket, as the oracle opens it. */
export function describeBucket({ bucket, secret, ...server }: S3Server, prefix: string, endpoint = server.endpoint) {
  const [accessKeyId = '', secretAccessKey = ''] = secret.split(':')
  return { kind: 's3' as const, endpoint, bucket, prefix, accessKeyId, secretAccessKey }
}

/** Puts bytes into a directory the way a careful recorder does (`rename`), or a careless one (`write`). */
export async function deposit(path: string, bytes: Buffer, how: 'rename' | 'write'): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  if (how === 'write') return writeFile(path, bytes)
  const temporary = join(dirname(path), `.${randomUUID()}.part`)
  await writeFile(temporary, bytes)
  await rename(temporary, path)
}

/** What was really played, from the log the failpoints keep. */
export async function listPlayed(directory: string): Promise<{ point: string; subject: string; action: string }[]> {
  const text = await readFile(join(directory, 'played', 'log.jsonl'), 'utf8').catch(() => '')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { point: string; subject: string; action: string })
}
