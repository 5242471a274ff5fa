import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { ensureKey, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { hashSecret, makeKey } from '../../src/api/auth.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { startServer } from '../../src/server.ts'
import type { RunningServer } from '../../src/server.ts'
import { startSeaweed } from '../servers/s3.ts'
import type { S3Server } from '../servers/s3.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let sftp: SftpServer
let s3: S3Server
let world: World
let api: RunningServer
/** The home of the command line: a machine that has nothing of the stack but its secrets. */
let home = ''
let key = ''

beforeAll(async () => {
  ;[sftp, s3] = await Promise.all([startSshd(), startSeaweed()])
  const secrets = {
    [`REELKEEP_SECRET_${sftp.secretName}`]: sftp.secret,
    [`REELKEEP_SECRET_${s3.secretName}`]: s3.secret,
  }
  world = await startWorld({ urls: { inbox: sftp.url() }, env: secrets })
  api = await startServer({ ...world.config, api: { ...world.config.api, port: 0 } })
  home = await mkdtemp(join(tmpdir(), 'reelkeep-drop-'))
  await mkdir(join(home, 'secrets'))
  await writeFile(join(home, 'secrets', sftp.secretName), sftp.secret)
  await writeFile(join(home, 'secrets', s3.secretName), s3.secret)
  key = makeKey()
  const owner = { assignment: 'automatic', defaultOwnerId: world.people.ada.personId, quietMs: 3000 } as const
  await world.addRecorder({ name: 'sftp', ...owner })
  await world.db.asAccount(world.accountId, async (tx) => {
    const made = { personId: world.people.ada.personId, label: 'drop', keySha256: hashSecret(key) }
    await ensureKey(tx, { ...made, scopes: ['read', 'write', 'admin'] })
    const bucket = await ensureStore(tx, { name: 'bucket', site: 'c', role: 'inbox', url: s3.url('in') })
    await ensureRecorder(tx, { inboxId: bucket, name: 's3', directory: 'hall', ...owner })
    const away = await ensureStore(tx, {
      name: 'away',
      site: 'd',
      role: 'inbox',
      url: sftp.url().replace(`:${sftp.port}/`, ':1/'),
    })
    await ensureRecorder(tx, { inboxId: away, name: 'away', directory: 'away', ...owner })
    const moved = await ensureStore(tx, {
      name: 'moved',
      site: 'e',
      role: 'inbox',
      url: sftp.url().replace(/hostkey=[^&]*/, 'hostkey=SHA256:other'),
    })
    await ensureRecorder(tx, { inboxId: moved, name: 'moved', directory: 'moved', ...owner })
  })
  // The worker schedules every inbox when it starts.
  await world.restartWorkers()
})
afterAll(async () => {
  await api?.stop()
  await world?.stop()
  await Promise.all([sftp?.stop(), s3?.stop()])
  await rm(home, { recursive: true, force: true })
})
afterEach(() => {
  process.exitCode = undefined
})

interface Run {
  readonly out: string
  readonly said: string
  readonly error: unknown
  readonly shown: readonly string[]
}

/** Runs `reelkeep drop`; `onStatus` looks at the world while bytes are on their way. */
async function drop(
  args: readonly string[],
  env: NodeJS.ProcessEnv = { DATABASE_URL: world.config.databaseUrl },
  onStatus: () => void = () => undefined,
): Promise<Run> {
  const out: string[] = []
  const said: string[] = []
  const shown: string[] = []
  const terminal = {
    answer: (line: string) => void out.push(line),
    say: (line: string) => void said.push(line),
    status: (line: string) => {
      shown.push(line)
      onStatus()
    },
  }
  const error = await createProgram({
    env: { REELKEEP_HOME: home, REELKEEP_URL: `http://127.0.0.1:${api.port}`, REELKEEP_KEY: key, ...env },
    terminal,
  })
    .parseAsync(['node', 'reelkeep', 'drop', ...args])
    .then(
      () => null,
      (thrown: unknown) => thrown,
    )
  return { out: out.join('\n'), said: said.join('\n'), error, shown }
}

async function sample(name: string, seed: number): Promise<string> {
  const file = join(home, name)
  await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed, codec: 'vp8-webm' })
  return file
}

const limit = { timeout: 180_000 }

test.each([
  ['sftp', 301],
  ['s3', 302],
] as const)('dropped into %s, it is kept: exit code 0 and what comes next', limit, async (recorder, seed) => {
  const file = await sample(`A talk, 100% & ünïcode ${recorder}.webm`, seed)
  const { out, said, error } = await drop([file, '--recorder', recorder])
  expect(error).toBeNull()
  expect(process.exitCode).toBeUndefined()
  expect(said).toContain('deposit accepted')
  expect(said).toContain('Encoding')
  expect(out).toMatch(/^[0-9a-f-]{36} "A talk, 100% & ünïcode (sftp|s3)" is retained\. Next: /)
})

test('bytes that are no recording end with exit code 1, the reason and the next step', limit, async () => {
  const file = join(home, 'noise.mp4')
  await writeFile(file, 'these are no pictures')
  const { out, error } = await drop([file, '--recorder', 'sftp'])
  expect(error).toBeNull()
  expect(process.exitCode).toBe(1)
  expect(out).toMatch(/^sftp\/noise\.mp4: quarantined\. .+ Next: .+/)
})

