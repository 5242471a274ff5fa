import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client, Connection } from '@temporalio/client'
import { Client as Postgres } from 'pg'
import { SMTPServer } from 'smtp-server'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { hashSecret, makeKey } from '../../src/api/auth.ts'
import { loadConfig } from '../../src/config.ts'
import { ensureAccount, ensureKey, ensurePerson, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { runDoctor } from '../../src/dev/doctor.ts'
import { findHome } from '../../src/dev/home.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { stockRecordings } from '../races/stock.ts'
import { freePorts } from '../servers/process.ts'
import { startS3Double } from '../servers/s3-double.ts'
import type { S3Double } from '../servers/s3-double.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

/** Everything that must never be read anywhere, by the name of what it opens. */
const planted = {
  databasePassword: `db/${randomBytes(9).toString('base64')}+&`,
  s3Secret: `s3/${randomBytes(15).toString('base64')}`,
  sftpPassword: `sftp ${randomBytes(9).toString('base64')}?`,
  sftpKey: '',
  smtpPassword: `smtp/${randomBytes(9).toString('base64')}@:`,
  signingKey: '',
  apiKey: makeKey(),
  wrongKey: makeKey(),
  sessionToken: '',
  podSalt: `salt ${randomBytes(9).toString('base64')}`,
}

/** A secret as it may be written down: as it is, as a part of a URL, and in base64, alone or as mail servers hear it. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const heard = Buffer.from(`\0keeper\0${secret}`)
  const forms = [
    secret,
    encodeURIComponent(secret),
    encodeURI(secret),
    new URLSearchParams({ s: secret }).toString().slice(2),
  ]
  const coded = [bytes, heard].flatMap((one) => [one.toString('base64'), one.toString('base64url')])
  // The last characters of base64 depend on what follows.
  return [
    ...new Set([
      ...forms,
      JSON.stringify(secret).slice(1, -1),
      ...coded.map((text) => text.replace(/=+$/, '').slice(0, -2)),
    ]),
  ]
}

/** Which of the planted secrets stand in a text. */
function findSecrets(text: string): string[] {
  return Object.entries(planted).flatMap(([name, secret]) => {
    return secret !== '' && formsOf(secret).some((form) => text.includes(form)) ? [name] : []
  })
}

interface Spoken {
  readonly name: string
  readonly child: ChildProcess
  text: string
}

let world: World
let sshd: SftpServer
let s3: S3Double
let smtp: SMTPServer
let settings: Record<string, string>
let api: Spoken & { url: string }
let worker: Spoken
let metricsPort = 0
const processes: Spoken[] = []
const answers: string[] = []

function run(name: string, script: string, env: Record<string, string>): Spoken {
  const root = new URL('../../', import.meta.url).pathname
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, script)], {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
  })
  const spoken: Spoken = { name, child, text: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (spoken.text += chunk.toString()))
  processes.push(spoken)
  return spoken
}

async function until(what: string, holds: () => Promise<boolean> | boolean, forMs = 90_000): Promise<void> {
  const endMs = Date.now() + forMs
  while (Date.now() < endMs) {
    if (await holds()) return
    await pause(200)
  }
  throw new Error(`Waited ${forMs} ms for ${what}`)
}

async function runApi(name: string, env: Record<string, string>): Promise<Spoken & { url: string }> {
  const [port = 0] = await freePorts(1)
  const spoken = run(name, 'src/server.ts', { ...env, API_PORT: String(port) })
  await until(`${name} listens`, () => spoken.text.includes('"listening"'))
  return Object.assign(spoken, { url: `http://127.0.0.1:${port}` })
}

async function ask(
  url: string,
  init: Omit<RequestInit, 'headers'> & { headers?: Record<string, string> } = {},
  key = planted.apiKey,
): Promise<Response> {
  const response = await fetch(url, {
    redirect: 'manual',
    ...init,
    headers: { Authorization: `Bearer ${key}`, ...init.headers },
  })
  const text = await response.clone().text()
  answers.push(`${url} ${response.status} ${JSON.stringify([...response.headers])} ${text}`)
  return response
}

