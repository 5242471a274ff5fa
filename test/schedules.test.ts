import { randomUUID } from 'node:crypto'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ensureSchedules, scanScheduleId } from '../src/schedules.ts'

const temporal = { address: inject('temporalAddress'), namespace: inject('temporalNamespace') }
const inbox = { accountId: randomUUID(), inboxId: randomUUID() }
let client: Client

beforeAll(async () => {
  client = new Client({
    connection: await Connection.connect({ address: temporal.address }),
    namespace: temporal.namespace,
  })
})
afterAll(async () => {
  for (const id of [scanScheduleId(inbox.inboxId), 'reconcile', 'fixity', 'housekeeping'])
    await client.schedule.getHandle(id).delete()
  await client.connection.close()
})

test('an inbox is looked at every minute, beginning now, and a second set-up changes nothing', async () => {
  await ensureSchedules(temporal, [inbox])
  await ensureSchedules(temporal, [inbox])

  const scan = await client.schedule.getHandle(scanScheduleId(inbox.inboxId)).describe()
  expect(scan.spec.intervals).toMatchObject([{ every: 60_000 }])
  expect(scan.policies).toMatchObject({ overlap: 'BUFFER_ONE', catchupWindow: 3_600_000 })
  expect(scan.action).toMatchObject({
    workflowType: 'inboxScanWorkflow',
    taskQueue: 'reelkeep',
    args: [{ ...inbox, lookForMs: 58_000 }],
  })
  await expect
    .poll(async () => (await client.schedule.getHandle(scanScheduleId(inbox.inboxId)).describe()).info.numActionsTaken)
    .toBeGreaterThan(0)
  expect((await client.schedule.getHandle('reconcile').describe()).action).toMatchObject({
    workflowType: 'reconcileWorkflow',
    args: [],
  })
})

test.each([
  ['fixity', 'fixityPassWorkflow', [{ accountId: null, everything: false }]],
  ['housekeeping', 'housekeepingWorkflow', []],
])('%s runs once a day, and never twice at once', async (id, workflowType, args) => {
  const daily = await client.schedule.getHandle(id).describe()
  expect(daily.spec.intervals).toMatchObject([{ every: 86_400_000 }])
  expect(daily.policies.overlap).toBe('SKIP')
  expect(daily.action).toMatchObject({ workflowType, taskQueue: 'reelkeep', args })
})

test('a pause that an operator made outlives a restart', async () => {
  const handle = client.schedule.getHandle(scanScheduleId(inbox.inboxId))
  await handle.pause('disk is being replaced')
  await ensureSchedules(temporal, [inbox])
  expect((await handle.describe()).state).toMatchObject({ paused: true, note: 'disk is being replaced' })
})

test('without Temporal it says so', async () => {
  await expect(ensureSchedules({ ...temporal, address: '127.0.0.1:1' }, [inbox])).rejects.toMatchObject({
    code: 'pipeline_unavailable',
  })
})