test('the same bytes again are told apart from a failure', limit, async () => {
  await sample('first.webm', 303)
  await copyFile(join(home, 'first.webm'), join(home, 'second.webm'))
  const [first, second] = [
    await drop([join(home, 'first.webm'), '--recorder', 'sftp']),
    await drop([join(home, 'second.webm'), '--recorder', 'sftp']),
  ]
  expect(second.error).toBeNull()
  expect(process.exitCode).toBeUndefined()
  expect(second.out).toContain(
    `sftp/second.webm: duplicate. These bytes are recording ${first.out.slice(0, 36)} already.`,
  )
})

test('over SFTP the final name appears only with the whole file behind it', limit, async () => {
  const file = join(home, 'big.mp4')
  await writeFile(file, randomBytes(6_000_000))
  const names = new Set<string>()
  const { error, shown } = await drop([file, '--recorder', 'sftp', '--no-wait'], undefined, () => {
    for (const entry of readdirSync(sftp.directory, { recursive: true })) names.add(String(entry))
  })
  expect(error).toBeNull()
  const bars = shown.filter((line) => line.includes('sending'))
  expect(bars.at(-1)).toBe('  sending [########################] 100 %')
  expect(bars.length).toBeGreaterThan(3)
  expect([...names].some((name) => /^\.tmp\/.+\.part$/.test(name))).toBe(true)
  // The last look is the one after it ended.
  expect(await readdir(join(sftp.directory, '.tmp'))).toEqual([])
  expect((await readFile(join(sftp.directory, 'sftp', 'big.mp4'))).equals(await readFile(file))).toBe(true)
})

test('into a bucket it is put whole: nobody ever lists a part of it', limit, async () => {
  const file = join(home, 'parts.mp4')
  await writeFile(file, randomBytes(40_000_000))
  const looks: Promise<number | undefined>[] = []
  const look = async () => {
    const { Contents } = await s3.client.listObjectsV2({ Bucket: s3.bucket, Prefix: 'in/hall/parts' })
    return Contents?.[0]?.Size
  }
  const { error, shown } = await drop([file, '--recorder', 's3', '--no-wait'], undefined, () => looks.push(look()))
  expect(error).toBeNull()
  expect(shown.filter((line) => line.includes('sending')).length).toBeGreaterThan(1)
  expect(new Set([...(await Promise.all(looks)), 40_000_000, undefined])).toEqual(new Set([40_000_000, undefined]))
  expect(await look()).toBe(40_000_000)
})

test('what waits under that name is left alone', limit, async () => {
  await mkdir(join(sftp.directory, 'sftp'), { recursive: true })
  await writeFile(join(sftp.directory, 'sftp', 'taken.txt'), 'theirs')
  await s3.client.putObject({ Bucket: s3.bucket, Key: 'in/hall/taken.txt', Body: 'theirs' })
  await writeFile(join(home, 'taken.txt'), 'ours')
  for (const recorder of ['sftp', 's3']) {
    const { error } = await drop([join(home, 'taken.txt'), '--recorder', recorder])
    expect(error).toMatchObject({ code: 'object_exists', message: expect.stringContaining('use another name') })
  }
  expect(await readFile(join(sftp.directory, 'sftp', 'taken.txt'), 'utf8')).toBe('theirs')
  const held = await s3.client.getObject({ Bucket: s3.bucket, Key: 'in/hall/taken.txt' })
  expect(await held.Body?.transformToString()).toBe('theirs')
})

test('from a machine without the database, the address is given, or the error says how', limit, async () => {
  const file = join(home, 'far.txt')
  await writeFile(file, 'far')
  const blind = await drop([file, '--recorder', 's3', '--no-wait'], {})
  expect(blind.error).toMatchObject({ code: 'invalid_request', message: expect.stringContaining('--inbox-url') })
  const told = await drop([file, '--recorder', 's3', '--no-wait', '--inbox-url', s3.url('in')], {})
  expect(told.error).toBeNull()
  expect((await s3.client.headObject({ Bucket: s3.bucket, Key: 'in/hall/far.txt' })).ContentLength).toBe(3)
})

test.each<[string, string, string, Record<string, string>]>([
  ['moon', 'not_found', 'There are: ', {}],
  ['away', 'store_unavailable', 'retried', {}],
  ['moved', 'host_key_mismatch', 'hostkey=', {}],
  ['s3', 'store_denied', 'key pair', { REELKEEP_SECRET_TEST_S3: 'nobody:nothing' }],
  ['sftp', 'store_denied', 'secret', { REELKEEP_SECRET_TEST_SFTP: 'a wrong password' }],
])('into %s: %s', limit, async (recorder, code, words, env) => {
  const file = join(home, 'refused.txt')
  await writeFile(file, 'x')
  const run = await drop([file, '--recorder', recorder], { DATABASE_URL: world.config.databaseUrl, ...env })
  expect(run.error).toMatchObject({ code, message: expect.stringContaining(words) })
  expect(run.out).toBe('')
})
