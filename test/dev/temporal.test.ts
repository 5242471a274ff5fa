import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { endLeftOvers } from '../../src/dev/processes.ts'
import { resolveTemporal } from '../../src/dev/temporal-binary.ts'
import { startTemporal } from '../../src/dev/temporal.ts'
import { freePorts } from '../servers/process.ts'
import type { LocalTemporalOptions } from '../../src/dev/temporal.ts'

let home: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'reelkeep-temporal-'))
})

afterEach(async () => {
  await endLeftOvers(join(home, 'run'))
  await rm(home, { recursive: true, force: true })
})

function start(changes: Partial<LocalTemporalOptions> = {}) {
  return startTemporal({
    binary: inject('temporalBinary'),
    dbFile: join(home, 'temporal', 'state.sqlite'),
    uiPort: null,
    namespace: 'kept',
    fastForward: false,
    searchAttributes: { Stage: 'Keyword' },
    logFile: join(home, 'temporal.log'),
    runDir: join(home, 'run'),
    say: () => undefined,
    ...changes,
  })
}

async function withClient<T>(address: string, use: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address })
  try {
    return await use(new Client({ connection, namespace: 'kept' }))
  } finally {
    await connection.close()
  }
}

test('workflows survive a kill -9 of the server and a new start; a later release may add a search attribute', async () => {
  const first = await start()
  await withClient(first.address, async (client) => {
    for (const id of ['one', 'two']) await client.workflow.start('anything', { workflowId: id, taskQueue: 'nobody' })
  })
  const killed = first.pid
  process.kill(killed, 'SIGKILL')
  for (const until = Date.now() + 20_000; first.pid === killed && Date.now() < until;) await pause(50)
  await first.stop()

  const second = await start({ searchAttributes: { Stage: 'Keyword', Bytes: 'Int' } })
  await withClient(second.address, async (client) => {
    for (const id of ['one', 'two'])
      expect((await client.workflow.getHandle(id).describe()).status.name).toBe('RUNNING')
  })
  await second.stop()
})

test('two that want the same port in the same moment become two servers, none in the place of the other', async () => {
  const [port = 0] = await freePorts(1)
  const other = await mkdtemp(join(tmpdir(), 'reelkeep-temporal-'))
  const beside = { dbFile: join(other, 'state.sqlite'), logFile: join(other, 'log'), runDir: join(other, 'run'), port }
  const servers = await Promise.all([start({ port, namespace: 'mine' }), start({ ...beside, namespace: 'yours' })])
  try {
    expect(servers[0].address).not.toBe(servers[1].address)
    for (const [server, known, unknown] of [
      [servers[0], 'mine', 'yours'],
      [servers[1], 'yours', 'mine'],
    ] as const)
      await withClient(server.address, async ({ workflowService }) => {
        await workflowService.describeNamespace({ namespace: known })
        await expect(workflowService.describeNamespace({ namespace: unknown })).rejects.toThrow()
      })
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
    await rm(other, { recursive: true, force: true })
  }
})

test('a port lost to one that is gone again is no reason to give up', async () => {
  const unlucky = join(home, 'unlucky')
  const lost = "Error: can't set UI port 8233: listen tcp 127.0.0.1:8233: bind: address already in use"
  // Twice another one takes a port and ends: nothing holds it when the log is read.
  const script = `#!/bin/sh
if [ "$1" = server ] && [ $(wc -l < ${home}/starts) -lt 2 ]; then echo >> ${home}/starts; echo "${lost}"; exit 1; fi
exec ${inject('temporalBinary')} "$@"
`
  await writeFile(join(home, 'starts'), '')
  await writeFile(unlucky, script, { mode: 0o755 })
  const server = await start({ binary: unlucky })
  await withClient(server.address, ({ workflowService }) => workflowService.describeNamespace({ namespace: 'kept' }))
  await server.stop()
})

test('a configured address is taken as it is; an earlier download is found without a word', async () => {
  const said: string[] = []
  const look = (address: string | null) =>
    resolveTemporal({ address, cacheDir: inject('cacheDir'), say: (line) => said.push(line) })
  expect(await look('temporal.internal:7233')).toEqual({ kind: 'address', address: 'temporal.internal:7233' })
  expect(await look(null)).toMatchObject({ kind: 'binary', path: inject('temporalBinary'), timeSkipping: true })
  expect(said).toEqual([])
})