beforeAll(async () => {
  sshd = await startSshd()
  s3 = await startS3Double()
  for (const on of ['PutObject', 'GetObject', 'HeadObject', 'CreateUpload', 'ListObjects', 'DeleteObject'] as const)
    s3.faults.push({ on, times: 100_000, does: { kind: 'answer', status: 403, code: 'SignatureDoesNotMatch' } })
  smtp = new SMTPServer({
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    onAuth: (_auth, _session, done) => done(Object.assign(new Error('5.7.8 no'), { responseCode: 535 })),
  })
  await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve))
  const [nobodyPort = 0, workerMetrics = 0] = await freePorts(2)
  metricsPort = workerMetrics
  world = await startWorld()
  // Only the processes that are listened to work in this world.
  await world.workers.stop()
  world.workers = { done: Promise.resolve(), stop: async () => undefined }

  const keyFile = join(world.home, 'user_key')
  await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyFile])
  const privateKey = await readFile(keyFile, 'utf8')
  planted.sftpKey = privateKey.split('\n')[2] ?? ''
  const signing = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  planted.signingKey = signing.split('\n')[1] ?? ''
  const signingFile = join(world.home, 'planted.pem')
  await writeFile(signingFile, signing)
  const secretsDir = join(world.home, 'secrets')
  await writeFile(join(secretsDir, 's3'), `AKIAREADABLE:${planted.s3Secret}`)
  await writeFile(join(secretsDir, 's3half'), planted.s3Secret)
  await writeFile(join(secretsDir, 'sftpkey'), privateKey)
  await writeFile(join(secretsDir, 'brokenkey'), privateKey.replace(/\n(?=-----END)/, 'broken'))

  const smtpPort = (smtp.server.address() as AddressInfo).port
  settings = {
    DATABASE_URL: world.config.databaseUrl,
    TEMPORAL_ADDRESS: world.config.temporal.address,
    TEMPORAL_NAMESPACE: world.config.temporal.namespace,
    SIGNING_KEY_FILE: signingFile,
    SECRETS_DIR: secretsDir,
    REELKEEP_SECRET_sftppassword: planted.sftpPassword,
    SMTP_URL: `smtp://keeper:${encodeURIComponent(planted.smtpPassword)}@127.0.0.1:${smtpPort}`,
    SCRATCH_DIR: join(world.home, 'scratch'),
    FFMPEG_PATH: inject('ffmpegPath'),
    FFPROBE_PATH: inject('ffprobePath'),
    METRICS_PORT: String(metricsPort),
    LOG_LEVEL: 'debug',
  }
  await world.db.asAccount(world.accountId, (tx) =>
    ensureKey(tx, {
      personId: world.people.ada.personId,
      label: 'planted',
      keySha256: hashSecret(planted.apiKey),
      scopes: ['read', 'write', 'admin'],
    }),
  )
  const hostKey = encodeURIComponent(sshd.hostKey)
  const sftp = (port: number, secret: string, key = hostKey) =>
    `sftp://${sshd.user}@127.0.0.1:${port}${sshd.directory}?hostkey=${key}&secret=${secret}`
  const s3At = (port: number) => `s3://store/x?endpoint=http://127.0.0.1:${port}&region=us-east-1&secret=s3`
  // Every kind of failure stands in a store of some account: refused, unreachable, another host key, a secret that is missing.
  const troubles: Record<string, string> = {
    's3 refused': s3.url('x', { secret: 's3' }),
    's3 unreachable': s3At(nobodyPort),
    's3 elsewhere': 's3://store/x?endpoint=http://nowhere.invalid&region=us-east-1&secret=s3',
    'sftp key refused': sftp(sshd.port, 'sftpkey'),
    'sftp password refused': sftp(sshd.port, 'sftppassword'),
    'sftp unreachable': sftp(nobodyPort, 'sftppassword'),
    'sftp host key': sftp(sshd.port, 'sftpkey', 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'),
    'sftp secret missing': sftp(sshd.port, 'nosuchsecret'),
    'sftp key broken': sftp(sshd.port, 'brokenkey'),
    's3 half a secret': s3.url('x', { secret: 's3half' }),
  }
  for (const [name, url] of Object.entries(troubles)) {
    const accountId = await ensureAccount(world.db, { name, policy: defaultPolicy })
    await mkdir(join(world.home, name, 'hall'), { recursive: true })
    await world.db.asAccount(accountId, async (tx) => {
      const inboxId = await ensureStore(tx, {
        name: 'inbox',
        site: 'a',
        role: 'inbox',
        url: `file://${encodeURI(join(world.home, name))}`,
      })
      await ensureStore(tx, { name: 'primary', site: 'a', role: 'primary', url })
      await ensureStore(tx, { name: 'remote inbox', site: 'b', role: 'inbox', url })
      await ensurePerson(tx, { name: 'Ada', email: 'ada@example.test', roles: ['admin'] })
      await ensureRecorder(tx, { inboxId, name: 'hall', directory: 'hall', assignment: 'claim', quietMs: 1000 })
    })
  }
  await world.addRecorder({
    name: 'managed',
    assignment: 'manager',
    managerId: world.people.ben.personId,
    quietMs: 1000,
  })
  worker = run('worker', 'test/isolation/worker-process.ts', settings)
  api = await runApi('api', settings)
  const sample = join(world.home, 'sample.mp4')
  await generateSmall(sample, { ffmpegPath: inject('ffmpegPath'), seed: 9, codec: 'h264-aac' })
  await world.drop(sample, 'managed/a.mp4')
  for (const name of Object.keys(troubles)) {
    const target = join(world.home, name, 'hall', 'a.mp4')
    await copyFile(sample, `${target}.part`)
    await rename(`${target}.part`, target)
  }
}, 180_000)

