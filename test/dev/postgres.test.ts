import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { freshDatabase } from '../setup/database.ts'
import { startPostgres } from '../../src/dev/postgres.ts'
import type { LocalPostgres } from '../../src/dev/postgres.ts'
import { endLeftOvers } from '../../src/dev/processes.ts'

let home: string
let places: Set<string>

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'reelkeep-postgres-'))
  await chmod(home, 0o711)
  places = new Set([home])
})

afterEach(async () => {
  await endLeftOvers(join(home, 'run'))
  for (const place of places) await rm(place, { recursive: true, force: true })
})

async function start(say: (line: string) => void = () => undefined): Promise<LocalPostgres> {
  const postgres = await startPostgres({ home, cacheDir: inject('cacheDir'), say })
  places.add(dirname(postgres.dataDir))
  return postgres
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url)
  // A server that is killed under a connection must fail the query, not the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

async function eventually<T>(action: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action()
    } catch (error) {
      if (attempt === 100) throw error
      await pause(100)
    }
  }
}

describe('the local Postgres', () => {
  test('has two powerless roles, UTF-8, and answers only on 127.0.0.1 to a password', async () => {
    const postgres = await start()
    const roles = await query(
      postgres.adminUrl,
      `SELECT rolname, rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole AS power FROM pg_roles WHERE rolname LIKE 'reelkeep%' ORDER BY 1`,
    )
    expect(roles).toEqual([
      { rolname: 'reelkeep_app', power: false },
      { rolname: 'reelkeep_owner', power: false },
    ])
    expect(await query(postgres.ownerUrl, 'SHOW server_encoding')).toEqual([{ server_encoding: 'UTF8' }])
    expect(await query(postgres.ownerUrl, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }])
    expect(await query(postgres.adminUrl, 'SHOW unix_socket_directories')).toEqual([{ unix_socket_directories: '' }])
    await expect(query(postgres.appUrl, 'CREATE TABLE mine (id int)')).rejects.toThrow('permission denied')
    await expect(query(postgres.appUrl.replace(/:[0-9a-f]{48}@/, ':guess@'), 'SELECT 1')).rejects.toThrow(
      'password authentication failed',
    )
    expect((await stat(join(home, 'secrets', 'postgres.json'))).mode & 0o777).toBe(0o600)
    await postgres.stop()
  })

  test('keeps its data over a stop, a kill -9 of the server and a kill -9 of the supervisor', async () => {
    const first = await start()
    await query(first.ownerUrl, 'CREATE TABLE kept (n int)')
    const add = (url: string, n: number) => query(url, `INSERT INTO kept VALUES (${n})`)
    await add(first.ownerUrl, 1)
    process.kill(first.pid, 'SIGKILL')
    await eventually(() => add(first.ownerUrl, 2))
    // A second start while the first supervisor does nothing is what a killed supervisor leaves behind.
    const second = await start()
    expect([second.adopted, second.pid, second.ownerUrl]).toEqual([true, first.pid, first.ownerUrl])
    await add(second.ownerUrl, 3)
    await Promise.all([second.stop(), first.stop()])
    const third = await start()
    expect(third.adopted).toBe(false)
    expect(await query(third.ownerUrl, 'SELECT n FROM kept ORDER BY n')).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    await third.stop()
  })

  test('starts although its dead server is remembered under the pid of an unrelated process of the same user', async () => {
    const first = await start()
    await query(first.ownerUrl, 'CREATE TABLE kept (n int)')
    const pidFile = join(first.dataDir, 'postmaster.pid')
    const lines = (await readFile(pidFile, 'utf8')).split('\n')
    const owner = await stat(first.dataDir)
    await first.stop()
    const unrelated = spawn('sleep', ['60'], { uid: owner.uid, gid: owner.gid, cwd: '/', stdio: 'ignore' })
    try {
      await writeFile(pidFile, [String(unrelated.pid), ...lines.slice(1)].join('\n'))
      const second = await start()
      expect(await query(second.ownerUrl, 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 0 }])
      expect(unrelated.exitCode).toBeNull()
      await second.stop()
    } finally {
      unrelated.kill('SIGKILL')
    }
  })

  test('refuses the data of another version and a lost password file, with a way out', async () => {
    const first = await start()
    await first.stop()
    const versionFile = join(first.dataDir, 'PG_VERSION')
    const version = await readFile(versionFile, 'utf8')
    await writeFile(versionFile, '15\n')
    await expect(start()).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('belongs to Postgres 15'),
    })
    await writeFile(versionFile, version)
    await rm(join(home, 'secrets'), { recursive: true })
    await expect(start()).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('passwords'),
    })
  })

  test.runIf(process.getuid?.() === 0)(
    'started by root in a closed home, keeps its data elsewhere, and finds it again',
    async () => {
      await chmod(home, 0o700)
      const said: string[] = []
      const first = await start((line) => said.push(line))
      expect(first.dataDir.startsWith(home)).toBe(false)
      expect(said.join('\n')).toContain(dirname(first.dataDir))
      await first.stop()
      const second = await start()
      expect(second.dataDir).toBe(first.dataDir)
      await second.stop()
    },
  )
})

test('every test file gets a database of its own from the template', async () => {
  const [one, two] = await Promise.all([freshDatabase(), freshDatabase()])
  await query(one.ownerUrl, 'CREATE TABLE only_here (n int)')
  await expect(query(two.ownerUrl, 'SELECT * FROM only_here')).rejects.toThrow('does not exist')
  await Promise.all([one.drop(), two.drop()])
  await expect(query(one.ownerUrl, 'SELECT 1')).rejects.toThrow('does not exist')
})
