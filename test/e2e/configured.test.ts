import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { Client } from 'pg'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { generateSmall } from '../../src/dev/sample.ts'
import { freePorts } from '../servers/process.ts'
import { emptyDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'
import { cleanUp, newHome, readStack, up } from '../setup/up.ts'
import { makeNamespace } from '../setup/world.ts'

let database: FreshDatabase | null = null
afterEach(async () => {
  await cleanUp()
  await database?.drop()
  database = null
})

async function settings(): Promise<Record<string, string>> {
  database = await emptyDatabase()
  return {
    DATABASE_URL: database.appUrl,
    DATABASE_OWNER_URL: database.ownerUrl,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: await makeNamespace(),
  }
}

test(
  'on servers that somebody else runs: it starts none, moves no clock, and leaves them running',
  { timeout: 180_000 },
  async () => {
    const env = await settings()
    const home = await newHome()
    const stack = up(home, ['--no-demo'], env)
    await stack.says('Reelkeep is running')
    expect(stack.text()).toContain('Postgres: the configured one')
    expect(stack.text()).toContain('Temporal: the configured one')
    expect((await readdir(join(home, 'run'))).sort()).toEqual(['api.pid.json', 'home.lock', 'worker.pid.json'])
    expect((await readdir(home)).filter((name) => /postgres|temporal/.test(name))).toEqual([])

    const terminal = { answer: () => undefined, say: () => undefined, status: () => undefined }
    const reelkeep = (...args: string[]) =>
      createProgram({ env: { ...env, REELKEEP_HOME: home }, terminal }).parseAsync(['node', 'reelkeep', ...args])
    for (const role of ['inbox', 'primary', 'backup']) {
      await mkdir(join(home, role))
      const place = ['--role', role, '--site', role === 'backup' ? 'b' : 'a']
      await reelkeep('store', 'add', role, `local:${join(home, role)}`, ...place)
    }
    await reelkeep('recorder', 'add', 'hall')
    const file = join(home, 'inbox', 'hall', 'one.webm')
    await mkdir(join(home, 'inbox', 'hall'))
    await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed: 501, codec: 'vp8-webm' })
    await writeFile(`${file}.done`, '')

    const { url } = await readStack(home)
    const key = (await readFile(join(home, 'secrets', 'admin.key'), 'utf8')).trim()
    const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'Idempotency-Key': 'forward' }
    const waiting = async (): Promise<{ id: string } | undefined> => {
      const answer = await fetch(`${url}/api/v1/recordings?state=awaiting_claim`, { headers })
      const { items } = (await answer.json()) as { items: { id: string }[] }
      return items[0]
    }
    let recording = await waiting()
    while (recording === undefined) {
      await pause(200)
      recording = await waiting()
    }
    const forward = await fetch(`${url}/api/v1/recordings/${recording.id}/fast-forward`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ durationMs: 1000 }),
    })
    expect(forward.status).toBe(409)
    expect(await forward.json()).toMatchObject({ code: 'fast_forward_refused' })

    stack.child.kill('SIGTERM')
    expect(await stack.exit, stack.text()).toBe(0)
    expect(await readdir(join(home, 'run'))).toEqual([])
    const client = new Client(env['DATABASE_URL'])
    await client.connect()
    await client.end()
    const connection = await Connection.connect({ address: env['TEMPORAL_ADDRESS'] ?? '' })
    await connection.workflowService.getSystemInfo({})
    await connection.close()
  },
)

describe('a server that cannot be used is answered with one sentence and the next step', () => {
  const changed = (name: string, change: (url: URL) => void) => (env: Record<string, string>) => {
    const url = new URL(env[name] ?? '')
    change(url)
    return { [name]: url.href }
  }
  test.each<[string, (env: Record<string, string>) => Record<string, string>, RegExp]>([
    ['no URL', () => ({ DATABASE_URL: 'my secret database' }), /DATABASE_URL is no address .* Write postgres:\/\//],
    [
      'a wrong password',
      changed('DATABASE_URL', (url) => (url.password = 'wrong')),
      /DATABASE_URL cannot be used: .* refuses the role "reelkeep_app"\. Check/,
    ],
    [
      'no such database',
      changed('DATABASE_URL', (url) => (url.pathname = '/nowhere')),
      /DATABASE_URL cannot be used: .* has no database "nowhere"\. Create it/,
    ],
    [
      'nobody listening',
      changed('DATABASE_OWNER_URL', (url) => (url.port = '1')),
      /DATABASE_OWNER_URL cannot be used: Postgres at 127\.0\.0\.1:1 does not answer .* Check that it runs/,
    ],
    [
      'an owner that is not one',
      (env) => ({ DATABASE_OWNER_URL: env['DATABASE_URL'] ?? '' }),
      /could not be migrated: .* Check that DATABASE_OWNER_URL names the owner/,
    ],
    [
      'no Temporal',
      () => ({ TEMPORAL_ADDRESS: '127.0.0.1:1' }),
      /Temporal at 127\.0\.0\.1:1 does not answer.* Check that it runs/,
    ],
    [
      'no such namespace',
      () => ({ TEMPORAL_NAMESPACE: 'nowhere' }),
      /has no namespace "nowhere"\. Create it with `temporal operator namespace create/,
    ],
  ])('%s', { timeout: 60_000 }, async (_, change, sentence) => {
    const env = await settings()
    const [apiPort = 0] = await freePorts(1)
    const stack = up(await newHome(), ['--no-demo', '--port', String(apiPort)], { ...env, ...change(env) })
    expect(await stack.exit).toBe(1)
    const last = stack.text().trimEnd().split('\n').at(-1)
    expect(last).toMatch(sentence)
    expect(last).toMatch(/\[(invalid_config|pipeline_unavailable)\]$/)
    expect(stack.text()).not.toMatch(/\n\s+at |my secret|wrong/)
  })

  test('a namespace in which lives could not be found', { timeout: 60_000 }, async () => {
    const env = await settings()
    const namespace = `bare-${env['TEMPORAL_NAMESPACE']}`
    const connection = await Connection.connect({ address: inject('temporalAddress') })
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: msToTs('1 day') })
    await connection.close()
    // A new namespace is known to the server's own cache a moment later.
    let text = ''
    do {
      const stack = up(await newHome(), ['--no-demo'], { ...env, TEMPORAL_NAMESPACE: namespace })
      expect(await stack.exit).toBe(1)
      text = stack.text()
    } while (text.includes('has no namespace'))
    expect(text).toMatch(/has no search attributes Stage.*search-attribute create .*--name Stage --type Keyword/)
  })
})