afterAll(async () => {
  for (const { child } of processes) child.kill('SIGKILL')
  await new Promise<void>((resolve) => (smtp === undefined ? resolve() : smtp.close(() => resolve())))
  await sshd?.stop()
  await s3?.stop()
  await world?.stop()
})

/** Every row of the database as text, but for the one column where a salt has to stand. */
async function databaseText(): Promise<string> {
  const name = new URL(world.config.databaseUrl).pathname.slice(1)
  const url = new URL(inject('adminUrl'))
  url.pathname = `/${name}`
  const admin = new Postgres(url.href)
  await admin.connect()
  try {
    const tables = await admin.query(
      `select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
    )
    let text = ''
    for (const { relname } of tables.rows as { relname: string }[])
      text += JSON.stringify((await admin.query(`select to_jsonb(t) - 'notify_salt' from ${relname} t`)).rows)
    return text
  } finally {
    await admin.end()
  }
}

/** A history as text, and behind it what its payloads hold: there they stand in base64. */
function decoded(text: string): string {
  const payloads = [...text.matchAll(/"data":"([A-Za-z0-9+/=]+)"/g)].map(([, data = '']) => data)
  return [text, ...payloads.map((data) => Buffer.from(data, 'base64').toString('utf8'))].join('\n')
}

/** Every history of the namespace, payloads decoded, and what is said about pending work. */
async function temporalText(): Promise<string> {
  const connection = await Connection.connect({ address: world.config.temporal.address })
  const client = new Client({ connection, namespace: world.config.temporal.namespace })
  let text = ''
  let lives = 0
  for await (const run of client.workflow.list()) {
    const handle = client.workflow.getHandle(run.workflowId, run.runId)
    text += decoded(JSON.stringify(await handle.fetchHistory()))
    text += decoded(JSON.stringify((await handle.describe()).raw))
    lives += 1
  }
  await connection.close()
  expect(lives).toBeGreaterThan(8)
  return text
}

const problems = async () => {
  const url = new URL(inject('adminUrl'))
  url.pathname = new URL(world.config.databaseUrl).pathname
  const client = new Postgres(url.href)
  await client.connect()
  const { rows } = await client.query('select stage, code, message from problems')
  await client.end()
  return rows as { stage: string; code: string; message: string }[]
}

describe('secrets', () => {
  test('are found by this search, in every form', () => {
    for (const [name, secret] of Object.entries(planted).filter(([, value]) => value !== ''))
      for (const form of formsOf(secret)) expect(findSecrets(`before ${form} after`), name).toContain(name)
    expect(findSecrets('nothing of the kind')).toEqual([])
  })

  test('stand in no log, no history, no row, no metric and on no page, whatever fails', async () => {
    // What fails at the stores and at the mail server.
    await until(
      'every kind of failure to be parked',
      async () => {
        const seen = await problems()
        return (
          seen.filter(({ stage }) => stage === 'ingest').length >= 10 && /mail_(unavailable|rejected)/.test(worker.text)
        )
      },
      150_000,
    )
    const seen = await problems()
    expect([...new Set(seen.map(({ code }) => code))].sort()).toEqual(
      expect.arrayContaining(['host_key_mismatch', 'store_denied', 'store_misconfigured', 'store_unavailable']),
    )

    // What people and recorders send.
    const inboxId = world.stores.inbox
    const json = { 'Content-Type': 'application/json' }
    const recorder = {
      name: 'pod',
      inboxId,
      directory: 'pod',
      assignment: 'claim',
      ip: '10.0.0.9',
      notifySalt: planted.podSalt,
    }
    const posts: [string, unknown][] = [
      ['/api/v1/recorders', recorder],
      ['/api/v1/recorders', { ...recorder, name: 'twin' }],
      ['/api/v1/keys', { personId: world.people.una.personId, label: 'new', scopes: ['read'] }],
    ]
    for (const [path, body] of posts) {
      const init = {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { ...json, 'Idempotency-Key': `once${path}${JSON.stringify(body).length}` },
      }
      await ask(`${api.url}${path}`, init)
      await ask(`${api.url}${path}`, init)
    }
    const [created] = (
      (await (await ask(`${api.url}/api/v1/recorders`)).json()) as { items: { id: string; name: string }[] }
    ).items.filter(({ name }) => name === 'pod')
    await ask(`${api.url}/api/v1/recorders/${created?.id}`, {
      method: 'PATCH',
      body: JSON.stringify({ notifySalt: planted.podSalt }),
      headers: json,
    })
    const notify = createHash('md5').update(`10.0.0.9${planted.podSalt}`).digest('hex')
    expect(
      await (await ask(`${api.url}/record/recorder_notify/?recordingPlace=10.0.0.9&mediapath=x&key=${notify}`)).text(),
    ).toBe('ok')
    await ask(`${api.url}/api/v1/people`, {}, planted.wrongKey)
    const form = (key: string) => ({ method: 'POST', body: new URLSearchParams({ key }), headers: { Origin: api.url } })
    const refused = await fetch(`${api.url}/sign-in`, { ...form(planted.wrongKey), redirect: 'manual' })
    answers.push(await refused.text())
    const signedIn = await fetch(`${api.url}/sign-in`, { ...form(planted.apiKey), redirect: 'manual' })
    expect(signedIn.status).toBe(303)
    planted.sessionToken = /reelkeep_session=([^;]+)/.exec(signedIn.headers.get('Set-Cookie') ?? '')?.[1] ?? ''
    const cookie = { Cookie: `reelkeep_session=${planted.sessionToken}` }

    // Bytes that cannot be read, because their store refuses.
    const brokenStore = await world.db.asAccount(world.accountId, (tx) =>
      ensureStore(tx, { name: 'refusing', site: 'c', role: 'backup', url: s3.url('y', { secret: 's3' }) }),
    )
    const recorderId = await world.addRecorder({ name: 'old' })
    const stock = {
      db: world.db,
      accountId: world.accountId,
      recorderId,
      inboxId,
      folders: { [brokenStore]: join(world.home, 'elsewhere') },
    }
    const [broken = ''] = await stockRecordings(stock, 1, 'retained', { retainedForMs: 1e9 })
    expect((await ask(`${api.url}/api/v1/recordings/${broken}/media/original.mp4`)).status).toBeGreaterThanOrEqual(500)

    // Pages and lists.
    const waiting = await world.until('managed/a.mp4', (recording) => recording.state === 'awaiting_claim')
    for (const path of [
      '/',
      '/claims',
      '/attention',
      '/deposits',
      '/recorders',
      `/recordings/${waiting.id}`,
      `/recordings/${broken}`,
    ])
      answers.push(await (await fetch(`${api.url}${path}`, { headers: cookie })).text())
    for (const path of ['recordings', 'deposits', 'recorders', 'stores', 'people', 'keys', `recordings/${waiting.id}`])
      expect((await ask(`${api.url}/api/v1/${path}`)).status).toBe(200)
    for (const path of ['/openapi.json', '/metrics', '/readyz', '/.well-known/reelkeep-keys.json'])
      expect((await ask(`${api.url}${path}`)).status).toBe(200)
    answers.push(await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text())

    // A database that refuses, and one that is not there.
    const right = new URL(world.config.databaseUrl)
    const password = encodeURIComponent(planted.databasePassword)
    const wrong = `postgres://reelkeep_app:${password}@${right.host}${right.pathname}`
    const away = `postgres://reelkeep_app:${password}@127.0.0.1:1/none`
    for (const [name, url] of [
      ['api, refused', wrong],
      ['api, alone', away],
    ] as const) {
      const lonely = await runApi(name, { ...settings, DATABASE_URL: url })
      for (const path of [
        '/readyz',
        '/api/v1/people',
        '/',
        '/record/recorder_notify/?recordingPlace=10.0.0.9&mediapath=x&key=x',
      ])
        expect((await ask(`${lonely.url}${path}`)).status, `${name} ${path}`).toBeGreaterThanOrEqual(500)
    }
    const fallen = [wrong, away].map((url) =>
      run('worker without a database', 'test/isolation/worker-process.ts', {
        ...settings,
        DATABASE_URL: url,
        METRICS_PORT: '0',
      }),
    )
    await until('workers without a database to end', () => fallen.every(({ child }) => child.exitCode !== null))

    const doctor = [settings, { ...settings, DATABASE_URL: wrong }, { ...settings, DATABASE_URL: away }].map(
      async (env) => JSON.stringify(await runDoctor(env, findHome({ REELKEEP_HOME: join(world.home, 'no-stack') }))),
    )
    const places: Record<string, string> = {
      'answers and pages': answers.filter((text) => !/\/api\/v1\/keys 201/.test(text)).join('\n'),
      doctor: (await Promise.all(doctor)).join('\n'),
      database: await databaseText(),
      histories: await temporalText(),
    }
    for (const { name, text } of processes) places[`log of ${name}`] = `${places[`log of ${name}`] ?? ''}${text}`
    for (const [name, secret] of Object.entries(planted)) expect(secret.length, name).toBeGreaterThan(10)
    for (const [place, text] of Object.entries(places)) {
      expect(text.length, place).toBeGreaterThan(200)
      expect(findSecrets(text), place).toEqual([])
    }
    // The search looked at what it was meant to look at.
    expect(worker.text).toMatch(/store_denied/)
    expect(places['doctor']).toMatch(/store_denied|store_unavailable/)
    expect(places['histories']).toMatch(/mail_unavailable|mail_rejected/)
    expect(places['histories']).toContain('recordingId')
  }, 300_000)

  test('in an address that cannot be read are not repeated; the setting is named', () => {
    const base = { DATABASE_URL: 'postgres://127.0.0.1/x', TEMPORAL_ADDRESS: 'x:1', SIGNING_KEY_FILE: 'x' }
    const bad: Record<string, string> = {
      SMTP_URL: `smtp://keeper:${planted.smtpPassword}#@127.0.0.1:1`,
      DATABASE_URL: `postgres://keeper:${planted.databasePassword}#@127.0.0.1:1/x`,
      DATABASE_OWNER_URL: `postgres://keeper:${planted.databasePassword}@[127.0.0.1:1/x`,
    }
    for (const [name, value] of [...Object.entries(bad), ['SMTP_URL', planted.smtpPassword] as const]) {
      let message = ''
      try {
        loadConfig({ ...base, [name]: value })
      } catch (error) {
        message = String(error)
      }
      expect(message).toContain(`${name} is no URL`)
      expect(findSecrets(message)).toEqual([])
    }
    for (const good of ['postgres://u:p%2F@/db?host=/run', 'postgresql://u@h/db', '-', '/var/run/postgresql db'])
      expect(loadConfig({ ...base, DATABASE_URL: good }).databaseUrl).toBe(good)
  })
})
